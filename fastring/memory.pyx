"""Arena and AddressSpace: the memory both halves share, and the only way a device reaches it.

An Arena is a sealed memfd: its size can never change, so a peer that holds its descriptor cannot make an access fault.
A bus address (IOVA) is never a pointer. A device turns one into a pointer only through `translate`, which checks
the whole access against one mapped region; anything else is a counted master abort.

Why not multiprocessing.shared_memory: before Python 3.13 an unrelated process that attaches and exits unlinks the segment.
"""

import errno
import fcntl
import mmap
import os

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from libc.stdlib cimport free, realloc
from libc.string cimport memmove, memset

from fastring.pages cimport bind_to_node, populate
from fastring.pages import check_node, huge_memfd, why_no_huge_pages
from fastring.sanitize cimport poison, unpoison

cdef extern from "<sys/mman.h>" nogil:
    void* c_mmap "mmap"(void* addr, size_t length, int prot, int flags, int fd, long offset)
    int c_munmap "munmap"(void* addr, size_t length)
    int PROT_NONE, PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS, MAP_SHARED, MAP_FIXED, MAP_NORESERVE
    void* MAP_FAILED

cdef uint64_t PAGE = mmap.PAGESIZE
cdef uint64_t IOVA_FIRST = 1 << 20      # below lie the holes of a PC's memory map (VGA, ROMs): easier to read in a trace, too

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def _pages_of(uint64_t size):
    return f"{size >> 20} MB pages" if size >= 1 << 20 else f"{size >> 10} KB pages"


cdef class Arena:
    """One block of memory that processes can share, DMA-coherent by construction.

    ``Arena(size)`` makes a new one, rounded up to whole pages and zeroed; ``Arena.attach(fd)`` maps a peer's.
    `huge_pages`: True for 2 MB pages or an OSError that says why there are none; "try" for such pages where there are some, `pages`
    telling what it became and why. `numa_node`: all memory on that node, an OSError ENODEV where the machine has none such.
    Supports the buffer protocol (the whole arena, as bytes). Control plane only; alloc, free, close: any thread.

    Raises OSError: ENOMEM, or EPERM for a descriptor that is not sealed against resizing.
    """

    def __cinit__(self, size=None, *, str name="fastring", huge_pages=False, numa_node=None, int _fd=-1, bint _writable=True):
        self.fd = -1
        self.name = name
        self.writable = _writable
        self.numa_node = numa_node
        self._allocated = {}
        self._pid = os.getpid()
        if _fd >= 0:
            self.fd = _fd
            self.size = os.fstat(_fd).st_size
            self.page_size = os.fstatvfs(_fd).f_bsize
            self.pages = _pages_of(self.page_size)
            self._map()
            self._holes = []            # the maker alone allocates
            return
        if size is None or not 0 < size < 1 << 46:
            raise ValueError(f"Arena size must be 1 byte to 64 TiB, not {size}")
        if huge_pages not in (False, True, "try"):
            raise ValueError(f"huge_pages is True, False or 'try', not {huge_pages!r}")
        if numa_node is not None:
            check_node(numa_node)
        why = ""
        if huge_pages:
            why = self._make_huge(size)
            if why and huge_pages is True:
                raise OSError(errno.ENOMEM, f"no huge pages for Arena {name!r}: {why}")
        if self.base == NULL:
            self._make(os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), PAGE, size)
        self.pages = _pages_of(self.page_size) + (f"; no huge pages: {why}" if why else "")
        self._holes = [[0, self.size]]
        poison(self.base, self.size)    # nothing is allocated yet

    def _make_huge(self, size):
        """Of 2 MB pages; return why not, or "" if it is made."""
        try:
            self._make(*huge_memfd(self.name), size)
            populate(self.base, self.size)
        except (OSError, MemoryError) as error:
            self._release()
            return why_no_huge_pages(size) or error.strerror or str(error)
        return ""

    def _make(self, int fd, uint64_t page, uint64_t size):
        self.fd = fd
        self.page_size = page
        self.size = (size + page - 1) // page * page
        os.ftruncate(fd, self.size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
        self._map()
        if self.numa_node is not None:
            bind_to_node(self.base, self.size, self.numa_node)

    cdef int _map(self) except -1:
        # Reserve one page more at either end and leave both unmapped: an overrun faults instead of reaching a neighbour.
        cdef uint64_t page = self.page_size, reserved = self.size + 3 * page - PAGE
        cdef uint8_t* whole = <uint8_t*>c_mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        cdef uint8_t* first
        cdef int prot = PROT_READ | (PROT_WRITE if self.writable else 0)
        if whole == MAP_FAILED:
            raise MemoryError(f"no address space for an Arena of {self.size} bytes")
        first = <uint8_t*>((<uint64_t>whole + page - 1) & ~(page - 1))      # huge pages begin at multiples of their size
        if first > whole:
            c_munmap(whole, first - whole)
        if reserved > self.size + 2 * page + (first - whole):
            c_munmap(first + self.size + 2 * page, reserved - self.size - 2 * page - (first - whole))
        if c_mmap(first + page, self.size, prot, MAP_SHARED | MAP_FIXED, self.fd, 0) == MAP_FAILED:
            c_munmap(first, self.size + 2 * page)
            raise OSError(errno.ENOMEM, f"cannot map the {self.size} bytes of Arena {self.name!r}")
        self.base = first + page
        return 0

    @staticmethod
    def attach(int fd, *, bint writable=True):
        """Map the Arena behind `fd`, a sealed memfd from a peer. The descriptor is duplicated; the caller keeps its own.

        The maker alone allocates from it; the attached side uses offsets it was told.
        Raises OSError EPERM if the descriptor can still be resized, EINVAL if it is empty or no memfd.
        """
        try:
            seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        except OSError as error:
            raise OSError(errno.EINVAL, f"descriptor {fd} is no memfd ({os.strerror(error.errno)})") from None
        if seals & (fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW) != fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW:
            raise OSError(errno.EPERM, f"descriptor {fd} is not sealed against resizing (F_SEAL_SHRINK and F_SEAL_GROW)")
        if os.fstat(fd).st_size == 0 or os.fstat(fd).st_size % os.fstatvfs(fd).f_bsize:
            raise OSError(errno.EINVAL, f"descriptor {fd} holds {os.fstat(fd).st_size} bytes, not whole pages")
        return Arena(name="attached", _fd=os.dup(fd), _writable=writable)

    @cython.critical_section
    def alloc(self, uint64_t size, *, uint64_t align=64):
        """Reserve `size` zeroed bytes; return their offset. Raises OSError ENOMEM when no hole is large enough."""
        if size == 0 or align == 0 or align & (align - 1):
            raise ValueError(f"alloc takes a size above 0 and a power of two as alignment, not {size} and {align}")
        cdef uint64_t hole_start, hole_size, start, waste
        self.at(0, 0)                           # raises if it is closed
        for i, (hole_start, hole_size) in enumerate(self._holes):
            start = (hole_start + align - 1) & ~(align - 1)
            waste = start - hole_start
            if waste > hole_size or size > hole_size - waste:
                continue
            pieces = [[hole_start, waste], [start + size, hole_size - waste - size]]
            self._holes[i:i + 1] = [p for p in pieces if p[1]]
            self._allocated[start] = size
            unpoison(self.base + start, size)
            return start
        raise OSError(errno.ENOMEM, f"Arena {self.name!r} ({self.size} bytes) has no free {size} bytes; "
                                    f"{self.allocated} are allocated")

    @cython.critical_section
    def free(self, uint64_t offset):
        """Give back what `alloc` returned. Raises ValueError for an offset that is not allocated (a double free).

        A forked child only forgets it: the memory is shared, and its parent's.
        """
        cdef uint64_t size
        self.at(0, 0)
        if offset not in self._allocated:
            raise ValueError(f"offset {offset:#x} of Arena {self.name!r} is not allocated: freed twice, or never")
        size = self._allocated.pop(offset)
        if os.getpid() != self._pid:
            return
        unpoison(self.base + offset, size)      # a pool's buffers lie here poisoned
        memset(self.base + offset, 0, size)     # alloc promises zeroes
        poison(self.base + offset, size)
        self._holes.append([offset, size])
        self._holes.sort()
        merged = []
        for hole in self._holes:
            if merged and merged[-1][0] + merged[-1][1] == hole[0]:
                merged[-1][1] += hole[1]
            else:
                merged.append(hole)
        self._holes = merged

    @property
    def allocated(self):
        """Bytes allocated now."""
        return sum(self._allocated.values())

    @property
    def huge_pages(self):
        """Whether its pages are larger than the machine's ordinary ones."""
        return self.page_size > PAGE

    @property
    def address(self):
        """Address of the first byte in this process."""
        return <uint64_t>self.base

    cdef uint8_t* at(self, uint64_t offset, uint64_t length) except NULL:
        """Checked pointer to `length` bytes at `offset`. Raises IndexError."""
        if self.base == NULL:
            raise ValueError(f"Arena {self.name!r} is closed")
        if offset > self.size or length > self.size - offset:
            raise IndexError(f"{length} bytes at offset {offset:#x} end outside Arena {self.name!r} of {self.size} bytes")
        return self.base + offset

    def fileno(self):
        """The memfd, to pass to a peer over a UNIX socket."""
        if self.fd < 0:
            raise ValueError(f"Arena {self.name!r} is closed")
        return self.fd

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        with cython.critical_section(self):
            self.at(0, self.size)
            PyBuffer_FillInfo(buffer, self, self.base, <Py_ssize_t>self.size, not self.writable, flags)
            self._exports += 1

    def __releasebuffer__(self, Py_buffer* buffer):
        with cython.critical_section(self):
            self._exports -= 1

    def __len__(self):
        return self.size

    @cython.critical_section
    def close(self):
        """Unmap it and close the descriptor; again is harmless. Raises BufferError while views of it are alive."""
        if self._exports:
            raise BufferError(f"Arena {self.name!r} has {self._exports} live views")
        self._release()

    cdef void _release(self):
        if self.base != NULL:
            unpoison(self.base, self.size)
            c_munmap(self.base - self.page_size, self.size + 2 * self.page_size)
            self.base = NULL
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __dealloc__(self):
        self._release()

    def __repr__(self):
        state = "closed" if self.base == NULL else f"{self.allocated} of {self.size} bytes allocated, fd {self.fd}"
        return f"<Arena {self.name!r}: {state}>"


cdef uint8_t* translate_slow(IovaMap* iovas, uint64_t iova, uint64_t length, int access, uint32_t* hint) noexcept nogil:
    """The search behind `translate`: the last region that starts at or below iova; or what a tap has behind it."""
    cdef uint32_t low = 0, high = iovas.count, middle
    cdef uint8_t* host = NULL
    if iovas.behind != NULL:
        host = translate(iovas.behind, iova, length, access, hint)
        iovas.tap(iovas.tap_context, iova, length, access != ACCESS_READ, host != NULL)
        return host
    while low < high:
        middle = (low + high) >> 1
        if iovas.region[middle].start <= iova:
            low = middle + 1
        else:
            high = middle
    if low > 0 and not (is_ring(access) and iovas.far != NULL):
        hint[0] = low - 1
        host = within(&iovas.region[low - 1], iova, length, access)
    if host == NULL and iovas.far != NULL:
        host = iovas.far(iovas.far_context, iova, length, access)
    if host == NULL:
        iovas.master_aborts += 1
    return host


cdef class AddressSpace:
    """What a device can reach: ranges of bus addresses, each backed by memory that stays alive as long as it is mapped.

    Map and unmap only while no engine runs on it: on the engine's thread between two calls, or with the engine stopped.
    """

    def __cinit__(self):
        self._owners = {}
        self._next = IOVA_FIRST

    def __dealloc__(self):
        free(self.iovas.region)

    @cython.critical_section
    cpdef uint64_t map_pointer(self, uint64_t pointer, uint64_t size, object owner, bint writable=True, object iova=None) except? 0:
        """Map `size` bytes at `pointer`, kept alive by `owner`; if that is a memoryview, `unmap` releases it.

        `map` is the same for anything with the buffer protocol.
        """
        cdef uint64_t start
        cdef uint32_t i = 0
        cdef Region* grown
        if size == 0:
            raise ValueError("a mapping needs at least one byte")
        start = self._find_room(size) if iova is None else iova
        if start + size < start:
            raise OSError(errno.EINVAL, f"{size} bytes at {start:#x} end past the 64-bit bus address space")
        while i < self.iovas.count and self.iovas.region[i].start < start:
            i += 1
        if (i > 0 and start - self.iovas.region[i - 1].start < self.iovas.region[i - 1].size) or \
                (i < self.iovas.count and self.iovas.region[i].start - start < size):
            raise OSError(errno.EEXIST, f"{size} bytes at {start:#x} overlap a region that is mapped already")
        if self.iovas.count == self.iovas.capacity:
            grown = <Region*>realloc(self.iovas.region, (2 * self.iovas.capacity + 8) * sizeof(Region))
            if grown == NULL:
                raise MemoryError()
            self.iovas.region = grown
            self.iovas.capacity = 2 * self.iovas.capacity + 8
        memmove(&self.iovas.region[i + 1], &self.iovas.region[i], (self.iovas.count - i) * sizeof(Region))
        self.iovas.region[i] = Region(start, size, <uint8_t*>pointer, writable)
        self.iovas.count += 1
        self._owners[start] = owner
        return start

    def map(self, buffer, *, iova=None, writable=None):
        """Map an object's memory (Arena, mmap, bytes, NumPy array …) and return its bus address.

        `iova`: where; by default the first free page-aligned place. `writable`: whether a device may write it; by default
        if the buffer is. The buffer is held until `unmap`. Raises OSError EEXIST when the range overlaps another.
        """
        cdef Py_buffer view
        held = memoryview(buffer)       # keeps the exporter from moving or closing it
        PyObject_GetBuffer(held, &view, 0)
        try:
            if writable and view.readonly:
                raise OSError(errno.EACCES, f"{type(buffer).__name__} is read-only: it cannot be mapped for device writes")
            return self.map_pointer(<uint64_t>view.buf, view.len, held, not view.readonly if writable is None else writable, iova)
        finally:
            PyBuffer_Release(&view)

    cdef uint64_t _find_room(self, uint64_t size) except? 0:
        cdef uint64_t start = self._next, end
        cdef uint32_t i
        for i in range(self.iovas.count):
            end = self.iovas.region[i].start + self.iovas.region[i].size
            if end > start and self.iovas.region[i].start - start >= size + PAGE and self.iovas.region[i].start > start:
                break
            if end > start:
                start = (end + 2 * PAGE - 1) // PAGE * PAGE     # a page unmapped between regions: an overrun aborts
        return start

    @cython.critical_section
    def unmap(self, uint64_t iova):
        """Remove the region that starts at `iova`. Raises OSError ENOENT when there is none."""
        cdef uint32_t i
        for i in range(self.iovas.count):
            if self.iovas.region[i].start == iova:
                memmove(&self.iovas.region[i], &self.iovas.region[i + 1], (self.iovas.count - i - 1) * sizeof(Region))
                self.iovas.count -= 1
                owner = self._owners.pop(iova)
                if isinstance(owner, memoryview):       # now: without a GIL, to drop another thread's takes until that looks
                    owner.release()
                return
        raise OSError(errno.ENOENT, f"no region starts at {iova:#x}")

    @property
    def master_aborts(self):
        """Accesses refused so far: unmapped, across a region's end, or writes to read-only memory."""
        return self.iovas.master_aborts

    @property
    def regions(self):
        """The mapped ranges as (start, size, writable), in order."""
        return [(self.iovas.region[i].start, self.iovas.region[i].size, bool(self.iovas.region[i].writable))
                for i in range(self.iovas.count)]

    @cython.critical_section
    def read(self, uint64_t iova, uint64_t length):
        """Copy `length` bytes out, as a device would read them. Raises OSError EFAULT where a device gets a master abort."""
        cdef uint32_t hint = 0
        if length == 0:
            return b""
        cdef uint8_t* source = translate(&self.iovas, iova, length, False, &hint)
        if source == NULL:
            raise OSError(errno.EFAULT, f"{length} bytes at bus address {iova:#x} are not mapped")
        return source[:length]

    @cython.critical_section
    def write(self, uint64_t iova, const uint8_t[::1] data):
        """Copy `data` in, as a device would write it. Raises OSError EFAULT where a device gets a master abort."""
        cdef uint32_t hint = 0
        if data.shape[0] == 0:
            return
        cdef uint8_t* target = translate(&self.iovas, iova, data.shape[0], True, &hint)
        if target == NULL:
            raise OSError(errno.EFAULT, f"{data.shape[0]} bytes at bus address {iova:#x} are not mapped writable")
        memmove(target, &data[0], data.shape[0])

    def __repr__(self):
        total = sum(size for _, size, _ in self.regions)
        return f"<AddressSpace: {self.iovas.count} regions, {total} bytes, {self.iovas.master_aborts} master aborts>"
