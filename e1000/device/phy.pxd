"""The PHY, an M88E1000: its registers (IEEE 802.3 clause 22 and 40, and its own), and the link it makes. It knows no card."""

from libc.stdint cimport int64_t, uint16_t, uint32_t

cdef enum:
    PHY_REGISTERS = 32
    PHY_ADDRESS = 1                         # on the MDIO bus

cdef enum:                                  # ns from the cable, or a restart, to the link
    PHY_NEGOTIATION_TIME = 1_500_000_000    # 1000BASE-T: pages, training and master/slave take one to three seconds
    PHY_FORCED_TIME = 100_000_000

ctypedef struct Phy:
    uint16_t regs[PHY_REGISTERS]            # what only stores
    uint16_t pages[PHY_REGISTERS]           # what register 30 leads to, by register 29
    uint16_t causes                         # register 19
    bint link
    bint link_failed                        # since BMSR was read
    bint negotiated                         # autonegotiation is complete
    bint full_duplex                        # of the link
    uint32_t speed                          # of the link: 0, 1, 2 for 10, 100, 1000 Mbit/s, as in STATUS

cdef void phy_reset(Phy* phy) noexcept nogil
cdef uint16_t phy_read(Phy* phy, uint32_t register) noexcept nogil
cdef bint phy_write(Phy* phy, uint32_t register, uint16_t value) noexcept nogil
cdef void phy_drop_link(Phy* phy) noexcept nogil
cdef int64_t phy_link_delay(const Phy* phy, bint cable) noexcept nogil
cdef void phy_make_link(Phy* phy) noexcept nogil
cdef bint phy_loops_back(Phy* phy) noexcept nogil
cdef bint phy_interrupts(Phy* phy) noexcept nogil
cdef bint phy_is_possible(const Phy* phy) noexcept nogil
