"""Capture: a pcap or pcapng file mapped for reading, and the cursor that hands its frames on in bursts."""

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from fastring.burst cimport Burst, BurstSource
from fastring.capture_mapping cimport CaptureMapping
from fastring.capture_records cimport Record, RecordReader


cdef class Capture:
    cdef readonly str filename
    cdef readonly str format        # "pcap" or "pcapng"
    cdef readonly str byteorder     # "little" or "big"; pcapng: of the first section
    cdef readonly tuple version     # (major, minor)
    cdef readonly bint compressed
    cdef readonly object linktype   # of a pcap's header; None for pcapng, where each interface has its own
    cdef readonly object snaplen    # likewise
    cdef readonly object fcs_length     # bytes of frame check sequence behind each frame, if a pcap's header tells; else None
    cdef readonly object linktypes  # those accepted, or None: any
    cdef CaptureMapping mapping     # None once closed
    cdef RecordReader start         # at the first record
    cdef uint8_t accepted[8192]     # linktypes as a bitmap
    cdef str cut_short              # why a compressed capture breaks off, or None
    cdef object _error(self, RecordReader* r)
    cdef int _open_pcap(self, bytes head) except -1
    cdef int _open_pcapng(self) except -1


cdef class CaptureCursor(BurstSource):
    cdef readonly Capture capture
    cdef readonly uint64_t frames   # delivered since the start or rewind
    cdef readonly uint64_t loops, empty    # whole passes over the file
    cdef CaptureMapping mapping
    cdef RecordReader reader
    cdef uint64_t limit, loop, frames_before, base_iova
    cdef bint mapped_for_dma, finished
    cdef uint16_t queue             # Frame.queue of what it gives
    cdef int next_frame(self, Record* record) noexcept nogil
