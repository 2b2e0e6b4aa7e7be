"""RxSkbs: received packets as SkBuffs, with what the card found out about each."""

from cython cimport final
from libc.stdint cimport uint64_t

from fastring.burst cimport Burst, BurstSink


@final
cdef class RxSkbs(BurstSink):
    cdef uint64_t* words            # of each packet in the burst, at its first Frame: its last descriptor's second word
    cdef object receiver, errors
    cdef readonly uint64_t csum_good, csum_errors
    cdef readonly uint64_t failed   # packets of which a handler raised an error

    cdef int receive(self, Burst burst) except -1
    cdef int describe(self, skb, uint64_t word) except -1
