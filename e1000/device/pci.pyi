"""The PCI function: for cimport only."""
