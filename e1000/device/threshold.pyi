"""Descriptors that are done with and not yet written back: for cimport only."""
