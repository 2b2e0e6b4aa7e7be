"""MDIO, the PHY's two wires (IEEE 802.3 clause 22), as software moves them bit by bit through CTRL."""

from libc.stdint cimport uint16_t, uint32_t

from e1000.device.phy cimport Phy

ctypedef struct Mdio:
    uint32_t edges                  # rising MDC of this frame so far: 0 before its start bits
    uint32_t command                # opcode, PHY and register, as shifted in
    uint16_t data                   # shifted in or out
    bint output                     # what the PHY drives; high when it does not

cdef bint mdio_is_possible(const Mdio* mdio) noexcept nogil
cdef bint mdio_clock(Mdio* mdio, Phy* phy, bint bit) noexcept nogil
