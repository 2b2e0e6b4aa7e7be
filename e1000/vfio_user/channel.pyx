"""Channel: vfio-user messages on a connected UNIX socket.

Nothing blocks: what the socket has no room for is kept, and until that has gone no further message is handled, so a peer that reads no
replies holds up itself alone and costs one buffer. Messages may come split or many at once. Descriptors belong to the message whose bytes
they came with.
"""

import array
import errno
import os
import socket as sockets

from libc.errno cimport E2BIG, EAGAIN, EINTR, EPIPE, EPROTO
from libc.errno cimport errno as c_errno
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset

from e1000.vfio_user.protocol cimport ERROR, NO_REPLY, TYPE_COMMAND, TYPE_MASK, TYPE_REPLY
from fastring.socket_calls cimport MSG_DONTWAIT, MSG_NOSIGNAL, SOL_SOCKET, c_close, iovec, sendmsg

cdef extern from "<sys/socket.h>" nogil:
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level, cmsg_type
    int SCM_RIGHTS, MSG_CTRUNC, MSG_CMSG_CLOEXEC
    ssize_t recvmsg(int fd, msghdr* message, int flags)
    cmsghdr* CMSG_FIRSTHDR(msghdr* message)
    cmsghdr* CMSG_NXTHDR(msghdr* message, cmsghdr* header)
    unsigned char* CMSG_DATA(cmsghdr* header)
    size_t CMSG_LEN(size_t length)

cdef extern from *:
    """
    /* A msghdr's control members, and room for all descriptors that the kernel lets one message have (SCM_MAX_FD). */
    #include <sys/socket.h>
    #define FR_SCM_MAX_FD 253
    struct fr_control { _Alignas(struct cmsghdr) char bytes[CMSG_SPACE(FR_SCM_MAX_FD * sizeof(int))]; };
    static inline void fr_use_control(struct msghdr* message, struct fr_control* control) {
        message->msg_control = control->bytes;
        message->msg_controllen = sizeof(control->bytes);
    }
    """
    struct fr_control:
        pass
    void fr_use_control(msghdr* message, fr_control* control) nogil


cdef class Channel:
    """Messages on `socket`, a connected UNIX stream socket, which is its own from here on. One thread."""

    def __cinit__(self):
        self.fd = -1
        self.rx = <uint8_t*>malloc(2 * ROOM)
        self.tx = <uint8_t*>malloc(ROOM)
        if self.rx == NULL or self.tx == NULL:
            raise MemoryError()

    def __init__(self, socket not None):
        if self.fd >= 0:
            raise OSError(errno.EBUSY, "a Channel is made once")
        socket.setblocking(False)
        self.socket = socket
        self.fd = socket.fileno()

    def __dealloc__(self):
        self.drop_fds()
        free(self.rx)
        free(self.tx)

    cdef void fail(self, int error) noexcept nogil:
        if not self.dead:
            self.dead = error

    # --- in the midst of a message ---

    cdef uint64_t enter(self) noexcept nogil:
        """Handle what comes behind the message that is being handled, if one is; what `leave` wants."""
        cdef uint64_t start = self.start
        if self.base:
            self.start = self.base
        return start

    cdef void leave(self, uint64_t start) noexcept nogil:
        """Back to that message: what was handled behind it is gone."""
        if self.base:
            memmove(self.rx + self.base, self.rx + self.start, self.end - self.start)
            self.end -= self.start - self.base
            self.start = start

    # --- receiving ---

    cdef int receive(self) noexcept nogil:
        """Take in what waits at the socket, once. Returns how many bytes, 0 for none, or -errno: the connection is over."""
        cdef msghdr message
        cdef iovec piece
        cdef fr_control control
        cdef ssize_t got
        if self.dead:
            return -self.dead
        if self.start == self.end:
            self.start = self.end = self.base
        elif self.start - self.base >= ROOM:
            memmove(self.rx + self.base, self.rx + self.start, self.end - self.start)
            self.end -= self.start - self.base
            self.start = self.base
        if self.end == 2 * ROOM:
            return 0                    # a message is there: it first
        memset(&message, 0, sizeof(message))
        piece.iov_base = self.rx + self.end
        piece.iov_len = 2 * ROOM - self.end
        message.msg_iov = &piece
        message.msg_iovlen = 1
        fr_use_control(&message, &control)
        got = recvmsg(self.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
        if got < 0:
            if c_errno == EAGAIN or c_errno == EINTR:
                return 0
            self.fail(c_errno)
            return -self.dead
        if got == 0:
            self.fail(EPIPE)
            return -self.dead
        self.position += got
        self.keep_fds(&message, self.position - 1)
        self.end += got
        self.skip()
        return <int>got

    cdef void keep_fds(self, msghdr* message, uint64_t last) noexcept nogil:
        """Note the descriptors of what was received, up to its byte number `last`; more than MAX_FDS are closed again."""
        cdef cmsghdr* header = CMSG_FIRSTHDR(message)
        cdef const int* sent
        cdef size_t count, i
        if message.msg_flags & MSG_CTRUNC:
            self.fds_lost = True
        while header != NULL:
            if header.cmsg_level == SOL_SOCKET and header.cmsg_type == SCM_RIGHTS:
                sent = <const int*>CMSG_DATA(header)
                count = (header.cmsg_len - CMSG_LEN(0)) // sizeof(int)
                for i in range(count):
                    if self.fd_count == MAX_FDS:
                        self.fds_lost = True
                        c_close(sent[i])
                        continue
                    self.fds[self.fd_count] = sent[i]
                    self.fd_positions[self.fd_count] = last
                    self.fd_count += 1
            header = CMSG_NXTHDR(message, header)

    cdef void skip(self) noexcept nogil:
        """Forget what has come of a message that is skipped."""
        cdef uint64_t some = self.end - self.start
        if self.skipping:
            if some > self.skipping:
                some = self.skipping
            self.start += some
            self.skipping -= some
            if self.start == self.end:
                self.start = self.end = self.base

    cdef Header* next(self) noexcept nogil:
        """The message that is next, all of it there, until `consume`; NULL if there is none. One too long gets E2BIG and is skipped."""
        cdef Header* header
        while not self.dead and self.end - self.start >= sizeof(Header):
            header = <Header*>(self.rx + self.start)
            if header.size < sizeof(Header):            # where would the next one begin?
                self.reply(header, EPROTO, NULL, 0, NULL, 0)
                self.fail(EPROTO)
                return NULL
            if header.size <= ROOM:
                if self.end - self.start < header.size:
                    return NULL
                self.received += 1
                return header
            if self.tx_start != self.tx_end:
                return NULL
            self.reply(header, E2BIG, NULL, 0, NULL, 0)
            self.skipping = header.size
            self.skip()
        return NULL

    cdef void consume(self) noexcept nogil:
        """Done with the message that `next` returned: descriptors that came with it and were not taken are closed."""
        self.start += (<Header*>(self.rx + self.start)).size
        self.close_fds()

    cdef int fds_of_message(self) noexcept nogil:
        """How many descriptors came with the message that `next` returned."""
        cdef uint64_t after = self.position - (self.end - self.start) + (<Header*>(self.rx + self.start)).size
        cdef int count = 0
        while count < self.fd_count and self.fd_positions[count] < after:
            count += 1
        return count

    cdef void close_fds(self) noexcept nogil:
        """Close the descriptors that came with what is consumed."""
        cdef uint64_t at = self.position - (self.end - self.start)
        cdef int i, gone = 0
        while gone < self.fd_count and self.fd_positions[gone] < at:
            if self.fds[gone] >= 0:
                c_close(self.fds[gone])
            gone += 1
        if gone:
            for i in range(gone, self.fd_count):
                self.fds[i - gone] = self.fds[i]
                self.fd_positions[i - gone] = self.fd_positions[i]
            self.fd_count -= gone
            self.fds_lost = False

    cdef void drop_fds(self) noexcept nogil:
        cdef int i
        for i in range(self.fd_count):
            if self.fds[i] >= 0:
                c_close(self.fds[i])
        self.fd_count = 0

    cdef list take_fds(self):
        """The descriptors of the message that `next` returned, the caller's from here on."""
        cdef int count = self.fds_of_message(), i
        cdef list taken = []
        for i in range(count):
            taken.append(self.fds[i])
            self.fds[i] = -1
        return taken

    # --- sending ---

    cdef bint flush(self) noexcept nogil:
        """Send what was kept; whether nothing of it is left."""
        cdef iovec piece
        cdef ssize_t sent
        if self.tx_start == self.tx_end:
            return True
        piece.iov_base = self.tx + self.tx_start
        piece.iov_len = self.tx_end - self.tx_start
        sent = self.send_pieces(&piece, 1)
        if sent > 0:
            self.tx_start += sent
        if self.tx_start < self.tx_end and not self.dead:
            return False
        self.tx_start = self.tx_end = 0
        return True

    cdef ssize_t send_pieces(self, iovec* pieces, int count) noexcept nogil:
        """Send, with the descriptors that wait, if any. Returns the bytes that went, or 0."""
        cdef msghdr message
        cdef ssize_t sent
        if self.dead:
            return 0
        if <void*>self.tx_fds != <void*>None:
            with gil:
                return self.send_with_fds(pieces, count)
        memset(&message, 0, sizeof(message))
        message.msg_iov = pieces
        message.msg_iovlen = count
        sent = sendmsg(self.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            if c_errno != EAGAIN and c_errno != EINTR:
                self.fail(c_errno)
            return 0
        return sent

    cdef ssize_t send_with_fds(self, iovec* pieces, int count):
        """The same by Python's socket: rare."""
        buffers = [(<const char*>pieces[i].iov_base)[:pieces[i].iov_len] for i in range(count)]
        rights = (sockets.SOL_SOCKET, sockets.SCM_RIGHTS, array.array("i", self.tx_fds))
        try:
            sent = self.socket.sendmsg(buffers, [rights], sockets.MSG_DONTWAIT | sockets.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.fail(error.errno)
            return 0
        self.tx_fds = None
        return sent

    cdef bint send(self, const Header* header, const void* first, uint32_t first_size, const void* rest, uint32_t rest_size) noexcept nogil:
        """Send a message, or keep what does not go. False, and nothing done, while another is kept, or if it can never be sent."""
        cdef iovec pieces[3]
        cdef uint64_t total = sizeof(Header) + <uint64_t>first_size + rest_size, at = 0
        cdef ssize_t sent
        cdef int i
        if self.dead or self.tx_start != self.tx_end or total > ROOM:
            return False
        pieces[0].iov_base, pieces[0].iov_len = <void*>header, sizeof(Header)
        pieces[1].iov_base, pieces[1].iov_len = <void*>first, first_size
        pieces[2].iov_base, pieces[2].iov_len = <void*>rest, rest_size
        sent = self.send_pieces(pieces, 3)
        self.sent += 1
        if <uint64_t>sent == total:
            return True
        for i in range(3):
            if pieces[i].iov_len:
                memcpy(self.tx + at, pieces[i].iov_base, pieces[i].iov_len)
                at += pieces[i].iov_len
        self.tx_start = sent
        self.tx_end = total
        return True

    cdef bint reply(self, const Header* to, uint32_t error, const void* first, uint32_t first_size, const void* rest,
                    uint32_t rest_size) noexcept nogil:
        """Answer a command, unless it wants no answer, and nothing else; an error has no payload."""
        cdef Header header
        if to.flags & (NO_REPLY | TYPE_MASK) != TYPE_COMMAND:
            return True
        header.id, header.command = to.id, to.command
        header.flags = TYPE_REPLY | (ERROR if error else 0)
        header.error = error
        if error:
            first_size = rest_size = 0
        header.size = <uint32_t>sizeof(Header) + first_size + rest_size
        return self.send(&header, first, first_size, rest, rest_size)

    # --- for Python ---

    def fileno(self):
        """The socket's."""
        return self.fd

    @property
    def held_up(self):
        """Whether the peer takes no more for now."""
        return self.tx_start != self.tx_end

    def close(self):
        """Hang up; again is harmless."""
        self.fail(EPIPE)
        self.drop_fds()
        self.tx_fds = None
        if self.socket is not None:
            self.socket.close()

    def __repr__(self):
        state = f"closed: {os.strerror(self.dead)}" if self.dead else "open"
        return f"<Channel: {state}, {self.received} messages received, {self.sent} sent>"
