"""The transmit engine (§3.3): descriptors to frames on the wire."""

from e1000.device.state cimport Card

cdef void tx_run(Card* card) noexcept nogil
