"""The link: for cimport only."""
