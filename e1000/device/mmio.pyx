"""Register accesses in BAR0: tables made from regmap for what only stores or counts, functions for the rest."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from e1000.device.eeprom cimport read_eecd, write_eecd, write_eerd
from e1000.device.faults cimport assert_again, forget_late, settle
from e1000.device.flow cimport flow_send_by_software
from e1000.device.interrupt cimport raise_cause, read_icr, update_line
from e1000.device.link cimport detect_speed, move_mdio, read_ctrl, reset_phy, update_path, update_status, write_mdic
from e1000.device.moderation cimport derive_moderation, write_moderation
from e1000.device.pci cimport pci_load_ids
from e1000.device.reset cimport RESET, STICKY, buffer_size, card_reset, load_eeprom, update_addresses
from e1000.device.rx cimport resize_packet_buffer, rx_configure, rx_tail_moved
from e1000.device.state cimport BAR0_SIZE, GENERAL_PROCESS, RAR_ENTRIES, REG_WORDS, Card
from e1000.device.statistics cimport stat_index
from e1000.device.threshold cimport derive_thresholds, flush_receive, flush_transmit
from e1000.device.tx cimport tx_run
from e1000.device.wakeup cimport read_wuc, write_wuc
from e1000.device.watch cimport RING_RX, RING_TX, watched_read, watched_write
from e1000.regs cimport *
from fastring.atomic cimport load_acquire32, load_relaxed32, store_release32

from e1000 import regmap

cdef enum Kind:
    UNMAPPED                        # reads 0, a write is lost
    STORED
    STAT
    STAT64_LOW
    STAT64_HIGH
    SPECIAL

cdef uint8_t KIND[REG_WORDS]
cdef uint32_t MASK[REG_WORDS]


cdef int fill_tables() except -1:
    kinds = {regmap.Access.RW: STORED, regmap.Access.RO: STORED, regmap.Access.STAT: STAT,
             regmap.Access.STAT64_LOW: STAT64_LOW, regmap.Access.STAT64_HIGH: STAT64_HIGH, regmap.Access.SPECIAL: SPECIAL}
    for offset, (_, register) in regmap.expand((*regmap.REGISTERS, regmap.PACKET_BUFFER, regmap.SEMAPHORE)).items():
        KIND[offset // 4] = kinds[register.access]
        MASK[offset // 4] = 0 if register.access is regmap.Access.RO else register.mask
    return 0


fill_tables()


cdef uint32_t mmio_read(Card* card, uint32_t offset) noexcept nogil:
    """A host reads a 32-bit register."""
    if card.watch != NULL:
        return watched_read(card, offset & (BAR0_SIZE - 4))
    return register_read(card, offset)


cdef uint32_t register_read(Card* card, uint32_t offset) noexcept nogil:
    """Read a 32-bit register. Side effects as the manual has them: ICR and statistics clear."""
    cdef uint32_t i = (offset & (BAR0_SIZE - 1)) >> 2, value
    cdef uint64_t* stat
    cdef Kind kind = <Kind>KIND[i]
    if card.tx_owed:
        kick_tx(card)
    if kind == STORED:
        return card.regs[i]
    if kind == SPECIAL:
        return read_special(card, i << 2)
    if kind == UNMAPPED:
        return 0
    value = <uint32_t>register_peek(card, i << 2)
    stat = &card.stat[stat_index(i << 2)]
    if kind == STAT:
        stat[0] = 0
    elif kind == STAT64_HIGH:
        (stat - 1)[0] = 0           # reading the high half clears both (§13.7.1)
    return value


cdef uint64_t register_peek(Card* card, uint32_t offset) noexcept nogil:
    """A register's value without side effects."""
    cdef uint32_t i = (offset & (BAR0_SIZE - 1)) >> 2
    cdef uint64_t* stat
    cdef Kind kind = <Kind>KIND[i]
    if kind == STORED:
        return card.regs[i]
    if kind == UNMAPPED:
        return 0
    if kind == SPECIAL:
        return card.icr if i << 2 == ICR else read_special(card, i << 2)
    stat = &card.stat[stat_index(i << 2)]
    if kind == STAT64_LOW:
        return <uint32_t>stat[0]
    if kind == STAT64_HIGH:
        return (stat - 1)[0] >> 32
    return stat[0] if stat[0] < 0xFFFFFFFFu else 0xFFFFFFFFu    # a statistic stays at its maximum


cdef uint32_t read_special(Card* card, uint32_t offset) noexcept nogil:
    if offset == ICR:
        return read_icr(card)
    if offset == IMS:
        return card.ims
    if offset == RCTL:
        return card.rctl
    if offset == TCTL:
        return card.tctl
    if offset == TDH:
        return load_acquire32(&card.tdh)
    if offset == TDT:
        return load_relaxed32(&card.tdt)
    if offset == RDH:
        return load_acquire32(&card.rdh)
    if offset == RDT:
        return load_relaxed32(&card.rdt)
    if offset == TDLEN:
        return card.tdlen
    if offset == RDLEN:
        return card.rdlen
    if offset == TDBAL:
        return <uint32_t>card.tdba
    if offset == TDBAH:
        return <uint32_t>(card.tdba >> 32)
    if offset == RDBAL:
        return <uint32_t>card.rdba
    if offset == RDBAH:
        return <uint32_t>(card.rdba >> 32)
    if offset == ICS or offset == IMC:
        return 0                    # write-only
    if offset == CTRL or offset == CTRL_DUP:
        return read_ctrl(card)
    if offset == WUC:
        return read_wuc(card)
    if offset == EECD:
        return read_eecd(&card.eeprom)
    if offset == EERD:
        return card.eeprom.eerd
    return card.regs[offset >> 2]   # CTRL_EXT, STATUS, MDIC, RAL, RAH, VET, FCT, PBA, RXCSUM


cdef void mmio_write(Card* card, uint32_t offset, uint32_t value) noexcept nogil:
    """A host writes a 32-bit register."""
    if card.watch != NULL:
        watched_write(card, offset & (BAR0_SIZE - 4), value)
    else:
        register_write(card, offset, value)


cdef void register_write(Card* card, uint32_t offset, uint32_t value) noexcept nogil:
    """Write a 32-bit register and do what it sets off."""
    cdef uint32_t i = (offset & (BAR0_SIZE - 1)) >> 2
    if card.tx_owed:
        kick_tx(card)
    if KIND[i] == STORED:
        card.regs[i] = (card.regs[i] & ~MASK[i]) | (value & MASK[i])
    elif KIND[i] == SPECIAL:
        write_special(card, i << 2, value & MASK[i])


cdef void write_special(Card* card, uint32_t offset, uint32_t value) noexcept nogil:
    if offset == TDT:
        store_release32(&card.tdt, value)
        kick_tx(card)
    elif offset == RDT:
        store_release32(&card.rdt, value)
        kick_rx(card)
    elif offset == IMS:
        card.ims |= value
        update_line(card)
    elif offset == IMC:
        card.ims &= ~value
        update_line(card)
    elif offset == ICS:
        assert_again(card)
        raise_cause(card, value)
    elif offset == ICR:
        card.icr &= ~value          # write 1 to clear, besides reading
        update_line(card)
    elif offset == RCTL:
        card.rctl = value
        card.rx_buffer_size = buffer_size(value)
        rx_configure(card)
        if not value & RCTL_EN:
            flush_receive(card)     # the host may take the ring away
            settle(card, RING_RX)
        update_path(card)
        kick_rx(card)
    elif offset == TCTL:
        card.tctl = value
        if not value & TCTL_EN:
            flush_transmit(card)
            settle(card, RING_TX)
        flow_send_by_software(card)
        kick_tx(card)
    elif offset == CTRL or offset == CTRL_DUP:
        write_ctrl(card, value)
    elif offset == EECD:
        write_eecd(&card.eeprom, value)
    elif offset == EERD:
        write_eerd(&card.eeprom, value)
    elif offset == MDIC:
        write_mdic(card, value)
    elif offset == CTRL_EXT:
        card.regs[CTRL_EXT >> 2] = value & ~<uint32_t>(CTRL_EXT_EE_RST | CTRL_EXT_ASDCHK)
        if value & CTRL_EXT_ASDCHK:
            detect_speed(card)
        if value & CTRL_EXT_EE_RST:
            load_eeprom(card)
            pci_load_ids(card)
            update_status(card)
    elif offset == WUC:
        write_wuc(card, value)
    elif offset == WUS:
        card.regs[WUS >> 2] &= ~value           # write 1 to clear
    elif offset == PBA:
        resize_packet_buffer(card, value)
    elif offset == VET or offset == FCT or offset == RXCSUM:
        card.regs[offset >> 2] = value
        card.rx_checksums |= offset == RXCSUM
        rx_configure(card)
    elif offset == ITR or offset == RDTR or offset == RXDCTL or offset == RSRPD or offset == TIDV or offset == TXDCTL:
        write_moderation(card, offset, value)
    elif RAL0 <= offset < RAL0 + 8 * RAR_ENTRIES:
        card.regs[offset >> 2] = value
        update_addresses(card)
    else:
        write_ring(card, offset, value)


cdef void write_ring(Card* card, uint32_t offset, uint32_t value) noexcept nogil:
    """Ring bases, lengths and heads."""
    card.generation += 1
    card.tx_segments = 0
    if offset < TDBAL:
        card.rx_kept.count = 0      # where it was kept for is gone
        forget_late(card, RING_RX)
    else:
        card.tx_kept.count = 0
        forget_late(card, RING_TX)
    if offset == TDBAL:
        card.tdba = (card.tdba & 0xFFFFFFFF00000000ull) | value
    elif offset == TDBAH:
        card.tdba = (card.tdba & 0xFFFFFFFFu) | <uint64_t>value << 32
    elif offset == TDLEN:
        card.tdlen = value
    elif offset == TDH:
        card.tdh = value
    elif offset == RDBAL:
        card.rdba = (card.rdba & 0xFFFFFFFF00000000ull) | value
    elif offset == RDBAH:
        card.rdba = (card.rdba & 0xFFFFFFFFu) | <uint64_t>value << 32
    elif offset == RDLEN:
        card.rdlen = value
    elif offset == RDH:
        card.rdh = value


cdef void kick_tx(Card* card) noexcept nogil:
    """A doorbell runs the engine here, unless a DeviceThread does."""
    if not card.threaded:
        tx_run(card)


cdef void kick_rx(Card* card) noexcept nogil:
    if not card.threaded:
        rx_tail_moved(card)


cdef void write_ctrl(Card* card, uint32_t value) noexcept nogil:
    """CTRL: resets, which clear themselves, and the link (§13.4.1)."""
    cdef uint32_t old = card.regs[CTRL >> 2]
    if value & CTRL_RST:
        card_reset(card)
        return
    card.regs[CTRL >> 2] = value & ~CTRL_PHY_RST
    move_mdio(card, old)
    rx_configure(card)
    if value & CTRL_PHY_RST:
        reset_phy(card)
    update_status(card)


# --- snapshots ---

cdef void derive(Card* card) noexcept nogil:
    """Work out what follows from registers, and changes nothing else."""
    card.rx_buffer_size = buffer_size(card.rctl)
    update_addresses(card)
    card.tx_general &= GENERAL_PROCESS
    card.rx_general &= GENERAL_PROCESS
    rx_configure(card)
    derive_thresholds(card)
    derive_moderation(card)


cdef bint registers_are_possible(const Card* card) noexcept nogil:
    """Whether no register has a bit that it cannot have; PBA and STATUS, which follow from others, are looked at elsewhere."""
    cdef uint32_t i, possible
    for i in range(REG_WORDS):
        possible = MASK[i] | RESET[i] if KIND[i] == STORED or KIND[i] == SPECIAL else 0
        if card.regs[i] & ~possible and i != PBA >> 2 and not (STICKY[i] and MASK[i] == 0):        # WUPM keeps a packet
            return False
    return not (card.rctl & ~MASK[RCTL >> 2] or card.tctl & ~MASK[TCTL >> 2] or card.icr & ~MASK[ICS >> 2] or card.ims & ~MASK[IMS >> 2]
                or card.tdlen & ~MASK[TDLEN >> 2] or card.rdlen & ~MASK[RDLEN >> 2] or card.tdba & 15 or card.rdba & 15)
