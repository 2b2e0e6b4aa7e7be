"""A card that is stopped: for cimport only."""
