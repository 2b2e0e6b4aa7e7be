"""Flow control: for cimport only."""
