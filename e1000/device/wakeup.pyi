"""Wake-up: for cimport only."""
