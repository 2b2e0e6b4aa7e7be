"""Reset and power-up: for cimport only."""
