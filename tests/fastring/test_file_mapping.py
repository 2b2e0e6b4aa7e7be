"""A file of others, mapped: shared, from any offset, and no harm when it shrinks."""

import errno
import os
import socket

import pytest

from fastring.file_mapping import FileMapping


@pytest.fixture
def file():
    fd = os.memfd_create("shared")
    os.write(fd, bytes(range(256)) * 64)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 5000])
def test_it_is_shared_from_any_offset_on(file, offset):
    mapping = FileMapping(file, 100, offset=offset, writable=True)
    view = memoryview(mapping)
    assert bytes(view) == os.pread(file, 100, offset)
    view[7:11] = b"ours"
    assert os.pread(file, 4, offset + 7) == b"ours"
    os.pwrite(file, b"theirs", offset + 20)
    assert bytes(view[20:26]) == b"theirs"
    assert (mapping.size, mapping.writable, mapping.guarded) == (100, True, True)


def test_it_is_read_only_unless_told_otherwise(file):
    view = memoryview(FileMapping(file, 100))
    assert view.readonly


@pytest.mark.parametrize("writable", [False, True])
def test_what_a_file_loses_is_zeroes(file, writable):
    mapping = FileMapping(file, 16384, writable=writable)
    os.ftruncate(file, 4096)
    view = memoryview(mapping)
    assert bytes(view[:4096]) == os.pread(file, 4096, 0)
    assert bytes(view[4096:]) == bytes(12288)
    if writable:
        view[8192:8196] = b"mine"
        assert bytes(view[8192:8196]) == b"mine"


@pytest.mark.parametrize(
    ("size", "offset", "number"),
    [(0, 0, errno.EINVAL), (1 << 63, 0, errno.EINVAL), (4096, 1 << 63, errno.EINVAL), (1 << 50, 0, errno.ENOMEM)],
)
def test_what_no_file_can_have_is_refused(file, size, offset, number):
    with pytest.raises(OSError, match="cannot") as caught:
        FileMapping(file, size, offset=offset)
    assert caught.value.errno == number


def test_what_cannot_be_mapped_is_refused(file):
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(OSError, match="cannot map") as caught:
        FileMapping(ours.fileno(), 4096)
    assert caught.value.errno == errno.ENODEV
    readable = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
    with pytest.raises(PermissionError):
        FileMapping(readable, 4096, writable=True)
    os.close(readable)


@pytest.mark.slow  # takes huge pages from the machine, if there are any
def test_a_file_of_huge_pages_is_mapped_from_any_offset_and_may_shrink():
    page = 2 << 20
    fd = os.memfd_create("huge", os.MFD_HUGETLB)
    os.ftruncate(fd, 2 * page)
    try:
        mapping = FileMapping(fd, page, offset=page // 2, writable=True)
    except OSError as error:
        pytest.skip(f"needs two free huge pages (vm.nr_hugepages): {error}")
    view = memoryview(mapping)
    view[0] = view[page - 1] = 7
    os.ftruncate(fd, page)
    assert (view[0], view[page - 1]) == (7, 0)
    os.ftruncate(fd, 0)
    assert bytes(view) == bytes(page)
    where = mapping.address - page // 2
    del view, mapping
    with open("/proc/self/maps") as maps:
        assert not any(line.startswith(f"{where:x}-") for line in maps)
    os.close(fd)
