"""TapWire: what the card sends a network interface of the kernel's receives, and the other way round (tun.rst, QEMU's `-netdev tap`).

A packet is one read or one write of a file descriptor; a poll reads as many as wait. With vnet_hdr the kernel hands over packets of up to
64 KB and checksums to be inserted, and `fastring.virtio_net` makes frames of them: fewer calls, and less work for the kernel.
"""

import fcntl
import select
import socket

from libc.errno cimport EAGAIN, EBUSY, EFAULT, EINTR, EINVAL, EIO, EMSGSIZE, ENOBUFS, ENODEV, ENOMEM, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastring.burst cimport FRAME_MORE, packets_in
from fastring.host_wire cimport STAGED, mend
from fastring.tun cimport attach, check_name, is_new, open_tun, set_interface, set_offload
from fastring.virtio_net cimport VNET_HEADERS, virtio_net_hdr, vnet_begin, vnet_drops, vnet_frames

cdef extern from "<linux/if_tun.h>":
    const int IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE

cdef extern from "<errno.h>":
    const int EBADFD

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len
    ssize_t writev(int fd, const iovec* parts, int count)

cdef extern from "<unistd.h>" nogil:
    ssize_t c_read "read"(int fd, void* data, size_t size)
    int c_close "close"(int fd)

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int c_poll "poll"(pollfd* fds, unsigned long count, int milliseconds)
    short POLLOUT

cdef extern from "<sys/epoll.h>" nogil:
    struct epoll_event:
        uint32_t events
    int epoll_ctl(int epoll, int operation, int fd, epoll_event* event)
    int EPOLL_CTL_MOD
    uint32_t EPOLLIN, EPOLLOUT

cdef enum:
    ROOM = 65664                        # for one packet with its header, a whole number of cache lines: VNET_LONGEST + 10 at least
    ARENA = 512 * 1024                  # STAGED full-sized frames, and room for one more packet
    RUN = 64                            # packets from one queue before it is the next one's turn
    PIECES = 64                         # of a packet, written as they are; one with more is copied together

cdef virtio_net_hdr WHOLE               # nothing is left to do: the card has inserted checksums and cut what was to be cut
memset(&WHOLE, 0, sizeof(WHOLE))


cdef inline uint32_t flow_hash(const uint8_t* data, uint32_t length) noexcept nogil:
    """The same for all packets from one address and port to another, whatever it is."""
    cdef uint32_t hash = 0, word, first = 0, last = 12, i           # MAC addresses, of what is not IP
    if length >= 38 and data[12] == 0x08 and data[13] == 0x00:
        first, last = 26, 34                                        # a fragment's ports are its datagram's: addresses alone
        if data[14] == 0x45 and not ((data[20] & 0x3F) | data[21]) and (data[23] == 6 or data[23] == 17):
            last = 38
    elif length >= 58 and data[12] == 0x86 and data[13] == 0xDD:
        first, last = 22, 58 if data[20] == 6 or data[20] == 17 else 54
    elif length < 12:
        return 0
    for i in range(first, last, 4):
        memcpy(&word, data + i, 4)
        hash = (hash ^ word) * 0x9E3779B1u
        hash ^= hash >> 15
    return hash


cdef class TapWire(HostWire):
    """Attach to the TAP `name`, or make it: a template such as "tap%d" and "" let the kernel choose; `name` is then what it chose.

    `vnet_hdr`: take checksums and segmentation over from the kernel. `queues`: 1 to 256, received from all, sent by flow; an
    interface that exists must have been made with multi_queue if it is more than one, and without if it is one. `up`: set it up; by
    default if it is new. `mtu`: its MTU. An interface made here goes when the wire is closed, unless it is made persistent.

    While the interface is down what is sent is lost, and counted. When it is deleted the wire has failed: ENODEV.

    Raises ValueError; OSError ENOENT without /dev/net/tun, EPERM without CAP_NET_ADMIN, EBUSY if another is attached, EINVAL if the
    interface is no such TAP.
    """

    def __cinit__(self):
        self.epoll = -1
        self.arena = <uint8_t*>malloc(ARENA)
        self.headers = <uint8_t*>malloc(STAGED * VNET_HEADERS)
        if self.arena == NULL or self.headers == NULL:
            raise MemoryError()

    def __init__(self, str name="", *, bint vnet_hdr=True, int queues=1, up=None, mtu=None):
        cdef int flags = IFF_TAP | IFF_NO_PI
        if self.name is not None:
            raise OSError(EBUSY, f"{self!r} is open already")
        check_name(name)
        if not 1 <= queues <= MAX_QUEUES:
            raise ValueError(f"a TAP has 1 to {MAX_QUEUES} queues, not {queues}")
        if vnet_hdr:
            flags |= IFF_VNET_HDR
        if queues > 1:
            flags |= IFF_MULTI_QUEUE
        self.vnet_hdr = vnet_hdr
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
                new = is_new(control, name)
                own = name
                while self.queues < queues:
                    self.fds[self.queues] = open_tun()
                    self.queues += 1
                    own = attach(self.fds[self.queues - 1], own, flags)
                set_offload(self.fds[0], vnet_hdr)
                set_interface(control, own, new if up is None else up, mtu)
            self.name = own
            if queues > 1:
                self.open_epoll()
        except BaseException:
            self.close()
            raise

    def __dealloc__(self):
        self.release()
        free(self.arena)
        free(self.headers)

    cdef void open_epoll(self) except *:
        """Make one descriptor to wait at out of those of all queues."""
        cdef int i
        with select.epoll() as poll:
            for i in range(self.queues):
                poll.register(self.fds[i], select.EPOLLIN)
            self.epoll = fcntl.fcntl(poll.fileno(), fcntl.F_DUPFD_CLOEXEC, 0)

    # --- to the kernel ---

    cdef int send(self, Frame* frames, int n) noexcept nogil:
        cdef int first = 0, last, error
        if self.queues == 0:
            return -ENODEV
        if self.watching:                       # tried again without a poll that found room
            self.watch_full(False)
        while first < n:
            last = first
            while last + 1 < n and frames[last].flags & FRAME_MORE:
                last += 1
            error = self.write_one(&frames[first], last + 1 - first)
            if error == EAGAIN or (error and first):    # an end is told when it is all there is to tell
                return first
            if error:
                return -error
            first = last + 1
        return n

    cdef int write_one(self, Frame* pieces, int n) noexcept nogil:
        """Write a packet, or count why it cannot be: 0. Else EAGAIN, or the errno that ends it all."""
        cdef iovec parts[PIECES + 1]
        cdef int count = 0, queue = 0, i
        cdef uint32_t length = 0
        cdef uint8_t* copy = NULL
        for i in range(n):
            length += pieces[i].len
        if self.queues > 1:
            queue = <int>(flow_hash(pieces[0].data, pieces[0].len) % <uint32_t>self.queues)
        if self.vnet_hdr:
            parts[0].iov_base = &WHOLE
            parts[0].iov_len = sizeof(WHOLE)
            count = 1
        if n > PIECES:
            copy = <uint8_t*>malloc(length)
            if copy == NULL:
                return self.not_sent(ENOMEM, pieces, n, queue)
            parts[count].iov_base = copy
            parts[count].iov_len = length
            length = 0
            for i in range(n):
                memcpy(copy + length, pieces[i].data, pieces[i].len)
                length += pieces[i].len
            count += 1
        else:
            for i in range(n):
                parts[count + i].iov_base = pieces[i].data
                parts[count + i].iov_len = pieces[i].len
            count += n
        i = 0
        while writev(self.fds[queue], parts, count) < 0:
            if errno == EFAULT:
                mend(pieces, n)
            elif errno != EINTR:
                i = self.not_sent(errno, pieces, n, queue)
                break
        else:
            self.tx_queue[queue] += 1
        free(copy)
        return i

    cdef int not_sent(self, int error, Frame* pieces, int n, int queue) noexcept nogil:
        """What a write's error means for its packet, as `write_one` returns it."""
        if error == EAGAIN:
            self.full = queue
            self.watch_full(True)
            return EAGAIN
        if error == EIO:                        # tun_get_user: not IFF_UP
            self.give_up(pieces, n, &self.tx_down, b"the interface is down")
        elif error == EINVAL or error == EMSGSIZE:      # shorter than an Ethernet header, say
            self.give_up(pieces, n, &self.tx_refused, b"the kernel refused it")
        elif error == ENOMEM or error == ENOBUFS:
            self.give_up(pieces, n, &self.tx_no_memory, b"no memory")
        else:
            return error
        return 0

    cdef bint writable(self) noexcept nogil:
        cdef pollfd wait
        if self.queues == 0:
            return True
        wait.fd = self.fds[self.full]
        wait.events = POLLOUT
        wait.revents = 0
        if c_poll(&wait, 1, 0) <= 0:
            return False
        self.watch_full(False)
        return True

    cdef void watch_full(self, bint on) noexcept nogil:
        """Have `fileno` tell of room in the queue that had none: a wait for an epoll itself to be writable never ends."""
        cdef epoll_event event
        if self.epoll >= 0:
            self.watching = on
            memset(&event, 0, sizeof(event))
            event.events = EPOLLIN | (EPOLLOUT if on else 0)
            epoll_ctl(self.epoll, EPOLL_CTL_MOD, self.fds[self.full], &event)

    # --- from the kernel ---

    cdef int pull(self, int most) noexcept nogil:
        cdef int used = 0, packets = 0, got
        cdef ssize_t size = 1
        if not self.packet.left:
            self.filled = 0
        while packets < most and used + 2 <= STAGED:
            if not self.packet.left:
                size = self.read_one() if self.filled + ROOM <= ARENA else 0
                if size <= 0:
                    break
                packets += not self.accept(<uint32_t>size)      # or malformed ones without end would hold it up
                continue
            got = vnet_frames(&self.packet, &self.staged[used], STAGED - used, most - packets, self.headers + used * VNET_HEADERS)
            packets += packets_in(&self.staged[used], got)
            while got:
                self.staged[used].queue = self.came_from
                used += 1
                got -= 1
        return <int>size if size < 0 and used == 0 else used

    cdef ssize_t read_one(self) noexcept nogil:
        """Read a packet from the queue whose turn it is; return its length, 0 if no queue has one, or -errno."""
        cdef int tries = 0
        cdef ssize_t size
        while tries < self.queues:
            size = c_read(self.fds[self.reading], self.arena + self.filled, ROOM)
            if size < 0 and errno == EINTR:
                continue
            if size < 0 and errno != EAGAIN:
                return -errno
            self.came_from = self.reading
            self.run += 1
            if size <= 0 or self.run == RUN:
                self.run = 0
                self.reading = self.reading + 1 if self.reading + 1 < self.queues else 0
            if size > 0:
                self.rx_queue[self.came_from] += 1
                return size
            tries += 1
        return 0

    cdef bint accept(self, uint32_t size) noexcept nogil:
        """Go on with the packet just read; returns whether it is one. Else it is counted as malformed."""
        cdef virtio_net_hdr header = WHOLE
        cdef uint8_t* data = self.arena + self.filled
        if self.vnet_hdr:
            if size < sizeof(header):
                self.malformed.bad_gso += 1
                return False
            memcpy(&header, data, sizeof(header))
            data += sizeof(header)
            size -= sizeof(header)
        if not vnet_begin(&self.packet, &header, data, size, &self.malformed):
            return False
        self.filled = (<uint32_t>(data - self.arena) + size + 63) & ~63u
        return True

    # --- for whoever holds it ---

    def fileno(self):
        """The queue's descriptor, or one that tells of all; None once closed."""
        if self.queues == 0:
            return None
        return self.fds[0] if self.queues == 1 else self.epoll

    def failure(self):
        if self.dead and self.queues == 0:
            return OSError(ENODEV, f"{self!r} is closed")
        if self.dead in (ENODEV, EBADFD):
            return OSError(ENODEV, f"{self!r} has failed: the interface was deleted")
        return super().failure()

    @property
    def drops(self):
        sent = {"interface_down": self.tx_down, "refused_by_kernel": self.tx_refused, "no_memory": self.tx_no_memory}
        return super().drops | {reason: count for reason, count in sent.items() if count}

    @property
    def rx_drops(self):
        return vnet_drops(&self.malformed)

    @property
    def rx_queue_packets(self):
        """Packets read from each queue, as the kernel had them: not cut yet."""
        return [self.rx_queue[i] for i in range(self.queues)]

    @property
    def tx_queue_packets(self):
        """Packets written to each queue."""
        return [self.tx_queue[i] for i in range(self.queues)]

    def close(self):
        """Detach from the interface, which goes with that unless it is persistent. Again is harmless.

        What the card has not taken of what was read is lost, and counted.
        """
        self.lost += packets_in(&self.staged[self.next_staged], self.staged_count - self.next_staged) + self.packet.left
        self.next_staged = self.staged_count
        self.packet.left = False
        self.release()

    cdef void release(self) noexcept:
        while self.queues:
            self.queues -= 1
            c_close(self.fds[self.queues])
        if self.epoll >= 0:
            c_close(self.epoll)
            self.epoll = -1

    def __repr__(self):
        return f"<TapWire {self.name}>" if self.name is not None else "<TapWire>"
