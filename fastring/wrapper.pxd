"""WrapperWire: a wire around another."""

from fastring.burst cimport Frame
from fastring.wire cimport Wire


cdef dict added(dict first, dict second)


cdef class WrapperWire(Wire):
    cdef readonly Wire inner
    # For each kind: what the inner wire delivers, that it has room again, and what it lost
    cdef int arrive(self, Frame* frames, int n, bint may_refuse) noexcept nogil
    cdef void inner_has_room(self) noexcept nogil
    cdef void inner_dropped(self, const Frame* frames, int n, const char* reason, bint arriving) noexcept nogil
