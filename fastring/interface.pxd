"""The host's network interfaces, as the wires that send and receive there have to know them."""

cdef bint has_carrier(int fd, int ifindex) noexcept nogil
