"""The receive engine: for cimport only."""
