"""PacketWire: a network interface of the host, by a packet socket: packet(7).

What arrives there comes by a ring shared with the kernel (packet_ring), what the card sends goes by sendmmsg, a packet's pieces gathered by
the kernel: a TX ring needs a copy for that, and was no faster on a veth. The host's own stack goes on using the interface: it sees what
arrives, too.
"""

import errno
import socket
import struct

from libc.errno cimport EAGAIN, EFAULT, EINTR, EINVAL, EMSGSIZE, ENETDOWN, ENOBUFS, ENODEV, ENOMEM, errno as c_errno
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from fastring.burst cimport FRAME_MORE, Frame
from fastring.interface cimport has_carrier, socket_error
from fastring.host_wire cimport STAGED, mend
from fastring.packet_ring cimport BLOCK, give_back, map_ring, take_packets, unmap_ring
from fastring.virtio_net cimport vnet_drops

from fastring.interface import ethernet_interface

cdef extern from *:
    """
    #include <linux/if_ether.h>
    #include <linux/if_packet.h>
    #include <poll.h>
    """
    const int SOL_PACKET, MSG_DONTWAIT
    const int PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC, PACKET_FANOUT, PACKET_IGNORE_OUTGOING, PACKET_QDISC_BYPASS, PACKET_STATISTICS
    int C_ETH_P_ALL "ETH_P_ALL"
    int C_FANOUT_HASH "PACKET_FANOUT_HASH", C_FANOUT_LB "PACKET_FANOUT_LB", C_FANOUT_CPU "PACKET_FANOUT_CPU"
    int C_FANOUT_ROLLOVER "PACKET_FANOUT_ROLLOVER", C_FANOUT_RND "PACKET_FANOUT_RND", C_FANOUT_QM "PACKET_FANOUT_QM"
    const short POLLOUT
    ctypedef struct pollfd "struct pollfd":
        int fd
        short events, revents
    ctypedef struct sockaddr "struct sockaddr":
        pass
    ctypedef struct sockaddr_ll "struct sockaddr_ll":
        int sll_ifindex
    int sendmmsg(int fd, mmsghdr* messages, unsigned int count, int flags) nogil
    int poll(pollfd* waiting, unsigned long count, int timeout) nogil
    int getsockname(int fd, sockaddr* address, uint32_t* length) nogil

# How the packets of an interface are shared among the sockets of a fanout group, by packet(7)'s names
FANOUT_MODES = {
    "hash": C_FANOUT_HASH, "lb": C_FANOUT_LB, "cpu": C_FANOUT_CPU, "rollover": C_FANOUT_ROLLOVER, "rnd": C_FANOUT_RND, "qm": C_FANOUT_QM,
}

cdef class PacketWire(HostWire):
    """The Ethernet interface `name` of the host; what the card sends leaves there, what arrives there the card receives.

    `promisc`: all that arrives, not what is for the interface's own address alone. `fanout`: the number of a group (0 to 65535) whose
    sockets share what arrives, each packet going to one, which `fanout_mode` says. `qdisc_bypass`: packets go straight to the
    interface's driver, past its queueing discipline and unseen by tcpdump on this host. `vnet_hdr`: what senders on this machine left to
    a card (checksums, segmentation) is done, so that frames arrive; without, packets of up to 64 KB may. `ring`: MiB of what has arrived.
    `block_timeout`: ms after which the kernel hands over what has arrived (libpcap's to_ms). Its timer costs some 3 % of a CPU at 1 ms in a
    virtual machine, and the time of what is sent meanwhile: who sends at an exact rate, and hardly receives, is better off with more.

    The interface belongs to the network namespace of the thread that opens this. Raises ValueError; OSError EPERM without CAP_NET_RAW,
    ENODEV, ENOTSUP not Ethernet, ENETDOWN not up. Set down later, it loses what is sent (`drops`) and goes on when it is up again;
    deleted, it has failed.
    """

    def __cinit__(self):
        self.fd = -1
        self.batch = <Batch*>malloc(sizeof(Batch))
        if self.batch == NULL:
            raise MemoryError()
        memset(self.batch, 0, sizeof(Batch))

    def __init__(self, str name not None, *, bint promisc=True, fanout=None, str fanout_mode="hash", bint qdisc_bypass=True,
                 bint vnet_hdr=True, int ring=8, int block_timeout=1):
        if self.socket is not None:
            raise OSError(errno.EBUSY, f"{self!r} is open already")
        if not 1 <= ring <= 4096:
            raise ValueError(f"the ring has 1 to 4096 MiB, not {ring}")
        if not 1 <= block_timeout <= 1000:
            raise ValueError(f"a block waits for 1 to 1000 ms, not {block_timeout}")
        if fanout is not None and not 0 <= fanout <= 0xFFFF:
            raise ValueError(f"a fanout group is a number of 0 to 65535, not {fanout}")
        if fanout_mode not in FANOUT_MODES:
            raise ValueError(f"the fanout mode is {', '.join(FANOUT_MODES)}, not {fanout_mode!r}")
        self.name = name
        try:
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        except PermissionError:
            raise PermissionError(errno.EPERM, f"packet sockets need CAP_NET_RAW to open the interface {name}: run as root") from None
        self.fd = self.socket.fileno()
        try:
            self._set_up(promisc, qdisc_bypass, vnet_hdr, ring, block_timeout)
            if fanout is not None:
                self._join(fanout, fanout_mode)
        except BaseException:
            self.close()
            raise

    cdef _set_up(self, bint promisc, bint qdisc_bypass, bint vnet_hdr, int ring, int block_timeout):
        self.ifindex, self.mtu = ethernet_interface(self.socket, self.name)
        self.socket.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, int(qdisc_bypass))
        try:
            self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise
        map_ring(&self.ring, self.fd, (ring << 20) // BLOCK, vnet_hdr, block_timeout)
        if promisc:
            self.socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("iHH8x", self.ifindex, PACKET_MR_PROMISC, 0))
        self.socket.bind((self.name, C_ETH_P_ALL))

    cdef _join(self, int group, str mode):
        try:
            self.socket.setsockopt(SOL_PACKET, PACKET_FANOUT, struct.pack("I", group | <int>FANOUT_MODES[mode] << 16))
        except OSError as error:
            why = f"{error.strerror}: is it of another interface, or of another mode than {mode}?"
            raise OSError(error.errno, f"fanout group {group}: {why}") from None

    def __dealloc__(self):
        unmap_ring(&self.ring)
        free(self.batch)

    # --- to the interface ---

    cdef int send(self, Frame* frames, int n) noexcept nogil:
        cdef int done = 0, messages, sent, error = 0, before
        while done < n:
            messages = self.gather(&frames[done], n - done)
            before = error
            error = EMSGSIZE
            if messages:
                sent = sendmmsg(self.fd, self.batch.messages, messages, MSG_DONTWAIT)
                if sent > 0:
                    done += self.batch.ends[sent - 1]
                    error = 0
                    continue
                error = c_errno
            if error == EFAULT:
                mend(&frames[done], n - done)
                continue
            if error == EINTR or (error == ENETDOWN and before != ENETDOWN):
                continue                # the second may be an old one, which the socket kept until somebody asked
            sent = self.refuse(&frames[done], n - done, error)
            if sent < 0:
                return sent
            if sent == 0:
                break
            done += sent
        return done

    cdef int gather(self, Frame* frames, int n) noexcept nogil:
        """Make messages of Frames; return how many packets that is: 0 if the first is in more pieces than the kernel takes."""
        cdef Batch* batch = self.batch
        cdef int i = 0, pieces = 0, count = 0, first = 0
        while i < n and pieces + 2 <= PIECES and count < MESSAGES:
            if pieces == first and self.ring.vnet:
                batch.pieces[pieces].iov_base = batch.whole
                batch.pieces[pieces].iov_len = sizeof(batch.whole)
                pieces += 1
            batch.pieces[pieces].iov_base = frames[i].data
            batch.pieces[pieces].iov_len = frames[i].len
            pieces += 1
            i += 1
            if not frames[i - 1].flags & FRAME_MORE or i == n:
                batch.messages[count].msg_hdr.msg_iov = &batch.pieces[first]
                batch.messages[count].msg_hdr.msg_iovlen = pieces - first
                batch.ends[count] = i
                first = pieces
                count += 1
        return count

    cdef int refuse(self, Frame* frames, int n, int error) noexcept nogil:
        """The kernel did not take the first packet. Return of how many Frames it is lost; 0: try again later; or -errno: it is over."""
        cdef int first = 1
        if error == EAGAIN or error == ENOMEM or (error == ENOBUFS and has_carrier(self.fd, self.ifindex)):
            return 0                    # ENOBUFS: the driver's queue is full
        if error == ENETDOWN:
            self.down += self.unsent(frames, n)
            return n
        while first < n and frames[first - 1].flags & FRAME_MORE:
            first += 1
        if error == ENOBUFS:
            self.without_carrier += 1
        elif error == EMSGSIZE:
            self.too_long += 1
        elif error == EINVAL:           # shorter than an Ethernet header
            self.too_short += 1
        else:
            return -error
        self.unsent(frames, first)
        return first

    cdef bint writable(self) noexcept nogil:
        cdef pollfd asked = pollfd(self.fd, POLLOUT, 0)
        return poll(&asked, 1, 0) > 0

    # --- from the interface ---

    cdef int pull(self, int most) noexcept nogil:
        cdef int got
        if self.fd < 0:
            return -ENODEV              # closed
        got = take_packets(&self.ring, self.staged, STAGED, most)
        return got if got else self.ask_for_errors()

    cdef void recycle(self) noexcept nogil:
        give_back(&self.ring)

    cdef int ask_for_errors(self) noexcept nogil:
        """Now and then, when nothing arrives. Return 0 or -errno."""
        cdef int error = socket_error(self.fd, &self.asked)
        cdef sockaddr_ll bound
        cdef uint32_t length = sizeof(bound)
        if error < 0:
            return 0
        if getsockname(self.fd, <sockaddr*>&bound, &length) == 0 and bound.sll_ifindex != self.ifindex:
            return -ENODEV              # deleted, or moved to another namespace
        return 0 if error == ENETDOWN else -error

    # --- about it ---

    def fileno(self):
        return self.fd if self.fd >= 0 else None

    def capabilities(self):
        return super().capabilities() | {"mtu": self.mtu}

    @property
    def drops(self):
        counted = {
            "too_long": self.too_long, "too_short": self.too_short, "interface_down": self.down, "no_carrier": self.without_carrier,
        }
        return super().drops | {reason: packets for reason, packets in counted.items() if packets}

    @property
    def rx_drops(self):
        if self.fd >= 0:                # the kernel counts from the last look on
            self.ring_full += struct.unpack_from("2I", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))[1]
        return ({"receive_ring_full": self.ring_full} if self.ring_full else {}) | vnet_drops(&self.ring.drops)

    def close(self):
        """Give the interface back; what has arrived and is not delivered is lost with the ring. Again is harmless."""
        _ = self.rx_drops               # while the socket can still tell
        self.fd = -1
        if not self.delivering:
            unmap_ring(&self.ring)
            self.next_staged = self.staged_count = 0
        if self.socket is not None:
            self.socket.close()

    def __repr__(self):
        return f"<PacketWire {self.name}>"
