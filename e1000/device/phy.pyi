"""The PHY: for cimport only."""
