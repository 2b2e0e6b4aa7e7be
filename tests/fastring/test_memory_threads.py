"""Memory that several threads map, allocate and look at at once: slow, maybe, but never in pieces, with a GIL or without."""

import itertools
import mmap
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastring.file_mapping import FileMapping
from fastring.memory import AddressSpace, Arena
from fastring.ring import Ring

PAGE = mmap.PAGESIZE
THREADS = 4


def at_once(work):
    """Run work(n) on threads that start together; raise what the first of them raised."""
    start = threading.Barrier(THREADS)
    errors = []

    def run(n):
        start.wait()
        try:
            work(n)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def elsewhere(*steps):
    """Do them on another thread, while this one waits."""
    with ThreadPoolExecutor(1) as executor:
        executor.submit(lambda: [step() for step in steps]).result()


def test_an_arena_is_free_once_another_thread_has_unmapped_it():
    arena, space = Arena(PAGE), AddressSpace()
    iova = space.map(arena)
    elsewhere(lambda: space.unmap(iova), arena.close)


def test_an_arena_is_free_once_another_thread_has_closed_its_ring():
    arena = Arena(PAGE)
    ring = Ring(8, arena=arena)
    elsewhere(ring.close, arena.close)


def test_what_threads_map_at_once_is_all_there_and_apart():
    space = AddressSpace()

    def work(n):
        for i in range(1000):
            iova = space.map(bytearray([n]) * 100)
            assert space.read(iova, 100) == bytes([n]) * 100
            if i % 2:
                space.unmap(iova)

    at_once(work)
    regions = space.regions
    assert len(regions) == THREADS * 500
    assert all(start + size <= after for (start, size, _), (after, _, _) in itertools.pairwise(regions))


def test_what_threads_allocate_at_once_does_not_overlap_and_is_all_given_back():
    arena = Arena(1 << 20)

    def work(n):
        for _ in range(3000):
            offset = arena.alloc(256)
            with memoryview(arena)[offset : offset + 256] as mine:
                assert bytes(mine) == bytes(256)
                mine[:] = bytes([n + 1]) * 256
                assert bytes(mine) == bytes([n + 1]) * 256
            arena.free(offset)

    at_once(work)
    assert arena.allocated == 0
    assert arena.alloc(1 << 20) == 0
    arena.close()


def test_an_arena_that_threads_looked_at_knows_when_nobody_does():
    arena = Arena(PAGE)

    def work(_):
        for _ in range(20000):
            memoryview(arena).release()

    at_once(work)
    with memoryview(arena), pytest.raises(BufferError, match="1 live views"):
        arena.close()
    arena.close()


def test_files_that_threads_map_at_once_are_each_guarded(tmp_path):
    path = tmp_path / "shrinks"
    path.write_bytes(b"x" * PAGE)
    mappings = []

    with path.open("rb") as file:
        at_once(lambda _: mappings.extend(FileMapping(file.fileno(), PAGE) for _ in range(200)))
    os.truncate(path, 0)
    assert all(mapping.guarded for mapping in mappings)
    assert [bytes(memoryview(mapping)[:1]) for mapping in mappings] == [b"\0"] * (THREADS * 200)
