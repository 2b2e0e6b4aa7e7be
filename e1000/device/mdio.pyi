"""MDIO: for cimport only."""
