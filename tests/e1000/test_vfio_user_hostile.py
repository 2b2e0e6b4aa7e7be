"""Clients of a served card that are broken, or mean harm: each gets its errno, and the next one a card that works."""

import errno
import os
import socket
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_vfio_user_server import VERSION, Client, server  # noqa: F401 - a fixture

DMA_MAP, DMA_UNMAP, INFO, REGION, IO_FDS, IRQ, SET_IRQS, READ, WRITE, RESET, MULTI = 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 15
INTX, MSI = 0, 1
NONE, BOOL, EVENTFD, MASK, UNMASK, TRIGGER = (1 << n for n in range(6))
EINVAL, EEXIST, ENOENT, EOPNOTSUPP, ENOTTY = errno.EINVAL, errno.EEXIST, errno.ENOENT, errno.EOPNOTSUPP, errno.ENOTTY
TOP = (1 << 64) - 1
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def client(server):  # noqa: F811
    client = Client(server.path)
    client.write(7, 4, b"\x07\0")
    return client


def region(offset, index, count, data=b""):
    return struct.pack("=QII", offset, index, count) + data


def dma(address, size, *, argsz=32, flags=3, offset=0):
    return struct.pack("=2I3Q", argsz, flags, offset, address, size)


def irqs(index, flags, *, start=0, count=1, argsz=20, data=b""):
    return struct.pack("=5I", argsz, flags, index, start, count) + data


@pytest.mark.parametrize(
    ("command", "payload", "error"),
    [
        (0, b"", EOPNOTSUPP),
        (99, b"", EOPNOTSUPP),
        (11, struct.pack("=2Q", 0, 4), EOPNOTSUPP),  # DMA_READ is for clients
        (1, VERSION, EINVAL),  # again
        (READ, b"", EINVAL),
        (READ, region(0, 0, 4)[:-1], EINVAL),
        (READ, region(0, 0, 4, b"x"), EINVAL),
        (READ, region(0, 0, 0), EINVAL),
        (READ, region(0x20000, 0, 4), EINVAL),
        (READ, region(0x1FFFE, 0, 4), EINVAL),
        (READ, region(TOP - 1, 0, 4), EINVAL),
        (READ, region(0, 0, 0xFFFFFFFF), EINVAL),
        (READ, region(0, 2, 4), EINVAL),
        (READ, region(0, 0xFFFFFFFF, 4), EINVAL),
        (READ, region(254, 7, 4), EINVAL),
        (WRITE, region(0, 0, 4, b"abc"), EINVAL),
        (WRITE, region(0, 0, 4, b"abcde"), EINVAL),
        (WRITE, region(0, 0, 0xFFFFFFF0, b"abcde"), EINVAL),
        (WRITE, region(64, 1, 1, b"a"), EINVAL),
        (MULTI, b"", EINVAL),
        (MULTI, struct.pack("=Q", 1), EINVAL),
        (MULTI, struct.pack("=Q", TOP), EINVAL),
        (MULTI, struct.pack("=Q", 1) + region(0, 0, 9, bytes(8)), EINVAL),
        (MULTI, struct.pack("=Q", 2) + region(0, 0, 4, bytes(8)) + region(0x20000, 0, 4, bytes(8)), EINVAL),
        (MULTI, struct.pack("=Q", (1 << 61) + 1) + region(0, 0, 4, bytes(8)), EINVAL),
        (INFO, struct.pack("=4I", 15, 0, 0, 0), EINVAL),
        (INFO, b"", EINVAL),
        (REGION, struct.pack("=4I2Q", 31, 0, 0, 0, 0, 0), EINVAL),
        (REGION, struct.pack("=4I2Q", 32, 0, 9, 0, 0, 0), EINVAL),
        (IO_FDS, struct.pack("=4I", 16, 1, 0, 0), EINVAL),
        (IRQ, struct.pack("=4I", 16, 0, 5, 0), EINVAL),
        (IRQ, struct.pack("=3I", 16, 0, 0), EINVAL),
        (DMA_MAP, dma(0x1000, 0x1000)[:-1], EINVAL),
        (DMA_MAP, dma(0x1000, 0x1000, argsz=31), EINVAL),
        (DMA_MAP, dma(0x1000, 0x1000, flags=4), EINVAL),
        (DMA_MAP, dma(0x1000, 0), EINVAL),
        (DMA_MAP, dma(TOP - 0xFFF, 0x2000), EINVAL),
        (DMA_MAP, dma(0, 0x1000, offset=TOP), EINVAL),
        (DMA_UNMAP, struct.pack("=2I2Q", 24, 0, 0x1000, 0x1000), ENOENT),
        (DMA_UNMAP, struct.pack("=2I2Q", 24, 1, 0x1000, 0x1000), EOPNOTSUPP),
        (DMA_UNMAP, struct.pack("=2I2Q", 24, 2, 0x1000, 0x1000), EINVAL),
        (DMA_UNMAP, struct.pack("=2I2Q", 23, 0, 0x1000, 0x1000), EINVAL),
        (DMA_UNMAP, b"", EINVAL),
        (RESET, b"x", EINVAL),
        (SET_IRQS, b"", EINVAL),
        (SET_IRQS, irqs(INTX, NONE | TRIGGER, argsz=19), EINVAL),
        (SET_IRQS, irqs(5, NONE | TRIGGER), EINVAL),
        (SET_IRQS, irqs(2, NONE | TRIGGER), EINVAL),  # MSI-X, of which there are none
        (SET_IRQS, irqs(INTX, NONE | TRIGGER, count=2), EINVAL),
        (SET_IRQS, irqs(INTX, NONE | TRIGGER, start=1), EINVAL),
        (SET_IRQS, irqs(INTX, NONE | TRIGGER, start=0xFFFFFFFF, count=1), EINVAL),
        (SET_IRQS, irqs(INTX, NONE | BOOL | TRIGGER), EINVAL),
        (SET_IRQS, irqs(INTX, NONE), EINVAL),
        (SET_IRQS, irqs(INTX, NONE | MASK | UNMASK), EINVAL),
        (SET_IRQS, irqs(INTX, NONE | 1 << 6 | TRIGGER), EINVAL),
        (SET_IRQS, irqs(INTX, BOOL | TRIGGER), EINVAL),
        (SET_IRQS, irqs(INTX, BOOL | TRIGGER, data=b"\1\1"), EINVAL),
        (SET_IRQS, irqs(INTX, EVENTFD | MASK), ENOTTY),
        (SET_IRQS, irqs(MSI, NONE | MASK), ENOTTY),
        (SET_IRQS, irqs(INTX, NONE | MASK, count=0), EINVAL),
    ],
)
def test_a_message_that_makes_no_sense_gets_its_errno_and_changes_nothing(server, client, command, payload, error):  # noqa: F811
    before = server.device.dump()
    assert client.call(command, payload) == (error, b"")
    assert server.device.dump() == before
    assert client.read(7, 0, 2) == b"\x86\x80"
    assert server.served.addresses.regions == []


@pytest.mark.parametrize(
    "version",
    [
        b"",
        b"\0\0\0",
        struct.pack("=2H", 1, 0),
        struct.pack("=2H", 0, 0) + b"{}",
        struct.pack("=2H", 0, 0) + b"{\0",
        struct.pack("=2H", 0, 0) + b"[]\0",
        struct.pack("=2H", 0, 0) + b"[" * 4000 + b"\0",
        struct.pack("=2H", 0, 0) + b" " * 5000 + b"{}\0",
        struct.pack("=2H", 0, 0) + b'{"capabilities": 5}\0',
        struct.pack("=2H", 0, 0) + b'{"capabilities": {"max_msg_fds": "8"}}\0',
        struct.pack("=2H", 0, 0) + b'{"capabilities": {"write_multiple": 1}}\0',
        struct.pack("=2H", 0, 0) + b"\xff\xfe\0",
    ],
)
def test_a_version_that_is_none_is_refused(server, version):  # noqa: F811
    client = Client(server.path, version=None)
    assert client.call(1, version) == (EINVAL, b"")
    assert client.call(1, VERSION)[0] == 0


def test_nothing_goes_before_the_version(server):  # noqa: F811
    client = Client(server.path, version=None)
    assert client.call(INFO, struct.pack("=4I", 16, 0, 0, 0)) == (EINVAL, b"")
    with pytest.raises(EOFError):
        client.reply()
    Client(server.path)


def test_a_message_too_short_to_be_one_ends_the_connection(server, client):  # noqa: F811
    client.send(INFO, size=15)
    assert client.reply()[2] == errno.EPROTO
    with pytest.raises((EOFError, ConnectionError)):
        client.reply()
    Client(server.path)


def test_a_message_too_long_is_skipped(client):
    size = (1 << 20) + 5000
    assert client.call(WRITE, bytes(size)) == (errno.E2BIG, b"")
    assert client.read(7, 0, 2) == b"\x86\x80"


def test_messages_in_pieces_and_many_at_once(client):
    one = struct.pack("=HHIII", 7, READ, 32, 0, 0) + region(0, 7, 2)
    for byte in one * 2:
        client.socket.sendall(bytes([byte]))
    assert [client.reply()[3][16:] for _ in range(2)] == [b"\x86\x80"] * 2
    client.socket.sendall(one * 500)
    assert [client.reply()[0] for _ in range(500)] == [7] * 500


def test_posted_writes_are_done_in_order_and_not_answered(client):
    for number in range(100):
        client.send(WRITE, region(0x5200, 0, 4, struct.pack("=I", number)), flags=0x10)
    assert struct.unpack("=I", client.read(0, 0x5200, 4)) == (99,)
    client.send(WRITE, region(0x20000, 0, 4, bytes(4)), flags=0x10)  # nobody hears that it makes no sense
    assert client.read(7, 0, 2) == b"\x86\x80"


def test_several_writes_in_one_message(client):
    writes = b"".join(region(0x5200 + 4 * n, 0, 4, struct.pack("=I4x", n + 1)) for n in range(5))
    assert client.call(MULTI, struct.pack("=Q", 5) + writes) == (0, struct.pack("=Q", 5))
    assert struct.unpack("=5I", client.read(0, 0x5200, 20)) == (1, 2, 3, 4, 5)


def test_a_client_that_takes_no_replies_is_held_up_and_nobody_else(server, client):  # noqa: F811
    client.socket.settimeout(1)
    whole = struct.pack("=HHIII", 7, READ, 32, 0, 0) + region(0, 0, 0x20000)
    with pytest.raises(TimeoutError):
        client.socket.sendall(whole * 200_000)  # more than two megabytes, which it may take in at once
    assert server.served.channel.held_up
    client.socket.close()
    assert Client(server.path).read(7, 0, 2) == b"\x86\x80"


# --- interrupts ---


def fired(fd):
    """How often it was signalled since it was asked last."""
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


@pytest.fixture
def event():
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    yield fd
    os.close(fd)


def test_intx_is_a_level(client, event):
    assert client.call(SET_IRQS, irqs(INTX, EVENTFD | TRIGGER), [event])[0] == 0
    client.write(0, 0xD0, struct.pack("=I", 4))  # IMS: LSC
    client.read(0, 0xC0, 4)
    fired(event)
    client.call(SET_IRQS, irqs(INTX, NONE | UNMASK))
    client.write(0, 0xC8, struct.pack("=I", 4))  # ICS
    client.write(0, 0xC8, struct.pack("=I", 4))
    assert fired(event) == 1  # masked by itself
    assert client.call(SET_IRQS, irqs(INTX, NONE | UNMASK))[0] == 0
    assert fired(event) == 1  # still up
    client.read(0, 0xC0, 4)  # ICR: down
    assert client.call(SET_IRQS, irqs(INTX, NONE | UNMASK))[0] == 0
    assert fired(event) == 0
    assert client.call(SET_IRQS, irqs(INTX, NONE | MASK))[0] == 0
    client.write(0, 0xC8, struct.pack("=I", 4))
    assert fired(event) == 0
    assert client.call(SET_IRQS, irqs(INTX, BOOL | UNMASK, data=b"\1"))[0] == 0
    assert fired(event) == 1
    assert client.call(SET_IRQS, irqs(INTX, NONE | TRIGGER, count=0))[0] == 0
    assert client.call(SET_IRQS, irqs(INTX, NONE | UNMASK))[0] == 0
    assert fired(event) == 0  # taken away


def test_msi_is_a_message(client, event):
    assert client.call(SET_IRQS, irqs(MSI, EVENTFD | TRIGGER), [event])[0] == 0
    client.write(7, 0xF2, b"\x81\0")
    client.write(0, 0xD0, struct.pack("=I", 4))
    client.read(0, 0xC0, 4)
    fired(event)
    client.write(0, 0xC8, struct.pack("=I", 4))
    assert fired(event) == 1
    assert client.call(SET_IRQS, irqs(MSI, NONE | TRIGGER))[0] == 0
    assert fired(event) == 1


def test_what_is_no_eventfd_is_refused(client):
    ours, theirs = socket.socketpair()
    with ours, theirs, open(os.devnull) as file:
        for fd in (ours.fileno(), file.fileno()):
            assert client.call(SET_IRQS, irqs(INTX, EVENTFD | TRIGGER), [fd])[0] == EINVAL


def test_an_eventfd_that_is_full_holds_nobody_up(client):
    fd = os.eventfd(0)
    os.eventfd_write(fd, TOP - 1)
    assert client.call(SET_IRQS, irqs(INTX, EVENTFD | TRIGGER), [fd])[0] == 0
    client.write(0, 0xD0, struct.pack("=I", 4))
    client.write(0, 0xC8, struct.pack("=I", 4))
    assert client.read(7, 0, 2) == b"\x86\x80"
    os.close(fd)


# --- memory ---


def test_memory_that_is_cut_short_reads_as_zeroes(server, client):  # noqa: F811
    fd = os.memfd_create("guest")
    os.ftruncate(fd, 1 << 20)
    os.pwrite(fd, b"x" * 4096, 0x80000)
    assert client.map(0, 1 << 20, fd) == 0
    os.ftruncate(fd, 4096)
    assert server.served.addresses.read(0x80000, 16) == bytes(16)
    server.served.addresses.write(0x90000, b"into nothing")
    # and by the card's own DMA: descriptors that are gone
    client.write(0, 0x3800, struct.pack("=III", 0x80000, 0, 4096))
    client.write(0, 0x400, struct.pack("=I", 2))
    client.write(0, 0x3818, struct.pack("=I", 16))
    assert client.read(7, 0, 2) == b"\x86\x80"
    os.close(fd)


def test_memory_without_a_descriptor_or_an_access_is_not_reached(server, client):  # noqa: F811
    assert client.map(0x1000, 0x1000) == 0
    assert client.map(0x3000, 0x1000, os.memfd_create("none"), flags=0) == 0
    assert server.served.addresses.regions == []
    assert client.map(0x1800, 0x1000) == EEXIST
    assert client.unmap(0x1000, 0x1000) == 0
    assert client.unmap(0, 0, flags=2) == 0
    assert client.map(0x3000, 0x1000) == 0


def test_memory_that_is_only_read_is_not_written(server, client):  # noqa: F811
    fd = os.memfd_create("rom")
    os.ftruncate(fd, 8192)
    assert client.map(0x1000, 0x1000, fd, offset=100, flags=1) == 0
    with pytest.raises(OSError, match="not mapped writable"):
        server.served.addresses.write(0x1000, b"x")
    os.close(fd)


def test_descriptors_that_cannot_be_mapped_are_refused(client):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert client.map(0, 4096, ours.fileno()) == errno.ENODEV
    fd = os.memfd_create("readable")
    readable = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    os.ftruncate(fd, 4096)
    assert client.map(0, 4096, readable) == errno.EACCES
    assert client.map(0, 1 << 62, fd) in (errno.ENOMEM, EINVAL, errno.EOVERFLOW)
    os.close(fd)
    os.close(readable)


def test_there_is_an_end_to_mappings(client):
    fd = os.memfd_create("guest")
    os.ftruncate(fd, 4096)
    errors = {client.map(n << 12, 4096, fd) for n in range(600)}
    assert errors == {0, errno.ENOSPC}
    os.close(fd)


# --- descriptors, and clients that come and go ---


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def maps():
    with open("/proc/self/maps") as file:
        return sum("memfd:guest" in line for line in file)


def test_two_hundred_clients_leave_nothing_behind(server):  # noqa: F811
    Client(server.path).socket.close()
    fd, event = os.memfd_create("guest"), os.eventfd(0)
    os.ftruncate(fd, 1 << 20)
    before = descriptors()
    for number in range(200):
        client = Client(server.path)
        assert client.map(0, 1 << 20, fd) == 0
        assert client.call(SET_IRQS, irqs(INTX, EVENTFD | TRIGGER), [event])[0] == 0
        client.send(INFO, b"half"[: number % 5], [fd, fd], size=200)  # breaks off
        client.socket.close()
    Client(server.path).socket.close()
    Client(server.path)  # the one before it is gone
    assert descriptors() - before <= 2
    assert maps() == 0
    assert server.clients == 203


def test_descriptors_that_nobody_asked_for_are_closed(client):
    fd = os.memfd_create("spare")
    before = descriptors()
    assert client.call(INFO, struct.pack("=4I", 16, 0, 0, 0), [fd] * 10)[0] == 0
    assert client.call(READ, region(0, 7, 2), [fd] * 16)[0] == 0
    assert client.call(DMA_MAP, dma(0, 4096), [fd] * 3)[0] == EINVAL
    assert client.call(DMA_MAP, dma(0, 4096), [fd] * 100)[0] == EINVAL
    assert client.read(7, 0, 2) == b"\x86\x80"
    assert descriptors() == before
    os.close(fd)


MESSAGES = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.one_of(
            st.binary(max_size=64),
            st.builds(region, st.integers(0, 1 << 64 - 1), st.integers(0, 10), st.integers(0, 1 << 18), st.binary(max_size=16)),
            st.builds(dma, st.integers(0, 1 << 20), st.integers(0, 1 << 20), argsz=st.integers(0, 64), flags=st.integers(0, 7)),
            st.builds(irqs, st.integers(0, 6), st.integers(0, 63), start=st.integers(0, 2), count=st.integers(0, 3)),
        ),
        st.integers(0, 3),
        st.sampled_from([0, 0, 0, 0x10, 1, 0x20]),
    ),
    max_size=30,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MESSAGES, st.binary(max_size=40))
def test_whatever_comes_the_next_client_is_served(server, messages, end):  # noqa: F811
    client = Client(server.path)
    fd, event = os.memfd_create("guest"), os.eventfd(0)
    os.ftruncate(fd, 1 << 16)
    try:
        for command, payload, fds, flags in messages:
            client.send(command, payload, [fd, event, fd][:fds], flags=flags)
        client.socket.sendall(end)
    except (ConnectionError, TimeoutError):
        pass
    client.socket.close()
    os.close(fd)
    os.close(event)
    assert Client(server.path).read(7, 0, 2) == b"\x86\x80"
