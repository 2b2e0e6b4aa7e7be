"""Arena and AddressSpace: sealed, bounded, and against simple models."""

import errno
import fcntl
import gc
import mmap
import os
import signal
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastring.memory import AddressSpace, Arena

PAGE = mmap.PAGESIZE
END = 2**64


@pytest.fixture
def arena():
    with Arena(4 * PAGE) as arena:
        yield arena


@pytest.fixture
def space():
    return AddressSpace()


# --- Arena: allocation


def test_an_arena_is_whole_pages_of_zeroes():
    with Arena(1) as arena:
        assert (arena.size, len(arena), arena.allocated) == (PAGE, PAGE, 0)
        offset = arena.alloc(PAGE)
        assert bytes(memoryview(arena)[offset:]) == bytes(PAGE)


@pytest.mark.parametrize("size", [0, -1, 2**46, None])
def test_an_impossible_size_is_refused(size):
    with pytest.raises(ValueError, match="1 byte to 64 TiB"):
        Arena(size)


def test_alloc_aligns_and_does_not_lose_what_the_alignment_skips(arena):
    assert arena.alloc(1) == 0
    assert arena.alloc(8, align=PAGE) == PAGE
    assert arena.alloc(64) == 64
    assert arena.allocated == 1 + 8 + 64


@pytest.mark.parametrize(("size", "align"), [(0, 64), (8, 0), (8, 48)])
def test_alloc_refuses_no_bytes_and_odd_alignments(arena, size, align):
    with pytest.raises(ValueError, match="power of two"):
        arena.alloc(size, align=align)


@pytest.mark.parametrize("size", [4 * PAGE + 1, END - 1])
def test_alloc_of_more_than_there_is_says_so(arena, size):
    with pytest.raises(OSError, match="has no free") as error:
        arena.alloc(size)
    assert error.value.errno == errno.ENOMEM
    assert arena.alloc(4 * PAGE) == 0


def test_what_was_freed_is_zero_when_allocated_again(arena):
    offset = arena.alloc(100)
    memoryview(arena)[offset:offset + 100] = b"x" * 100
    arena.free(offset)
    assert arena.alloc(100) == offset
    assert bytes(memoryview(arena)[offset:offset + 100]) == bytes(100)


def test_freed_neighbours_merge_in_whatever_order(arena):
    first, second, third = (arena.alloc(PAGE) for _ in range(3))
    for offset in (first, third, second):
        arena.free(offset)
    assert arena.alloc(4 * PAGE) == 0


def test_a_double_or_foreign_free_is_refused(arena):
    freed, live = arena.alloc(64), arena.alloc(64)
    arena.free(freed)
    for offset in (freed, live + 8, PAGE, 2**63):
        with pytest.raises(ValueError, match="freed twice, or never"):
            arena.free(offset)
    assert arena.allocated == 64


class ArenaModel(RuleBasedStateMachine):
    """Allocations never overlap, keep their alignment, and whatever fits a hole is found."""

    @initialize()
    def make(self):
        self.arena, self.live = Arena(PAGE), {}

    @rule(size=st.integers(1, 1500), log2=st.integers(0, 8))
    def alloc(self, size, log2):
        align = 1 << log2
        used = sorted((start, start + length) for start, length in self.live.items())
        edges = [0, *(end for _, end in used)], [*(start for start, _ in used), PAGE]
        fits = any(-(-low // align) * align + size <= high for low, high in zip(*edges, strict=True))
        try:
            offset = self.arena.alloc(size, align=align)
        except OSError:
            assert not fits
            return
        assert fits
        assert offset % align == 0
        assert offset + size <= PAGE
        assert all(offset + size <= start or end <= offset for start, end in used)
        self.live[offset] = size

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def free(self, data):
        offset = data.draw(st.sampled_from(sorted(self.live)))
        self.arena.free(offset)
        del self.live[offset]

    @invariant()
    def the_sum_is_right(self):
        if hasattr(self, "live"):
            assert self.arena.allocated == sum(self.live.values())

    def teardown(self):
        if hasattr(self, "arena"):
            self.arena.close()


TestArenaModel = ArenaModel.TestCase


# --- Arena: sharing


def test_an_attached_arena_is_the_same_memory(arena):
    offset = arena.alloc(64)
    with Arena.attach(arena.fileno()) as peer:
        memoryview(peer)[offset] = 0xA5
        assert (peer.size, memoryview(arena)[offset]) == (arena.size, 0xA5)
        assert peer.fileno() != arena.fileno()
    assert memoryview(arena)[offset] == 0xA5


def test_only_the_maker_allocates(arena):
    with Arena.attach(arena.fileno()) as peer, pytest.raises(OSError, match="has no free"):
        peer.alloc(1)


def test_an_arena_attached_read_only_cannot_be_written(arena):
    with Arena.attach(arena.fileno(), writable=False) as peer:
        assert memoryview(peer).readonly


def test_nobody_can_resize_an_arena(arena):
    for size in (PAGE, 100 * PAGE):
        with pytest.raises(OSError, match=os.strerror(errno.EPERM)):
            os.ftruncate(arena.fileno(), size)


@pytest.mark.parametrize("seals", [0, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW])
def test_attach_refuses_a_descriptor_that_can_still_be_resized(seals):
    fd = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, PAGE)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    with pytest.raises(OSError, match="not sealed") as error:
        Arena.attach(fd)
    assert error.value.errno == errno.EPERM
    os.close(fd)


@pytest.mark.parametrize("size", [0, 1, PAGE + 1])
def test_attach_refuses_an_empty_or_ragged_memfd(size):
    fd = os.memfd_create("ragged", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    with pytest.raises(OSError, match="not whole pages") as error:
        Arena.attach(fd)
    assert error.value.errno == errno.EINVAL
    os.close(fd)


def test_attach_refuses_what_is_no_memfd():
    read, write = os.pipe()
    with tempfile.TemporaryFile() as file:
        for fd in (read, file.fileno(), 10**6):
            with pytest.raises(OSError, match=r"no memfd|not sealed"):
                Arena.attach(fd)
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("where", ["arena.size", "-1"])
def test_an_overrun_dies_on_the_guard_page(where):
    program = f"import ctypes\nfrom fastring.memory import Arena\narena = Arena(4096)\nctypes.memset(arena.address + {where}, 1, 1)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == -signal.SIGSEGV or "AddressSanitizer" in result.stderr


# --- Arena: its end


def test_an_arena_with_live_views_stays_open(arena):
    view = memoryview(arena)
    with pytest.raises(BufferError, match="1 live views"):
        arena.close()
    view.release()


def test_a_closed_arena_refuses_use_and_closes_again():
    arena = Arena(PAGE)
    fd = arena.fileno()
    arena.close()
    arena.close()
    with pytest.raises(ValueError, match="closed"):
        arena.fileno()
    with pytest.raises(ValueError, match="closed"):
        memoryview(arena)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(fd)
    assert repr(arena) == "<Arena 'fastring': closed>"


def test_repr_tells_what_is_allocated():
    with Arena(PAGE, name="tx") as arena:
        arena.alloc(100)
        assert repr(arena) == f"<Arena 'tx': 100 of {PAGE} bytes allocated, fd {arena.fileno()}>"
        assert arena.name == "tx"


# --- AddressSpace


def test_a_device_reads_and_writes_what_is_mapped(space):
    memory = bytearray(PAGE)
    iova = space.map(memory)
    space.write(iova + 10, b"abc")
    assert memory[10:13] == b"abc"
    assert space.read(iova + 11, 2) == b"bc"
    assert space.master_aborts == 0


def test_accesses_outside_or_across_an_end_are_counted_master_aborts(space):
    iova = space.map(bytearray(100), iova=1000)
    bad = [(999, 1), (999, 2), (1100, 1), (1099, 2), (1000, 101), (0, 1), (END - 1, 1), (1000, END - 1), (END - 1, END - 1)]
    for address, length in bad:
        with pytest.raises(OSError, match="not mapped") as error:
            space.read(address, length)
        assert error.value.errno == errno.EFAULT
    assert space.master_aborts == len(bad)
    assert space.read(iova, 100) == bytes(100)


def test_an_access_across_two_regions_that_touch_is_refused(space):
    space.map(bytearray(100), iova=1000)
    space.map(bytearray(100), iova=1100)
    with pytest.raises(OSError, match="not mapped"):
        space.read(1099, 2)


def test_device_writes_to_read_only_memory_are_master_aborts(space):
    iova = space.map(b"abc")
    assert space.read(iova, 3) == b"abc"
    with pytest.raises(OSError, match="not mapped writable"):
        space.write(iova, b"x")
    held = space.map(bytearray(3), writable=False)
    with pytest.raises(OSError, match="not mapped writable"):
        space.write(held, b"x")
    assert space.master_aborts == 2


def test_read_only_memory_cannot_be_mapped_for_writes(space):
    with pytest.raises(OSError, match="read-only") as error:
        space.map(b"abc", writable=True)
    assert error.value.errno == errno.EACCES
    assert space.regions == []


def test_nothing_is_read_or_written_anywhere(space):
    assert space.read(12345, 0) == b""
    space.write(12345, b"")
    assert space.master_aborts == 0


def test_overlapping_regions_are_refused(space):
    space.map(bytearray(100), iova=1000)
    for start, size in [(1000, 100), (901, 100), (1099, 1), (1010, 5), (900, 500)]:
        with pytest.raises(OSError, match="overlap") as error:
            space.map(bytearray(size), iova=start)
        assert error.value.errno == errno.EEXIST
    space.map(bytearray(100), iova=900)
    space.map(bytearray(100), iova=1100)
    assert [region[:2] for region in space.regions] == [(900, 100), (1000, 100), (1100, 100)]


def test_addresses_chosen_leave_a_hole_after_each_region(space):
    regions = [(space.map(bytearray(size)), size) for size in (1, PAGE, PAGE + 1)]
    assert all(start % PAGE == 0 for start, _ in regions)
    for start, size in regions:
        with pytest.raises(OSError, match="not mapped"):
            space.read(start + size, 1)


def test_the_last_bytes_of_the_bus_can_be_mapped_and_nothing_past_them(space):
    last = END - 10
    space.map(bytearray(9), iova=last)
    assert space.read(last + 8, 1) == b"\0"
    for length in (10, 11, END - 1):
        with pytest.raises(OSError, match="not mapped"):
            space.read(last, length)
    with pytest.raises(OSError, match="64-bit") as error:
        space.map(bytearray(20), iova=END - 10)
    assert error.value.errno == errno.EINVAL
    for address in (-1, END):
        with pytest.raises(OverflowError):
            space.read(address, 1)


def test_unmap_takes_the_region_that_starts_there(space):
    iova = space.map(bytearray(100))
    for wrong in (iova + 1, 0):
        with pytest.raises(OSError, match="no region starts") as error:
            space.unmap(wrong)
        assert error.value.errno == errno.ENOENT
    space.unmap(iova)
    with pytest.raises(OSError, match="not mapped"):
        space.read(iova, 1)
    space.map(bytearray(1), iova=iova)


def test_mapped_memory_is_held_until_unmapped(space):
    memory, arena = bytearray(10), Arena(PAGE)
    iova, other = space.map(memory), space.map(arena)
    with pytest.raises(BufferError):
        memory.append(1)
    with pytest.raises(BufferError):
        arena.close()
    space.unmap(iova)
    space.unmap(other)
    memory.append(1)
    arena.close()


def test_a_dropped_address_space_lets_its_memory_go():
    arena, space = Arena(PAGE), AddressSpace()
    space.map(arena)
    del space
    gc.collect()
    arena.close()


def test_numpy_arrays_and_mmaps_are_mapped_in_place(space):
    array = np.zeros(4, dtype=np.uint32)
    space.write(space.map(array) + 4, b"\1\0\0\0")
    assert array.tolist() == [0, 1, 0, 0]
    with mmap.mmap(-1, PAGE) as mapping:
        iova = space.map(mapping)
        space.write(iova, b"x")
        assert mapping[0:1] == b"x"
        space.unmap(iova)


@pytest.mark.parametrize("buffer", [b"", np.zeros(8, dtype=np.uint8)[::2]], ids=["empty", "strided"])
def test_a_buffer_without_bytes_or_in_pieces_is_refused(space, buffer):
    with pytest.raises((ValueError, BufferError)):
        space.map(buffer)
    assert space.regions == []


ADDRESS = st.one_of(st.integers(0, 300), st.integers(END - 300, END - 1), st.integers(0, END - 1))
LENGTH = st.one_of(st.integers(0, 80), st.integers(0, END - 1))


class AddressSpaceModel(RuleBasedStateMachine):
    """map, unmap and every access against a dictionary of bytes; both ends of the bus included."""

    @initialize()
    def make(self):
        self.space, self.regions, self.aborts, self.fill = AddressSpace(), {}, 0, 0

    def region_of(self, address, length):
        for start, memory in self.regions.items():
            if start <= address and address + length <= start + len(memory):
                return start
        return None

    @rule(start=ADDRESS, size=st.integers(1, 60))
    def map(self, start, size):
        self.fill = (self.fill + 1) % 256
        memory = bytearray([self.fill]) * size
        overlaps = any(start < other + len(held) and other < start + size for other, held in self.regions.items())
        try:
            assert self.space.map(memory, iova=start) == start
        except OSError:
            assert overlaps or start + size >= END
        else:
            assert not overlaps
            assert start + size < END
            self.regions[start] = memory

    @rule(size=st.integers(1, 60))
    def map_anywhere(self, size):
        memory = bytearray(size)
        self.regions[self.space.map(memory)] = memory

    @precondition(lambda self: self.regions)
    @rule(data=st.data())
    def unmap(self, data):
        start = data.draw(st.sampled_from(sorted(self.regions)))
        self.space.unmap(start)
        del self.regions[start]

    @rule(address=ADDRESS, length=LENGTH)
    def read(self, address, length):
        start = self.region_of(address, length)
        try:
            data = self.space.read(address, length)
        except OSError:
            assert start is None
            assert length
            self.aborts += 1
        else:
            assert length == 0 or data == self.regions[start][address - start:address - start + length]

    @precondition(lambda self: self.regions)
    @rule(data=st.data(), before=st.integers(-3, 63), length=st.integers(1, 64))
    def write_near_a_region(self, data, before, length):
        address = (data.draw(st.sampled_from(sorted(self.regions))) + before) % END
        start = self.region_of(address, length)
        try:
            self.space.write(address, b"w" * length)
        except OSError:
            assert start is None
            self.aborts += 1
        else:
            assert self.regions[start][address - start:address - start + length] == b"w" * length

    @invariant()
    def regions_and_aborts_agree(self):
        if hasattr(self, "space"):
            assert self.space.regions == sorted((start, len(memory), True) for start, memory in self.regions.items())
            assert self.space.master_aborts == self.aborts


TestAddressSpaceModel = AddressSpaceModel.TestCase


@given(st.binary(min_size=1, max_size=200), st.integers(0, 250), st.integers(0, 250))
def test_reading_inside_gives_the_bytes_and_outside_an_abort(data, offset, length):
    space = AddressSpace()
    iova = space.map(data)
    if offset + length <= len(data) or length == 0:
        assert space.read(iova + offset, length) == data[offset:offset + length]
    else:
        with pytest.raises(OSError, match="not mapped"):
            space.read(iova + offset, length)


def test_repr_counts_regions_bytes_and_aborts(space):
    space.map(bytearray(10))
    assert repr(space) == "<AddressSpace: 1 regions, 10 bytes, 0 master aborts>"
