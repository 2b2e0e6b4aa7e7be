"""CaptureMapping: the mapped bytes of a capture file, which outlive the Capture while cursors and bursts point into them."""

import errno
import os

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport errno as libc_errno
from libc.stdint cimport uint64_t

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void* start, size_t length, int advice)
    int mlock(const void* start, size_t length)
    int MADV_NORMAL, MADV_SEQUENTIAL, MADV_WILLNEED

cdef enum:
    MADV_POPULATE_READ = 22         # Linux 5.14; not in older headers
    CHUNK = 1 << 26                 # bytes read between two looks at pending signals


cdef class CaptureMapping(FileMapping):
    """The mapped bytes of a capture file, read-only. Takes over the descriptor, unless it raises."""

    def __cinit__(self, int fd, uint64_t size):
        self.fd = fd
        self.owns = True
        madvise(self.base, size, MADV_SEQUENTIAL)

    def __dealloc__(self):
        if self.owns:
            c_close(self.fd)

    def preload(self):
        """Read all of it into memory, and lock it there if that is allowed; return whether it is. Raises OSError."""
        cdef uint64_t offset, length
        cdef int status
        madvise(self.base, self.size, MADV_NORMAL)           # pages are kept behind the reader, too
        for offset in range(0, self.size, CHUNK):
            length = min(CHUNK, self.size - offset)
            with nogil:
                status = madvise(self.base + offset, length, MADV_POPULATE_READ)
            if status < 0 and libc_errno == errno.EINVAL:           # an older kernel: it reads ahead and does not wait
                madvise(self.base + offset, length, MADV_WILLNEED)
            elif status < 0:
                raise OSError(libc_errno, f"cannot be read into memory: {os.strerror(libc_errno)}")
            PyErr_CheckSignals()
        with nogil:
            status = mlock(self.base, self.size)
        return status == 0
