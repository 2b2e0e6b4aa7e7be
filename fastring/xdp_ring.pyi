"""The rings of AF_XDP sockets: for cimport only."""
