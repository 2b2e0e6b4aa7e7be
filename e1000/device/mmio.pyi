"""Register accesses: for cimport only."""
