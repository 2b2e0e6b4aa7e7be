"""Packets of any form: for cimport only."""
