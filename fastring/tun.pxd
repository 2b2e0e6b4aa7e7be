"""TAP interfaces of the kernel's: `control` is any socket, of the network namespace they are in."""

cdef void check_name(str name) except *
cdef bint is_new(control, str name) except *
cdef int open_tun() except -1
cdef str attach(int fd, str name, int flags)
cdef void set_offload(int fd, bint vnet_hdr) except *
cdef void set_interface(control, str name, up, mtu) except *
