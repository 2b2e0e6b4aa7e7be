"""VfioUserBus: a driver of ours on a card in another process, over vfio-user.

Register reads are an exchange, writes are posted: each is one message, in order. Descriptors and packets lie in shared memory and cost no
message. The interrupt is an eventfd.

Doorbells. Where the server lets the tails be mapped, a doorbell is a store, and a message only when the server sleeps. A store overtakes
messages that the server has not come to yet: so there is none while one is under way that it must not overtake, which an interrupt's
ICR, IMC and IMS and the moderation's ITR are not. Every read settles those before it.

INTx. The server fires the eventfd as the line goes up and masks it; after the handler has run it is unmasked, and fires again if the
line is still up. So `level` is up from an event until the handler has run.

Death. When the server hangs up, breaks the protocol or does not answer in time, the line's `error` says so, once: `Stack.run` raises it.
From then on reads give all ones and writes vanish, as from a card that was pulled out, so that its driver can be removed.
"""

import errno
import mmap
import os
import select
from contextlib import suppress

from libc.stdint cimport int64_t, uint32_t, uint64_t

from e1000.regs cimport IMC, IMS, ITR, RDT, TDT
from e1000.vfio_user.protocol cimport CMD_DEVICE_SET_IRQS, REGION_BAR0, REGION_BAR1, REGION_CONFIG, SET_UNMASK_NOW, IrqSet
from fastring.atomic cimport fence_full, fetch_add64, load_acquire32, load_acquire64, store_release32, store_release64
from fastring.socket_calls cimport POLLIN, c_close, c_poll, c_read, pollfd

from e1000.device.arguments import check_config, check_register
from e1000.vfio_user import attach
from e1000.vfio_user.shared_memory import SharedMemory

cdef enum:
    LOOKS = 32                      # at the word, to one at the descriptors: whether the server hung up, or asks for something
    PCI_COMMAND = 4
    IO_MEMORY_MASTER = 7


cdef class VfioUserLine(IrqLine):
    """The card's INTA, which a server fires as an eventfd. The CPU's thread alone."""

    def __cinit__(self):
        self.event = self.epoll = -1
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.epoll = os.dup(self.event)     # until there is a socket, too

    def __dealloc__(self):
        self.forget()

    def attach(self, Client client, bint masks):
        """Listen to a server."""
        epoll = select.epoll()
        epoll.register(self.event, select.EPOLLIN)
        epoll.register(client.channel.fileno(), select.EPOLLIN)
        os.dup2(epoll.fileno(), self.epoll, inheritable=False)
        epoll.close()
        self.client, self.masks = client, masks

    def forget(self):
        """Off the bus; again is harmless."""
        self.client = None
        if self.event >= 0:
            c_close(self.event)
        if self.epoll >= 0:
            c_close(self.epoll)
        self.event = self.epoll = -1

    cdef void look(self) noexcept nogil:
        if self.client is not None and self.handler != NULL and not self.client.failed:
            self.hear()

    cdef void hear(self) noexcept nogil:
        """Take in what the server signalled and what it sent unasked."""
        cdef pollfd waited[2]
        cdef uint64_t times
        cdef uint32_t count
        if self.rung != NULL:
            count = load_acquire32(self.rung)
            if count != self.seen:
                self.rise(count - self.seen)
                self.seen = count
                c_read(self.event, &times, sizeof(times))       # if it has come: else a look in vain
                return
            self.ran_in_vain = 0
            self.unheard += 1
            if self.unheard < LOOKS:
                return
            self.unheard = 0
        waited[0].fd, waited[1].fd = self.event, self.client.channel.fd
        waited[0].events = waited[1].events = <short>POLLIN
        waited[0].revents = waited[1].revents = 0
        if c_poll(waited, 2, 0) <= 0:
            self.ran_in_vain = 0        # the line is down
            return
        if waited[0].revents and c_read(self.event, &times, sizeof(times)) == sizeof(times) and self.rung == NULL:
            self.rise(times)
        if waited[1].revents:
            self.client.look()

    cdef void rise(self, uint64_t times) noexcept nogil:
        """It was signalled so often since the last time."""
        self.fired += times
        if not self.level:
            self.raised += 1
        store_release32(&self.level, 1)

    cdef bint service(self) noexcept nogil:
        cdef bint ran
        self.look()
        if not self.level or self.client is None:
            return False
        self.client.cork()                      # what the handler writes after its read goes with the unmasking
        ran = IrqLine.service(self)
        if ran:
            store_release32(&self.level, 0)     # not set_level: a line that fires on and on is a storm
            self.unmask()
        self.client.uncork()
        return ran

    cdef void unmask(self) noexcept nogil:
        cdef IrqSet request = IrqSet(sizeof(IrqSet), SET_UNMASK_NOW, 0, 0, 1)
        if self.masks and self.client is not None:
            self.client.post(CMD_DEVICE_SET_IRQS, &request, sizeof(request), NULL, 0)

    @property
    def wire(self):
        """Itself, which wakes who waits, until the server is gone."""
        return None if self.client is None or self.client.failed else self

    def fileno(self):
        """What is readable when there is an interrupt, or something else from the server."""
        return self.epoll if self.epoll >= 0 else None

    @property
    def held_up(self):
        """Never: what is sent has gone."""
        return False


def parts_of(memory, mapped):
    """What a server maps of a SharedMemory, and what it does not: (descriptor or None, address, bytes) of each."""
    size = memory.arena.size
    if mapped is None:
        mapped = size
    if not 0 <= mapped <= size or mapped % mmap.PAGESIZE:
        raise ValueError(f"of {size} bytes of memory so many whole pages are mapped as there are, not {mapped} bytes")
    parts = [(memory.arena.fileno(), memory.iova, mapped), (None, memory.iova + mapped, size - mapped)]
    return [part for part in parts if part[2]]


cdef class VfioUserBus(Bus):
    """The card that a vfio-user server has at `path`, on `memory` (a SharedMemory of its own by default).

    `mapped`: so many of its bytes, whole pages, the server maps; for the rest it has to ask by messages, far slower. By default: all.
    `enabled`: whether memory space, I/O space and bus master are on, as after firmware and pci_enable_device; else as after RST#. Either
    way the card is reset. `timeout`: seconds that the server may take for an answer. `map_doorbells`: whether they may be stores. Raises
    OSError: what connecting does, ETIMEDOUT, EPROTO for a server that breaks the protocol, ENODEV for one that has no card, and what it
    refuses with.
    """

    def __init__(self, path, *, memory=None, mapped=None, bint enabled=True, double timeout=10.0,
                 bint map_doorbells=True):
        if memory is None:
            memory = SharedMemory()
        elif not isinstance(memory, SharedMemory):
            raise TypeError(f"memory is an e1000.vfio_user.SharedMemory, of which a server can reach all, not {memory!r}")
        super().__init__(memory=memory)
        cdef VfioUserLine line = VfioUserLine()
        self.parts = parts_of(memory, mapped)
        self.path = os.fspath(path)
        self.irq = line
        socket = attach.connect(self.path, timeout)
        self.client = Client(socket, self.memory.addresses, line, name=self.path, timeout=timeout)
        try:
            words = attach.negotiate(self.client, map_doorbells)
            self.device = attach.examine(self.client, map_doorbells)
            if self.device.mapped is not None:
                self._use_doorbells(self.device.mapped, words)
            if self.device.resets:
                attach.reset(self.client)
            for fd, start, length in self.parts:
                attach.map_memory(self.client, fd, start, length)
            line.attach(self.client, self.device.masks)
            attach.assign_interrupt(self.client, line.event)
            if enabled:
                self.config_write(PCI_COMMAND, IO_MEMORY_MASTER, 2)
        except BaseException:
            self.client.close()
            line.forget()
            raise

    def _use_doorbells(self, mapped, words):
        """Store into the tails in what is mapped of BAR0, and heed the words there."""
        self.doorbells, self.start = mapped.mapping, mapped.start
        self.rdt, self.tdt = self.word(RDT), self.word(TDT)
        self.wakeup = self.word(words.get("wakeup", -1))
        (<VfioUserLine>self.irq).pages = self.doorbells
        (<VfioUserLine>self.irq).rung = self.word(words.get("interrupts", -1))

    cdef uint32_t* word(self, int64_t offset):
        """A word of BAR0 in what is mapped, or NULL."""
        if not self.start <= offset <= <int64_t>(self.start + self.doorbells.size - 4):
            return NULL
        return <uint32_t*>(self.doorbells.base + (offset - self.start))

    cdef uint32_t read32(self, uint32_t offset) noexcept nogil:
        cdef uint32_t error
        cdef uint64_t before = load_acquire64(&self.ordered)
        cdef uint32_t value = self.client.read_region(REGION_BAR0, offset, 4, &error)
        store_release64(&self.settled, before)
        if error:
            with gil:
                self.irq.error = self.client.refusal(error, f"reading the register at {offset:#x}")
        return value

    cdef void write32(self, uint32_t offset, uint32_t value) noexcept nogil:
        if offset == TDT or offset == RDT:
            if self.store(self.tdt if offset == TDT else self.rdt, value):
                return
        if offset != IMS and offset != IMC and offset != ITR:
            fetch_add64(&self.ordered, 1)
        self.client.write_region(REGION_BAR0, offset, value, 4)

    cdef bint store(self, uint32_t* tail, uint32_t value) noexcept nogil:
        """Ring a doorbell without a message; False, and nothing done, if there has to be one."""
        if tail == NULL or load_acquire64(&self.settled) != load_acquire64(&self.ordered):
            return False
        store_release32(tail, value)
        self.stores += 1
        if self.wakeup != NULL:
            fence_full()                # pairs with the server's, between its saying that it sleeps and its last look at the tails
            if load_acquire32(self.wakeup):
                self.client.write_region(REGION_BAR0, IMS, 0, 4)    # sets nothing: it wakes
        return True

    def read(self, uint32_t offset, uint32_t size=4):
        """Read the register at a BAR0 offset, or 1 or 2 bytes of it. Raises what the server refuses it with."""
        check_register("BAR0", attach.BAR0_SIZE, offset, size)
        return self._read_settling(REGION_BAR0, offset, size)

    def write(self, uint32_t offset, uint32_t value, uint32_t size=4):
        """Write the register at a BAR0 offset, or 1 or 2 bytes of it; posted."""
        check_register("BAR0", attach.BAR0_SIZE, offset, size, value)
        if size == 4:
            with nogil:
                self.write32(offset, value)
            return
        self._write_in_order(REGION_BAR0, offset, value, size)

    def io_read(self, uint32_t offset, uint32_t size=4):
        """Read IOADDR (0) or IODATA (4) in the I/O BAR (§13.2.2). Raises OSError ENXIO where the server has none."""
        self._check_io(offset, size, 0)
        return self._read_settling(REGION_BAR1, offset, size)

    def io_write(self, uint32_t offset, uint32_t value, uint32_t size=4):
        """Write IOADDR (0) or IODATA (4) in the I/O BAR (§13.2.2); posted. Raises OSError ENXIO where the server has none."""
        self._check_io(offset, size, value)
        self._write_in_order(REGION_BAR1, offset, value, size)

    def _check_io(self, uint32_t offset, uint32_t size, uint32_t value):
        check_register("I/O BAR", attach.IO_BAR_SIZE, offset, size, value)
        if self.device.sizes[attach.IO_BAR] < attach.IO_BAR_SIZE:
            raise OSError(errno.ENXIO, f"{self.path}: the server has no I/O BAR")

    def config_read(self, uint32_t offset, uint32_t size=4):
        """Read 1, 2 or 4 bytes of PCI configuration space (§4.1)."""
        check_config(offset, size)
        return self._read_settling(REGION_CONFIG, offset, size)

    def config_write(self, uint32_t offset, uint32_t value, uint32_t size=4):
        """Write 1, 2 or 4 bytes of PCI configuration space (§4.1); posted."""
        check_config(offset, size, value)
        self._write_in_order(REGION_CONFIG, offset, value, size)

    def _read_settling(self, uint32_t region, uint32_t offset, uint32_t size):
        """Read; what was posted before is done then."""
        cdef uint64_t before = load_acquire64(&self.ordered)
        value = self.client.read(region, offset, size)
        store_release64(&self.settled, before)
        return value

    def _write_in_order(self, uint32_t region, uint32_t offset, uint32_t value, uint32_t size):
        """Post a write that no doorbell overtakes."""
        fetch_add64(&self.ordered, 1)
        self.client.write(region, offset, value, size)

    def failure(self):
        """The OSError that ended the connection; None as long as nothing did."""
        return self.client.failure()

    @property
    def maps_doorbells(self):
        """Whether doorbells are stores."""
        return self.doorbells is not None

    @property
    def messages(self):
        """How many there were so far: exchanges, posted ones, doorbells that took none, the server's DMA, replies to nothing."""
        return {
            "exchanges": self.client.exchanges,
            "posted": self.client.posted,
            "stores": self.stores,
            "dma": self.client.dma_messages,
            "strays": self.client.strays,
        }

    def close(self):
        """Take the card off the bus: no interrupt and no DMA any more; again is harmless. The memory stays its owner's."""
        with suppress(OSError):         # a server that is gone uses nothing any more
            if self.failure() is None:
                attach.disable_interrupt(self.client)
                for _, start, length in self.parts:
                    attach.unmap_memory(self.client, start, length)
        self.client.close()
        (<VfioUserLine>self.irq).forget()

    def __repr__(self):
        failure = None if self.client is None else self.failure()
        return f"<VfioUserBus at {self.path}{'' if failure is None else f': {failure.strerror}'}>"
