"""The link: what PHY and CTRL make of the cable, and MDIC."""

from libc.stdint cimport int64_t, uint32_t

from e1000.device.state cimport Card
from fastring.burst cimport Frame

cdef void link_restart(Card* card) noexcept nogil
cdef void link_resume(Card* card, int64_t delay) noexcept nogil
cdef void derive_link(Card* card) noexcept nogil
cdef bint link_is_possible(const Card* card, bint cable, bint awaited) noexcept nogil
cdef void update_status(Card* card) noexcept nogil
cdef void update_path(Card* card) noexcept nogil
cdef void link_room(void* card) noexcept nogil
cdef int link_receive(void* card, Frame* frames, int n, bint may_refuse) noexcept nogil
cdef void move_mdio(Card* card, uint32_t old) noexcept nogil
cdef uint32_t read_ctrl(Card* card) noexcept nogil
cdef void detect_speed(Card* card) noexcept nogil
cdef void reset_phy(Card* card) noexcept nogil
cdef void write_mdic(Card* card, uint32_t value) noexcept nogil
