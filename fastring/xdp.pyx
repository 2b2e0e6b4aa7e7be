"""XdpWire: a queue of a network interface of the host, by an AF_XDP socket (Documentation/networking/af_xdp.rst).

Memory is shared with the kernel (the UMEM), and four rings say whose a chunk of it is: fill and RX bring frames, TX and completion take
them. What arrives at the queue comes here alone: the host's own stack sees nothing of it. Chunks that the kernel names are checked like
any peer's.
"""

import errno
import os
import socket
import struct
import time

from libc.errno cimport EAGAIN, EBUSY, EINTR, ENETDOWN, ENOBUFS, ENODEV, ENOMEM, ENXIO, EPROTO, errno as c_errno
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastring.burst cimport FRAME_MORE, Frame
from fastring.interface cimport has_carrier, socket_error
from fastring.xdp_ring cimport (
    XDP_PKT_CONTD, XdpDesc, arrived, consume, map_ring, needs_wakeup, publish, unmap_ring, unread,
)

from fastring.interface import ethernet_interface
from fastring.xdp_program import XdpProgram

cdef extern from *:
    """
    #include <linux/if_xdp.h>
    #include <sys/socket.h>
    """
    const int AF_XDP, SOL_XDP, SOL_SOCKET, SO_SNDBUFFORCE, MSG_DONTWAIT
    const int XDP_MMAP_OFFSETS, XDP_RX_RING, XDP_TX_RING, XDP_UMEM_REG, XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING
    const int XDP_STATISTICS, XDP_OPTIONS, XDP_OPTIONS_ZEROCOPY, XDP_USE_NEED_WAKEUP
    const uint64_t XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_FILL_RING, XDP_UMEM_PGOFF_COMPLETION_RING
    int C_XDP_COPY "XDP_COPY", C_XDP_ZEROCOPY "XDP_ZEROCOPY"
    ctypedef struct sockaddr "struct sockaddr":
        pass
    ctypedef struct sockaddr_xdp "struct sockaddr_xdp":
        uint16_t sxdp_family, sxdp_flags
        uint32_t sxdp_ifindex, sxdp_queue_id
    int c_bind "bind"(int fd, const sockaddr* address, uint32_t length)
    ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* address, uint32_t length) nogil
    ssize_t recvfrom(int fd, void* data, size_t size, int flags, sockaddr* address, uint32_t* length) nogil

# How frames get between the memory shared and the card: "auto" is zero-copy where the driver can
MODES = {"auto": 0, "copy": C_XDP_COPY, "zerocopy": C_XDP_ZEROCOPY}

cdef enum:
    XDP_USE_SG = 1 << 4             # frames of several chunks (Linux 6.6)
    MOST_CHUNKS = 5                 # of a packet: 20 KB, more than a card has
    ETH_HLEN = 14
    VLAN_HLEN = 4
    ETH_P_8021Q = 0x8100
    TX_BUDGET = 32                  # descriptors that one system call sends in copy mode, at least
    SEND_BUFFER = 1 << 25


cdef inline bint is_tagged(const Frame* frame) noexcept nogil:
    """Whether a frame may be so much longer (packet_extra_vlan_len_allowed)."""
    return frame.len >= ETH_HLEN and frame.data[12] << 8 | frame.data[13] == ETH_P_8021Q


cdef class XdpWire(HostWire):
    """Queue `queue` of the Ethernet interface `name`; what the card sends leaves there, what arrives there the card receives.

    `mode`: of MODES. `rx`: off, it only sends, and the host goes on receiving. Checksums that a sender on this machine (the far end of a
    veth) left to its card stay unfinished, as XDP has no word for it: `ethtool -K IFNAME tx off` at that end.

    The interface belongs to the network namespace of the thread that opens this. Raises ValueError; OSError EPERM without CAP_NET_RAW, or
    for receiving CAP_BPF and CAP_NET_ADMIN, ENODEV, ENOTSUP not Ethernet, ENETDOWN not up, EOPNOTSUPP no zero-copy, EINVAL no such queue,
    EBUSY queue or interface taken. Set down later, it loses what is sent (`drops`) and goes on when it is up; deleted, it has failed.
    """

    def __cinit__(self):
        self.fd = -1
        self.counted = {}

    def __init__(self, str name not None, *, int queue=0, str mode="auto", bint rx=True):
        if self.socket is not None:
            raise OSError(errno.EBUSY, f"{self!r} is open already")
        if mode not in MODES:
            raise ValueError(f"the mode is {', '.join(MODES)}, not {mode!r}")
        if not 0 <= queue <= 0xFFFF:
            raise ValueError(f"the queue is a number of 0 to 65535, not {queue}")
        self.name = name
        self.queue = queue
        try:
            self.socket = socket.socket(AF_XDP, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        except OSError as error:
            why = "need CAP_NET_RAW: run as root" if error.errno == errno.EPERM else \
                "are not in this kernel (CONFIG_XDP_SOCKETS)" if error.errno == errno.EAFNOSUPPORT else error.strerror
            raise OSError(error.errno, f"XDP sockets {why}; the interface was to be {name}") from None
        self.fd = self.socket.fileno()
        try:
            self._set_up(mode)
            if rx:
                self.program = XdpProgram(name, self.ifindex, queue, self.fd)
        except BaseException:
            self.close()
            raise

    cdef _set_up(self, str mode):
        cdef uint32_t i
        self.control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.control_fd = self.control.fileno()
        self.ifindex, mtu = ethernet_interface(self.control, self.name)
        self.umem = Arena(2 * CHUNKS * CHUNK, name="xdp")
        self.memory = self.umem.at(self.umem.alloc(2 * CHUNKS * CHUNK), 2 * CHUNKS * CHUNK)      # all of it: at 0
        option = self.socket.setsockopt
        try:
            option(SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
        except PermissionError:
            pass                                            # CAP_NET_ADMIN: without, fewer frames are under way at a time
        try:
            option(SOL_XDP, XDP_UMEM_REG, struct.pack("QQIIII", self.umem.address, 2 * CHUNKS * CHUNK, CHUNK, 0, 0, 0))
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            size = f"{2 * CHUNKS * CHUNK >> 20} MiB"
            raise OSError(error.errno, f"an XDP socket locks {size} of memory: it needs CAP_IPC_LOCK, or ulimit -l to allow it") from None
        for ring in (XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING):
            option(SOL_XDP, ring, CHUNKS)
        words = struct.unpack("16Q", self.socket.getsockopt(SOL_XDP, XDP_MMAP_OFFSETS, 128))
        map_ring(&self.rx, self.fd, XDP_PGOFF_RX_RING, words[0:4], CHUNKS, sizeof(XdpDesc))
        map_ring(&self.tx, self.fd, XDP_PGOFF_TX_RING, words[4:8], CHUNKS, sizeof(XdpDesc))
        map_ring(&self.fill, self.fd, XDP_UMEM_PGOFF_FILL_RING, words[8:12], CHUNKS, sizeof(uint64_t))
        map_ring(&self.completion, self.fd, XDP_UMEM_PGOFF_COMPLETION_RING, words[12:16], CHUNKS, sizeof(uint64_t))
        for i in range(CHUNKS):
            self.unused[i] = CHUNKS + i
            self.with_kernel[i] = True
            (<uint64_t*>self.fill.entries)[i] = i * CHUNK
        self.unused_count = CHUNKS
        publish(&self.fill, CHUNKS)
        self.most_chunks = MOST_CHUNKS
        try:
            self._bind(<int>MODES[mode] | XDP_USE_NEED_WAKEUP | XDP_USE_SG)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            self.most_chunks = 1                            # before Linux 6.6, or a driver that cannot gather
            self._bind(<int>MODES[mode] | XDP_USE_NEED_WAKEUP)
        self.longest = min(<uint32_t>mtu + ETH_HLEN, self.most_chunks * CHUNK - VLAN_HLEN)
        self.zerocopy = struct.unpack("I", self.socket.getsockopt(SOL_XDP, XDP_OPTIONS, 4))[0] & XDP_OPTIONS_ZEROCOPY

    cdef _bind(self, int flags):
        """Raises OSError. A queue that was let go of is free only a little later (xp_release_deferred): a second is waited for that."""
        cdef sockaddr_xdp wanted
        memset(&wanted, 0, sizeof(wanted))
        wanted.sxdp_family = AF_XDP
        wanted.sxdp_flags = <uint16_t>flags
        wanted.sxdp_ifindex = self.ifindex
        wanted.sxdp_queue_id = self.queue
        deadline = time.monotonic() + 1
        while c_bind(self.fd, <sockaddr*>&wanted, sizeof(wanted)) < 0:
            error = c_errno
            if error != errno.EBUSY or time.monotonic() > deadline:
                why = {
                    errno.EBUSY: "another XDP socket has it",
                    errno.EINVAL: "there is no such queue",
                    errno.EOPNOTSUPP: "its driver has no zero-copy (mode=copy works everywhere)",
                }.get(error, os.strerror(error))
                raise OSError(error, f"queue {self.queue} of the interface {self.name}: {why}")
            time.sleep(0.005)

    def __dealloc__(self):
        self._unmap()

    cdef void _unmap(self) noexcept:
        unmap_ring(&self.rx)
        unmap_ring(&self.tx)
        unmap_ring(&self.fill)
        unmap_ring(&self.completion)

    # --- to the interface ---

    cdef int send(self, Frame* frames, int n) noexcept nogil:
        cdef int first = 0, stop, i
        cdef uint32_t at = 0, length, taken
        if self.fd < 0:
            return -ENODEV
        i = self.kick()
        if i < 0:
            return i
        if self.is_down and unread(&self.tx):
            self.down += self.unsent(frames, n)
            return n
        while first < n:
            length = 0
            stop = first
            while True:
                length += frames[stop].len
                stop += 1
                if stop == n or not frames[stop - 1].flags & FRAME_MORE:
                    break
            if length > self.longest + VLAN_HLEN * is_tagged(&frames[first]):
                self.too_long += self.unsent(&frames[first], stop - first)
            elif length < ETH_HLEN:
                self.too_short += self.unsent(&frames[first], stop - first)
            else:
                taken = self.copy_in(&frames[first], stop - first, at)
                if taken == 0:
                    break
                at += taken
            first = stop
        publish(&self.tx, at)
        i = self.kick()
        return i if i < 0 else first

    cdef uint32_t copy_in(self, Frame* pieces, int n, uint32_t at) noexcept nogil:
        """Write a packet's descriptors from the at-th unpublished one on; return how many, 0 if there are too few chunks unused."""
        cdef uint32_t count = 0, chunk, room = 0, offset, here
        cdef XdpDesc* desc = NULL
        cdef int i
        if self.unused_count < self.most_chunks:
            return 0
        for i in range(n):
            offset = 0
            while offset < pieces[i].len:
                if room == 0:
                    if desc != NULL:
                        desc.options = XDP_PKT_CONTD
                    self.unused_count -= 1
                    chunk = self.unused[self.unused_count]
                    self.with_kernel[chunk] = True
                    desc = &(<XdpDesc*>self.tx.entries)[(self.tx.next + at + count) & self.tx.mask]
                    desc[0] = XdpDesc(<uint64_t>chunk * CHUNK, 0, 0)
                    count += 1
                    room = CHUNK
                here = min(room, pieces[i].len - offset)
                memcpy(self.memory + desc.addr + desc.len, pieces[i].data + offset, here)
                desc.len += here
                offset += here
                room -= here
        return count

    cdef int reap(self) noexcept nogil:
        """Take back the chunks of what has been sent. Return 0 or -EPROTO."""
        cdef uint32_t count = arrived(&self.completion), i
        cdef uint64_t chunk
        if count > CHUNKS:
            return -EPROTO
        for i in range(count):
            chunk = (<uint64_t*>self.completion.entries)[(self.completion.next + i) & self.completion.mask] // CHUNK
            if chunk < CHUNKS or chunk >= 2 * CHUNKS or not self.with_kernel[chunk]:
                return -EPROTO
            self.with_kernel[chunk] = False
            self.unused[self.unused_count] = <uint32_t>chunk
            self.unused_count += 1
        consume(&self.completion, count)
        return 0

    cdef int kick(self) noexcept nogil:
        """Have the kernel send what is in the TX ring, if it has to be asked. Return 0 or -errno; what it leaves goes at a later call."""
        cdef uint32_t left = unread(&self.tx), tries = left // TX_BUDGET + 2
        cdef int error
        if left > CHUNKS:
            return -EPROTO
        while unread(&self.tx) and needs_wakeup(&self.tx) and tries:
            error = 0 if sendto(self.fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0 else c_errno
            self.is_down = error == ENETDOWN
            if error == 0 or error == ENETDOWN:
                break
            if error == EBUSY:                  # one was dropped (NET_XMIT_DROP)
                if has_carrier(self.control_fd, self.ifindex):
                    self.driver_dropped += 1
                else:
                    self.without_carrier += 1
                self.tx_packets -= 1
                if left == 0:
                    return -EPROTO              # more than there were
                left -= 1
                continue
            if error != EAGAIN and error != EINTR and error != ENOBUFS and error != ENOMEM:
                return -error
            tries -= 1
        return self.reap()

    cdef bint writable(self) noexcept nogil:
        return self.fd < 0 or self.kick() < 0 or self.unused_count >= self.most_chunks

    # --- from the interface ---

    cdef int pull(self, int most) noexcept nogil:
        cdef uint32_t there, i = 0, whole = 0
        cdef uint64_t chunk
        cdef XdpDesc desc
        cdef Frame* frame
        cdef int error
        if self.fd < 0:
            return -ENODEV
        if unread(&self.tx):
            error = self.kick()
            if error < 0:
                return error
        there = arrived(&self.rx)
        if there == 0:
            if needs_wakeup(&self.fill):
                recvfrom(self.fd, NULL, 0, MSG_DONTWAIT, NULL, NULL)
            return self.ask_for_errors()
        if there > CHUNKS:
            return -EPROTO
        while i < there and i < STAGED and most > 0:
            desc = (<XdpDesc*>self.rx.entries)[(self.rx.next + i) & self.rx.mask]
            chunk = desc.addr // CHUNK
            if chunk >= CHUNKS or not self.with_kernel[chunk] or desc.addr % CHUNK + desc.len > CHUNK:
                return -EPROTO
            self.with_kernel[chunk] = False
            self.pulled[i] = <uint32_t>chunk
            frame = &self.staged[i]
            frame.data = self.memory + desc.addr
            frame.len = desc.len
            frame.time = frame.wire_len = frame.queue = 0
            frame.flags = FRAME_MORE if desc.options & XDP_PKT_CONTD else 0
            self.staged[whole].wire_len += desc.len
            i += 1
            if not frame.flags & FRAME_MORE:
                whole = i
                most -= 1
        for i in range(whole, i):               # of a packet that does not fit any more: it comes next time
            self.with_kernel[self.pulled[i]] = True
        consume(&self.rx, whole)
        return <int>whole if whole else -EPROTO

    cdef void recycle(self) noexcept nogil:
        cdef int i
        for i in range(self.staged_count):
            self.with_kernel[self.pulled[i]] = True
            (<uint64_t*>self.fill.entries)[(self.fill.next + i) & self.fill.mask] = <uint64_t>self.pulled[i] * CHUNK
        publish(&self.fill, self.staged_count)

    cdef int ask_for_errors(self) noexcept nogil:
        """Now and then, when nothing arrives: the socket is told of nothing but the end of its interface. Return 0 or -errno."""
        cdef int error = socket_error(self.fd, &self.asked)
        if error <= 0:
            return 0
        return -ENODEV if error == ENETDOWN or error == ENXIO else -error

    # --- about it ---

    def fileno(self):
        return self.fd if self.fd >= 0 else None

    def capabilities(self):
        return super().capabilities() | {"mtu": self.longest - ETH_HLEN}

    @property
    def drops(self):
        counted = {
            "too_long": self.too_long, "too_short": self.too_short, "interface_down": self.down,
            "no_carrier": self.without_carrier, "driver_dropped": self.driver_dropped, "unfinished": self.unfinished,
        }
        return super().drops | {reason: packets for reason, packets in counted.items() if packets}

    @property
    def rx_drops(self):
        if self.fd >= 0:
            # dropped, invalid RX and TX descriptors, ring full; what lacks in the fill ring is in the first, too
            other, _, _, full, *_ = struct.unpack("6Q", self.socket.getsockopt(SOL_XDP, XDP_STATISTICS, 48))
            self.counted = {"receive_dropped": other, "receive_ring_full": full}
        return {reason: packets for reason, packets in self.counted.items() if packets}

    def close(self):
        """Send what is still in the TX ring, at most for a second, and give the interface back. Again is harmless."""
        cdef uint32_t i
        deadline = time.monotonic() + 1
        if self.fd >= 0 and self.tx.map != NULL:
            while unread(&self.tx) and not self.dead and self.kick() == 0 and not self.is_down and time.monotonic() < deadline:
                time.sleep(0.0001)
            for i in range(min(unread(&self.tx), <uint32_t>CHUNKS)):
                self.unfinished += not (<XdpDesc*>self.tx.entries)[(self.tx.next - 1 - i) & self.tx.mask].options & XDP_PKT_CONTD
            self.tx_packets -= self.unfinished
        if self.completion.map != NULL:
            _ = self.rx_drops                   # while the socket can still tell
        if self.program is not None:
            self.program.close()
        self.fd = -1
        if not self.delivering:                 # a mapping keeps the socket, and that the queue
            self._unmap()
            self.next_staged = self.staged_count = 0
        for opened in (self.socket, self.control):
            if opened is not None:
                opened.close()

    def __repr__(self):
        return f"<XdpWire {self.name}>"
