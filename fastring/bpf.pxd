"""Filter expressions as tcpdump has them, compiled and run by libpcap."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastring.burst cimport Burst, BurstSink, BurstSource, Frame

cdef extern from *:
    """
    #include <stdint.h>
    #include <sys/time.h>
    /* As pcap/pcap.h and pcap/bpf.h have them: libpcap's binary interface, which no compiler here needs its headers for. */
    typedef struct fastring_pcap_pkthdr { struct timeval ts; uint32_t caplen, len; } fastring_pcap_pkthdr;
    typedef struct fastring_bpf_program { unsigned int bf_len; void *bf_insns; } fastring_bpf_program;
    typedef int (*fastring_offline_filter)(const fastring_bpf_program *, const fastring_pcap_pkthdr *, const uint8_t *);
    typedef void (*fastring_free_code)(fastring_bpf_program *);
    """
    ctypedef struct pcap_pkthdr "fastring_pcap_pkthdr":
        uint32_t caplen
        uint32_t len
    ctypedef struct bpf_program "fastring_bpf_program":
        unsigned int bf_len
        void* bf_insns
    ctypedef int (*offline_filter "fastring_offline_filter")(const bpf_program*, const pcap_pkthdr*, const uint8_t*) noexcept nogil
    ctypedef void (*free_code "fastring_free_code")(bpf_program*) noexcept


cdef class Program:
    cdef readonly str expression
    cdef readonly int linktype
    cdef bpf_program program
    cdef offline_filter run
    cdef free_code free             # libpcap's pcap_freecode, which an object would not lead to any more out of a reference cycle


# One packet at a time in one piece, for a Program, which reads no other.
cdef class Matcher:
    cdef readonly Program program
    cdef uint8_t* whole             # a packet that came in pieces
    cdef uint64_t size
    cdef bint matches(self, const Frame* pieces, uint32_t n) noexcept nogil
    cdef bint gather(self, const Frame* pieces, uint32_t n, uint64_t length) noexcept nogil


cdef class FilterSource(BurstSource):
    cdef readonly BurstSource source
    cdef Matcher matcher
    cdef uint64_t limit
    cdef object problem
    cdef readonly uint64_t packets      # that passed
    cdef readonly uint64_t filtered     # that did not
    cdef uint32_t keep_matches(self, Burst burst) noexcept nogil
    cdef bint interrupted(self) noexcept nogil


cdef class FilterSink(BurstSink):
    cdef readonly BurstSink sink
    cdef Matcher matcher
    cdef Burst passed
    cdef readonly uint64_t packets      # that passed
    cdef readonly uint64_t filtered     # that did not
