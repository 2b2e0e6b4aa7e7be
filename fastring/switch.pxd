"""Switch: a learning, VLAN-aware bridge of wires."""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastring.address_table cimport AddressTable
from fastring.burst cimport Frame
from fastring.clock cimport Clock
from fastring.wire cimport Wire

cdef enum:
    MOST_PORTS = 256
    VLANS = 4096
    OUT = 128                       # Frames gathered for a port before they go

# What is gathered for one port.
ctypedef struct Outgoing:
    int port
    int count
    int tag_count
    Frame frames[OUT]
    uint8_t tags[OUT][4]            # of packets that get one

# A packet at the switch.
ctypedef struct Arrived:
    Frame* pieces
    int count
    uint64_t target, sender         # addresses, and the VLAN above
    uint32_t length
    int vlan                        # 0 without filtering
    int tci                         # the tag it has or gets
    int tag_length                  # 4 if it came with a tag


cdef class SwitchPort


cdef class Switch:
    cdef readonly Clock clock
    cdef readonly bint vlan_filtering
    cdef readonly AddressTable table
    cdef PyObject* ports[MOST_PORTS]        # SwitchPorts, or NULL; self._ports holds them
    cdef int port_count             # of the array in use
    cdef list _ports
    cdef int depth                  # of calls within calls
    cdef object epoll               # of the members that have to be polled
    cdef readonly uint64_t flooded
    cdef void forward(self, SwitchPort source, Frame* frames, int n) noexcept nogil
    cdef void forward_one(self, SwitchPort source, Arrived* packet, int64_t now, Outgoing* out) noexcept nogil
    cdef void flood(self, SwitchPort source, Arrived* packet, Outgoing* out) noexcept nogil
    cdef bint admit(self, SwitchPort source, Arrived* packet) noexcept nogil
    cdef bint classify(self, SwitchPort source, Arrived* packet, const uint8_t* header) noexcept nogil
    cdef bint passes(self, int number, int vlan) noexcept nogil
    cdef _remove(self, SwitchPort port)
    cdef void gather(self, SwitchPort target, Arrived* packet, Outgoing* out) noexcept nogil
    cdef void send(self, Outgoing* out) noexcept nogil
    cdef int poll_members(self, int budget) noexcept nogil
    cdef SwitchPort _add(self, Wire member, name, vlan, trunk, bint closes_switch)


cdef class SwitchPort(Wire):
    cdef readonly Switch switch
    cdef readonly str name
    cdef readonly Wire member       # a wire whose frames come and go here, or None: a card does
    cdef int number
    cdef int pvid                   # VLAN of what comes without a tag, 0: none
    cdef bint member_polled, closes_switch
    cdef uint8_t allowed[VLANS]     # whether packets of a VLAN may pass,
    cdef uint8_t untagged[VLANS]    # and leave without a tag
    cdef readonly uint64_t rx_packets, rx_bytes, tx_packets     # that the switch took and forwards, and that left it here
    cdef uint64_t no_vlan, bad_source, reserved, malformed, filtered, full, looped, pieces
    cdef bint lose(self, const Frame* frames, int n, uint64_t* counter, const char* reason) noexcept nogil
    cdef void leave(self, Frame* frames, int n) noexcept nogil
    cdef _join_vlans(self, bint filtering, vlan, tuple trunk)
