"""crc32: the same as zlib's, in one go and in parts."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastring.crc import crc32


@pytest.mark.parametrize("length", [*range(40), 59, 60, 64, 1514, 16380, 100_003])
def test_it_equals_zlib_at_every_length(length):
    content = bytes((i * 31 + 7) & 0xFF for i in range(length))
    assert crc32(content) == zlib.crc32(content)


def test_the_check_value_of_the_standard():
    assert crc32(b"123456789") == 0xCBF43926


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1))
def test_it_goes_on_from_a_value(content, value):
    assert crc32(content, value) == zlib.crc32(content, value)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_parts_one_after_the_other_are_the_whole(parts):
    crc = 0
    for part in parts:
        crc = crc32(part, crc)
    assert crc == zlib.crc32(b"".join(parts))


@pytest.mark.parametrize("offset", range(8))
def test_it_does_not_matter_where_in_memory_the_bytes_lie(offset):
    content = bytes(range(256)) * 2
    assert crc32(memoryview(content)[offset : offset + 300]) == zlib.crc32(content[offset : offset + 300])


@pytest.mark.parametrize("make", [bytearray, memoryview, lambda b: memoryview(bytearray(b))])
def test_it_takes_any_contiguous_buffer(make):
    assert crc32(make(b"123456789")) == 0xCBF43926


def test_a_frame_followed_by_its_fcs_leaves_the_residue():
    frame = bytes(range(100))
    assert crc32(frame + crc32(frame).to_bytes(4, "little")) == 0x2144DF1C


@pytest.mark.parametrize("what", ["text", 5, None])
def test_what_is_no_buffer_is_refused(what):
    with pytest.raises(TypeError):
        crc32(what)


def test_a_buffer_with_holes_is_refused():
    with pytest.raises(BufferError, match="contig"):
        crc32(memoryview(bytes(20))[::2])
