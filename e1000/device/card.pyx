"""E1000Device: one card, held together: its state, what it is plugged into, and a view for people."""

import errno
import functools
from pathlib import Path

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from e1000.device.eeprom cimport EEPROM_WORDS
from e1000.device.faults cimport Faults, faults_cancel
from e1000.device.handlers cimport Handlers
from e1000.device.link cimport link_receive, link_restart, link_room
from e1000.device.lock cimport lock_card, read_locked, unlock_card, write_locked
from e1000.device.mmio cimport mmio_read, mmio_write, register_peek
from e1000.device.pci cimport (COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY, IO_SIZE, config_read, config_write,
                               io_read, io_write, memory_read, memory_write, pci_reset)
from e1000.device.recorder cimport SPACE_CONFIG, SPACE_IO, SPACE_MMIO, Recorder
from e1000.device.reset cimport card_reset, power_up
from e1000.device.snapshot cimport restore_snapshot, take_snapshot
from e1000.device.state cimport BAR0_SIZE, FIFO_SIZE, STAGE_SIZE, Card, DeviceLock
from e1000.device.strict cimport Strict
from e1000.device.timers cimport cancel_timers
from e1000.device.watch cimport start_recording, stop_recording
from e1000.device.wakeup cimport pme_asserted
from e1000.regs cimport RDT, TDT
from fastring.atomic cimport store_release32
from fastring.clock cimport Clock
from fastring.memory cimport IovaMap

from e1000 import regmap
from e1000.device import eeprom_image
from e1000.device.arguments import HOT, check_config, check_device_id, check_register, parse_mac
from e1000.dump import Dump
from e1000.strict import Breaches

DEFAULT_MAC = "52:54:00:12:34:56"
DROP_NAMES = ("rx_disabled", "rx_filtered", "rx_control", "rx_runt", "rx_oversize", "rx_error", "rx_missed", "rx_dma", "tx_dma",
              "tx_empty", "tx_oversize", "tx_context", "tx_collision")


# Revision by PCI device id: the 82540EM, and the 82545EM, which differs in nothing that is modelled here.
DEVICE_ID = 0x100E
REVISIONS = {0x100E: 2, 0x100F: 1}


@cython.no_gc_clear                     # the clock is needed to the end: to take the card's timers away from it
cdef class E1000Device:
    """An Intel 82540EM on a wire. Plug it into a bus (`LocalBus`), which gives it memory and an interrupt line.

    `eeprom`: an image of 128 bytes, or the file it lies in; its checksum may be wrong. By default one as a new card has it.
    `mac`: station address, what a reset loads into RAL0/RAH0: written into the EEPROM, and the checksum made right.
    `wire`: any fastring Wire, or None for no cable. `clock`: the link takes its time on it (autonegotiation 1.5 s), interrupts are
    moderated and pauses kept by it, and timers run on that clock's thread; without one the link is up, and an interrupt comes, at once.
    `strict`: hold each access against the manual, and keep what a driver does wrong in `breaches`; if it can be called, it is, with
    each `e1000.strict.Breach`. None of them changes what the card does.
    `faults`: an `e1000.device.Faults`, what goes wrong in this card.
    `device_id`: 0x100E, or 0x100F to be found as an 82545EM: written into the EEPROM too; by default what that says.

    Offsets are bytes from the start of a BAR or of configuration space, values unsigned, little-endian; times are ns of the clock.
    It holds its wire, clock and faults, which serve no other card (a clock may); a bus holds it. Close it, or leave ``with``, to unplug.
    Register accesses run the engines on the calling thread: one thread at a time, the clock's if there is one. A DeviceThread runs them on
    its own, and accesses may then come from any. What a wire or a handler in Python raises reaches no access.
    Raises ValueError for an address, image, id, offset or size that is none, and for faults that need a clock; OSError EBUSY when wire or
    faults have a card already, and whatever the EEPROM's file raises; MemoryError. §: see `e1000`; each register's is in `e1000.regmap`.
    """

    def __cinit__(self):
        self.card = <Card*>calloc(1, sizeof(Card))
        if self.card == NULL:
            raise MemoryError()
        self.card.fifo = <unsigned char*>calloc(1, FIFO_SIZE)
        self.card.tx_stage = <unsigned char*>calloc(1, STAGE_SIZE)
        if self.card.fifo == NULL or self.card.tx_stage == NULL:
            raise MemoryError()

    def __init__(self, *, mac=None, eeprom=None, Wire wire=None, Clock clock=None, device_id=None, strict=False,
                 Faults faults=None):
        if device_id is not None:
            check_device_id(device_id, REVISIONS)
        image = eeprom_image.build(parse_mac(DEFAULT_MAC)) if eeprom is None else eeprom_image.load(eeprom)
        if mac is not None:
            image = eeprom_image.with_mac(image, parse_mac(mac))
        if device_id is not None:
            image = eeprom_image.with_device_id(image, device_id)
        if faults is not None:
            faults.claim(clock)
        memcpy(self.card.eeprom.words, <const char*>image, sizeof(self.card.eeprom.words))
        cancel_timers(self.card)
        faults_cancel(self.card)
        self.clock = clock
        self.card.clock = NULL if clock is None else <void*>clock
        self.faults = faults
        if faults is not None:
            faults.attach(self.card)
        self.card.pci.device_id = DEVICE_ID if device_id is None else device_id
        self.card.pci.revision = REVISIONS[self.card.pci.device_id]
        pci_reset(self.card, COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER)
        power_up(self.card)
        if strict:
            self.breaches = Breaches(strict if callable(strict) else None)
            self.strict = Strict(self.breaches)
            self.look()
        if wire is not None:
            self.plug(wire)
        self.card.icr = 0               # RST# came last: a link that takes no time was there before

    def __dealloc__(self):
        if self.card != NULL:
            cancel_timers(self.card)
            faults_cancel(self.card)
            free(self.card.fifo)
            free(self.card.tx_stage)
            free(self.card)

    def plug(self, Wire wire not None):
        """Plug a cable in. Raises OSError EBUSY if there is one, or the wire has a card already."""
        if self.wire is not None:
            raise OSError(errno.EBUSY, f"{self!r} is plugged into {self.wire!r} already")
        wire.attach(link_receive, link_room, self.card, self)
        self.wire = wire
        self.set_wire(<void*>wire)
        self.polls = wire.polled

    def unplug(self):
        """Pull the cable; harmless without one."""
        self.polls = False
        if self.wire is not None:
            wire = self.wire            # alive until no engine uses it
            self.set_wire(NULL)
            wire.detach()
            self.wire = None

    cdef void set_wire(self, void* wire):
        cdef DeviceLock* lock
        with nogil:
            lock = lock_card(self.card)
            self.card.wire = wire
            link_restart(self.card)
            unlock_card(lock)

    cdef int poll_wire(self, int budget) noexcept nogil:
        """Let what waits at the wire arrive. Returns how many packets moved, or -errno when the wire has died."""
        cdef DeviceLock* lock = lock_card(self.card)
        cdef int moved = 0
        if self.polls:
            moved = self.wire.poll(budget)
        unlock_card(lock)
        return moved

    cdef object wire_failed(self):
        """Why the wire died, said once: it is not polled any more."""
        self.polls = False
        return self.wire.failure()

    cdef void connect(self, AddressSpace memory, IrqLine irq, bint enabled) except *:
        """Used by a bus: the memory the card may reach, and its interrupt line; None, None takes them away.

        Configuration space is as after RST#, and then, if `enabled`, as firmware leaves it: memory, I/O and bus master on.
        """
        cdef DeviceLock* lock
        cdef IovaMap* iovas = NULL if memory is None else &memory.iovas
        cdef void* line = NULL if irq is None else <void*>irq
        if memory is not None and self.memory is not None:
            raise OSError(errno.EBUSY, f"{self!r} is on a bus already")
        with nogil:
            lock = lock_card(self.card)
            if self.card.irq != NULL:
                (<IrqLine>self.card.irq).set_level(False)
            self.card.host_iovas = iovas
            self.card.irq = line
            pci_reset(self.card, COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER if enabled else 0)
            unlock_card(lock)
        self.memory = memory
        self.irq = irq

    cdef uint32_t read32(self, uint32_t offset) noexcept nogil:
        cdef DeviceLock* lock
        cdef uint32_t value
        if self.card.memory_off:
            return 0xFFFFFFFFu          # nobody answers
        lock = lock_card(self.card)
        value = mmio_read(self.card, offset)
        unlock_card(lock)
        return value

    cdef void write32(self, uint32_t offset, uint32_t value) noexcept nogil:
        cdef DeviceLock* lock
        if self.card.memory_off:
            return
        if self.card.threaded and offset == TDT and self.card.watch == NULL:        # a doorbell is a store: the thread sees it
            store_release32(&self.card.tdt, value & 0xFFFF)
        elif self.card.threaded and offset == RDT and self.card.watch == NULL:
            store_release32(&self.card.rdt, value & 0xFFFF)
        else:
            lock = lock_card(self.card)
            mmio_write(self.card, offset, value)
            unlock_card(lock)

    cdef uint32_t read_space(self, int space, uint32_t offset, uint32_t size) noexcept nogil:
        """Used by a bus: read 1, 2 or 4 bytes, in a BAR within one dword, of the recorder's SPACE_MMIO, SPACE_IO or SPACE_CONFIG."""
        if space == SPACE_MMIO:
            return self.read32(offset) if size == 4 else read_locked(self.card, memory_read, offset, size)
        return read_locked(self.card, io_read if space == SPACE_IO else config_read, offset, size)

    cdef void write_space(self, int space, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil:
        if space == SPACE_MMIO and size == 4:
            self.write32(offset, value)
        elif space == SPACE_MMIO:
            write_locked(self.card, memory_write, offset, value, size)
        else:
            write_locked(self.card, io_write if space == SPACE_IO else config_write, offset, value, size)

    cdef void bus_reset(self) noexcept nogil:
        """Used by a bus: RST#. What configuration space had allowed is over, and the card is as after CTRL.RST."""
        cdef DeviceLock* lock = lock_card(self.card)
        pci_reset(self.card, 0)
        card_reset(self.card)
        unlock_card(lock)

    def read(self, uint32_t offset, uint32_t size=4):
        """Read a register at a BAR0 offset, or 1 or 2 bytes of it, with its side effects. All ones while memory space is off."""
        cdef uint32_t value
        check_register("BAR0", BAR0_SIZE, offset, size)
        with nogil:                     # the card's thread may hold the lock and wait for the GIL (a wire in Python)
            value = self.read_space(SPACE_MMIO, offset, size)
        return value

    def write(self, uint32_t offset, uint32_t value, uint32_t size=4):
        """Write a register at a BAR0 offset, or 1 or 2 bytes of it and no others. Ignored while memory space is off."""
        check_register("BAR0", BAR0_SIZE, offset, size, value)
        with nogil:
            self.write_space(SPACE_MMIO, offset, value, size)

    def io_read(self, uint32_t offset, uint32_t size=4):
        """Read IOADDR (0) or IODATA (4) in the I/O BAR, with side effects; all ones while I/O space is off."""
        cdef uint32_t value
        check_register("I/O", IO_SIZE, offset, size)
        with nogil:
            value = self.read_space(SPACE_IO, offset, size)
        return value

    def io_write(self, uint32_t offset, uint32_t value, uint32_t size=4):
        """Write IOADDR (0) or IODATA (4) in the I/O BAR. Ignored while I/O space is off, and unless it has 32 bits."""
        check_register("I/O", IO_SIZE, offset, size, value)
        with nogil:
            self.write_space(SPACE_IO, offset, value, size)

    def config_read(self, uint32_t offset, uint32_t size=4):
        """Read 1, 2 or 4 bytes of configuration space, at any offset."""
        cdef uint32_t value
        check_config(offset, size)
        with nogil:
            value = self.read_space(SPACE_CONFIG, offset, size)
        return value

    def config_write(self, uint32_t offset, uint32_t value, uint32_t size=4):
        """Write 1, 2 or 4 bytes of configuration space, at any offset."""
        check_config(offset, size, value)
        with nogil:
            self.write_space(SPACE_CONFIG, offset, value, size)

    def snapshot(self):
        """The whole state of the card as bytes, for `restore`: registers, FIFO, EEPROM, PHY, configuration space, statistics, timers.

        Some 200 KB, the caller's; times in it are ns that a timer has to go. Not the host's memory, nor what it is plugged into, nor
        faults: a descriptor that is late is written back first. With a clock on the clock's thread, without on any that may access it.
        Raises RuntimeError from inside its own transmission. It holds for this build: a card laid out otherwise refuses it.
        """
        return take_snapshot(self.card, self)

    def restore(self, snapshot):
        """Make it the card that `snapshot` was taken of: it goes on where that one was, on this card's bus, wire and clock.

        `snapshot`: any object whose buffer is bytes; copied, and never changed. A cable that was plugged in, or pulled, since is noticed.
        With a clock, on the clock's thread only. Raises ValueError, and changes nothing, for what is no snapshot from such a build, was
        damaged, or holds what no card can; RuntimeError from inside its own transmission; MemoryError.
        """
        restore_snapshot(self.card, snapshot, self)

    def peek(self, uint32_t offset):
        """A register's value without the side effects of reading it, memory space on or off."""
        check_register("BAR0", BAR0_SIZE, offset)
        return register_peek(self.card, offset)

    def dump(self):
        """Every register by name, without side effects: a dict, which prints as a table with the bits' names."""
        return Dump((name, register_peek(self.card, offset)) for offset, (name, _) in regmap.expand().items())

    # --- who looks at it ---

    cdef void look(self):
        """Have accesses and engines tell what happens as long as somebody wants to know."""
        cdef DeviceLock* lock
        with nogil:
            lock = lock_card(self.card)
            self.watch.handlers = <void*>self.handlers if self.handlers is not None else NULL
            self.watch.strict = <void*>self.strict if self.strict is not None else NULL
            if self.watch.handlers != NULL or self.watch.recorder != NULL or self.watch.strict != NULL:
                self.card.watch = &self.watch
            else:
                self.card.watch = NULL
            unlock_card(lock)

    def record(self, Recorder recorder, uint8_t number=0):
        """Tell a Recorder all that happens, as card `number`; None ends it. `e1000.trace.Trace` is the friendly way.

        Raises OSError EBUSY when another has it.
        """
        cdef DeviceLock* lock
        cdef void* told = <void*>recorder
        if recorder is not None and self.recorder is not None:
            raise OSError(errno.EBUSY, f"{self!r} is traced already")
        with nogil:
            lock = lock_card(self.card)
            if told == <void*>None:
                stop_recording(self.card, &self.watch)
            else:
                start_recording(self.card, &self.watch, told, number)
            unlock_card(lock)
        self.look()
        self.recorder = recorder            # the former is let go only now

    def on_read(self, uint32_t offset, function=None):
        """Let `function(offset)` answer reads of a register, instead of the card; without it, a decorator. `remove_handlers` undoes it.

        It runs inside the access, on its thread, and may use the card; the register itself is then the card's own. What it raises
        goes to sys.unraisablehook, and the read gets all ones. `peek` and `dump` go on to show what the card holds.
        Raises ValueError for registers the packet path needs: interrupts (ICR to IMC), RCTL, TCTL and the rings'.
        """
        return self._replace(False, offset, function)

    def on_write(self, uint32_t offset, function=None):
        """Let `function(offset, value)` take writes of a register, instead of the card; else as `on_read`. A failed one is lost."""
        return self._replace(True, offset, function)

    def _replace(self, bint write, uint32_t offset, function):
        check_register("BAR0", BAR0_SIZE, offset)
        if offset in HOT:
            raise ValueError(f"{regmap.name_of(offset)} cannot be replaced: the packet path needs it")
        if function is None:
            return functools.partial(self._replace, write, offset)
        if not callable(function):
            raise TypeError(f"a register's handler must be callable, not {type(function).__name__}")
        if self.handlers is None:
            self.handlers = Handlers()
        self.handlers.set(write, offset, function)
        self.look()
        return function

    def remove_handlers(self, uint32_t offset):
        """Give a register back to the card; harmless if it was not replaced."""
        if self.handlers is not None and offset < BAR0_SIZE:
            self.handlers.forget(offset & ~3u)

    @property
    def drops(self):
        """Frames that reached the card and went nowhere, by reason; never reset."""
        return {name: self.card.drops[i] for i, name in enumerate(DROP_NAMES)}

    @property
    def padding(self):
        """What PSP added so far: (packets, bytes)."""
        return self.card.tx_padded, self.card.tx_pad_bytes

    @property
    def pme(self):
        """Whether PME# is asserted: a packet or a link change wakes the host (§12.3)."""
        return pme_asserted(self.card)

    @property
    def eeprom(self):
        """What the EEPROM holds now: 64 words, 128 bytes, low byte first."""
        return (<const char*><void*>self.card.eeprom.words)[:2 * EEPROM_WORDS]

    @property
    def eeprom_checksum(self):
        """What its words add up to: 0xBABA in one that drivers accept."""
        return eeprom_image.checksum(self.eeprom)

    def save_eeprom(self, path):
        """Write the EEPROM to a file that `eeprom=` takes again. Raises OSError."""
        Path(path).write_bytes(self.eeprom)

    @property
    def mac(self):
        """The station address in the EEPROM, which a reset loads."""
        return self.eeprom[:6].hex(":")

    def close(self):
        """Unplug it; again is harmless."""
        self.unplug()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        wrong = "" if self.eeprom_checksum == eeprom_image.CHECKSUM else f", EEPROM checksum {self.eeprom_checksum:#06x}, not 0xbaba"
        return f"<E1000Device {self.mac}: {'no cable' if self.wire is None else self.wire}{wrong}>"
