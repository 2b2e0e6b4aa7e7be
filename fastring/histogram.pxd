"""Histogram: values to 1 in 128, over all of 64 bits, in constant memory."""

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    SUB_BUCKETS = 256               # of the first bucket, one for each value; the others have the upper half of as many
    HALF = 128
    COUNTS = 56 * HALF + HALF       # up to 2^63

cdef extern from *:
    """
    static inline int fastring_log2(unsigned long long x) { return 63 - __builtin_clzll(x); }
    """
    int log2_of "fastring_log2"(uint64_t x) noexcept nogil

ctypedef struct Counts:
    uint64_t total, sum, least, most
    double squares                  # sum of squares, for the deviation
    uint64_t count[COUNTS]


cdef inline uint32_t index_of(uint64_t value) noexcept nogil:
    """Where a value below 2^63 is counted: its bucket is how far it must be shifted to fit eight bits."""
    cdef int bucket = log2_of(value | (SUB_BUCKETS - 1)) - 7
    return bucket * HALF + <uint32_t>(value >> bucket)


cdef inline void record(Counts* counts, uint64_t value) noexcept nogil:
    counts.count[index_of(value)] += 1
    counts.total += 1
    counts.sum += value
    counts.squares += <double>value * <double>value
    if value < counts.least:
        counts.least = value
    if value > counts.most:
        counts.most = value


cdef class Histogram:
    cdef Counts counts
