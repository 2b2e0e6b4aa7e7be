"""Somebody else's .pyx cimports fastring from its installed package, compiles with get_include(), and runs."""

import pytest

SETUP = """
import fastring
from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    name="thirdparty",
    ext_modules=cythonize(
        [Extension("thirdparty", ["thirdparty.pyx"], include_dirs=[fastring.get_include()])],
        compiler_directives={"language_level": 3},
    ),
)
"""

MODULE = """
from libc.stdint cimport uint32_t, uint64_t

from fastring.atomic cimport *
from fastring.burst cimport FRAME_MORE, NO_BUFFER, Burst, BurstSink, Frame
from fastring.memory cimport AddressSpace, Arena, translate
from fastring.pool cimport BufferPool
from fastring.record_ring cimport RecordRing
from fastring.ring cimport Ring
from fastring.txq cimport TxQueue


cdef class ByteCounter(BurstSink):
    cdef readonly uint64_t packets, bytes

    cdef int deliver(self, Burst burst) noexcept nogil:
        cdef Frame* frame
        cdef uint32_t i
        for i in range(burst.count):
            frame = &burst.frames[i]
            self.bytes += frame.len
            self.packets += not frame.flags & FRAME_MORE
        return 0


def count(ByteCounter counter, Burst burst):
    cdef BurstSink sink = counter
    with nogil:
        sink.deliver(burst)


def second_byte(AddressSpace space, uint64_t iova):
    cdef uint32_t hint = 0
    cdef unsigned char* byte = translate(&space.iovas, iova + 1, 1, False, &hint)
    return None if byte == NULL else byte[0]


def borrow(BufferPool pool, uint32_t n):
    cdef uint32_t buffers[64]
    cdef uint32_t got = pool.take_bulk(buffers, n)
    pool.address(buffers[0])[0] = 0xA5
    out = pool.outstanding
    pool.give_bulk(buffers, got)
    return got, len(out) if hasattr(out, "__len__") else out


def through(Ring ring, uint64_t items):
    # Each item in and out: one by one, in bulks, in bursts, and in place; how many came back as they went.
    cdef uint64_t[64] batch
    cdef uint64_t item = 0, good = 0, first
    cdef uint64_t* span
    cdef uint32_t got, i
    with nogil:
        for first in range(0, items, 32):
            good += ring.enqueue(first) and ring.dequeue(&item) and item == first
            for i in range(32):
                batch[i] = first + i
            ring.enqueue_bulk(batch, 16)
            ring.enqueue_burst(batch + 16, 16)
            ring.flush_writes()
            got = ring.dequeue_burst(batch, 31) + ring.dequeue_bulk(batch + 31, 1)
            ring.flush_reads()
            for i in range(got):
                good += batch[i] == first + i
            span = <uint64_t*>ring.reserve_span(1, &got)
            if got:
                span[0] = first
                ring.commit_span(1)
                ring.flush_writes()
                span = <uint64_t*>ring.peek_span(1, &got)
                good += got == 1 and span[0] == first
                ring.release_span(got)
    return good


def record(RecordRing ring, const unsigned char[::1] data):
    cdef uint32_t length = 0
    cdef unsigned char* room = ring.reserve_record(data.shape[0])
    cdef const unsigned char* there
    for i in range(data.shape[0]):
        room[i] = data[i]
    ring.commit_record(data.shape[0])
    there = ring.peek_record(&length)
    copy = there[:length]
    ring.release_record()
    return copy
"""

RUN = """
import thirdparty
from fastring.burst import Burst
from fastring.memory import AddressSpace, Arena
from fastring.pool import BufferPool

counter = thirdparty.ByteCounter()
thirdparty.count(counter, Burst.from_packets([b"abc", b"de"]))
assert (counter.packets, counter.bytes) == (2, 5), counter

arena, space = Arena(1 << 20), AddressSpace()
iova = space.map(arena)
space.write(iova, b"\\x01\\x02")
assert thirdparty.second_byte(space, iova) == 2
assert thirdparty.second_byte(space, iova + arena.size) is None
assert space.master_aborts == 1

pool = BufferPool(arena, count=64, buffer_size=256)
assert thirdparty.borrow(pool, 8) == (8, 8)
assert pool.available == 64

from fastring.record_ring import RecordRing
from fastring.ring import Ring
from fastring.ring_geometry import NAMES
for strategy, sync in NAMES:
    ring = Ring.create(64, strategy=strategy, sync=sync, batch=1 if strategy == "batched" else None)
    in_place = strategy in ("lamport", "cached", "batched") or sync == "hts"
    assert thirdparty.through(ring, 3200) == 100 * (33 + in_place), (strategy, sync)
assert thirdparty.record(RecordRing.create(1 << 10), b"a record") == b"a record"
"""


@pytest.fixture(scope="module")
def third_party(installed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("thirdparty")
    (folder / "setup.py").write_text(SETUP)
    (folder / "thirdparty.pyx").write_text(MODULE)
    installed.run("setup.py", "-q", "build_ext", "--inplace", cwd=folder)
    return folder


def test_a_third_party_module_compiles_against_the_installed_package(third_party):
    assert list(third_party.glob("thirdparty.*.so"))


def test_it_works_on_fastring_objects(installed, third_party):
    installed.run("-c", f"import sys; sys.path.append({str(third_party)!r})\n{RUN}")


def test_the_include_folder_is_the_installed_one(installed):
    assert installed.run("-c", "import fastring; print(fastring.get_include())").strip() == str(installed.packages)
