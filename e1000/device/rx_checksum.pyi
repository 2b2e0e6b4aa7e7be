"""Checksums of received packets: for cimport only."""
