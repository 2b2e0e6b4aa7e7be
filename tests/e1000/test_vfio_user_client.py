"""A vfio-user client of a server that says anything."""

import errno
import json
import os
import socket
import struct
import threading
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qemu_guest import raises

from e1000.bus import VfioUserBus
from e1000.vfio_user import SharedMemory
from e1000.vfio_user.client import Client
from fastring.irq import IrqLine
from fastring.memory import AddressSpace

HEADER, ACCESS = struct.Struct("=HHIII"), struct.Struct("=QII")
READ, WRITE, DMA_READ, DMA_WRITE = 9, 10, 11, 12
REPLY, ERROR = 1, 1 << 5
ONES = 0xFFFFFFFF


def message(number, command, payload=b"", *, flags=REPLY, error=0, size=None):
    return HEADER.pack(number, command, 16 + len(payload) if size is None else size, flags, error) + payload


def answer(value, *, number=1, offset=8, region=0, count=4, **options):
    """The reply to the first read of the register at 8."""
    return message(number, READ, ACCESS.pack(offset, region, count) + value, **options)


class Peer:
    """A Client, and the other end of its socket, which says what it has to say before it is asked."""

    def __init__(self, *, timeout=60.0):
        ours, self.socket = socket.socketpair()
        self.socket.settimeout(60)
        self.memory = bytearray(4096)
        self.addresses = AddressSpace()
        self.addresses.map(self.memory, iova=0x10000)
        self.addresses.map(b"read only", iova=0x20000)
        self.line = IrqLine()
        self.client = Client(ours, self.addresses, self.line, name="peer", timeout=timeout)

    def says(self, data, *, more=False):
        self.socket.sendall(data)
        if not more:
            self.socket.shutdown(socket.SHUT_WR)

    def hears(self):
        """The next message to it."""
        header = self.socket.recv(16, socket.MSG_WAITALL)
        return HEADER.unpack(header), self.socket.recv(HEADER.unpack(header)[2] - 16, socket.MSG_WAITALL)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.client.close()
        self.socket.close()


def test_a_read_is_a_request_and_its_reply():
    with Peer() as peer:
        peer.says(answer(b"\1\2\3\4"), more=True)
        assert peer.client.read(0, 8, 4) == 0x04030201
        assert peer.hears() == ((1, READ, 32, 0, 0), ACCESS.pack(8, 0, 4))
        peer.says(answer(b"\5", number=2, offset=3, region=7, count=1), more=True)
        assert peer.client.read(7, 3, 1) == 5


def test_a_write_wants_no_reply():
    with Peer() as peer:
        peer.client.write(0, 8, 0x04030201, 4)
        peer.client.write(1, 4, 0x0605, 2)
        assert peer.hears() == ((1, WRITE, 36, 1 << 4, 0), ACCESS.pack(8, 0, 4) + b"\1\2\3\4")
        assert peer.hears() == ((2, WRITE, 34, 1 << 4, 0), ACCESS.pack(4, 1, 2) + b"\5\6")
        assert peer.client.posted == 2


def test_replies_to_nothing_are_counted_and_passed_over():
    with Peer() as peer:
        peer.says(answer(b"\0\0\0\0", number=9) + message(1, WRITE) + answer(b"\1\0\0\0"))
        assert peer.client.read(0, 8, 4) == 1
        assert peer.client.strays == 2


def test_a_register_that_the_server_refuses_ends_nothing():
    with Peer() as peer:
        peer.says(message(1, READ, flags=REPLY | ERROR, error=errno.EPERM), more=True)
        with raises(errno.EPERM, "peer: the server refuses reading 4 bytes at 0x8 of region 0"):
            peer.client.read(0, 8, 4)
        peer.says(answer(b"\1\0\0\0", number=2))
        assert peer.client.read(0, 8, 4) == 1


@pytest.mark.parametrize(
    ("said", "number", "why"),
    [
        (answer(b"\1\0\0"), errno.EPROTO, "something else"),
        (answer(b"\1\0\0\0\0"), errno.EPROTO, "something else"),
        (answer(b"\1\0\0\0", offset=12), errno.EPROTO, "something else"),
        (answer(b"\1\0\0\0", region=1), errno.EPROTO, "something else"),
        (answer(b"\1\0\0\0", count=2), errno.EPROTO, "something else"),
        (message(1, READ), errno.EPROTO, "something else"),
        (message(1, READ, size=15), errno.EPROTO, "without a size"),
        (message(1, READ, size=0), errno.EPROTO, "without a size"),
        (message(1, READ, size=1 << 30), errno.EMSGSIZE, "more than a megabyte"),
        (answer(b"\1\0\0\0")[:-1], errno.EPIPE, "hung up"),
        (b"", errno.EPIPE, "hung up"),
        (answer(b"\1\0\0\0", number=2) * 5, errno.EPIPE, "hung up"),
    ],
)
def test_what_breaks_the_protocol_ends_it_with_one_error(said, number, why):
    with Peer() as peer:
        peer.says(said)
        assert peer.client.read(0, 8, 4) == ONES
        error, peer.line.error = peer.line.error, None
        assert (type(error), error.errno) == (OSError if number != errno.EPIPE else BrokenPipeError, number)
        assert error.strerror.startswith("peer: ")
        assert why in error.strerror
        assert (peer.client.read(0, 8, 4), peer.client.read(0, 8, 2)) == (ONES, 0xFFFF)
        peer.client.write(0, 8, 1, 4)
        assert peer.line.error is None
        assert peer.client.failure().errno == number


@pytest.mark.parametrize("said", [b"", answer(b"\1\0\0\0")[:20], answer(b"\1\0\0\0", number=7)], ids=["nothing", "half", "another"])
def test_a_server_that_does_not_answer_is_given_up(said):
    with Peer(timeout=0.1) as peer:
        peer.says(said, more=True)
        assert peer.client.read(0, 8, 4) == ONES
        assert peer.line.error.errno == errno.ETIMEDOUT


def test_a_server_that_talks_without_answering_is_given_up():
    stopped = threading.Event()

    def talk(to):
        while not stopped.is_set():
            try:
                to.send(answer(b"\1\0\0\0", number=7) * 100)
            except OSError:
                return

    with Peer(timeout=0.2) as peer:
        thread = threading.Thread(target=talk, args=(peer.socket,))
        thread.start()
        assert peer.client.read(0, 8, 4) == ONES
        assert peer.line.error.errno == errno.ETIMEDOUT
        peer.client.close()
        stopped.set()
        thread.join(60)
        assert not thread.is_alive()


def test_a_server_that_takes_nothing_is_given_up():
    with Peer(timeout=0.1) as peer:
        for _ in range(100_000):
            peer.client.write(0, 8, 1, 4)
            if peer.client.failure() is not None:
                break
        assert peer.line.error.errno == errno.ETIMEDOUT
        assert "takes no messages" in peer.line.error.strerror


# --- memory by messages ---


def dma(command, address, count, data=b""):
    return message(77, command, struct.pack("=QQ", address, count) + data, flags=0)


def test_a_server_without_a_mapping_reads_and_writes_memory_by_messages():
    with Peer() as peer:
        peer.memory[:4] = b"here"
        peer.says(dma(DMA_READ, 0x10000, 4) + dma(DMA_WRITE, 0x10FFF, 1, b"!") + answer(b"\1\0\0\0") + dma(DMA_READ, 0x10FFE, 2))
        assert peer.client.read(0, 8, 4) == 1
        peer.hears()
        assert peer.hears() == ((77, DMA_READ, 36, REPLY, 0), struct.pack("=QQ", 0x10000, 4) + b"here")
        assert peer.hears() == ((77, DMA_WRITE, 32, REPLY, 0), struct.pack("=QQ", 0x10FFF, 1))
        assert peer.hears() == ((77, DMA_READ, 34, REPLY, 0), struct.pack("=QQ", 0x10FFE, 2) + b"\0!")
        assert peer.client.dma_messages == 3


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        (dma(DMA_READ, 0xFFFF, 1), errno.EFAULT),
        (dma(DMA_READ, 0x10FFF, 2), errno.EFAULT),
        (dma(DMA_READ, (1 << 64) - 1, 2), errno.EFAULT),
        (dma(DMA_WRITE, 0x20000, 1, b"!"), errno.EFAULT),
        (dma(DMA_READ, 0x10000, 0), errno.EINVAL),
        (dma(DMA_READ, 0x10000, (1 << 20) + 1), errno.EINVAL),
        (dma(DMA_READ, 0x10000, (1 << 64) - 1), errno.EINVAL),
        (dma(DMA_READ, 0x10000, 4, b"more"), errno.EINVAL),
        (dma(DMA_WRITE, 0x10000, 4, b"low"), errno.EINVAL),
        (dma(DMA_WRITE, 0x10000, (1 << 64) - 16, b""), errno.EINVAL),
        (message(77, DMA_READ, bytes(15), flags=0), errno.EINVAL),
        (message(77, 2, bytes(32), flags=0), errno.EOPNOTSUPP),
        (message(77, 0xFFFF, flags=0), errno.EOPNOTSUPP),
    ],
)
def test_other_memory_and_other_commands_are_refused(asked, number):
    with Peer() as peer:
        peer.says(asked + answer(b"\1\0\0\0"))
        assert peer.client.read(0, 8, 4) == 1
        peer.hears()
        (_, _, size, flags, error), _ = peer.hears()
        assert (size, flags, error) == (16, REPLY | ERROR, number)
        assert peer.memory == bytes(4096)


words = st.sampled_from([0, 1, 2, 4, 8, 15, 16, 31, 32, 36, 1 << 20, 1 << 31, ONES]) | st.integers(0, ONES)
replies = st.builds(
    lambda number, command, payload, flags, error, size: message(number, command, payload, flags=flags, error=error, size=size),
    st.integers(0, 3), st.sampled_from([READ, WRITE, DMA_READ, DMA_WRITE, 1, 99]),
    st.binary(max_size=40) | st.builds(lambda o, r, c, d: ACCESS.pack(o, r, c) + d, st.sampled_from([8, 0x10000]), st.integers(0, 1), words,
                                       st.binary(max_size=8)),
    st.sampled_from([0, 1, 0x10, 0x21]) | words, words, st.none() | words,
)


@given(said=st.lists(replies | st.just(answer(b"\1\0\0\0")) | st.binary(max_size=60), max_size=6))
def test_whatever_is_said_a_read_ends(said):
    with Peer() as peer:
        peer.says(b"".join(said))
        value = refused = None
        try:
            value = peer.client.read(0, 8, 4)
        except OSError as error:
            refused = error.strerror
        if refused is not None:
            assert "refuses reading" in refused
        elif value != ONES or peer.client.failure() is None:
            assert ACCESS.pack(8, 0, 4) + value.to_bytes(4, "little") in b"".join(said)
        assert peer.client.failure() is None or peer.line.error.errno == peer.client.failure().errno


# --- the first messages ---

VERSION, MAP, UNMAP, INFO, REGION, IRQ, SET_IRQS, RESET = 1, 2, 3, 4, 5, 7, 8, 13
SIZES = {0: 1 << 17, 1: 64, 7: 256}


def plain_answers(command, payload):
    """What a server says that has a card."""
    if command == VERSION:
        return struct.pack("=2H", 0, 0) + b'{"capabilities": {"max_msg_fds": 1}}\0'
    if command == INFO:
        return struct.pack("=4I", 16, 3, 9, 5)
    if command == REGION:
        index = struct.unpack_from("=4I", payload)[2]
        return struct.pack("=4I2Q", 32, 3, index, 0, SIZES.get(index, 0), 0)
    if command == IRQ:
        return struct.pack("=4I", 16, 7, 0, 1)
    return payload[:24] if command == UNMAP else b""


class Liar(threading.Thread):
    """A server that answers one command otherwise: with bytes, and descriptors, with an errno, or (None) by hanging up."""

    def __init__(self, path, instead):
        super().__init__()
        self.instead = instead
        self.gone = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.asked = []
        self.fds = []

    def run(self):
        try:
            self.serve()
        finally:
            self.gone.wait(60)
            for fd in self.fds:
                os.close(fd)

    def serve(self):
        client, _ = self.listener.accept()
        with client, self.listener:
            client.settimeout(60)
            while True:
                header, fds, _, _ = socket.recv_fds(client, 16, 16, socket.MSG_WAITALL)
                if not header:
                    return
                number, command, size, flags, _ = HEADER.unpack(header)
                payload = client.recv(size - 16, socket.MSG_WAITALL) if size > 16 else b""
                self.asked.append((command, len(fds)))
                self.fds += fds
                said = self.instead.get(command, plain_answers)
                said = said(command, payload) if callable(said) else said
                if said is None:
                    return
                if flags & 0x10:
                    continue
                failed = isinstance(said, int)
                said, rights = said if isinstance(said, tuple) else (said, [])
                answer = message(number, command, b"" if failed else said, flags=0x21 if failed else 1, error=said if failed else 0)
                socket.send_fds(client, [answer], rights)


@pytest.fixture
def liar(tmp_path):
    """liar(command=…): the bus to a server that answers some commands otherwise."""
    with ExitStack() as undo:
        memory = undo.enter_context(SharedMemory(size=1 << 20))

        def make(instead):
            server = Liar(tmp_path / "card", instead)
            server.start()
            undo.callback(server.join, 60)
            undo.callback(server.gone.set)
            return undo.enter_context(VfioUserBus(tmp_path / "card", memory=memory, timeout=60.0)), server

        yield make


def test_what_is_asked_of_a_server_that_has_a_card(liar):
    bus, server = liar({})
    bus.close()
    server.gone.set()
    server.join(60)
    commands = [VERSION, INFO, REGION, REGION, REGION, IRQ, RESET, MAP, SET_IRQS, WRITE, SET_IRQS, UNMAP]
    assert [command for command, _ in server.asked] == commands
    assert [fds for command, fds in server.asked if command in (MAP, SET_IRQS)] == [1, 1, 0]


def region(index, *, flags=3, size=1 << 17, answered=None):
    def say(command, payload):
        asked = struct.unpack_from("=4I", payload)[2]
        if asked != index:
            return plain_answers(command, payload)
        return struct.pack("=4I2Q", 32, flags, asked if answered is None else answered, 0, size, 0)

    return say


def version(data, major=0, minor=0):
    return struct.pack("=2H", major, minor) + (data if isinstance(data, bytes) else json.dumps(data).encode() + b"\0")


@pytest.mark.parametrize(
    ("instead", "number", "why"),
    [
        ({VERSION: b""}, errno.EPROTO, "version reply of 0 bytes"),
        ({VERSION: version(b"", 1, 0)}, errno.EPROTO, "with 1.0"),
        ({VERSION: version(b"", 0, 2)}, errno.EPROTO, "with 0.2"),
        ({VERSION: version(b"{")}, errno.EPROTO, "NUL"),
        ({VERSION: version([1])}, errno.EPROTO, "capabilities"),
        ({VERSION: version({"capabilities": {"max_msg_fds": "many"}})}, errno.EPROTO, "max_msg_fds"),
        ({VERSION: version({"capabilities": {"max_msg_fds": 0}})}, errno.EOPNOTSUPP, "takes no memory"),
        ({VERSION: errno.EINVAL}, errno.EINVAL, "refuses our version"),
        ({VERSION: None}, errno.EPIPE, "hung up"),
        ({INFO: bytes(15)}, errno.EPROTO, "device info of 15 bytes"),
        ({INFO: struct.pack("=4I", 16, 1, 9, 5)}, errno.ENODEV, "no PCI device"),
        ({INFO: struct.pack("=4I", 16, 3, 7, 5)}, errno.ENODEV, "7 regions"),
        ({INFO: struct.pack("=4I", 16, 3, 9, 0)}, errno.ENODEV, "0 interrupts"),
        ({REGION: region(0, size=1 << 16)}, errno.ENODEV, "BAR0 of 65536 bytes"),
        ({REGION: region(0, flags=1)}, errno.ENODEV, "BAR0 of 0 bytes"),
        ({REGION: region(7, size=64)}, errno.ENODEV, "configuration space of 64"),
        ({REGION: region(1, answered=2)}, errno.EPROTO, "tells of 2"),
        ({REGION: errno.EINVAL}, errno.EINVAL, "refuses info on region 0"),
        ({IRQ: struct.pack("=4I", 16, 7, 0, 0)}, errno.ENODEV, "no INTx"),
        ({IRQ: struct.pack("=4I", 16, 6, 0, 1)}, errno.ENODEV, "no INTx"),
        ({IRQ: struct.pack("=4I", 16, 7, 1, 1)}, errno.EPROTO, "tells of 1"),
        ({RESET: errno.EIO}, errno.EIO, "refuses a reset"),
        ({MAP: errno.ENOSPC}, errno.ENOSPC, "refuses 1048576 bytes of memory"),
        ({SET_IRQS: errno.EINVAL}, errno.EINVAL, "refuses an eventfd for INTx"),
        ({SET_IRQS: 0xFFFFFFFF}, errno.EIO, "refuses an eventfd for INTx"),
    ],
)
def test_what_is_no_card_is_refused_in_one_line(liar, tmp_path, instead, number, why):
    before = len(os.listdir("/proc/self/fd"))
    with raises(number, f"{tmp_path}/card: .*{why}"):
        liar(instead)
    assert len(os.listdir("/proc/self/fd")) <= before + 4  # the server's own: two sockets, two it was given


def test_a_card_without_an_io_bar_has_registers(liar):
    bus, _ = liar({REGION: region(1, size=0), READ: lambda _, payload: payload + b"\1\0\0\0"})
    assert bus.read(8) == 1
    with raises(errno.ENXIO, "no I/O BAR"):
        bus.io_read(0)
    with raises(errno.ENXIO, "no I/O BAR"):
        bus.io_write(0, 0)


def test_an_interrupt_is_handled_once_and_unmasked(liar):
    bus, server = liar({READ: lambda _, payload: payload + b"\1\0\0\0"})
    handled = []
    bus.irq.request_irq(lambda: handled.append(1))
    assert not bus.irq.handle_irq()
    os.eventfd_write(server.fds[1], 1)
    assert (bus.irq.handle_irq(), bus.irq.handle_irq(), bus.irq.fired, bus.irq.asserted) == (True, False, 1, False)
    bus.read(8)
    assert [command for command, _ in server.asked][-3:] == [WRITE, SET_IRQS, READ]


def test_what_the_handler_writes_goes_with_the_unmasking_and_in_order(liar):
    bus, server = liar({READ: lambda _, payload: payload + b"\1\0\0\0"})

    def handler():
        bus.write(0xD8, 1)
        bus.read(0xC0)
        for _ in range(20):  # more than is held at once
            bus.write(0xD8, 2)

    bus.irq.request_irq(handler)
    os.eventfd_write(server.fds[1], 1)
    assert bus.irq.handle_irq()
    bus.read(8)
    assert [command for command, _ in server.asked][-25:] == [WRITE, WRITE, READ, *[WRITE] * 20, SET_IRQS, READ]


def test_a_server_that_fires_without_end_is_shut_off(liar):
    bus, server = liar({IRQ: struct.pack("=4I", 16, 1, 0, 1)})
    bus.irq.request_irq(lambda: None)
    with raises(errno.EIO, "nobody cared"):
        for _ in range(100_001):
            os.eventfd_write(server.fds[1], 1)
            bus.irq.handle_irq()
    assert bus.irq.nobody_cared
