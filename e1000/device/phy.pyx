"""The PHY's registers and its link. What is at the cable's other end can do all that this PHY can, and advertises it."""

from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.string cimport memset

cdef enum:
    BMCR = 0
    BMSR = 1
    ADVERTISE = 4
    PARTNER = 5
    EXPANSION = 6
    CTRL1000 = 9
    STAT1000 = 10
    SPECIFIC_STATUS = 17
    INTERRUPT_ENABLE = 18
    INTERRUPT_STATUS = 19
    PAGE = 29
    PAGE_DATA = 30

cdef enum:                          # BMCR
    SPEED_HIGH = 1 << 6
    FULL_DUPLEX = 1 << 8
    RESTART = 1 << 9
    POWER_DOWN = 1 << 11
    NEGOTIATE = 1 << 12
    SPEED_LOW = 1 << 13
    LOOPBACK = 1 << 14
    RESET = 1 << 15
    DECIDES_LINK = SPEED_HIGH | FULL_DUPLEX | POWER_DOWN | NEGOTIATE | SPEED_LOW | LOOPBACK

cdef enum:                          # BMSR
    ABILITIES = 0x7949              # 10 and 100 Mbit/s, extended status, preamble suppression, autonegotiation
    LINK = 1 << 2
    NEGOTIATED = 1 << 5

cdef enum:                          # what the other end sends
    PARTNER_ABILITIES = 0x4DE1      # acknowledge, pause in both ways, 10 and 100 Mbit/s
    PARTNER_1000 = 0x0C00           # in STAT1000
    RECEIVERS_OK = 0x3000

cdef enum:                          # ADVERTISE and CTRL1000
    HALF_10 = 1 << 5
    FULL_10 = 1 << 6
    HALF_100 = 1 << 7
    FULL_100 = 1 << 8
    HALF_1000 = 1 << 8
    FULL_1000 = 1 << 9

cdef enum:                          # SPECIFIC_STATUS; its speed is in bits 15:14
    SPECIFIC_LINK = 1 << 10
    SPECIFIC_RESOLVED = 1 << 11
    SPECIFIC_FULL_DUPLEX = 1 << 13

cdef enum:                          # INTERRUPT_STATUS
    LINK_CHANGED = 1 << 10
    NEGOTIATION_COMPLETE = 1 << 11

# Values after a hardware reset, and the bits a write changes; what is not named is 0 and stays 0.
cdef uint16_t RESET_VALUE[PHY_REGISTERS]
cdef uint16_t MASK[PHY_REGISTERS]


cdef int fill_tables() except -1:
    rows = {
        BMCR: (0x1140, 0x7DC0),             # negotiate; without it 1000 Mbit/s, full duplex
        2: (0x0141, 0),                     # identifier: Marvell
        3: (0x0C20, 0),                     # M88E1000, revision 0
        ADVERTISE: (0x0DE1, 0xBFFF),
        7: (0x2001, 0xBFFF),                # next page to send: none
        CTRL1000: (0x0300, 0xFF00),
        15: (0x3000, 0),                    # extended status: 1000BASE-T
        16: (0x0360, 0xFFFF),               # specific control: MDI or MDI-X by itself
        INTERRUPT_ENABLE: (0, 0xFFFF),
        20: (0x0D60, 0xFFFF),               # extended specific control: clocks
        PAGE: (0, 0xFFFF),
    }
    for register, (value, mask) in rows.items():
        RESET_VALUE[register] = value
        MASK[register] = mask
    return 0


fill_tables()


cdef void phy_reset(Phy* phy) noexcept nogil:
    """The hardware reset; the caller lets it look for a link then."""
    cdef uint32_t i
    phy_drop_link(phy)
    for i in range(PHY_REGISTERS):
        phy.regs[i] = RESET_VALUE[i]
    memset(phy.pages, 0, sizeof(phy.pages))
    phy.causes = 0


cdef uint16_t phy_read(Phy* phy, uint32_t register) noexcept nogil:
    """Read a register. BMSR's link bit stays low, once the link failed, until it was read; INTERRUPT_STATUS clears."""
    cdef uint32_t value = phy.regs[register]
    if register == BMSR:
        value = ABILITIES
        if phy.negotiated:
            value |= NEGOTIATED
        if phy.link and not phy.link_failed:
            value |= LINK
        phy.link_failed = not phy.link
    elif register == PARTNER:
        value = PARTNER_ABILITIES if phy.negotiated else 0
    elif register == EXPANSION:
        value = 1 if phy.negotiated else 0          # the other end negotiates too
    elif register == STAT1000:
        value = PARTNER_1000 if phy.negotiated else 0
        if phy.link and phy.speed == 2:
            value |= RECEIVERS_OK
    elif register == SPECIFIC_STATUS:
        value = 0
        if phy.link:
            value = phy.speed << 14 | SPECIFIC_RESOLVED | SPECIFIC_LINK
            if phy.full_duplex:
                value |= SPECIFIC_FULL_DUPLEX
    elif register == INTERRUPT_STATUS:
        value = phy.causes
        phy.causes = 0
    elif register == PAGE_DATA:
        value = phy.pages[phy.regs[PAGE] % PHY_REGISTERS]
    return <uint16_t>value


cdef bint phy_write(Phy* phy, uint32_t register, uint16_t value) noexcept nogil:
    """Write a register; say whether the link has to be made anew. Reset and restart clear themselves."""
    cdef uint16_t old = phy.regs[register]
    if register == PAGE_DATA:
        phy.pages[phy.regs[PAGE] % PHY_REGISTERS] = value
        return False
    phy.regs[register] = (old & ~MASK[register]) | (value & MASK[register])
    if register != BMCR:
        return False
    return value & RESET or value & RESTART and value & NEGOTIATE or (old ^ value) & DECIDES_LINK


cdef void phy_drop_link(Phy* phy) noexcept nogil:
    if phy.link:
        phy.causes |= LINK_CHANGED
    phy.link = phy.negotiated = False
    phy.link_failed = True


cdef int64_t phy_link_delay(const Phy* phy, bint cable) noexcept nogil:
    """ns until phy_make_link may be called, or -1 if there can be no link as things are."""
    cdef uint16_t control = phy.regs[BMCR]
    if control & POWER_DOWN:
        return -1
    if control & LOOPBACK:
        return 0
    if not cable:
        return -1
    return PHY_NEGOTIATION_TIME if control & NEGOTIATE else PHY_FORCED_TIME


cdef void phy_make_link(Phy* phy) noexcept nogil:
    """The best that both ends advertise, or what BMCR says. There is no link if both have nothing in common."""
    cdef uint16_t control = phy.regs[BMCR], advertised = phy.regs[ADVERTISE], gigabit = phy.regs[CTRL1000]
    phy.link = True
    if not control & NEGOTIATE or control & LOOPBACK:
        phy.speed = 2 if control & SPEED_HIGH else 1 if control & SPEED_LOW else 0
        phy.full_duplex = (control & FULL_DUPLEX) != 0
    else:
        phy.negotiated = True
        phy.causes |= NEGOTIATION_COMPLETE
        if gigabit & (FULL_1000 | HALF_1000):
            phy.speed = 2
            phy.full_duplex = (gigabit & FULL_1000) != 0
        elif advertised & (FULL_100 | HALF_100):
            phy.speed = 1
            phy.full_duplex = (advertised & FULL_100) != 0
        else:
            phy.speed = 0
            phy.full_duplex = (advertised & FULL_10) != 0
            phy.link = (advertised & (FULL_10 | HALF_10)) != 0
    if phy.link:
        phy.causes |= LINK_CHANGED


cdef bint phy_loops_back(Phy* phy) noexcept nogil:
    """Whether what the card sends comes back from here."""
    return phy.link and phy.regs[BMCR] & LOOPBACK


cdef bint phy_interrupts(Phy* phy) noexcept nogil:
    """Whether its interrupt pin is asserted."""
    return (phy.causes & phy.regs[INTERRUPT_ENABLE]) != 0


cdef bint phy_is_possible(const Phy* phy) noexcept nogil:
    """Whether a PHY can be in this state: for one that comes out of a snapshot."""
    cdef int i
    for i in range(PHY_REGISTERS):
        if phy.regs[i] & ~(MASK[i] | RESET_VALUE[i]):
            return False
    return (phy.speed <= 2 and 0 <= phy.link <= 1 and 0 <= phy.link_failed <= 1 and 0 <= phy.negotiated <= 1
            and 0 <= phy.full_duplex <= 1)
