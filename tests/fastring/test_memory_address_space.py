"""AddressSpace: what a device can reach, bounded, and against a model of bytes."""

import errno
import gc
import mmap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastring.memory import AddressSpace, Arena

PAGE = mmap.PAGESIZE
END = 2**64


@pytest.fixture
def space():
    return AddressSpace()


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
