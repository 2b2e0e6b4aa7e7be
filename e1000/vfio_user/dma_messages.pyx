"""DmaMessages: a client's memory that is reached by messages alone (VFIO_USER_DMA_READ and DMA_WRITE), because it passed no descriptor.

The card's engines work on pointers. Here they get pointers to copies: of a ring, read anew by each batch; of a packet's bytes as they are
fetched; of received bytes. What they write is sent before head and interrupt tell of it: bytes received as they are, and of a ring the
words that changed, so that nothing is written over that the card did not write.

An exchange is waited for, and the client's commands are handled meanwhile, in order: QEMU answers DMA in its main loop, which may wait
for the reply to a register access (libvfio-user's issue 279), of this card or of another that is served to the same client. Engines are
not started then, but when it is over. The client is hostile: a reply that does not fit, none within `patience`, or a hang-up ends the
connection, and the DMA is a master abort, as is one that the client refuses. All copies lie in one block, whose size is fixed.
"""

import errno
import os

from libc.errno cimport EMSGSIZE, EPROTO, ETIMEDOUT
from libc.errno cimport errno as libc_errno
from libc.string cimport memcmp, memcpy, memset

from e1000.device.pci cimport received_master_abort
from e1000.device.rx cimport rx_tail_moved
from e1000.device.state cimport STALL_RX, STALL_STOPPED, STALL_TX, STALL_WAITS
from e1000.device.tx cimport tx_run
from e1000.vfio_user.channel cimport ROOM
from e1000.vfio_user.monotonic cimport now
from e1000.vfio_user.protocol cimport (CMD_DMA_READ, CMD_DMA_WRITE, ERROR, TYPE_COMMAND, TYPE_MASK, TYPE_REPLY, DmaAccess)
from fastring.atomic cimport cpu_relax, fence_full
from fastring.memory cimport ACCESS_LOOK, ACCESS_READ, ACCESS_STORE, ACCESS_UPDATE, ACCESS_WRITE, is_ring
from fastring.socket_calls cimport POLLIN, POLLOUT, ready

cdef extern from "<sys/mman.h>" nogil:
    void* c_mmap "mmap"(void* addr, size_t length, int prot, int flags, int fd, long offset)
    int c_munmap "munmap"(void* addr, size_t length)
    int PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE
    void* MAP_FAILED

cdef enum:
    RING_ROOM = 1 << 20             # the longest ring is shorter
    FETCH_ROOM = 1 << 22            # a batch's packets, or a packet of 1 MiB whose descriptors are too long
    WRITE_ROOM = 1 << 23            # what arrives until it is sent
    OUTGOING_ROOM = (1 << 16) + 4096
    TOTAL_ROOM = 4 * RING_ROOM + FETCH_ROOM + WRITE_ROOM + OUTGOING_ROOM
    PIECE = 1 << 16                 # bytes of data in a message, at most
    WORD = 8
    NARROW_HEAD = 12                # address and count in QEMU's layout, whose count has 32 bits
    NARROW_SIZE = 16                # with what the compiler adds behind
    SPINS = 100                     # looks at the socket before sleeping

cdef uint64_t TOO_WIDE = 1 << 32


cdef uint8_t* reach_far(void* context, uint64_t address, uint64_t length, int access) noexcept nogil:
    return (<DmaMessages>context).reach(address, length, access)


cdef void write_out_far(void* context) noexcept nogil:
    (<DmaMessages>context).write_out()


cdef class DmaMessages:
    """What `addresses` does not hold of its client's memory, for `device`. One thread."""

    def __init__(self, E1000Device device not None, AddressSpace addresses not None, double patience=5.0):
        self.device, self.addresses, self.card = device, addresses, device.card
        self.patience = patience
        self.others = ()
        self.most = PIECE

    @property
    def patience(self):
        """Seconds that one access may take."""
        return self.wait / 1e9

    @patience.setter
    def patience(self, double seconds):
        if not 0 < seconds <= 1e6:
            raise ValueError(f"a patience is above 0 and at most 1,000,000 seconds, not {seconds}")
        self.wait = <int64_t>(seconds * 1e9)

    def __dealloc__(self):
        if self.room != NULL:
            c_munmap(self.room, TOTAL_ROOM)

    # --- what there is ---

    def map(self, uint64_t address, uint64_t size, *, bint readable, bint writable):
        """Reach a range that overlaps no other. Raises OSError: ENOSPC for one too many, ENOMEM."""
        if self.count == MOST_REGIONS:
            raise OSError(errno.ENOSPC, f"{MOST_REGIONS} regions without a descriptor are the most")
        if self.room == NULL:
            self._make_room()
        self.regions[self.count] = FarRegion(address, size, readable, writable)
        self.count += 1
        self.addresses._owners["far"] = self
        self.addresses.iovas.far = reach_far
        self.addresses.iovas.far_write_out = write_out_far
        self.addresses.iovas.far_context = <void*>self

    def _make_room(self):
        cdef void* made = c_mmap(NULL, TOTAL_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if made == MAP_FAILED:
            raise OSError(libc_errno, f"no room for copies of memory: {os.strerror(libc_errno)}")
        self.room = <uint8_t*>made
        self.windows[0] = Window(0, 0, self.room, self.room + RING_ROOM)
        self.windows[1] = Window(0, 0, self.room + 2 * RING_ROOM, self.room + 3 * RING_ROOM)
        self.fetched = self.room + 4 * RING_ROOM
        self.written = self.fetched + FETCH_ROOM
        self.outgoing = self.written + WRITE_ROOM

    def unmap(self, uint64_t address):
        """No more from now on: what is still to be written there is lost. Raises OSError ENOENT."""
        cdef uint32_t i
        for i in range(self.count):
            if self.regions[i].start == address:
                self.count -= 1
                self.regions[i] = self.regions[self.count]
                break
        else:
            raise OSError(errno.ENOENT, f"no region begins at {address:#x}")
        if self.count == 0 and not self.waiting:
            self.addresses.iovas.far = NULL
            self.addresses._owners.pop("far", None)
            self.noted_count = 0
            self.windows[0].length = self.windows[1].length = self.written_size = 0

    def limit(self, uint64_t most):
        """The client's max_data_xfer_size."""
        self.most = <uint32_t>min(most, <uint64_t>PIECE)

    @property
    def busy(self):
        """Whether an access is under way: what is unmapped now may be in use until it is over."""
        return self.waiting

    cdef uint64_t piece(self, uint64_t address, uint64_t length, int access, uint8_t** here) noexcept nogil:
        """How many of the bytes lie in one region that allows the access; `here`: where, NULL: at the client's."""
        cdef uint32_t i
        cdef uint64_t offset
        here[0] = NULL
        for i in range(self.count):
            offset = address - self.regions[i].start
            if offset < self.regions[i].size:
                if not self.regions[i].readable and (access == ACCESS_READ or access == ACCESS_UPDATE) \
                        or not self.regions[i].writable and access != ACCESS_READ:
                    return 0
                return min(length, self.regions[i].size - offset)
        for i in range(self.addresses.iovas.count):
            offset = address - self.addresses.iovas.region[i].start
            if offset < self.addresses.iovas.region[i].size:
                if not self.addresses.iovas.region[i].writable and access != ACCESS_READ:
                    return 0
                here[0] = self.addresses.iovas.region[i].host + offset
                return min(length, self.addresses.iovas.region[i].size - offset)
        return 0

    cdef bint allows(self, uint64_t address, uint64_t length, int access) noexcept nogil:
        """Whether all of it is mapped and allows that, and some of it is not here, or it is a ring."""
        cdef uint8_t* here
        cdef uint64_t part
        cdef bint far = is_ring(access)
        if length == 0 or address + length - 1 < address:
            return False
        while length:
            part = self.piece(address, length, access, &here)
            if part == 0:
                return False
            far |= here == NULL
            address += part
            length -= part
        return far

    # --- what engines ask ---

    cdef uint8_t* reach(self, uint64_t address, uint64_t length, int access) noexcept nogil:
        """Where the card finds a copy for an access; NULL if it cannot be."""
        cdef uint8_t* copy = NULL
        if not self.allows(address, length, access):
            return NULL
        if access == ACCESS_LOOK:
            return self.room
        if access == ACCESS_WRITE:
            copy = self.note(address, <uint32_t>length) if length <= WRITE_ROOM else NULL
        elif access == ACCESS_STORE:
            copy = self.open_window(address, length, False)
        elif access == ACCESS_UPDATE:
            copy = self.open_window(address, length, True)
        elif not self.waiting:
            copy = self.fetch(address, length)
        if copy == NULL:
            self.failures += 1
        return copy

    cdef uint8_t* note(self, uint64_t address, uint32_t length) noexcept nogil:
        """Room for what the caller writes before it asks for anything else."""
        cdef uint64_t at = self.written_size
        if self.noted_count == MOST_NOTED or at + length > WRITE_ROOM:
            return NULL
        self.noted[self.noted_count] = Noted(address, <uint32_t>at, length)
        self.noted_count += 1
        self.written_size = at + (length + WORD - 1) // WORD * WORD
        return self.written + at

    cdef uint8_t* fetch(self, uint64_t address, uint64_t length) noexcept nogil:
        """Read it. The copy stays until the transmit engine reads its ring for the next batch."""
        cdef uint8_t* copy
        if not self.card.tx_running:
            self.fetched_size = 0
        if length > FETCH_ROOM - self.fetched_size:
            return NULL
        self.write_out()                        # what is read comes after what was written
        copy = self.fetched + self.fetched_size
        self.fetched_size += (length + WORD - 1) // WORD * WORD
        return copy if self.move(address, length, copy, False) else NULL

    cdef uint8_t* open_window(self, uint64_t address, uint64_t length, bint again) noexcept nogil:
        """A ring; `again`: as it is now. Its words that the card changes are sent by `write_out`."""
        cdef bint transmits = address == self.card.tdba
        cdef Window* window = &self.windows[0 if transmits else 1]
        if not again and window.length == length and window.address == address:
            return window.now
        if self.waiting or length > RING_ROOM:
            return NULL
        self.write_out()
        if transmits:
            self.fetched_size = 0
        window.length = 0
        if not self.move(address, length, window.now, False):
            return NULL
        memcpy(window.before, window.now, length)
        window.address, window.length = address, length
        return window.now

    # --- what they wrote ---

    cdef void write_out(self) noexcept nogil:
        """Send it: bytes first, then the words that tell of them. What the client does not take is a master abort."""
        cdef uint32_t i = 0
        if self.waiting:
            return
        while i < self.noted_count:
            self.write(self.noted[i].address, self.noted[i].length, self.written + self.noted[i].at)
            i += 1
        self.noted_count = 0
        self.written_size = 0
        self.write_window(&self.windows[0])
        self.write_window(&self.windows[1])

    cdef void write_window(self, Window* window) noexcept nogil:
        """Words that changed; what lies between two of them, and was the card's as they were, goes with them."""
        cdef uint64_t at = 0, end, gap
        if window.length == 0 or memcmp(window.now, window.before, window.length) == 0:
            return
        while at + WORD <= window.length:
            if memcmp(window.now + at, window.before + at, WORD) == 0:
                at += WORD
                continue
            end = gap = at + WORD
            while gap + WORD <= window.length and gap <= end + WORD:
                gap += WORD
                if memcmp(window.now + gap - WORD, window.before + gap - WORD, WORD) != 0:
                    end = gap
            self.write(window.address + at, end - at, window.now + at)
            at = end
        memcpy(window.before, window.now, window.length)

    cdef bint write(self, uint64_t address, uint64_t length, uint8_t* data) noexcept nogil:
        if self.move(address, length, data, True):
            return True
        self.failures += 1
        self.addresses.iovas.master_aborts += 1
        received_master_abort(self.card)
        return False

    cdef bint move(self, uint64_t address, uint64_t length, uint8_t* data, bint write) noexcept nogil:
        """All of it from or to the client, and what of it is here; False if not."""
        cdef int64_t deadline = now() + self.wait
        cdef uint8_t* here
        cdef uint64_t part
        while length:
            part = self.piece(address, length, ACCESS_WRITE if write else ACCESS_READ, &here)
            if part == 0:
                return False                    # unmapped meanwhile
            if here != NULL:
                fence_full()
                memcpy(here if write else data, data if write else here, part)
            else:
                part = min(part, <uint64_t>self.most)
                if part == 0 or not self.look_at_layout(address, deadline) \
                        or not self.exchange(CMD_DMA_WRITE if write else CMD_DMA_READ, address, part, data, deadline):
                    return False
            address += part
            data += part
            length -= part
        return True

    # --- messages ---

    cdef bint look_at_layout(self, uint64_t address, int64_t deadline) noexcept nogil:
        """Find out, once, whether the client takes 32 bits for the count, as QEMU does, whose data lies 4 bytes before its place then.

        Who takes all 64 refuses to read so much. False: the connection is over.
        """
        cdef uint8_t* here
        cdef uint8_t found[4]
        if not self.asked and self.piece(address, 1, ACCESS_READ, &here):
            self.asked = self.narrow = True
            self.narrow = self.exchange(CMD_DMA_READ, address, TOO_WIDE | 1, found, deadline)
        return self.channel is not None and not self.channel.dead

    cdef bint exchange(self, uint16_t command, uint64_t address, uint64_t count, uint8_t* data, int64_t deadline) noexcept nogil:
        """One message and its reply; what else comes is handled meanwhile, behind the message that is being handled, if one is."""
        cdef Header request
        cdef uint64_t start
        cdef bint done = False
        if self.channel is None or self.channel.dead or self.waiting:
            return False
        self.last_id += 1
        request.id, request.command, request.flags, request.error = self.last_id, command, TYPE_COMMAND, 0
        start = self.channel.enter()
        self.waiting = True
        self.card.stalled |= STALL_WAITS
        done = self.drain(deadline) and self.send(&request, address, count, data) and self.ask(&request, address, count, data, deadline)
        self.drain(deadline)                    # so that what is being handled can be answered
        self.waiting = False
        self.go_on()
        self.channel.leave(start)
        return done

    cdef void go_on(self) noexcept nogil:
        """Engines may be started again, and those that were not are owed."""
        self.card.stalled &= ~<uint32_t>STALL_WAITS
        if not self.card.stalled & STALL_STOPPED:
            self.owed |= self.card.stalled
            self.card.stalled = 0

    cdef void serve_inside(self, int budget) noexcept nogil:
        """Handle what this card's client asks while another card's DMA is waited for: both may be the same client's."""
        cdef Header* message
        cdef uint64_t start
        if self.channel is None or self.waiting:
            return
        start = self.channel.enter()
        self.card.stalled |= STALL_WAITS
        while budget and not self.channel.dead and self.channel.flush():
            message = self.channel.next()
            if message != NULL:
                self.meanwhile(self.context, message)
                self.channel.consume()
                budget -= 1
            elif self.channel.receive() <= 0:
                break
        if self.channel.base:
            self.drain(now() + self.wait)
        self.go_on()
        self.channel.leave(start)

    cdef void serve_others(self):
        for other in self.others:
            if other is not self:
                (<DmaMessages?>other).serve_inside(64)

    cdef bint ask(self, Header* request, uint64_t address, uint64_t count, uint8_t* data, int64_t deadline) noexcept nogil:
        """Wait for the reply, and take it in."""
        cdef Header* reply = self.await_reply(request, deadline)
        cdef bint done = False
        if reply == NULL:
            return False
        if not reply.flags & ERROR:
            done = self.take(reply, address, count, data)
            if not done:
                self.channel.fail(EPROTO)
        self.channel.consume()
        return done

    cdef bint send(self, Header* request, uint64_t address, uint64_t count, const uint8_t* data) noexcept nogil:
        cdef DmaAccess access = DmaAccess(address, count)
        cdef uint32_t size = <uint32_t>count if request.command == CMD_DMA_WRITE else 0
        request.size = <uint32_t>(sizeof(Header) + sizeof(access)) + size
        if size == 0:
            self.reads += 1
            return self.channel.send(request, &access, sizeof(access), NULL, 0)
        self.writes += 1
        if not self.narrow:
            return self.channel.send(request, &access, sizeof(access), data, size)
        memset(self.outgoing + NARROW_HEAD + size, 0, NARROW_SIZE - NARROW_HEAD)
        memcpy(self.outgoing, &access, NARROW_HEAD)
        memcpy(self.outgoing + NARROW_HEAD, data, size)
        return self.channel.send(request, self.outgoing, NARROW_SIZE + size, NULL, 0)

    cdef bint drain(self, int64_t deadline) noexcept nogil:
        """Wait until all that was to be sent has gone. False: the connection is over."""
        while not self.channel.flush():
            if now() > deadline:
                self.channel.fail(ETIMEDOUT)
            elif self.channel.receive() == 0:
                ready(self.channel.fd, POLLOUT, 1)
        return not self.channel.dead

    cdef Header* await_reply(self, const Header* request, int64_t deadline) noexcept nogil:
        """The reply, until `consume`; commands are handled. NULL: the connection is over."""
        cdef Header* message
        cdef uint32_t tries = 0
        cdef int64_t left
        while self.drain(deadline):
            message = self.channel.next()
            left = deadline - now()
            if message != NULL and message.flags & TYPE_MASK == TYPE_REPLY and message.id == request.id \
                    and message.command == request.command:
                return message
            if left < 0:
                self.channel.fail(ETIMEDOUT)
            elif message != NULL:
                self.meanwhile(self.context, message)
                self.channel.consume()
            elif self.channel.receive() == 0:
                if self.channel.end == 2 * ROOM:
                    self.channel.fail(EMSGSIZE)     # it says more than there is room for, and no answer
                tries += 1
                if tries < SPINS:
                    cpu_relax()
                else:
                    with gil:
                        self.serve_others()
                    ready(self.channel.fd, POLLIN, 1)
        return NULL

    cdef bint take(self, const Header* reply, uint64_t address, uint64_t count, uint8_t* data) noexcept nogil:
        """The data of a reply that is about this access; False if it is about another, or of another length."""
        cdef const DmaAccess* access = <const DmaAccess*>(<const uint8_t*>reply + sizeof(Header))
        cdef uint32_t bytes = <uint32_t>count, told
        cdef uint64_t size = reply.size - sizeof(Header)
        if reply.command == CMD_DMA_WRITE:
            return size == 0 or size == sizeof(DmaAccess) and access.address == address
        if size != sizeof(DmaAccess) + bytes or access.address != address:
            return False
        if self.narrow:
            memcpy(&told, &access.count, sizeof(told))
            memcpy(data, <const uint8_t*>access + NARROW_HEAD, bytes)
            return told == bytes
        memcpy(data, <const uint8_t*>access + sizeof(DmaAccess), bytes)
        return access.count == count

    cdef bint settle(self) noexcept nogil:
        """Between two runs of the engines: what they wrote goes out, and those that were not started are. Whether there was something."""
        cdef uint32_t owed
        if self.waiting or self.room == NULL and not self.owed:
            return False
        if self.room != NULL:
            self.write_out()
        if self.card.stalled & STALL_STOPPED:
            return False
        owed, self.owed = self.owed, 0
        if owed & STALL_TX:
            tx_run(self.card)
        if owed & STALL_RX:
            rx_tail_moved(self.card)
        if owed and self.room != NULL:
            self.write_out()
        return owed != 0

    cdef void use(self, Channel channel):
        """The client's connection; None: it is gone."""
        self.channel = channel
        self.most, self.asked, self.narrow = PIECE, False, False

    def __repr__(self):
        return f"<DmaMessages: {self.count} regions, {self.reads} messages read, {self.writes} wrote, {self.failures} accesses failed>"
