"""Strict mode: each access held against the manual, before it has its effect. The rules' texts are in e1000/strict.py.

Descriptors are looked at when a doorbell gives them to the card: read only, once more than the engines do. A driver that a breach is
told of gets what the card does all the same.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from e1000.desc cimport (TXD_CMD_DEXT, TXD_CMD_EOP, TXD_CMD_IC, TXD_CMD_IFCS, TXD_DATA_LENGTH, TXD_DTYP_CONTEXT, TXD_DTYP_DATA,
                         TXD_DTYP_MASK, TXD_LEGACY_LENGTH, Desc)
from e1000.device.mmio cimport register_peek
from e1000.device.pci cimport COMMAND_MASTER, PCI_COMMAND
from e1000.device.recorder cimport SPACE_IO, SPACE_MMIO
from e1000.device.reset cimport buffer_size
from e1000.device.state cimport BAR0_SIZE, REG_WORDS, ring_count
from e1000.device.unraisable cimport unraisable
from e1000.device.watch cimport memory_of
from e1000.regs cimport *
from fastring.atomic cimport load_relaxed64
from fastring.clock cimport Clock
from fastring.memory cimport ACCESS_LOOK, ACCESS_UPDATE, IovaMap, within

import time

from e1000 import regmap
from e1000.fields import fields_of, reserved_bits

cdef enum:
    IS_REGISTER = 1
    READ_ONLY = 2
    HIGH_HALF = 4                   # of a 64-bit statistic
    MOST_CODES = 64
    CHECKSUM = 2                    # bytes
    FIFO_KIB = 64

ctypedef struct Codes:              # a field with reserved values
    uint32_t offset, low, width, reserved

cdef uint8_t FLAGS[REG_WORDS]
cdef uint32_t RESERVED[REG_WORDS]
cdef Codes CODES[MOST_CODES]
cdef uint32_t codes = 0


cdef int fill_tables() except -1:
    global codes
    statistics = (regmap.Access.STAT, regmap.Access.STAT64_LOW, regmap.Access.STAT64_HIGH)
    for offset, (name, register) in regmap.expand().items():
        FLAGS[offset // 4] = IS_REGISTER
        if register.access in statistics or register.access is regmap.Access.RO or offset == STATUS:
            FLAGS[offset // 4] |= READ_ONLY
        if register.access is regmap.Access.STAT64_HIGH:
            FLAGS[offset // 4] |= HIGH_HALF
        RESERVED[offset // 4] = reserved_bits(name)
        for field in fields_of(name):
            if "reserved" in field.values and offset != EECD:     # FWE is the Flash's: a card without one does not mind
                assert codes < MOST_CODES
                bad = sum(1 << code for code, meaning in enumerate(field.values) if meaning == "reserved")
                CODES[codes] = Codes(offset, field.low, field.width, bad)
                codes += 1
    RESERVED[IMC // 4] = 0          # masks what is not there: drivers write all ones
    return 0


fill_tables()


cdef inline bint is_ring(uint32_t offset) noexcept nogil:
    """Whether it is a base, length, head or tail."""
    return RDBAL <= offset <= RDT or TDBAL <= offset <= TDT


cdef uint8_t* reach(const IovaMap* iovas, uint64_t address, uint64_t length, int access) noexcept nogil:
    """`translate`, without counting what it does not find."""
    cdef uint32_t i
    cdef uint8_t* found
    for i in range(iovas.count):
        found = within(&iovas.region[i], address, length, access)
        if found != NULL:
            return found
    return iovas.far(iovas.far_context, address, length, access) if iovas.far != NULL else NULL


cdef inline uint32_t distance(uint32_t start, uint32_t end, uint32_t count) noexcept nogil:
    """Slots from one place in a ring to another."""
    return end - start if end >= start else end + count - start


cdef inline uint32_t most_in_buffer(uint32_t rctl) noexcept nogil:
    """Bytes that the card may put into a receive buffer: the buffer's size, or less where long frames are discarded (§13.4.22: LPE, SBP).

    Linux relies on it: without jumbo frames its e1000's buffers lie 1,920 bytes apart, and RCTL says 2,048.
    """
    cdef uint32_t size = buffer_size(rctl)
    return size if rctl & (RCTL_LPE | RCTL_SBP) or size < MAX_STANDARD_FRAME else MAX_STANDARD_FRAME


cdef class Strict:
    """Holds the accesses to one card against the manual, and adds what it finds to `breaches`, an `e1000.strict.Breaches`, which it holds.

    `E1000Device(strict=True)` makes it and owns it; `Card.watch` leads to it. It sees an access before its effect, and descriptors when a
    doorbell gives them to the card; it reads memory of the host and changes nothing. Values, offsets and descriptors are the card's own,
    times ns of its clock, or monotonic. Its functions run inside the access, on its thread, the card locked, without the GIL, taken for a
    breach alone. What adding one raises (from a user's function) goes to sys.unraisablehook. The rules and their sections (§) of the
    manual: `e1000.strict.RULES`.
    """

    def __cinit__(self, breaches):
        self.breaches = breaches

    cdef void breach(self, Card* card, uint32_t rule, uint64_t a, uint64_t b) noexcept nogil:
        if self.silent:
            return
        with gil:
            try:
                now = (<Clock>card.clock).now() if card.clock != NULL else time.monotonic_ns()
                self.breaches.add(rule, self.writing, self.offset, self.value, a, b, now)
            except BaseException as error:
                unraisable(error, self.breaches)

    cdef void reset(self) noexcept nogil:
        """The card is reset: nothing is under way."""
        self.eerd_asked = self.mdic_asked = self.granted = self.context = False
        self.low_half = 0
        memset(&self.packet, 0, sizeof(Packet))

    cdef void look_back(self, Card* card) noexcept nogil:
        """The card is a restored one: know what had been seen of it, and report none of that."""
        cdef uint32_t count = ring_count(card.tdlen)
        self.reset()
        self.granted = (card.eeprom.eecd & EECD_GNT) != 0
        self.silent = True
        if card.tx_context[1].word:
            self.look_at_context(card, 0, card.tx_context[1].address, card.tx_context[1].word)
        if card.tctl & RCTL_EN and card.tdh < count and card.tdt < count:
            self.transmit_given(card, card.tdh, card.tdt)
        self.silent = False

    # --- accesses ---

    cdef void check_size(self, Card* card, uint32_t space, bint write, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil:
        """An access of BAR0 with less than 32 bits, or one of the I/O BAR."""
        self.writing, self.offset, self.value = write, offset & ~3u, value
        if space == SPACE_MMIO and size != 4:
            self.breach(card, ACCESS_SIZE, size, 0)
        elif space == SPACE_IO:
            if write and size != 4:
                self.breach(card, IO_SIZE, size, 0)
            if offset >= 4 and card.pci.ioaddr >= BAR0_SIZE:
                self.breach(card, IO_UNDEFINED, card.pci.ioaddr, 0)

    cdef void check_read(self, Card* card, uint32_t offset, uint32_t value) noexcept nogil:
        """A read that found `value`."""
        self.writing, self.offset, self.value = False, offset, value
        if not FLAGS[offset >> 2]:
            self.breach(card, NO_REGISTER, 0, 0)
        elif offset == ICS or offset == IMC:
            self.breach(card, WRITE_ONLY_READ, 0, 0)
        elif FLAGS[offset >> 2] & HIGH_HALF and self.low_half != offset - 4:
            self.breach(card, STATISTIC_ORDER, 0, 0)
        elif offset == EERD:
            self.eerd_asked = self.eerd_asked and not value & EERD_DONE
        elif offset == MDIC:
            self.mdic_asked = self.mdic_asked and not value & MDIC_READY
        elif offset == EECD:
            self.granted = (value & EECD_GNT) != 0
        self.low_half = offset

    cdef void check_write(self, Card* card, uint32_t offset, uint32_t value) noexcept nogil:
        cdef uint32_t i, bad
        self.writing, self.offset, self.value = True, offset, value
        if not FLAGS[offset >> 2]:
            self.breach(card, NO_REGISTER, 0, 0)
            return
        if FLAGS[offset >> 2] & READ_ONLY:
            self.breach(card, READ_ONLY_WRITTEN, 0, 0)
            return
        bad = value & RESERVED[offset >> 2]
        if bad and not is_ring(offset):
            bad &= ~<uint32_t>register_peek(card, offset)       # written back as they were read
            if bad:
                self.breach(card, RESERVED_BITS, bad, 0)
        for i in range(codes):
            if CODES[i].offset == offset and CODES[i].reserved >> (value >> CODES[i].low & ((1u << CODES[i].width) - 1)) & 1:
                self.breach(card, RESERVED_VALUE, CODES[i].low + CODES[i].width - 1, CODES[i].low)
        if offset == CTRL and value & CTRL_RST:
            self.reset()
        elif offset == EERD:
            if self.eerd_asked:
                self.breach(card, EERD_BUSY, 0, 0)
            elif card.eeprom.eecd & EECD_REQ and value & EERD_START:
                self.breach(card, EERD_UNDONE, 0, 0)
            self.eerd_asked = (value & EERD_START) != 0
        elif offset == MDIC:
            if self.mdic_asked:
                self.breach(card, MDIC_BUSY, 0, 0)
            self.mdic_asked = True
        elif offset == EECD:
            self.check_pins(card)
        elif offset == PBA:
            if value & 0xFFFF == 0 or value & 0xFFFF >= FIFO_KIB:
                self.breach(card, PBA_SIZE, value & 0xFFFF, 0)
        elif offset == FCRTH:
            if value & 0xFFF8 and value & 0xFFF8 <= card.regs[FCRTL >> 2] & 0xFFF8:
                self.breach(card, FLOW_THRESHOLDS, value & 0xFFF8, card.regs[FCRTL >> 2] & 0xFFF8)
        elif offset == RCTL:
            self.check_unit(card, value, True, card.rctl)
        elif offset == TCTL:
            self.check_unit(card, value, False, card.tctl)
        elif is_ring(offset):
            self.check_ring(card)

    cdef void check_pins(self, Card* card) noexcept nogil:
        """EECD: the pins are the host's only once it asked and saw the grant (§5.3.1)."""
        cdef uint32_t pins = EECD_SK | EECD_CS | EECD_DI
        cdef uint32_t before = card.eeprom.eecd & pins if card.eeprom.eecd & EECD_REQ else 0
        if not self.value & EECD_REQ:
            if self.value & pins:
                self.breach(card, EECD_NO_GRANT, 0, 0)
            self.granted = False
        elif self.value & pins != before and not self.granted:
            self.breach(card, EECD_NO_GRANT, 0, 0)

    # --- units and rings ---

    cdef void check_unit(self, Card* card, uint32_t value, bint receive, uint32_t before) noexcept nogil:
        """RCTL and TCTL. A unit that is enabled owns from then on what lies between head and tail."""
        cdef uint32_t count = ring_count(card.rdlen if receive else card.tdlen)
        cdef uint32_t head = card.rdh if receive else card.tdh, tail = card.rdt if receive else card.tdt
        cdef uint32_t size = buffer_size(value)
        if value & before & RCTL_EN and receive and size != card.rx_buffer_size:
            self.breach(card, RX_BUFFER_SIZE, card.rx_buffer_size, size)
        if not value & RCTL_EN or before & RCTL_EN:             # TCTL.EN is the same bit
            return
        if count == 0 or head >= count or tail >= count:
            self.breach(card, ENABLED_WITHOUT_RING, count, head if head >= count else tail)
        elif receive:
            self.receive_given(card, head, tail)
        else:
            self.transmit_given(card, head, tail)

    cdef void check_ring(self, Card* card) noexcept nogil:
        cdef uint32_t offset = self.offset, value = self.value
        cdef bint receive = offset < TDBAL
        cdef bint enabled = (card.rctl if receive else card.tctl) & RCTL_EN
        if offset == RDT or offset == TDT:
            self.check_tail(card, receive)
        elif offset == RDH or offset == TDH:
            if enabled:
                self.breach(card, HEAD_WRITTEN, 0, 0)
        else:
            if not receive:
                memset(&self.packet, 0, sizeof(Packet))
            if enabled:
                self.breach(card, RING_MOVED, 0, 0)
            if (offset == RDBAL or offset == TDBAL) and value & 15:
                self.breach(card, RING_UNALIGNED, 0, 0)
            if offset == RDLEN or offset == TDLEN:
                if value & 127:
                    self.breach(card, RING_LENGTH, 0, 0)
                elif value & RESERVED[offset >> 2]:
                    self.breach(card, RESERVED_BITS, value & RESERVED[offset >> 2], 0)

    cdef void check_tail(self, Card* card, bint receive) noexcept nogil:
        cdef uint32_t count = ring_count(card.rdlen if receive else card.tdlen), head = card.rdh if receive else card.tdh
        cdef uint32_t old = card.rdt if receive else card.tdt, new = self.value
        if new >= count and (count or new):
            self.breach(card, TAIL_OUTSIDE, count, 0)
            return
        if not (card.rctl if receive else card.tctl) & RCTL_EN or head >= count or old >= count:
            return                  # looked at when the unit is enabled
        if not card.pci.config[PCI_COMMAND] & COMMAND_MASTER:
            self.breach(card, DOORBELL_NO_MASTER, 0, 0)
        elif distance(old, new, count) > (distance(old, head, count) + count - 1) % count:
            if new == head:
                self.breach(card, RING_FULL, 0, 0)
            else:
                self.breach(card, TAIL_PASSES_HEAD, head, 0)
        elif receive:
            self.receive_given(card, old, new)
        else:
            self.transmit_given(card, old, new)

    # --- descriptors: `slot` and on, up to `end` ---

    cdef void receive_given(self, Card* card, uint32_t slot, uint32_t end) noexcept nogil:
        cdef IovaMap* iovas = memory_of(card)
        cdef Desc* ring = <Desc*>reach(iovas, card.rdba, card.rdlen, ACCESS_UPDATE)
        cdef uint32_t count = ring_count(card.rdlen), size = most_in_buffer(self.value if self.offset == RCTL else card.rctl)
        cdef uint64_t address, before = 0, status
        if ring == NULL:
            if slot != end:
                self.breach(card, RING_OUTSIDE_MEMORY, 0, 0)
            return
        while slot != end:
            address = load_relaxed64(&ring[slot].address)
            status = load_relaxed64(&ring[slot].word) >> 32 & 0xFF
            if status:
                self.breach(card, RX_STATUS, slot, status)
            if address:             # 0: a null descriptor
                if reach(iovas, address, size, ACCESS_LOOK) == NULL:
                    self.breach(card, RX_BUFFER_OUTSIDE, slot, size)
                if before and before - address + size - 1 < 2 * <uint64_t>size - 1:
                    self.breach(card, RX_BUFFERS_OVERLAP, slot, size)
            before = address
            slot = slot + 1 if slot + 1 != count else 0

    cdef void transmit_given(self, Card* card, uint32_t slot, uint32_t end) noexcept nogil:
        cdef Desc* ring = <Desc*>reach(memory_of(card), card.tdba, card.tdlen, ACCESS_UPDATE)
        cdef uint32_t count = ring_count(card.tdlen)
        if ring == NULL:
            if slot != end:
                self.breach(card, RING_OUTSIDE_MEMORY, 0, 0)
            return
        while slot != end:
            self.look_at(card, slot, load_relaxed64(&ring[slot].address), load_relaxed64(&ring[slot].word))
            slot = slot + 1 if slot + 1 != count else 0
            if self.packet.descs + 1 >= count:
                self.breach(card, TX_NO_EOP, self.packet.first, self.packet.descs)
                memset(&self.packet, 0, sizeof(Packet))

    cdef void look_at(self, Card* card, uint32_t slot, uint64_t address, uint64_t word) noexcept nogil:
        """One descriptor for transmission."""
        cdef bint extended = (word & TXD_CMD_DEXT) != 0
        cdef uint32_t kind = word & TXD_DTYP_MASK
        if word >> 32 & 15:
            self.breach(card, TX_DONE, slot, word >> 32 & 15)
        if extended and kind == TXD_DTYP_CONTEXT:
            if self.packet.descs:
                self.breach(card, TX_CONTEXT_INSIDE, slot, 0)
            self.look_at_context(card, slot, address, word)
            return
        if extended and kind != TXD_DTYP_DATA:
            self.breach(card, TX_TYPE, slot, kind >> 20)
            return
        if self.packet.descs == 0:
            self.packet.first = slot
            self.packet.extended = extended
            self.packet.segmented = extended and word & TXD_CMD_IC
            if self.packet.segmented and not self.context:
                self.breach(card, TX_NO_CONTEXT, slot, 0)
            elif self.packet.segmented and self.mss == 0:
                self.breach(card, TX_NO_MSS, slot, self.mss)
        elif extended != self.packet.extended:
            self.breach(card, TX_MIXED, slot, 0)
        if not extended and word & TXD_LEGACY_LENGTH > MAX_TX_BUFFER:
            self.breach(card, TX_LENGTH, slot, word & TXD_LEGACY_LENGTH)
        self.packet.descs += 1
        self.packet.octets += word & (TXD_DATA_LENGTH if extended else TXD_LEGACY_LENGTH)
        if word & TXD_CMD_EOP:
            self.end_packet(card, slot, word)

    cdef void look_at_context(self, Card* card, uint32_t slot, uint64_t offsets, uint64_t word) noexcept nogil:
        """A context descriptor; what it says of segmentation is remembered. An end of 0 is the packet's."""
        cdef uint64_t ip_start = offsets & 0xFF, ip_end = offsets >> 16 & 0xFFFF, start = offsets >> 32 & 0xFF, end = offsets >> 48
        if ip_end and ip_end < ip_start:
            self.breach(card, TX_CONTEXT_RANGE, slot, ip_end)
        if end and end < start:
            self.breach(card, TX_CONTEXT_RANGE, slot, end)
        if word & TXD_CMD_IC:                                   # TSE in a context descriptor
            self.context = True
            self.payload = word & TXD_DATA_LENGTH
            self.header = word >> 40 & 0xFF
            self.mss = word >> 48

    cdef void end_packet(self, Card* card, uint32_t slot, uint64_t word) noexcept nogil:
        """A packet's last descriptor."""
        cdef uint64_t octets = self.packet.octets, start = word >> 40 & 0xFF, target = word >> 16 & 0xFF
        if not word & TXD_CMD_IFCS:
            self.breach(card, TX_NO_IFCS, slot, 0)
        if not self.packet.extended and word & TXD_CMD_IC and (start >= octets or target + CHECKSUM > octets):
            self.breach(card, TX_CHECKSUM_OFFSET, slot, start if start >= octets else target)
        if self.packet.segmented and self.context:
            if self.header == 0 or self.header > octets:
                self.breach(card, TX_HEADER, slot, self.header)
            elif octets != <uint64_t>self.header + self.payload:
                self.breach(card, TX_PAYLOAD, slot, octets)
        memset(&self.packet, 0, sizeof(Packet))
