"""CaptureMapping: the mapped bytes of a capture file, which outlive the Capture while cursors and bursts point into them."""

import errno

from cpython.buffer cimport PyBuffer_FillInfo

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)

cdef extern from "<sys/mman.h>" nogil:
    void* c_mmap "mmap"(void* addr, size_t length, int prot, int flags, int fd, long offset)
    int c_munmap "munmap"(void* addr, size_t length)
    int madvise(void* start, size_t length, int advice)
    int PROT_READ, MAP_SHARED, MADV_SEQUENTIAL
    void* MAP_FAILED


cdef class CaptureMapping:
    """The mapped bytes of a capture file, read-only. Takes over the descriptor."""

    def __cinit__(self, int fd, uint64_t size):
        self.fd = fd
        cdef void* base = c_mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0)
        if base == MAP_FAILED:
            raise OSError(errno.ENOMEM, f"cannot map {size} bytes")
        self.base = <const uint8_t*>base
        self.size = size
        madvise(base, size, MADV_SEQUENTIAL)

    def __dealloc__(self):
        if self.base != NULL:
            c_munmap(<void*>self.base, self.size)
        if self.fd >= 0:
            c_close(self.fd)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, <void*>self.base, self.size, True, flags)
