"""ServedCard: a card behind a vfio-user connection: register accesses handled where they lie, all else passed to Python.

The client is hostile: every length and offset is checked against the message and the region before it is used, and a message that makes
no sense gets its errno and changes nothing.
"""

import errno
import os
import sys

from libc.errno cimport EINVAL
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from e1000.device.pci cimport CONFIG_SIZE, IO_SIZE
from e1000.device.recorder cimport SPACE_CONFIG, SPACE_IO, SPACE_MMIO
from e1000.device.standstill cimport start_card, stop_card
from e1000.device.state cimport BAR0_SIZE, STALL_RX, STALL_TX
from e1000.vfio_user.doorbells cimport INTERRUPTS
from e1000.vfio_user.line cimport IRQ_INTX
from e1000.vfio_user.protocol cimport (CMD_DEVICE_SET_IRQS, CMD_REGION_READ, CMD_REGION_WRITE, CMD_REGION_WRITE_MULTI, CMD_VERSION,
                                       REGION_BAR0, REGION_BAR1, REGION_CONFIG, SET_UNMASK_NOW, TYPE_COMMAND, TYPE_MASK)


cdef inline uint32_t region_size(uint32_t region) noexcept nogil:
    if region == REGION_BAR0:
        return BAR0_SIZE
    if region == REGION_BAR1:
        return IO_SIZE
    return CONFIG_SIZE if region == REGION_CONFIG else 0


cdef inline int space_of(uint32_t region) noexcept nogil:
    return SPACE_MMIO if region == REGION_BAR0 else SPACE_IO if region == REGION_BAR1 else SPACE_CONFIG


cdef inline bint lies_inside(uint32_t region, uint64_t offset, uint32_t count) noexcept nogil:
    cdef uint64_t size = region_size(region)
    return 0 < count <= size and offset <= size - count


cdef inline uint32_t piece_of(uint32_t offset, uint32_t left) noexcept nogil:
    """The widest access that `left` bytes at `offset` can begin with: 4, 2 or 1 bytes, aligned, as a bus splits them."""
    if offset & 3 == 0 and left >= 4:
        return 4
    return 2 if offset & 1 == 0 and left >= 2 else 1


cdef void handle_meanwhile(void* context, Header* message) noexcept nogil:
    """What comes while a DMA waits for its reply."""
    (<ServedCard>context).handle_inside(message)


cdef class ServedCard:
    """`device` on a bus whose other end is a vfio-user client: its memory what the client maps, its interrupts the client's eventfds.

    Configuration space is as after RST#. One client at a time (`use`); the card keeps its state from one to the next. One thread, the
    clock's if the card has one. `maps_doorbells`: each client may map the rings' registers. Raises OSError EBUSY if the card is on a bus
    already.
    """

    def __cinit__(self):
        self.data = <uint8_t*>malloc(2 * BAR0_SIZE)
        if self.data == NULL:
            raise MemoryError()

    def __init__(self, E1000Device device not None, *, bint maps_doorbells=False):
        self.maps_doorbells = maps_doorbells
        self.addresses = AddressSpace()
        self.line = EventLine()
        device.connect(self.addresses, self.line, False)
        self.device = device
        self.messages = DmaMessages(device, self.addresses)
        self.messages.meanwhile = handle_meanwhile
        self.messages.context = <void*>self

    def __dealloc__(self):
        free(self.data)

    def use(self, Channel channel):
        """Serve a client; None: the one before is gone."""
        if self.channel is not None:
            self.channel.close()
        if self.doorbells is not None:
            self.line.rung, self.line.pages = NULL, None
            self.doorbells.close()
            self.doorbells = None
        if self.maps_doorbells and channel is not None:
            self.make_doorbells()
        self.channel = channel
        self.messages.use(channel)
        self.negotiated = False

    cdef int make_doorbells(self) except -1:
        """Give the client pages of its own: one that was there before may have kept its mapping."""
        try:
            self.doorbells = DoorbellPages(self.device)
        except OSError:                 # no descriptors, no memory: messages will do
            return 0
        self.line.pages = self.doorbells.mapping
        self.line.rung = self.doorbells.slot(INTERRUPTS)
        return 0

    def reset(self):
        """VFIO_USER_DEVICE_RESET: RST#."""
        with nogil:
            self.device.bus_reset()

    # --- migration ---

    def stop(self):
        """The card does nothing any more, but registers answer. Between two runs of its engines; again is harmless."""
        if not self.stopped:
            with nogil:
                stop_card(self.device.card, &self.still)
            self.stopped = True

    def start(self, *, bint owed=True):
        """It goes on. `owed`: with what lies in its rings, too; else not before it is told to."""
        if self.stopped:
            self.stopped = False
            with nogil:
                start_card(self.device.card, &self.still)
                self.messages.go_on()
            self.messages.owed = STALL_TX | STALL_RX    # who filled the rings may have done so at another card
        if not owed:
            self.messages.owed = 0

    def run_owed(self):
        """Let engines run that are owed; serving does."""
        with nogil:
            self.messages.settle()

    def snapshot(self):
        """The card's, stopped as it is. Raises OSError EBUSY from inside its own transmission."""
        return self._running(self.device.snapshot)

    def restore(self, snapshot):
        """Make it another card, stopped. Raises OSError EINVAL for what is none: the card stays what it is; EBUSY as `snapshot`."""
        self._running(lambda: self.device.restore(snapshot))

    def _running(self, do):
        """What is done to a card whose timers run, in no time."""
        self.start()
        try:
            return do()
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error)) from None
        except RuntimeError as error:
            raise OSError(errno.EBUSY, str(error)) from None
        finally:
            self.stop()

    # --- messages ---

    cdef int poll_wire(self, int budget) noexcept nogil:
        cdef int moved = self.messages.settle(), polled     # what timers led to
        if self.device.polls and not self.stopped:
            polled = self.device.poll_wire(budget)
            if polled < 0:
                with gil:
                    self.line.error = self.device.wire_failed()
                polled = 1
            self.messages.settle()
            moved += polled
        return moved

    cdef bint take_doorbells(self, bint idle) noexcept nogil:
        """Do what the client stored into the pages that it maps, and show it where the card is; whether that was anything.

        Stores that rang no doorbell are looked for while there is nothing else to do.
        """
        cdef bint found = False
        if <void*>self.doorbells != <void*>None:
            found = (idle or self.doorbells.tails_moved()) and self.doorbells.take_stores()
            self.doorbells.show_heads()
        return found

    cdef bint has_error(self) noexcept nogil:
        """Whether its wire died: the line has what to raise."""
        return <void*>self.line.error != <void*>None

    cdef int serve(self, Channel channel, int budget) noexcept nogil:
        """Handle what has come from the client, at most so many messages. Returns how many, or -errno: the connection is over."""
        cdef Header* message
        cdef int done = 0, got
        while done < budget:
            if channel.dead:
                return -channel.dead
            if not channel.flush():
                break
            message = channel.next()
            if message != NULL:
                channel.base = <uint64_t>(<uint8_t*>message - channel.rx) + message.size
                self.handle(message)
                self.messages.settle()
                channel.base = 0
                channel.consume()
                done += 1
                continue
            if channel.dead:
                return -channel.dead
            got = channel.receive()
            if got < 0:
                return got
            if got == 0:
                break
        return done

    cdef void handle(self, Header* message) noexcept nogil:
        """Do what one message says, after whatever the client stored before, and answer it."""
        cdef uint32_t size = message.size - <uint32_t>sizeof(Header), error = 0
        cdef const uint8_t* payload = <const uint8_t*>message + sizeof(Header)
        if <void*>self.doorbells != <void*>None:
            self.doorbells.take_stores()
        if message.flags & TYPE_MASK != TYPE_COMMAND:
            self.strays += 1
            return
        if not self.negotiated and message.command != CMD_VERSION:
            self.refuse(message, EINVAL)
            self.channel.fail(EINVAL)
        elif message.command == CMD_REGION_READ:
            error = self.read_region(message, <const RegionAccess*>payload, size)
        elif message.command == CMD_REGION_WRITE:
            error = self.write_region(message, <const RegionAccess*>payload, size)
        elif message.command == CMD_REGION_WRITE_MULTI:
            error = self.write_multi(message, payload, size)
        elif self.unmasks(message, <const IrqSet*>payload, size):
            self.line.unmask()
            self.channel.reply(message, 0, NULL, 0, NULL, 0)
        else:
            with gil:
                self.ask_control(message)
        if error:
            self.refuse(message, error)

    cdef void show_doorbells(self) noexcept nogil:
        """Show what a message changed, before its client hears that it is done."""
        if <void*>self.doorbells != <void*>None:
            self.doorbells.show()

    cdef void handle_inside(self, Header* message) noexcept nogil:
        """The same in the midst of another one, which may have something in `data`."""
        self.data += BAR0_SIZE
        self.handle(message)
        self.data -= BAR0_SIZE

    cdef bint unmasks(self, const Header* message, const IrqSet* request, uint32_t size) noexcept nogil:
        """Whether a message unmasks INTx and no more, as one does for each interrupt: too often for Python."""
        return message.command == CMD_DEVICE_SET_IRQS and size == sizeof(IrqSet) and request.argsz >= size \
            and request.flags == SET_UNMASK_NOW and request.index == IRQ_INTX and request.start == 0 and request.count == 1 \
            and self.channel.fds_of_message() == 0

    cdef void refuse(self, const Header* message, uint32_t error) noexcept nogil:
        self.refused += 1
        self.channel.reply(message, error, NULL, 0, NULL, 0)

    cdef uint32_t read_region(self, const Header* message, const RegionAccess* access, uint32_t size) noexcept nogil:
        cdef uint32_t value, at = 0, piece
        cdef int space
        if size != sizeof(RegionAccess) or not lies_inside(access.region, access.offset, access.count):
            return EINVAL
        self.reads += 1
        space = space_of(access.region)
        while at < access.count:
            piece = piece_of(<uint32_t>access.offset + at, access.count - at)
            value = self.device.read_space(space, <uint32_t>access.offset + at, piece)
            memcpy(self.data + at, &value, piece)
            at += piece
        self.channel.reply(message, 0, access, sizeof(RegionAccess), self.data, access.count)
        return 0

    cdef uint32_t write_region(self, const Header* message, const RegionAccess* access, uint32_t size) noexcept nogil:
        if size < sizeof(RegionAccess) or not lies_inside(access.region, access.offset, access.count) \
                or size - sizeof(RegionAccess) != access.count:
            return EINVAL
        self.write_bytes(access.region, <uint32_t>access.offset, <const uint8_t*>access + sizeof(RegionAccess), access.count)
        self.show_doorbells()
        self.channel.reply(message, 0, access, sizeof(RegionAccess), NULL, 0)
        return 0

    cdef void write_bytes(self, uint32_t region, uint32_t offset, const uint8_t* data, uint32_t count) noexcept nogil:
        cdef uint32_t value, at = 0, piece
        cdef int space = space_of(region)
        self.writes += 1
        while at < count:
            piece = piece_of(offset + at, count - at)
            value = 0
            memcpy(&value, data + at, piece)
            self.device.write_space(space, offset + at, value, piece)
            at += piece

    cdef uint32_t write_multi(self, const Header* message, const uint8_t* payload, uint32_t size) noexcept nogil:
        """All of them, or none: each is checked before the first is done."""
        cdef const MultiWrite* writes = <const MultiWrite*>(payload + sizeof(uint64_t))
        cdef uint64_t count, i
        if size < sizeof(uint64_t):
            return EINVAL
        memcpy(&count, payload, sizeof(count))
        if count > size or size - sizeof(uint64_t) != count * sizeof(MultiWrite):
            return EINVAL
        for i in range(count):
            if writes[i].count > sizeof(writes[i].data) or not lies_inside(writes[i].region, writes[i].offset, writes[i].count):
                return EINVAL
        for i in range(count):
            self.write_bytes(writes[i].region, <uint32_t>writes[i].offset, writes[i].data, writes[i].count)
        self.show_doorbells()
        self.channel.reply(message, 0, &count, sizeof(count), NULL, 0)
        return 0

    cdef void ask_control(self, const Header* message):
        """Let Python handle a message: `control` returns the reply's payload and descriptors to send with it."""
        cdef uint32_t size = message.size - <uint32_t>sizeof(Header)
        cdef const char* payload = <const char*>message + sizeof(Header)
        cdef list fds = self.channel.take_fds()
        cdef Header header = message[0]         # control may close the channel
        try:
            if self.channel.fds_lost:
                raise OSError(errno.EINVAL, "more descriptors than max_msg_fds")
            answer, rights = self.control(message.command, payload[:size], fds)
            self.show_doorbells()
        except OSError as error:
            self.refuse(&header, error.errno or errno.EIO)
        except Exception as error:              # ours: the client gets an error, the server lives, and whoever runs it hears of it
            sys.unraisablehook(sys.UnraisableHookArgs((type(error), error, error.__traceback__, "in a vfio-user message", self)))
            self.refuse(&header, errno.EIO)
        else:
            if rights:
                self.channel.tx_fds = rights
            self.channel.reply(&header, 0, <const char*>answer, <uint32_t>len(answer), NULL, 0)
        finally:
            for fd in fds:                      # those it took it removed
                os.close(fd)

    def close(self):
        """Hang up, and take the card off the bus; again is harmless."""
        self.use(None)
        self.start(owed=False)
        self.line.forget()
        if self.device.memory is self.addresses:
            self.device.connect(None, None, True)

    def __repr__(self):
        return f"<ServedCard: {self.device}, {'no client' if self.channel is None else self.channel}>"
