"""CaptureMapping: the mapped bytes of a capture file, which outlive the Capture while cursors and bursts point into them."""

import errno
import os

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport errno as libc_errno

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)

cdef extern from "<sys/mman.h>" nogil:
    void* c_mmap "mmap"(void* addr, size_t length, int prot, int flags, int fd, long offset)
    int c_munmap "munmap"(void* addr, size_t length)
    int madvise(void* start, size_t length, int advice)
    int mlock(const void* start, size_t length)
    int PROT_READ, MAP_SHARED, MADV_NORMAL, MADV_SEQUENTIAL, MADV_WILLNEED
    void* MAP_FAILED

cdef enum:
    MADV_POPULATE_READ = 22         # Linux 5.14; not in older headers
    CHUNK = 1 << 26                 # bytes read between two looks at pending signals

cdef extern from "fastring/sigbus.h" nogil:
    """
    static inline const uint32_t* fr_shrunk(const struct fr_guarded* guard) {
        static const uint32_t never;
        return guard ? &guard->shrunk : &never;
    }
    """
    fr_guarded* guard_mapping "fr_guard"(const void* base, uint64_t size)
    void unguard_mapping "fr_unguard"(fr_guarded* guard)
    const uint32_t* fr_shrunk(const fr_guarded* guard)


cdef class CaptureMapping:
    """The mapped bytes of a capture file, read-only. Takes over the descriptor.

    Bytes that the file loses meanwhile read as zeroes, and `shrunk` tells; this holds for 1024 mappings at a time, any further one
    is a SIGBUS then. The handler is SIGBUS's in the whole process and leaves others' faults to the handler before it; one installed
    later is in its way until the next mapping.
    """

    def __cinit__(self, int fd, uint64_t size):
        self.fd = fd
        cdef void* base = c_mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0)
        if base == MAP_FAILED:
            raise OSError(errno.ENOMEM, f"cannot map {size} bytes")
        self.base = <const uint8_t*>base
        self.size = size
        self.guard = guard_mapping(base, size)
        self.shrunk = fr_shrunk(self.guard)
        madvise(base, size, MADV_SEQUENTIAL)

    def __dealloc__(self):
        if self.base != NULL:
            unguard_mapping(self.guard)
            c_munmap(<void*>self.base, self.size)
        if self.fd >= 0:
            c_close(self.fd)

    def preload(self):
        """Read all of it into memory, and lock it there if that is allowed; return whether it is. Raises OSError."""
        cdef uint64_t offset, length
        cdef int status
        madvise(<void*>self.base, self.size, MADV_NORMAL)           # pages are kept behind the reader, too
        for offset in range(0, self.size, CHUNK):
            length = min(CHUNK, self.size - offset)
            with nogil:
                status = madvise(<void*>(self.base + offset), length, MADV_POPULATE_READ)
            if status < 0 and libc_errno == errno.EINVAL:           # an older kernel: it reads ahead and does not wait
                madvise(<void*>(self.base + offset), length, MADV_WILLNEED)
            elif status < 0:
                raise OSError(libc_errno, f"cannot be read into memory: {os.strerror(libc_errno)}")
            PyErr_CheckSignals()
        with nogil:
            status = mlock(self.base, self.size)
        return status == 0

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, <void*>self.base, self.size, True, flags)
