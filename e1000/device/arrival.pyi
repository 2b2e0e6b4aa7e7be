"""A frame at the door of the receive engine: for cimport only."""
