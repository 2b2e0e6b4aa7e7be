"""XdpProgram: what hands an interface's frames to an AF_XDP socket.

Frames reach such a socket only by an XDP program that redirects them into an XSKMAP. This is libxdp's default one (xsk_def_xdp_prog.c),
five instructions long, so no compiler and no library is needed: bpf(2) alone.
"""

import errno
import os
import struct

from libc.errno cimport errno as c_errno
from libc.stdint cimport uintptr_t

cdef extern from *:
    """
    #include <linux/bpf.h>
    #include <linux/if_link.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    """
    const int SYS_bpf
    const int BPF_MAP_CREATE, BPF_MAP_UPDATE_ELEM, BPF_PROG_LOAD, BPF_LINK_CREATE
    const int BPF_MAP_TYPE_XSKMAP, BPF_PROG_TYPE_XDP, BPF_XDP, BPF_PSEUDO_MAP_FD, BPF_FUNC_redirect_map, XDP_PASS
    const int XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE
    long syscall(long number, int command, void* attributes, unsigned int size) nogil

cdef enum:
    ATTRIBUTES = 128                # bytes of union bpf_attr that are given; the kernel takes zeroes for more than it knows
    BPF_F_XDP_HAS_FRAGS = 1 << 5
    FDS = 3                         # map, program, link
    RX_QUEUE_INDEX = 16             # offset in struct xdp_md
    # Instructions, by uapi/linux/bpf.h
    LOAD_WORD = 0x61                # BPF_LDX | BPF_MEM | BPF_W
    LOAD_IMM64 = 0x18               # BPF_LD | BPF_IMM | BPF_DW, of two halves
    MOVE = 0xB7                     # BPF_ALU64 | BPF_MOV | BPF_K
    CALL = 0x85                     # BPF_JMP | BPF_CALL
    EXIT = 0x95                     # BPF_JMP | BPF_EXIT


cdef int bpf(int command, bytes attributes) except -1:
    """bpf(2) with a packed union bpf_attr. Raises OSError."""
    cdef bytearray attr = bytearray(attributes.ljust(ATTRIBUTES, b"\0"))
    cdef unsigned char* given = attr
    cdef long result = syscall(SYS_bpf, command, given, ATTRIBUTES)
    if result < 0:
        raise OSError(c_errno, os.strerror(c_errno))
    return <int>result


cdef uintptr_t address(bytes data):
    return <uintptr_t><const char*>data


cdef bytes redirect_to(int map_fd):
    """return bpf_redirect_map(&map, ctx->rx_queue_index, XDP_PASS), which is also what becomes of frames of other queues."""
    code = (
        (LOAD_WORD, 1 << 4 | 2, RX_QUEUE_INDEX, 0),             # r2 = ctx->rx_queue_index; registers: source << 4 | target
        (LOAD_IMM64, BPF_PSEUDO_MAP_FD << 4 | 1, 0, map_fd),    # r1 = &map
        (0, 0, 0, 0),
        (MOVE, 3, 0, XDP_PASS),                                 # r3 = XDP_PASS
        (CALL, 0, 0, BPF_FUNC_redirect_map),
        (EXIT, 0, 0, 0),
    )
    return b"".join([struct.pack("=BBhi", *instruction) for instruction in code])


cdef class XdpProgram:
    """Redirect what arrives at a queue of an interface to an AF_XDP socket, until closed.

    It goes with the process at the latest (a BPF link). It runs in the driver, or where that cannot (`mode` says "skb"), in the kernel's
    generic path. Raises OSError: EPERM without CAP_BPF and CAP_NET_ADMIN, EBUSY if the interface has an XDP program.
    """
    cdef readonly str mode              # "drv" or "skb"
    cdef int fds[FDS]                   # in C, as a list would be empty by the end of a reference cycle
    cdef int count

    def __init__(self, str name not None, int ifindex, int queue, int socket_fd):
        if self.count:
            raise OSError(errno.EBUSY, "this XDP program is attached already")
        try:
            map_fd = self.own(bpf(BPF_MAP_CREATE, struct.pack("4I", BPF_MAP_TYPE_XSKMAP, 4, 4, queue + 1)))
            program = self.own(self.load(map_fd))
            key, value = struct.pack("I", queue), struct.pack("I", socket_fd)
            bpf(BPF_MAP_UPDATE_ELEM, struct.pack("=IIQQQ", map_fd, 0, address(key), address(value), 0))
            self.attach(program, ifindex)
        except OSError as error:
            self.close()
            if error.errno in (errno.EPERM, errno.EACCES):
                why = "needs CAP_BPF and CAP_NET_ADMIN (rx=off sends without)"
            elif error.errno in (errno.EBUSY, errno.EEXIST):
                why = f"the interface has an XDP program already (rx=off sends beside it; ip link set {name} xdp off removes one of ip's)"
            else:
                why = error.strerror
            raise OSError(error.errno, f"receiving from {name} by XDP: {why}") from None

    cdef int own(self, int fd):
        self.fds[self.count] = fd
        self.count += 1
        return fd

    cdef int load(self, int map_fd) except -1:
        cdef bytes code = redirect_to(map_fd), license = b"BSD"
        return bpf(BPF_PROG_LOAD, struct.pack(
            "=IIQQIIQII16sII", BPF_PROG_TYPE_XDP, len(code) // 8, address(code), address(license), 0, 0, 0, 0,
            BPF_F_XDP_HAS_FRAGS, b"fastring", 0, BPF_XDP,
        ))

    cdef attach(self, int program, int ifindex):
        try:
            self.own(bpf(BPF_LINK_CREATE, struct.pack("4I", program, ifindex, BPF_XDP, XDP_FLAGS_DRV_MODE)))
            self.mode = "drv"
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EBUSY, errno.EEXIST):
                raise
            self.own(bpf(BPF_LINK_CREATE, struct.pack("4I", program, ifindex, BPF_XDP, XDP_FLAGS_SKB_MODE)))
            self.mode = "skb"

    def close(self):
        """Detach it. Again is harmless."""
        while self.count:
            self.count -= 1
            os.close(self.fds[self.count])

    def __dealloc__(self):
        self.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
