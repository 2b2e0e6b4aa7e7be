"""The transmit engine: for cimport only."""
