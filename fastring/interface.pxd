"""The host's network interfaces, as the wires that send and receive there have to know them."""

from libc.stdint cimport int64_t

cdef bint has_carrier(int fd, int ifindex) noexcept nogil
cdef int socket_error(int fd, int64_t* asked) noexcept nogil
