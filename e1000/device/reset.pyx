"""The card's registers at power-up and after a reset (§13.4.1), what it loads from its EEPROM (§5.6), and what follows from them."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from e1000.device.eeprom cimport (
    CONTROL1, CONTROL1_FD, CONTROL1_FRCSPD, CONTROL2, CONTROL2_APM_PME, CONTROL3, CONTROL3_APM, eeprom_is_signed, eeprom_reset,
)
from e1000.device.faults cimport faults_reset
from e1000.device.filter cimport ADDRESS_BITS
from e1000.device.flow cimport flow_reset
from e1000.device.interrupt cimport update_line
from e1000.device.link cimport reset_phy, update_status
from e1000.device.moderation cimport moderation_reset
from e1000.device.rx cimport resize_packet_buffer, rx_configure, rx_tail_moved
from e1000.device.rx_fifo cimport empty_fifo
from e1000.device.state cimport RAR_ENTRIES, REG_WORDS, Card
from e1000.regs cimport *
from fastring.atomic cimport store_release32

from e1000 import regmap


cdef int fill_tables() except -1:
    for offset, (_, register) in regmap.expand((*regmap.REGISTERS, regmap.PACKET_BUFFER, regmap.SEMAPHORE)).items():
        RESET[offset // 4] = register.reset
        STICKY[offset // 4] = register.sticky
    return 0


fill_tables()


cdef void power_up(Card* card) noexcept nogil:
    """The power comes: every register and the PHY as after that."""
    cdef uint32_t i
    for i in range(REG_WORDS):
        if STICKY[i]:
            card.regs[i] = RESET[i]
    card_reset(card)
    reset_phy(card)


cdef void card_reset(Card* card) noexcept nogil:
    """Registers to their reset values (CTRL.RST, §13.4.1); not the sticky ones, PHY, wire and mapping, nor what fastring counts."""
    cdef uint32_t i
    for i in range(REG_WORDS):
        if not STICKY[i]:
            card.regs[i] = RESET[i]
    card.generation += 1
    flow_reset(card)
    memset(&card.mdio, 0, sizeof(card.mdio))
    card.mdio.output = True
    memset(card.stat, 0, sizeof(card.stat))
    card.tdba = card.rdba = 0
    card.tdlen = card.rdlen = 0
    card.tdh = card.rdh = 0
    store_release32(&card.tdt, 0)
    store_release32(&card.rdt, 0)
    card.tctl = card.rctl = 0
    memset(card.tx_context, 0, sizeof(card.tx_context))
    card.tx_segments = 0
    card.tx_owed = False
    card.rx_buffer_size = buffer_size(0)
    empty_fifo(card)
    resize_packet_buffer(card, card.regs[PBA >> 2])
    card.rx_checksums = False
    eeprom_reset(&card.eeprom)
    load_eeprom(card)
    update_status(card)
    card.icr = card.ims = 0
    faults_reset(card)
    moderation_reset(card)
    update_line(card)
    # A wire this card held up is let go: its frames are lost to a receiver that is off, not stuck for ever.
    if not card.threaded:
        rx_tail_moved(card)


cdef void load_eeprom(Card* card) noexcept nogil:
    """What the card takes from its EEPROM, if that has its signature (§5.6): station address, CTRL's defaults, wake-up by APM."""
    cdef uint16_t* words = card.eeprom.words
    cdef bint good = eeprom_is_signed(&card.eeprom)
    cdef uint32_t control = RESET[CTRL >> 2], wake = 0
    if good:
        control = control & ~<uint32_t>CTRL_FD | (CTRL_FD if words[CONTROL1] & CONTROL1_FD else 0)
        wake = (WUC_APME if words[CONTROL3] & CONTROL3_APM else 0) | (WUC_APMPME if words[CONTROL2] & CONTROL2_APM_PME else 0)
        control |= (CTRL_FRCSPD if words[CONTROL1] & CONTROL1_FRCSPD else 0) | (CTRL_SLU if words[CONTROL3] & CONTROL3_APM else 0)
    card.regs[CTRL >> 2] = control
    rx_configure(card)
    card.regs[WUC >> 2] = wake
    card.regs[RAL0 >> 2] = words[0] | <uint32_t>words[1] << 16 if good else 0
    card.regs[RAH0 >> 2] = words[2] | RAH_AV if good else 0
    update_addresses(card)


cdef void update_addresses(Card* card) noexcept nogil:
    """Make the filter's tables from RAL and RAH: valid addresses, by what AS has them compared with. Its other values are reserved."""
    cdef uint32_t i, select
    cdef uint64_t address
    card.ra_count = card.source_count = 0
    for i in range(RAR_ENTRIES):
        address = card.regs[(RAL0 >> 2) + 2 * i] | <uint64_t>card.regs[(RAH0 >> 2) + 2 * i] << 32
        if not address >> 63:           # RAH.AV
            continue
        select = address >> (32 + RAH_AS_SHIFT) & 3
        address &= ADDRESS_BITS
        if select == 0:
            card.ra[card.ra_count] = address
            card.ra_count += 1
        elif select == 1:
            card.source[card.source_count] = address
            card.source_count += 1


cdef uint32_t buffer_size(uint32_t rctl) noexcept nogil:
    """RCTL.BSIZE and BSEX (§13.4.22): 2048, 1024, 512, 256; with BSEX 16384, 8192, 4096, its code 0 being reserved."""
    cdef uint32_t code = rctl >> RCTL_BSIZE_SHIFT & 3
    if rctl & RCTL_BSEX and code:
        return 32768 >> code
    return 2048 >> code
