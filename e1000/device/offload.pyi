"""Checksums and VLAN tags put into packets: for cimport only."""
