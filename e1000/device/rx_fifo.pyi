"""The receive FIFO: for cimport only."""
