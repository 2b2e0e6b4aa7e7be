"""checksum: RFC 1071's, at every length and alignment."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastring.checksum import checksum


def reference(content):
    padded = content + b"\0" * (len(content) % 2)
    total = sum(int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


@pytest.mark.parametrize("length", [*range(140), 255, 256, 257, 1460, 1514, 16380, 100_003])
def test_it_is_the_complement_of_the_sum_of_words(length):
    content = random.Random(length).randbytes(length)
    assert checksum(content) == reference(content)


@pytest.mark.parametrize("length", [2, 63, 64, 300, 65_536])
def test_carries_are_kept(length):
    assert checksum(b"\xff" * length) == reference(b"\xff" * length)


def test_the_example_of_rfc_1071():
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF & ~0xDDF2


@given(st.binary(max_size=600), st.integers(0, 9))
def test_it_may_begin_anywhere(content, start):
    assert checksum(memoryview(content)[start:]) == reference(content[start:])


def test_it_takes_bytes_like_objects_alone():
    with pytest.raises(TypeError):
        checksum(None)
