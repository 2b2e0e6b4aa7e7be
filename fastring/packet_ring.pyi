"""The receive ring of packet sockets: for cimport only."""
