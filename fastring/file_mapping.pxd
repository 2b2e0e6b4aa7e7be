"""FileMapping: the bytes of a file that others may write, or cut short, mapped without harm to this process."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    struct fr_guarded;
    """
    struct fr_guarded:
        pass


cdef class FileMapping:
    cdef uint8_t* base              # of `size` bytes from the offset on, which need not begin a page
    cdef readonly uint64_t size
    cdef readonly bint writable
    cdef uint64_t lead              # bytes that are mapped before them
    cdef uint64_t mapped            # bytes in all, whole pages
    cdef fr_guarded* guard          # NULL: not guarded
    cdef const uint32_t* shrunk     # not 0: the file lost bytes, and zeroes are in their place
