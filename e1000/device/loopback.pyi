"""Loopback: what the card sends comes back to its own receiver. For Cython: see loopback.pxd."""
