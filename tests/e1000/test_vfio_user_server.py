"""A card on a UNIX socket, asked by a client that knows the protocol and nothing else."""

import os
import socket
import struct
from contextlib import contextmanager

import pytest
from served_cards import serving

from e1000.device import E1000Device
from e1000.vfio_user import VfioUserServer
from fastring.wire import NullWire

VERSION = struct.pack("=2H", 0, 0) + b'{"capabilities": {"max_msg_fds": 8}}\0'


class Client:
    """The least client there can be."""

    def __init__(self, path, version=VERSION):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.sent = 0
        if version is not None:
            assert self.call(1, version)[0] == 0

    def __del__(self):
        self.socket.close()

    def send(self, command, payload=b"", fds=(), flags=0, size=None):
        self.sent += 1
        header = struct.pack("=HHIII", self.sent, command, 16 + len(payload) if size is None else size, flags, 0)
        went = socket.send_fds(self.socket, [header + payload], list(fds))
        if went < len(header + payload):
            self.socket.sendall((header + payload)[went:])

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def reply(self):
        number, command, size, flags, error = struct.unpack("=HHIII", self._exactly(16))
        assert (flags & 0xF, bool(flags & 0x20)) == (1, bool(error))
        return number, command, error, self._exactly(size - 16)

    def call(self, command, payload=b"", fds=(), **options):
        """(errno, payload of the reply)."""
        self.send(command, payload, fds, **options)
        number, answered, error, answer = self.reply()
        assert (number, answered) == (self.sent, command)
        return error, answer

    def read(self, region, offset, count):
        error, answer = self.call(9, struct.pack("=QII", offset, region, count))
        assert error == 0
        assert answer[:16] == struct.pack("=QII", offset, region, count)
        return answer[16:]

    def write(self, region, offset, data):
        assert self.call(10, struct.pack("=QII", offset, region, len(data)) + data)[0] == 0

    def map(self, address, size, fd=None, *, offset=0, flags=3):
        return self.call(2, struct.pack("=2I3Q", 32, flags, offset, address, size), [] if fd is None else [fd])[0]

    def unmap(self, address, size, flags=0):
        return self.call(3, struct.pack("=2I2Q", 24, flags, address, size))[0]


@contextmanager
def run_server(folder):
    """A served card, on a thread."""
    with E1000Device(wire=NullWire()) as card, VfioUserServer(card, folder / "card") as server, serving(server):
        yield server


@pytest.fixture
def server(tmp_path):
    with run_server(tmp_path) as server:
        yield server


@pytest.fixture
def client(server):
    return Client(server.path)


def test_it_is_a_pci_device_with_two_bars_and_configuration_space(client):
    assert client.call(4, struct.pack("=4I", 16, 0, 0, 0)) == (0, struct.pack("=4I", 16, 3, 9, 5))
    sizes = [struct.unpack("=4I2Q", client.call(5, struct.pack("=4I2Q", 32, 0, i, 0, 0, 0))[1])[4] for i in range(9)]
    assert sizes == [0x20000, 64, 0, 0, 0, 0, 0, 256, 0]
    irqs = [struct.unpack("=4I", client.call(7, struct.pack("=4I", 16, 0, i, 0))[1])[1:] for i in range(5)]
    assert irqs == [(7, 0, 1), (9, 1, 1), (0, 2, 0), (0, 3, 0), (0, 4, 0)]
    assert client.read(7, 0, 4) == bytes.fromhex("86800e10")


def test_registers_are_read_and_written(client):
    client.write(7, 4, b"\x07\0")
    assert client.read(0, 8, 4) == client.read(0, 8, 8)[:4] != b"\xff" * 4
    client.write(0, 0x5200, bytes(range(1, 9)))
    assert client.read(0, 0x5200, 8) == bytes(range(1, 9))
    client.write(1, 0, struct.pack("=I", 0x5200))
    assert client.read(1, 4, 4) == bytes([1, 2, 3, 4])


def test_memory_of_the_client_is_reached_until_it_is_unmapped(server, client):
    fd = os.memfd_create("guest")
    os.ftruncate(fd, 1 << 20)
    assert client.map(0x100000, 1 << 20, fd) == 0
    os.pwrite(fd, b"here", 5)
    assert server.served.addresses.read(0x100005, 4) == b"here"
    server.served.addresses.write(0x100010, b"there")
    assert os.pread(fd, 5, 16) == b"there"
    assert client.map(0x1FFFFF, 4096, fd) == 17  # EEXIST
    assert client.unmap(0x100000, 4096) == 2  # ENOENT
    assert client.unmap(0x100000, 1 << 20) == 0
    assert server.served.addresses.regions == []
    os.close(fd)


def test_an_interrupt_that_is_still_up_fires_again_when_it_is_unmasked(client):
    event = os.eventfd(0, os.EFD_NONBLOCK)
    assert client.call(8, struct.pack("=5I", 20, 4 | 32, 0, 0, 1), [event])[0] == 0
    client.write(7, 4, b"\x07\0")
    client.write(0, 0xD0, struct.pack("=I", 4))  # IMS, ICS: LSC
    client.write(0, 0xC8, struct.pack("=I", 4))
    assert os.eventfd_read(event) == 1
    client.send(8, struct.pack("=5I", 20, 1 | 16, 0, 0, 1), flags=1 << 4)
    assert client.call(8, struct.pack("=5I", 20, 1 | 16, 0, 0, 1))[0] == 0
    assert os.eventfd_read(event) == 2
    client.read(0, 0xC0, 4)  # ICR: the line is down
    assert client.call(8, struct.pack("=5I", 20, 1 | 16, 0, 0, 1))[0] == 0
    with pytest.raises(BlockingIOError):
        os.eventfd_read(event)
    assert client.call(8, struct.pack("=5I", 20, 1 | 16, 0, 1, 1))[0] == 22
    assert client.call(8, struct.pack("=5I", 20, 1 | 16, 1, 0, 1))[0] == 25
    os.close(event)
