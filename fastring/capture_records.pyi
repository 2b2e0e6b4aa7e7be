"""Decoding of pcap and pcapng records: for cimport only."""
