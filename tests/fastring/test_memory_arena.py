"""Arena: sealed, guarded, and its allocations against a model."""

import errno
import fcntl
import mmap
import os
import signal
import subprocess
import sys
import tempfile

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastring.memory import Arena

PAGE = mmap.PAGESIZE
END = 2**64


@pytest.fixture
def arena():
    with Arena(4 * PAGE) as arena:
        yield arena


# --- allocation


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


# --- sharing


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


# --- its end


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
