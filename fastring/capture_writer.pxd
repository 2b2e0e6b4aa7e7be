"""CaptureWriter: the end of a path that writes what it is given to a pcap or pcapng file."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastring.burst cimport Burst, BurstSink, Frame
from fastring.clock cimport Clock


cdef enum:
    EPB_INBOUND = 1                 # epb_flags: direction
    EPB_OUTBOUND = 2
    LONGEST_COMMENT = 1024          # bytes of one packet's; what is longer is cut


cdef class CaptureWriter(BurstSink):
    cdef readonly str filename
    cdef readonly str format            # "pcap" or "pcapng"
    cdef readonly uint32_t snaplen      # bytes kept of one packet at most
    cdef readonly uint16_t linktype
    cdef readonly Clock clock           # stamps what has no time, or None
    cdef readonly uint64_t packets      # written, or buffered to be
    cdef readonly uint64_t bytes        # of those packets, without headers
    cdef readonly uint64_t truncated    # of those packets, cut to snaplen
    cdef readonly uint64_t unstampable  # refused: the format cannot hold their time
    cdef readonly uint64_t lost         # packets offered after, or buffered at, an I/O error or close
    cdef int fd
    cdef bint standard                  # a copy of standard output's
    cdef bint pcapng
    cdef int io_errno                   # of the write that failed, for good; 0: none
    cdef int64_t refused_time           # of the first unstampable packet since the last flush
    cdef uint64_t unreported            # unstampable packets since the last flush
    cdef uint8_t* buffer                # whole records not yet written
    cdef uint32_t used                  # bytes of it
    cdef uint64_t buffered_packets, buffered_bytes

    cdef int _write_packet(self, const Frame* frames, uint32_t pieces) noexcept nogil
    cdef int write_annotated(self, const Frame* frames, uint32_t pieces, uint32_t flags, const char* comment) noexcept nogil
    cdef uint8_t* _begin_record(self, int64_t time, uint32_t caplen, uint32_t wirelen, uint32_t options) noexcept nogil
    cdef int _drain(self) noexcept nogil
