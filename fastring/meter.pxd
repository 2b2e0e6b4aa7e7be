"""MeterWire: how much passes a wire, each way."""

from libc.stdint cimport uint64_t

from fastring.clock cimport Clock
from fastring.wrapper cimport WrapperWire


cdef class MeterWire(WrapperWire):
    cdef Clock clock
    # Each written by the thread of the engines alone, and read by any
    cdef uint64_t tx_packet_count, tx_byte_count, rx_packet_count, rx_byte_count
