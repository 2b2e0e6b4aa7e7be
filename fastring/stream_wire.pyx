"""StreamWire: frames over a stream socket, each behind its length in four bytes, big-endian: QEMU's -netdev stream.

As server it has one client at a time and waits for the next; as client it fails with its connection, or tries again. What is sent while
nobody is connected is lost and counted, as by QEMU, whose link is down then.
"""

import errno
import os
import socket
from contextlib import suppress

from libc.errno cimport EAGAIN, ECONNRESET, EFAULT, EINTR, EPROTO
from libc.errno cimport errno as c_errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset
from posix.time cimport CLOCK_MONOTONIC, itimerspec

from fastring.burst cimport FRAME_MORE, Frame
from fastring.host_wire cimport mend
from fastring.socket_calls cimport (EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, MSG_DONTWAIT,
                                    MSG_NOSIGNAL, POLLOUT, SO_ERROR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET, TFD_CLOEXEC, TFD_NONBLOCK,
                                    accept4, c_close, c_read, c_recv, c_send, epoll_create1, epoll_ctl, epoll_event, getsockopt, msghdr,
                                    ready, sendmsg, socklen_t, timerfd_create, timerfd_settime)
from fastring.socket_wire cimport LONGEST

from fastring.socket_wire import named

cdef extern from "<arpa/inet.h>" nogil:
    uint32_t htonl(uint32_t value)
    uint32_t ntohl(uint32_t value)

cdef enum:
    READS = 4                       # of one pull at most: a peer that sends nothing of worth must not keep it
    PATIENCE = 10000                # ms for the first connection of a client that tries once


cdef class StreamWire(HostWire):
    """Frames over a stream: `listener`, a listening socket, makes it a server; `connect`, which returns a new socket, a client.

    `connect()` returns a non-blocking socket that is connected or on its way, or raises OSError. `retry`: seconds between attempts to
    connect; None: it is connected from the start, and fails for good with its connection (ECONNRESET when the peer just left).
    `name`: what messages call it. `on_close`: called once. The listener is its own from here on.

    A peer that announces more than 69,632 bytes, QEMU's limit, is hung up on (EPROTO, counted in `violations`): at most 256 KiB are kept.
    Raises OSError; TypeError unless there is one of listener and connect, ValueError for a retry that is none.
    """

    def __cinit__(self):
        self.fd = self.listen_fd = self.epoll_fd = self.timer_fd = -1
        self.rx = <uint8_t*>malloc(RX_ROOM)
        self.rest = <uint8_t*>malloc(PREFIX + LONGEST)
        if self.rx == NULL or self.rest == NULL:
            raise MemoryError()

    def __init__(self, *, listener=None, connect=None, retry=None, str name not None="stream", on_close=None):
        if (listener is None) == (connect is None):
            raise TypeError("a StreamWire has either a listener or a way to connect")
        if retry is not None and not 0 < retry <= 86400:
            raise ValueError(f"a client connects again after up to 86400 seconds, not {retry}")
        if self.epoll_fd >= 0:
            raise OSError(errno.EBUSY, "a StreamWire is made once")
        self.name, self.listener, self.connect, self.close_hook = name, listener, connect, on_close
        self.retry = 0 if retry is None else max(1, int(retry * 1e9))
        self.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        self.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self.epoll_fd < 0 or self.timer_fd < 0:
            raise OSError(c_errno, os.strerror(c_errno))
        self._epoll(EPOLL_CTL_ADD, self.timer_fd, EPOLLIN)
        if listener is not None:
            listener.setblocking(False)
            self.listen_fd = listener.fileno()
            self._epoll(EPOLL_CTL_ADD, self.listen_fd, EPOLLIN)
        elif self.retry:
            self._attempt()
        else:
            self._use(connect())
            if not ready(self.fd, POLLOUT, PATIENCE):
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            failed = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                raise OSError(failed, os.strerror(failed))
            with nogil:
                self.finish_connecting()

    def __dealloc__(self):
        if self.epoll_fd >= 0:
            c_close(self.epoll_fd)
        if self.timer_fd >= 0:
            c_close(self.timer_fd)
        free(self.rx)
        free(self.rest)

    # --- sending ---

    cdef int transmit(self, Frame* frames, int n) noexcept nogil:
        cdef int sent = HostWire.transmit(self, frames, n)
        self.watch()
        return sent

    cdef int send(self, Frame* frames, int n) noexcept nogil:
        cdef msghdr message
        cdef int done = 0, count, used
        cdef ssize_t sent
        while done < n:
            if self.fd < 0 or self.connecting or self.broken:
                return done + self.give_up(frames + done, n - done, &self.peerless, b"no peer")
            if not self.flush():
                break
            count = self.gather(frames + done, n - done, &used)
            if count == 0:
                done += self.give_up(frames + done, used, &self.too_long, b"too long")
                continue
            memset(&message, 0, sizeof(message))
            message.msg_iov = self.pieces
            message.msg_iovlen = used
            sent = sendmsg(self.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent >= 0:
                done += self.account(frames + done, count, sent)
            elif c_errno == EAGAIN:
                break
            elif c_errno == EFAULT:
                mend(frames + done, n - done)
            elif c_errno != EINTR:
                self.broken = True
        return done

    cdef int gather(self, Frame* frames, int n, int* used) noexcept nogil:
        """Point `pieces` at the next frames; return how many, in `used` pieces. 0: the first cannot go at all, which has `used` Frames."""
        cdef int count = 0, first = 0, end
        cdef uint64_t length
        used[0] = 0
        while count < BATCH and first < n:
            end = first
            length = frames[end].len
            while frames[end].flags & FRAME_MORE and end + 1 < n:
                end += 1
                length += frames[end].len
            end += 1
            if length == 0 or length > LONGEST or used[0] + 1 + end - first > IOVECS:
                if count == 0:
                    used[0] = end - first
                break
            self.prefixes[count] = htonl(<uint32_t>length)
            self.lengths[count] = PREFIX + <uint32_t>length
            self.counts[count] = end - first
            self.pieces[used[0]].iov_base = &self.prefixes[count]
            self.pieces[used[0]].iov_len = PREFIX
            used[0] += 1
            while first < end:
                self.pieces[used[0]].iov_base = frames[first].data
                self.pieces[used[0]].iov_len = frames[first].len
                used[0] += 1
                first += 1
            count += 1
        return count

    cdef int account(self, Frame* frames, int frame_count, uint64_t sent) noexcept nogil:
        """Of so many frames so many bytes went. Keep the rest of one that went in part; return how many Frames are done with."""
        cdef int done = 0, i
        for i in range(frame_count):
            if sent >= self.lengths[i]:
                sent -= self.lengths[i]
                done += self.counts[i]
                continue
            if sent:
                self.keep_rest(frames + done, self.counts[i], self.prefixes[i], <uint32_t>sent)
                done += self.counts[i]
            break
        return done

    cdef void keep_rest(self, Frame* frames, int count, uint32_t prefix, uint32_t gone) noexcept nogil:
        """Copy a frame of which `gone` bytes went."""
        cdef int i
        memcpy(self.rest, &prefix, PREFIX)
        self.rest_end = PREFIX
        for i in range(count):
            memcpy(self.rest + self.rest_end, frames[i].data, frames[i].len)
            self.rest_end += frames[i].len
        self.rest_start = gone

    cdef bint flush(self) noexcept nogil:
        """Send the rest of a frame; whether nothing of it is left."""
        cdef ssize_t sent
        while self.rest_start < self.rest_end:
            sent = c_send(self.fd, self.rest + self.rest_start, self.rest_end - self.rest_start, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent >= 0:
                self.rest_start += <uint32_t>sent
            elif c_errno == EAGAIN:
                return False
            elif c_errno != EINTR:
                self.broken = True
                self.lose_rest()
        return True

    cdef void lose_rest(self) noexcept nogil:
        """A frame that went in part arrives no more, and was not sent."""
        if self.rest_start < self.rest_end:
            self.cut_off += 1
            self.tx_packets -= 1
            self.tx_bytes -= self.rest_end - PREFIX
            self.rest_start = self.rest_end = 0

    cdef bint writable(self) noexcept nogil:
        if self.fd < 0 or self.connecting or self.broken:
            return True                                 # what comes is lost, not held up
        return self.flush() and ready(self.fd, POLLOUT, 0)

    # --- receiving ---

    cdef int poll(self, int budget) noexcept nogil:
        cdef int moved
        if not self.dead:
            self.look_after()
            if self.fd >= 0 and not self.connecting:
                self.flush()
        moved = HostWire.poll(self, budget)
        self.watch()
        return moved

    cdef int pull(self, int most) noexcept nogil:
        cdef ssize_t got
        cdef int _, found
        for _ in range(READS):
            found = self.parse(most)
            if found:
                return found if found > 0 else self.lose(EPROTO)
            if self.fd < 0 or self.connecting:
                return 0 if self.retry or self.listen_fd >= 0 else -ECONNRESET
            memmove(self.rx, self.rx + self.rx_start, self.rx_end - self.rx_start)
            self.rx_end -= self.rx_start
            self.rx_start = 0
            got = c_recv(self.fd, self.rx + self.rx_end, RX_ROOM - self.rx_end, MSG_DONTWAIT)
            if got > 0:
                self.rx_end += <uint32_t>got
            elif got == 0:
                return self.lose(ECONNRESET)
            elif c_errno == EAGAIN:
                return 0
            elif c_errno != EINTR:
                return self.lose(c_errno)
        found = self.parse(most)
        return found if found >= 0 else self.lose(EPROTO)

    cdef int parse(self, int most) noexcept nogil:
        """Stage whole frames of what was read; return how many, or -1 for a length that nobody may announce and no frame before it."""
        cdef uint32_t length
        cdef int count = 0
        while count < most and self.rx_end - self.rx_start >= PREFIX:
            memcpy(&length, self.rx + self.rx_start, PREFIX)
            length = ntohl(length)
            if length > LONGEST:
                if count:
                    break
                self.violations += 1
                return -1
            if self.rx_end - self.rx_start - PREFIX < length:
                break
            if length:
                self.staged[count].data = self.rx + self.rx_start + PREFIX
                self.staged[count].len = length
                self.staged[count].wire_len = length
                count += 1
            else:
                self.empty += 1
            self.rx_start += PREFIX + length
        return count

    # --- connections ---

    cdef void look_after(self) noexcept nogil:
        """Accept a client, see whether a connection came about, or try again when it is time."""
        cdef uint64_t expirations
        cdef int fd
        if self.connecting:
            if ready(self.fd, POLLOUT, 0):
                self.finish_connecting()
        elif self.fd < 0 and self.listen_fd >= 0:
            fd = accept4(self.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                self.take_connection(fd)
        elif self.fd < 0 and self.retry and c_read(self.timer_fd, &expirations, sizeof(expirations)) > 0:
            self.try_again()

    cdef void finish_connecting(self) noexcept nogil:
        """The connection is there, or has failed."""
        cdef int error = 0
        cdef socklen_t length = sizeof(error)
        getsockopt(self.fd, SOL_SOCKET, SO_ERROR, &error, &length)
        if error:
            self.lose(error)
            return
        self.connecting = False
        self.connections += 1

    cdef void watch(self) noexcept nogil:
        """Have epoll wait for room exactly while some is waited for."""
        cdef bint wanted = self.connecting or self.blocked or self.rest_start < self.rest_end
        if self.fd >= 0 and wanted != self.watched_out:
            self.watched_out = wanted
            self._epoll(EPOLL_CTL_MOD, self.fd, EPOLLIN | (EPOLLOUT if wanted else 0))

    cdef int _epoll(self, int what, int fd, int events) noexcept nogil:
        cdef epoll_event event
        memset(&event, 0, sizeof(event))
        event.events = <uint32_t>events
        return epoll_ctl(self.epoll_fd, what, fd, &event)

    cdef int lose(self, int error) noexcept nogil:
        """The connection is gone. Returns 0 if there may be another, else -errno."""
        with gil:
            self._lose()
        return 0 if self.retry or self.listen_fd >= 0 else -error

    cdef void take_connection(self, int fd) noexcept nogil:
        with gil:
            self._accepted(fd)

    cdef void try_again(self) noexcept nogil:
        with gil:
            self._attempt()

    def _accepted(self, fd):
        self._use(socket.socket(fileno=fd))
        self.connecting = False
        self.connections += 1

    def _attempt(self):
        """Begin to connect; if that fails at once, wait for the next time."""
        try:
            self._use(self.connect())
        except OSError:
            self._arm()

    def _arm(self):
        cdef itimerspec when
        memset(&when, 0, sizeof(when))
        when.it_value.tv_sec = self.retry // 1000000000
        when.it_value.tv_nsec = self.retry % 1000000000
        timerfd_settime(self.timer_fd, 0, &when, NULL)

    cdef int _use(self, connection) except -1:
        """It is the connection from now on, not yet known to be one."""
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            with suppress(OSError):                     # gone again already
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.fd = connection.fileno()
        self.connecting = self.watched_out = True
        self.broken = False
        self.rx_start = self.rx_end = self.rest_start = self.rest_end = 0
        self._epoll(EPOLL_CTL_ADD, self.fd, EPOLLIN | EPOLLOUT)
        if self.listen_fd >= 0:
            self._epoll(EPOLL_CTL_DEL, self.listen_fd, 0)       # the next may wait
        return 0

    def _lose(self):
        """Close the connection; wait for the next client, or the time to connect again."""
        self.disconnections += not self.connecting
        self.lose_rest()
        self.rx_cut_off += self.rx_start < self.rx_end
        self.rx_start = self.rx_end = 0
        connection, self.socket, self.fd, self.connecting = self.socket, None, -1, False
        if connection is not None:
            connection.close()                                  # and epoll forgets it
        if self.listen_fd >= 0:
            self._epoll(EPOLL_CTL_ADD, self.listen_fd, EPOLLIN)
        elif self.retry:
            self._arm()

    # --- what it says of itself ---

    def fileno(self):
        """An epoll descriptor: readable, too, when there is room again, a client, or another try to make."""
        return self.epoll_fd if self.epoll_fd >= 0 else None

    @property
    def connected(self):
        """Whether there is a peer."""
        return self.fd >= 0 and not self.connecting

    @property
    def held_up(self):
        return bool(self.blocked or self.rest_start < self.rest_end)

    @property
    def drops(self):
        return super().drops | named({"no_peer": self.peerless, "too_long": self.too_long, "cut_off": self.cut_off})

    @property
    def rx_drops(self):
        return named({"empty": self.empty, "rx_cut_off": self.rx_cut_off})

    def close(self):
        if self.fd >= 0:
            with nogil:
                self.flush()
        self.retry = 0
        listener, self.listener, self.listen_fd = self.listener, None, -1
        if self.fd >= 0:
            self._lose()
        if listener is not None:
            listener.close()
        hook, self.close_hook = self.close_hook, None
        if hook is not None:
            hook()

    def __repr__(self):
        return f"<{self.name}>"
