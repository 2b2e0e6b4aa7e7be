"""MDIO, the PHY's two wires (IEEE 802.3 clause 22), as software moves them bit by bit through CTRL.

A frame is start (01), opcode, PHY, register, a turnaround of two bits and 16 of data, one at each rising MDC. The PHY drives after
an edge what is sampled at the next: zero at the end of the turnaround, then data.
"""

from libc.stdint cimport uint16_t

from e1000.device.phy cimport PHY_ADDRESS, PHY_REGISTERS, Phy, phy_read, phy_write

cdef enum:                          # edges at which a part of the frame is complete
    START = 2
    COMMAND = 14
    DATA = 16
    END = 32

cdef enum Opcode:
    WRITE = 1
    READ = 2


cdef inline bint addressed(Mdio* mdio, Opcode opcode) noexcept nogil:
    """Whether the command is this one and for this PHY."""
    return mdio.command >> 10 == opcode and (mdio.command >> 5 & 31) == PHY_ADDRESS


cdef bint mdio_is_possible(const Mdio* mdio) noexcept nogil:
    """Whether the wires can be in this state: for those that come out of a snapshot."""
    return mdio.edges < END and mdio.command >> (COMMAND - START) == 0 and 0 <= mdio.output <= 1


cdef bint mdio_clock(Mdio* mdio, Phy* phy, bint bit) noexcept nogil:
    """One rising MDC with MDIO at `bit`; returns whether the link has to be made anew."""
    cdef bint restart = False
    mdio.edges += 1
    if mdio.edges <= START:
        if bit != (mdio.edges == START):
            mdio.edges = not bit            # still the preamble, or the zero of a start
        mdio.command = 0
    elif mdio.edges <= COMMAND:
        mdio.command = mdio.command << 1 | bit
        if mdio.edges == COMMAND and addressed(mdio, READ):
            mdio.data = phy_read(phy, mdio.command & (PHY_REGISTERS - 1))
    elif addressed(mdio, READ):
        mdio.output = mdio.edges >= DATA and mdio.data >> 15
        if mdio.edges >= DATA:
            mdio.data = <uint16_t>(mdio.data << 1)
    elif mdio.edges > DATA:
        mdio.data = <uint16_t>(mdio.data << 1 | bit)
        if mdio.edges == END and addressed(mdio, WRITE):
            restart = phy_write(phy, mdio.command & (PHY_REGISTERS - 1), mdio.data)
    if mdio.edges == END:
        mdio.edges = 0
    if mdio.edges <= COMMAND:
        mdio.output = True
    return restart
