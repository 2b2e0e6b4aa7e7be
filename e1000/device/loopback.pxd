"""Loopback: what the card sends comes back to its own receiver."""

from e1000.device.state cimport Card
from fastring.burst cimport Frame

cdef int loop_back(Card* card, Frame* frames, int n) noexcept nogil
