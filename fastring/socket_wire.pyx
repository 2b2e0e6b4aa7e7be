"""DatagramWire: frames as datagrams of a UNIX or a UDP socket, as QEMU's -netdev dgram has them: one each, without CRC.

A peer that is not there is not the end: frames for it are lost and counted, and once it is there they arrive.
"""

import errno
import os

from libc.errno cimport (EACCES, EAGAIN, ECONNREFUSED, ECONNRESET, EDESTADDRREQ, EFAULT, EHOSTUNREACH, EINTR, EMSGSIZE, ENETDOWN,
                         ENETUNREACH, ENOBUFS, ENOMEM, ENOTCONN, EPERM, EPIPE)
from libc.errno cimport errno as c_errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from cpython.bytes cimport PyBytes_AsString

from fastring.burst cimport FRAME_MORE, Frame
from fastring.host_wire cimport mend
from fastring.socket_calls cimport (AF_INET, AF_UNIX, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC, POLLOUT, SK_MEMINFO_DROPS, SK_MEMINFO_VARS,
                                    SO_MEMINFO, SOL_SOCKET, c_connect, getsockname, getsockopt, iovec, mmsghdr, ready, recvmmsg, sendmmsg,
                                    sockaddr, socklen_t)

cdef extern from "<sys/un.h>" nogil:
    struct sockaddr_un:
        uint16_t sun_family
        char sun_path[108]

cdef enum:
    LOST_SIGHT = -1                 # after_error: nothing can be said of the frames; try again


def named(counts):
    """Those that are not 0."""
    return {reason: packets for reason, packets in counts.items() if packets}


cdef bint is_own(const uint8_t* address, const uint8_t* own) noexcept nogil:
    """Whether two addresses are the same: struct sockaddr_in or sockaddr_in6, by family, port and address."""
    if memcmp(address, own, 4):
        return False
    if (<uint16_t*>own)[0] == AF_INET:
        return memcmp(address + 4, own + 4, 4) == 0
    return memcmp(address + 8, own + 8, 16) == 0


cdef class DatagramWire(HostWire):
    """Frames as datagrams of `receiver`, a datagram socket that is bound, and connected to its peer if it has one.

    `sender`: another socket to send by, whose own datagrams are not received: for a multicast group. `peer`: the path of a UNIX peer,
    connected to whenever it is not. `name`: what messages call it. `on_close`: called once. The sockets are its own from here on; it
    reads and writes them by recvmmsg and sendmmsg, up to 64 frames a call.

    A frame has at most 69,632 bytes, as QEMU's; what the socket cannot carry is lost and counted, and so is what finds no peer.
    Raises OSError, ValueError for a path longer than 107 bytes.
    """

    def __cinit__(self):
        self.receive_fd = self.send_fd = -1
        self.messages = <mmsghdr*>calloc(MESSAGES, sizeof(mmsghdr))
        self.pieces = <iovec*>calloc(PIECES, sizeof(iovec))
        self.counts = <int*>calloc(MESSAGES, sizeof(int))
        self.rx_messages = <mmsghdr*>calloc(MESSAGES, sizeof(mmsghdr))
        self.rx_pieces = <iovec*>calloc(MESSAGES, sizeof(iovec))
        self.rx_addresses = <uint8_t*>calloc(MESSAGES, ADDRESS)
        self.rx_room = <uint8_t*>malloc(MESSAGES * LONGEST)     # touched as far as frames are long
        if (self.messages == NULL or self.pieces == NULL or self.counts == NULL or self.rx_messages == NULL or self.rx_pieces == NULL
                or self.rx_addresses == NULL or self.rx_room == NULL):
            raise MemoryError()

    def __init__(self, receiver not None, *, sender=None, peer=None, str name not None="socket", on_close=None):
        cdef sockaddr_un address
        cdef socklen_t length = ADDRESS
        cdef int i
        if self.receiver is not None:
            raise OSError(errno.EBUSY, "a DatagramWire is made once")
        self.name = name
        if peer is not None:
            path = os.fsencode(peer)
            if not 0 < len(path) < sizeof(address.sun_path):
                raise ValueError(f"a socket's path has 1 to {sizeof(address.sun_path) - 1} bytes, not {len(path)}")
            memset(&address, 0, sizeof(address))
            address.sun_family = <uint16_t>AF_UNIX
            memcpy(address.sun_path, PyBytes_AsString(path), len(path))
            memcpy(self.peer, &address, sizeof(address))
            self.peer_length = sizeof(address)
        self.receiver, self.sender, self.close_hook = receiver, receiver if sender is None else sender, on_close
        self.receive_fd, self.send_fd = receiver.fileno(), self.sender.fileno()
        if sender is not None:
            if getsockname(self.send_fd, <sockaddr*>self.own, &length) < 0:
                raise OSError(c_errno, os.strerror(c_errno))
            self.own_length = length
        for i in range(MESSAGES):
            self.rx_pieces[i].iov_base = self.rx_room + <size_t>i * LONGEST
            self.rx_messages[i].msg_hdr.msg_iov = &self.rx_pieces[i]
            self.rx_messages[i].msg_hdr.msg_iovlen = 1
        with nogil:
            self.find_peer()

    def __dealloc__(self):
        free(self.messages)
        free(self.pieces)
        free(self.counts)
        free(self.rx_messages)
        free(self.rx_pieces)
        free(self.rx_addresses)
        free(self.rx_room)

    # --- sending ---

    cdef int send(self, Frame* frames, int n) noexcept nogil:
        cdef int done = 0, count, used, sent, i
        while done < n:
            count = self.gather(frames + done, n - done, &used)
            if count == 0:
                done += self.give_up(frames + done, used, &self.too_long, b"too long")
                continue
            sent = sendmmsg(self.send_fd, self.messages, count, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent < 0:
                if c_errno in (EAGAIN, ENOBUFS, ENOMEM):
                    break
                sent = self.after_error(frames + done, n - done, c_errno)
                if sent == LOST_SIGHT:
                    continue
                if sent < 0:
                    return done if done else sent
                done += sent
                continue
            for i in range(sent):
                done += self.counts[i]
        return done

    cdef int gather(self, Frame* frames, int n, int* used) noexcept nogil:
        """Fill `messages` with the next packets; return how many. 0: the first cannot be sent at all; `used` is how many Frames it has."""
        cdef int count = 0, first = 0, pieces = 0, end
        cdef uint64_t length
        while count < MESSAGES and first < n:
            end = first
            length = frames[end].len
            while frames[end].flags & FRAME_MORE and end + 1 < n:
                end += 1
                length += frames[end].len
            end += 1
            used[0] = end - first
            if length == 0 or length > LONGEST or end - first > PIECES:
                break                                   # an empty one would end QEMU's wire
            if pieces + end - first > PIECES:
                break
            memset(&self.messages[count], 0, sizeof(mmsghdr))
            self.messages[count].msg_hdr.msg_iov = &self.pieces[pieces]
            self.messages[count].msg_hdr.msg_iovlen = end - first
            self.counts[count] = end - first
            while first < end:
                self.pieces[pieces].iov_base = frames[first].data
                self.pieces[pieces].iov_len = frames[first].len
                pieces += 1
                first += 1
            count += 1
        return count

    cdef int after_error(self, Frame* frames, int n, int error) noexcept nogil:
        """What becomes of n Frames of which not even the first could be sent: how many are lost, LOST_SIGHT, or -errno."""
        cdef int first = self.counts[0]
        if error == EINTR:
            return LOST_SIGHT
        if error == EFAULT:
            mend(frames, n)
            return LOST_SIGHT
        if error == EMSGSIZE:
            return self.give_up(frames, first, &self.too_long, b"too long")
        if error == ECONNREFUSED and self.peer_length == 0:     # ICMP's answer to one before: this one was not tried
            self.refusals += 1
            return LOST_SIGHT
        if error in (ECONNREFUSED, ECONNRESET, ENOTCONN, EDESTADDRREQ):
            self.refusals += error == ECONNREFUSED
            if self.find_peer():
                return LOST_SIGHT
            return self.give_up(frames, n, &self.peerless, b"no peer")
        if error in (EPERM, EPIPE, EACCES, ENETUNREACH, EHOSTUNREACH, ENETDOWN):
            return self.give_up(frames, first, &self.unreachable, b"unreachable")
        return -error

    cdef bint find_peer(self) noexcept nogil:
        """Connect to the path of the UNIX peer, behind which there may be another by now."""
        return self.peer_length != 0 and c_connect(self.send_fd, <sockaddr*>self.peer, self.peer_length) == 0

    cdef bint writable(self) noexcept nogil:
        return ready(self.send_fd, POLLOUT, 0)          # or there is an error: a send tells which

    # --- receiving ---

    cdef int pull(self, int most) noexcept nogil:
        cdef int count = most if most < MESSAGES else MESSAGES, got, i
        for i in range(count):
            self.rx_pieces[i].iov_len = LONGEST
            self.rx_messages[i].msg_hdr.msg_name = self.rx_addresses + i * ADDRESS if self.own_length else NULL
            self.rx_messages[i].msg_hdr.msg_namelen = ADDRESS if self.own_length else 0
        got = recvmmsg(self.receive_fd, self.rx_messages, count, MSG_DONTWAIT, NULL)
        if got < 0:
            if c_errno == ECONNREFUSED:
                self.refusals += 1
            elif c_errno not in (EAGAIN, EINTR, ECONNRESET, ENOMEM, ENOBUFS):
                return -c_errno
            return 0                                    # told once: what waits behind it comes with the next poll
        return self.keep(got)

    cdef int keep(self, int got) noexcept nogil:
        """Stage what is worth it of so many datagrams."""
        cdef int i, kept = 0
        for i in range(got):
            if self.own_length and is_own(self.rx_addresses + i * ADDRESS, self.own):
                continue
            if self.rx_messages[i].msg_len == 0:
                self.empty += 1
                continue
            if self.rx_messages[i].msg_hdr.msg_flags & MSG_TRUNC:
                self.truncated += 1
                continue
            self.staged[kept].data = <uint8_t*>self.rx_pieces[i].iov_base
            self.staged[kept].len = self.rx_messages[i].msg_len
            self.staged[kept].wire_len = self.rx_messages[i].msg_len
            kept += 1
        return kept

    # --- what it says of itself ---

    def fileno(self):
        """The descriptor received by. It becomes writable as the one sent by, unless it is a multicast group's, which never fills."""
        return self.receive_fd if self.receive_fd >= 0 else None

    @property
    def drops(self):
        return super().drops | named({"no_peer": self.peerless, "too_long": self.too_long, "unreachable": self.unreachable})

    @property
    def rx_drops(self):
        self._look_at_overflow()
        return named({"empty": self.empty, "truncated": self.truncated, "rcvbuf_errors": self.overflowed})

    def _look_at_overflow(self):
        """What the kernel dropped because nobody read, as it counts it (UdpRcvbufErrors)."""
        cdef uint32_t memory[SK_MEMINFO_VARS]
        cdef socklen_t length = sizeof(memory)
        if self.receive_fd >= 0 and getsockopt(self.receive_fd, SOL_SOCKET, SO_MEMINFO, memory, &length) == 0 and length == sizeof(memory):
            self.overflowed = memory[SK_MEMINFO_DROPS]

    def close(self):
        self._look_at_overflow()
        self.receive_fd = self.send_fd = -1
        if self.receiver is not None:
            self.receiver.close()
            self.sender.close()
        hook, self.close_hook = self.close_hook, None
        if hook is not None:
            hook()

    def __repr__(self):
        return f"<{self.name}>"
