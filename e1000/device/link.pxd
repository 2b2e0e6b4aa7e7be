"""The link: what PHY and CTRL make of the cable, and MDIC."""

from libc.stdint cimport int64_t, uint32_t

from e1000.device.state cimport Card

cdef void link_restart(Card* card) noexcept nogil
cdef void link_cancel(Card* card) noexcept nogil
cdef void link_resume(Card* card, int64_t delay) noexcept nogil
cdef void update_status(Card* card) noexcept nogil
cdef void reset_phy(Card* card) noexcept nogil
cdef void write_mdic(Card* card, uint32_t value) noexcept nogil
