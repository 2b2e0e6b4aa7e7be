"""Client: the client's side of a vfio-user connection: register accesses as messages, and what the server asks of our memory.

The server is hostile: a reply is taken for what was asked only if all of it fits, and whoever waits does so for `timeout` seconds at
most. What breaks the protocol, hangs up or does not answer ends the connection: from then on reads give all ones, as from a card that
was pulled out, writes vanish, and the line's `error` says why, once.
"""

import errno
import os

from libc.errno cimport EFAULT, EINVAL, EMSGSIZE, ENODEV, EOPNOTSUPP, EPROTO, ETIMEDOUT
from libc.string cimport memcpy

from e1000.vfio_user.channel cimport ROOM
from e1000.vfio_user.monotonic cimport now
from e1000.vfio_user.protocol cimport (CMD_DMA_READ, CMD_DMA_WRITE, CMD_REGION_READ, CMD_REGION_WRITE, ERROR, MAX_DATA, NO_REPLY,
                                       TYPE_COMMAND, TYPE_MASK, TYPE_REPLY, DmaAccess, RegionAccess)
from fastring.atomic cimport cpu_relax, exchange32, store_release32
from fastring.memory cimport translate
from fastring.socket_calls cimport POLLIN, POLLOUT, ready

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    SPINS = 100                     # looks at the socket before it sleeps: some 30 µs, longer than a server that is awake takes

cdef uint32_t ALL_ONES = 0xFFFFFFFFu


cdef inline bint is_another(const Header* reply, const RegionAccess* access) noexcept nogil:
    """Whether a reply is about another access."""
    cdef const RegionAccess* about = <const RegionAccess*>(<const uint8_t*>reply + sizeof(Header))
    return about.offset != access.offset or about.region != access.region or about.count != access.count


cdef class Client:
    """Messages on `socket`, connected to a server, and its own from here on. `name`: for errors. Threads take turns.

    `addresses`: what DMA_READ and DMA_WRITE reach; what lies elsewhere is EFAULT. `timeout`: seconds that the server may take, at most.
    """

    def __init__(self, socket, AddressSpace addresses not None, IrqLine line not None, *, str name not None, double timeout):
        if not 0 < timeout <= 1e6:
            raise ValueError(f"a timeout is above 0 and at most 1,000,000 seconds, not {timeout}")
        self.channel = Channel(socket)
        self.addresses, self.line, self.name = addresses, line, name
        self.patience = <int64_t>(timeout * 1e9)

    # --- whose turn it is ---

    cdef void take(self) noexcept nogil:
        cdef uint32_t rounds = 0
        while exchange32(&self.busy, 1):
            rounds += 1
            if rounds < 100:
                cpu_relax()
            else:
                sched_yield()

    # --- how it ends ---

    cdef void fail(self, int error, const char* why) noexcept nogil:
        """The connection is over; the first reason is the one that is told."""
        if self.failed:
            return
        self.failed, self.why = error, why
        self.channel.fail(error)
        with gil:
            self.line.error = self.failure()

    cdef bint lost(self) noexcept nogil:
        """Whether it is over; also by what the channel found out."""
        if self.channel.dead and not self.failed:
            self.fail(self.channel.dead, b"the server hung up" if self.channel.dead != EPROTO else b"a message without a size")
        return self.failed != 0

    def failure(self):
        """The OSError that ended it; None as long as nothing did."""
        if not self.failed:
            return None
        return OSError(self.failed, f"{self.name}: {self.why.decode()} ({os.strerror(self.failed)})")

    # --- messages ---

    cdef bint drain(self, int64_t deadline) noexcept nogil:
        """Wait until all that was to be sent has gone. False: the connection is over."""
        while not self.channel.flush():
            if now() > deadline:
                self.fail(ETIMEDOUT, b"the server takes no messages")
                return False
            if self.channel.receive() == 0:
                ready(self.channel.fd, POLLOUT, 1)
        return not self.lost()

    cdef Header* await_message(self, int64_t deadline) noexcept nogil:
        """The next message, until `consume`. NULL: the connection is over."""
        cdef Header* message
        cdef uint32_t tries = 0
        cdef int64_t left
        while self.drain(deadline):
            message = <Header*>(self.channel.rx + self.channel.start)
            if self.channel.end - self.channel.start >= sizeof(Header) and message.size > ROOM:
                self.fail(EMSGSIZE, b"the server sent a message of more than a megabyte")
                return NULL
            message = self.channel.next()
            if message != NULL:
                return message
            left = deadline - now()
            if left < 0:
                self.fail(ETIMEDOUT, b"the server does not answer")
            elif self.channel.receive() == 0:
                tries += 1
                if tries < SPINS:
                    cpu_relax()
                else:
                    ready(self.channel.fd, POLLIN, <int>min(left // 1_000_000 + 1, <int64_t>1000))
        return NULL

    cdef Header* await_reply(self, const Header* request, int64_t deadline) noexcept nogil:
        """The reply to a request, until `consume`; what the server asks meanwhile is answered. NULL: the connection is over."""
        cdef Header* message
        while True:
            message = self.await_message(deadline)
            if message == NULL:
                return NULL
            if message.flags & TYPE_MASK == TYPE_REPLY and message.id == request.id and message.command == request.command:
                return message
            self.handle(message)
            self.channel.consume()
            if now() > deadline:
                self.fail(ETIMEDOUT, b"the server says much, and does not answer")

    cdef bint set_out(self, Header* request, const void* first, uint32_t first_size, const void* rest, uint32_t rest_size,
                      int64_t deadline) noexcept nogil:
        """Send a command whose command and flags are set; all of it has gone. False: the connection is over."""
        self.last_id += 1
        request.id = self.last_id
        request.error = 0
        request.size = <uint32_t>sizeof(Header) + first_size + rest_size
        if self.held_size or self.corked and request.flags & NO_REPLY:
            if self.held_size + request.size > sizeof(self.held) and not self.send_held(deadline):
                return False
            if request.size <= sizeof(self.held):
                memcpy(self.held + self.held_size, request, sizeof(Header))
                if first_size:
                    memcpy(self.held + self.held_size + sizeof(Header), first, first_size)
                if rest_size:
                    memcpy(self.held + self.held_size + sizeof(Header) + first_size, rest, rest_size)
                self.held_size += request.size
                return True if self.corked and request.flags & NO_REPLY else self.send_held(deadline)
            if not self.send_held(deadline):
                return False
        if not self.drain(deadline):
            return False
        self.channel.send(request, first, first_size, rest, rest_size)
        return self.drain(deadline)

    cdef bint send_held(self, int64_t deadline) noexcept nogil:
        """Send what was held, at once. False: the connection is over."""
        cdef uint32_t size = self.held_size
        self.held_size = 0
        if not self.drain(deadline):
            return False
        if size:
            self.channel.send(<const Header*>self.held, self.held + sizeof(Header), size - <uint32_t>sizeof(Header), NULL, 0)
        return self.drain(deadline)

    cdef void cork(self) noexcept nogil:
        """Hold posted messages until `uncork`, or until one that is not."""
        self.corked = True

    cdef void uncork(self) noexcept nogil:
        self.corked = False
        if self.held_size:
            self.take()
            self.send_held(now() + self.patience)
            self.finish()

    cdef bint post(self, uint16_t command, const void* first, uint32_t first_size, const void* rest, uint32_t rest_size) noexcept nogil:
        """Send a command that has no reply; it is done before whatever is sent after it. False: the connection is over."""
        cdef Header request
        cdef bint sent
        request.command, request.flags = command, TYPE_COMMAND | NO_REPLY
        self.take()
        self.posted += 1
        sent = self.set_out(&request, first, first_size, rest, rest_size, now() + self.patience)
        self.finish()
        return sent

    # --- registers ---

    cdef uint32_t read_region(self, uint32_t region, uint64_t offset, uint32_t size, uint32_t* error) noexcept nogil:
        """1, 2 or 4 bytes; all ones if there is no answer, or if the server refuses it: `error` is its errno then, else 0."""
        cdef Header request
        cdef RegionAccess access = RegionAccess(offset, region, size)
        cdef Header* reply
        cdef uint32_t value = ALL_ONES >> (32 - 8 * size)
        cdef int64_t deadline = now() + self.patience
        error[0] = 0
        request.command, request.flags = CMD_REGION_READ, TYPE_COMMAND
        self.take()
        self.exchanges += 1
        if self.set_out(&request, &access, sizeof(access), NULL, 0, deadline):
            reply = self.await_reply(&request, deadline)
            if reply != NULL:
                if reply.flags & ERROR:
                    error[0] = reply.error if reply.error else EINVAL
                elif reply.size != sizeof(Header) + sizeof(access) + size or is_another(reply, &access):
                    self.fail(EPROTO, b"the server answered a read with something else")
                else:
                    memcpy(&value, <const uint8_t*>reply + sizeof(Header) + sizeof(access), size)
                self.channel.consume()
        self.finish()
        return value

    cdef void write_region(self, uint32_t region, uint64_t offset, uint32_t value, uint32_t size) noexcept nogil:
        """1, 2 or 4 bytes; posted."""
        cdef RegionAccess access = RegionAccess(offset, region, size)
        self.post(CMD_REGION_WRITE, &access, sizeof(access), &value, size)

    # --- what the server asks ---

    cdef void handle(self, Header* message) noexcept nogil:
        """Answer a command of the server's, or count a reply that nobody waits for."""
        cdef uint32_t error
        if message.flags & TYPE_MASK != TYPE_COMMAND:
            self.strays += 1
            return
        error = EOPNOTSUPP
        if message.command == CMD_DMA_READ or message.command == CMD_DMA_WRITE:
            self.dma_messages += 1
            error = self.dma(message)
        if error:
            self.channel.reply(message, error, NULL, 0, NULL, 0)

    cdef uint32_t dma(self, const Header* message) noexcept nogil:
        """Read or write our memory for the server; 0, and answered, or an errno."""
        cdef const DmaAccess* access = <const DmaAccess*>(<const uint8_t*>message + sizeof(Header))
        cdef uint64_t size = message.size - sizeof(Header), count
        cdef bint write = message.command == CMD_DMA_WRITE
        cdef uint32_t hint = 0
        cdef uint8_t* here
        if size < sizeof(DmaAccess):
            return EINVAL
        count = access.count
        if count == 0 or count > MAX_DATA or size - sizeof(DmaAccess) != (count if write else 0):
            return EINVAL
        here = translate(&self.addresses.iovas, access.address, count, write, &hint)
        if here == NULL:
            return EFAULT
        if write:
            memcpy(here, <const uint8_t*>access + sizeof(DmaAccess), count)
            count = 0
        self.channel.reply(message, 0, access, sizeof(DmaAccess), here, <uint32_t>count)
        return 0

    cdef bint message_waits(self) noexcept nogil:
        """Whether `await_message` would not have to wait."""
        cdef uint64_t there = self.channel.end - self.channel.start
        cdef uint32_t size
        if self.channel.dead or there < sizeof(Header):
            return False
        size = (<Header*>(self.channel.rx + self.channel.start)).size
        return size > ROOM or there >= max(size, <uint32_t>sizeof(Header))

    cdef void finish(self) noexcept nogil:
        """Answer what has come meanwhile, and let the next one."""
        cdef Header* message
        cdef int64_t deadline
        if self.message_waits():
            deadline = now() + self.patience
            while self.message_waits():
                message = self.await_message(deadline)
                if message != NULL:
                    self.handle(message)
                    self.channel.consume()
                if now() > deadline:
                    self.fail(ETIMEDOUT, b"the server asks without end")
            self.drain(deadline)
        self.lost()
        store_release32(&self.busy, 0)

    cdef void look(self) noexcept nogil:
        """Take in what has come unasked: commands, or the end. Returns at once."""
        if exchange32(&self.busy, 1):
            return                      # who waits for a reply takes it in
        self.channel.receive()
        self.finish()

    # --- for Python ---

    def read(self, uint32_t region, uint64_t offset, uint32_t size):
        """Read a region; all ones once the connection is over. Raises the OSError with which the server refuses it."""
        cdef uint32_t value, error
        if not 1 <= size <= 4:
            raise ValueError(f"a read of {size} bytes")
        with nogil:
            value = self.read_region(region, offset, size, &error)
        if error:
            raise self.refusal(error, f"reading {size} bytes at {offset:#x} of region {region}")
        return value

    def write(self, uint32_t region, uint64_t offset, uint32_t value, uint32_t size):
        """Write a region; posted: nobody hears of a server that refuses it."""
        if not 1 <= size <= 4:
            raise ValueError(f"a write of {size} bytes")
        with nogil:
            self.write_region(region, offset, value, size)

    def call(self, uint16_t command, bytes payload=b"", fds=(), *, str what="a command", list rights=None):
        """Send a command and return its reply's payload. Raises OSError, also the server's.

        `rights`: descriptors that come with the reply are added, and the caller's; without it they are closed.
        """
        cdef Header request
        cdef Header* reply = NULL
        cdef const char* data = payload
        cdef uint32_t size = <uint32_t>len(payload), error = 0
        cdef int64_t deadline = now() + self.patience
        answer = None
        request.command, request.flags = command, TYPE_COMMAND
        with nogil:
            self.take()
            self.exchanges += 1
            if self.send_held(deadline):
                with gil:
                    self.channel.tx_fds = list(fds) or None
                if self.set_out(&request, data, size, NULL, 0, deadline):
                    reply = self.await_reply(&request, deadline)
            with gil:
                if reply != NULL:
                    if reply.flags & ERROR:
                        error = reply.error if reply.error else EINVAL
                    else:
                        answer = (<const char*>reply + sizeof(Header))[:reply.size - sizeof(Header)]
                        if rights is not None:
                            rights += self.channel.take_fds()
                    self.channel.consume()
            self.finish()
        if error:
            raise self.refusal(error, what)
        if answer is None:
            raise self.failure()
        return answer

    def post_command(self, uint16_t command, bytes payload):
        """Send one that has no reply."""
        cdef const char* data = payload
        cdef uint32_t size = <uint32_t>len(payload)
        with nogil:
            self.post(command, data, size, NULL, 0)

    cdef object refusal(self, uint32_t error, str what):
        return OSError(error if error < 4096 else errno.EIO, f"{self.name}: the server refuses {what}: {os.strerror(error & 0xFFF)}")

    def protocol_error(self, str what not None):
        """What to raise for an answer that breaks the protocol."""
        return OSError(errno.EPROTO, f"{self.name}: {what}")

    def close(self):
        """Hang up; again is harmless."""
        cdef bint first
        with nogil:
            self.take()
            first = not self.failed
            if first:
                self.failed, self.why = ENODEV, b"it is closed"
            self.finish()
        self.channel.close()

    def __repr__(self):
        state = "open" if not self.failed else self.failure().strerror
        return f"<Client of {self.name}: {state}, {self.exchanges} exchanges, {self.posted} posted>"
