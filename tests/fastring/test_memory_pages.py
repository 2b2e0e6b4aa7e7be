"""Arena of huge pages and on a NUMA node: made of them where there are some, and plainly said where not."""

import errno
import fcntl
import mmap
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fastring import pages
from fastring.memory import SEALS, Arena
from fastring.pool import BufferPool

PAGE, HUGE = mmap.PAGESIZE, 2 << 20
TOO_MUCH = 1 << 42      # bytes of huge pages on no machine
COUNT = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")


@pytest.fixture
def four_huge_pages():
    """Four huge pages more than the machine set apart, which takes root. One run of these tests at a time: they would take each other's."""
    try:
        lock = COUNT.open()
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = int(COUNT.read_text())
        COUNT.write_text(str(before + 4))
    except OSError as error:
        pytest.skip(f"cannot set huge pages apart: {error}")
    try:
        if int(COUNT.read_text()) < before + 4:
            pytest.skip("the kernel found no memory for four huge pages")
        yield
    finally:
        COUNT.write_text(str(before))
        lock.close()


def test_an_ordinary_arena_says_what_its_pages_are():
    with Arena(1) as arena:
        assert (arena.page_size, arena.huge_pages, arena.pages, arena.numa_node) == (PAGE, False, f"{PAGE >> 10} KB pages", None)


@pytest.mark.parametrize("huge_pages", [True, "try"])
def test_an_arena_of_huge_pages_is_whole_ones_where_they_can_be(four_huge_pages, huge_pages):
    with Arena(HUGE + 1, huge_pages=huge_pages) as arena:
        assert (arena.size, arena.page_size, arena.huge_pages, arena.pages) == (2 * HUGE, HUGE, True, "2 MB pages")
        assert arena.address % HUGE == 0
        assert fcntl.fcntl(arena.fileno(), fcntl.F_GET_SEALS) == SEALS
        maps = Path("/proc/self/smaps").read_text()
        mine = maps[maps.index(f"{arena.address:x}-{arena.address + arena.size:x} "):]
        assert f"KernelPageSize: {HUGE >> 10:>8} kB" in mine[:1000]


def test_huge_pages_are_zeroed_shared_and_given_back(four_huge_pages):
    left = COUNT.with_name("free_hugepages")
    before = int(left.read_text())
    with Arena(2 * HUGE, huge_pages=True) as arena, Arena.attach(arena.fileno()) as peer:
        assert int(left.read_text()) == before - 2
        everything = arena.alloc(2 * HUGE)
        assert bytes(memoryview(arena)[HUGE - 64:HUGE + 64]) == bytes(128)
        memoryview(peer)[HUGE + 5] = 0xA5
        assert memoryview(arena)[HUGE + 5] == 0xA5
        assert (peer.page_size, peer.size, peer.pages) == (HUGE, 2 * HUGE, "2 MB pages")
        arena.free(everything)
        pool = BufferPool(arena, count=1024, buffer_size=2048)
        pool.view(pool.take())[:] = bytes(2048)
        pool.reclaim(1)
        pool.close()
    assert int(left.read_text()) == before


@pytest.mark.parametrize("where", ["arena.size", "-1"])
def test_an_overrun_of_huge_pages_dies_on_the_guard_page(four_huge_pages, where):
    program = "import ctypes\nfrom fastring.memory import Arena\narena = Arena(1, huge_pages=True)\n"
    program += f"ctypes.memset(arena.address + {where}, 1, 1)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == -signal.SIGSEGV or "AddressSanitizer" in result.stderr


def test_nobody_can_resize_an_arena_of_huge_pages(four_huge_pages):
    with Arena(HUGE, huge_pages=True) as arena, pytest.raises(OSError, match=os.strerror(errno.EPERM)):
        os.ftruncate(arena.fileno(), 2 * HUGE)


@pytest.mark.unsanitized        # its shadow would be half a terabyte
def test_without_enough_huge_pages_there_is_an_arena_all_the_same_that_says_why():
    with Arena(TOO_MUCH, huge_pages="try") as arena:
        assert (arena.page_size, arena.huge_pages) == (PAGE, False)
        assert arena.pages == f"4 KB pages; no huge pages: {pages.why_no_huge_pages(TOO_MUCH)}"
        memoryview(arena)[TOO_MUCH - 1] = 1


def test_huge_pages_that_must_be_are_an_error_that_says_why():
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"no huge pages for Arena 'rx': (.*nr_hugepages|this kernel)") as error:
        Arena(TOO_MUCH, name="rx", huge_pages=True)
    assert error.value.errno == errno.ENOMEM
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_other_wishes_for_pages_are_refused():
    with pytest.raises(ValueError, match="True, False or 'try', not 'maybe'"):
        Arena(1, huge_pages="maybe")


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (None, "this kernel has no huge pages of 2 MB"),
        ((0, 0, 0, 0), "/nr_hugepages is 0"),
        ((8, 0, 5, 3), "3 are needed, and of .*/nr_hugepages, 8, 2 are left"),
        ((0, 2, 0, 0), "3 are needed"),
        ((8, 0, 5, 2), None),
        ((0, 3, 0, 0), None),
    ],
)
def test_the_reason_is_what_the_kernel_tells(tmp_path, monkeypatch, told, why):
    monkeypatch.setattr(pages, "KERNEL", tmp_path)
    if told is not None:
        names = "nr_hugepages", "nr_overcommit_hugepages", "free_hugepages", "resv_hugepages"
        for name, number in zip(names, told, strict=True):
            (tmp_path / name).write_text(f"{number}\n")
    found = pages.why_no_huge_pages(2 * HUGE + 1)
    assert (found is None) if why is None else re.search(why, found)


# --- NUMA


def policy(arena):
    """What the kernel says of the arena's memory in /proc/self/numa_maps."""
    maps = Path("/proc/self/numa_maps").read_text()
    return next(line.split()[1] for line in maps.splitlines() if line.startswith(f"{arena.address:x} "))


@pytest.mark.parametrize("huge_pages", [False, "try"])
def test_an_arena_on_a_numa_node_is_bound_to_it(huge_pages):
    if not (nodes := pages.numa_nodes()):
        pytest.skip("this kernel knows no NUMA nodes")
    with Arena(PAGE, numa_node=nodes[-1], huge_pages=huge_pages) as arena:
        assert (arena.numa_node, policy(arena)) == (nodes[-1], f"bind:{nodes[-1]}")
        memoryview(arena)[0] = 1


def test_huge_pages_come_from_the_node(four_huge_pages):
    node = pages.numa_nodes()[0]
    with Arena(HUGE, numa_node=node, huge_pages=True) as arena:
        assert (policy(arena), arena.huge_pages) == (f"bind:{node}", True)


@pytest.mark.parametrize("node", [-1, 999, 2**40])
def test_a_numa_node_that_is_not_there_is_refused_by_name(node):
    with pytest.raises(OSError, match=f"no NUMA node {node} with memory: it") as error:
        Arena(PAGE, numa_node=node)
    assert error.value.errno == errno.ENODEV


@pytest.mark.parametrize(("told", "nodes"), [("0\n", [0]), ("0-1,4\n", [0, 1, 4]), ("\n", []), (None, [])])
def test_nodes_are_those_the_kernel_lists(tmp_path, monkeypatch, told, nodes):
    monkeypatch.setattr(pages, "NODES", tmp_path / "has_memory")
    if told is not None:
        (tmp_path / "has_memory").write_text(told)
    assert pages.numa_nodes() == nodes
    with pytest.raises(OSError, match="its kernel knows no NUMA nodes" if not nodes else f"it has {', '.join(map(str, nodes))}"):
        pages.check_node(7)
