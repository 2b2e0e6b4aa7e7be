"""A fuzzer's input as a script: bytes are taken from the front, and past the end there are zeros."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cpdef enum:                         # an action's first byte, modulo 32. Add behind the last: old inputs keep their sense
    NOTHING
    WRITE                           # register of the table, value
    WRITE_ANY                       # u16 register number, value, width
    READ                            # register of the table
    READ_ANY                        # u16 register number, width
    FLIP                            # register of the table, bit
    IO                              # read or write, offset, width, value
    CONFIG                          # read or write, offset, width, value
    MEMORY                          # address, length, bytes
    TX_DESCRIPTORS                  # slot, count, and each descriptor
    RX_DESCRIPTORS                  # slot, count, and each address
    RINGS                           # both rings as a driver sets them up
    DOORBELL                        # TDT or RDT on by so many
    FRAMES                          # frames arrive
    PACKET                          # a packet into guest memory
    TSO                             # a context, a header and data descriptors, and the doorbell
    CLOCK                           # time passes
    WIRE                            # room on the wire, echo, re-entry
    CABLE                           # plugged or pulled
    PHY                             # register, value, or read
    EEPROM                          # a Microwire instruction, bit by bit
    RESET                           # CTRL.RST, CTRL.PHY_RST, CTRL_EXT.EE_RST
    SNAPSHOT                        # saved, and restored into the same card
    FORGE                           # restored from what was saved before, some bytes of it changed
    WATCH                           # strict mode, recording and faults, on or off
    MDIO                            # a frame to the PHY, bit by bit through CTRL

ctypedef struct Script:
    const uint8_t* at
    const uint8_t* end


cdef inline bint ended(const Script* script) noexcept nogil:
    return script.at >= script.end


cdef inline uint32_t u8(Script* script) noexcept nogil:
    if script.at >= script.end:
        return 0
    script.at += 1
    return (script.at - 1)[0]


cdef inline uint32_t u16(Script* script) noexcept nogil:
    cdef uint32_t low = u8(script)
    return low | u8(script) << 8


cdef inline uint32_t u32(Script* script) noexcept nogil:
    cdef uint32_t low = u16(script)
    return low | u16(script) << 16


cdef inline uint64_t u64(Script* script) noexcept nogil:
    cdef uint64_t low = u32(script)
    return low | <uint64_t>u32(script) << 32
