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
