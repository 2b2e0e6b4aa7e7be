"""FileMapping: the bytes of a file that others may write, or cut short, mapped without harm to this process."""

import errno
import os

from cpython.buffer cimport PyBuffer_FillInfo
from libc.errno cimport errno as libc_errno

cdef extern from "<sys/mman.h>" nogil:
    void* c_mmap "mmap"(void* addr, size_t length, int prot, int flags, int fd, long offset)
    int c_munmap "munmap"(void* addr, size_t length)
    int PROT_NONE, PROT_READ, PROT_WRITE, MAP_SHARED
    void* MAP_FAILED

cdef extern from "fastring/sigbus.h" nogil:
    """
    static inline const uint32_t* fr_shrunk(const struct fr_guarded* guard) {
        static const uint32_t never;
        return guard ? &guard->shrunk : &never;
    }
    """
    uint64_t page_of "fr_page_of"(int fd)
    fr_guarded* guard_mapping "fr_guard"(const void* base, uint64_t size, uint64_t page, uint32_t protection)
    void unguard_mapping "fr_unguard"(fr_guarded* guard)
    const uint32_t* fr_shrunk(const fr_guarded* guard)


cdef class FileMapping:
    """`size` bytes of the file behind `fd` from `offset` on, shared with whoever else has it. The descriptor stays the caller's.

    Bytes that the file loses meanwhile read as zeroes, and `shrunk` tells; this holds for 1024 mappings at a time, any further one
    is not `guarded`: a SIGBUS then. The handler is SIGBUS's in the whole process and leaves others' faults to the handler before it; one
    installed later is in its way until the next mapping. Raises OSError as mmap does, EINVAL for what no file can be long enough for.
    """

    def __cinit__(self, int fd, uint64_t size, *, uint64_t offset=0, bint readable=True, bint writable=False):
        cdef int protection = (PROT_READ if readable else PROT_NONE) | (PROT_READ | PROT_WRITE if writable else 0)
        cdef void* whole
        cdef uint64_t page = page_of(fd)
        self.lead = offset % page
        if size == 0 or offset > <uint64_t>1 << 62 or size > <uint64_t>1 << 62:
            raise OSError(errno.EINVAL, f"{size} bytes at offset {offset:#x} cannot be mapped")
        self.mapped = (self.lead + size + page - 1) // page * page      # munmap wants whole huge pages
        whole = c_mmap(NULL, self.mapped, protection, MAP_SHARED, fd, <long>(offset - self.lead))
        if whole == MAP_FAILED:
            raise OSError(libc_errno, f"cannot map {size} bytes at offset {offset:#x}: {os.strerror(libc_errno)}")
        self.base = <uint8_t*>whole + self.lead
        self.size = size
        self.writable = writable
        self.guard = guard_mapping(whole, self.mapped, page, <uint32_t>protection)
        self.shrunk = fr_shrunk(self.guard)

    def __dealloc__(self):
        if self.base != NULL:
            unguard_mapping(self.guard)
            c_munmap(self.base - self.lead, self.mapped)

    @property
    def guarded(self):
        """Whether a file that shrinks does no harm."""
        return self.guard != NULL

    @property
    def address(self):
        """Of the first byte in this process."""
        return <uint64_t>self.base

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.base, <Py_ssize_t>self.size, not self.writable, flags)

    def __repr__(self):
        return f"<{type(self).__name__}: {self.size} bytes{'' if self.guarded else ', not guarded'}>"
