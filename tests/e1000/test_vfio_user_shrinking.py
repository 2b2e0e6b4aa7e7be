"""A guest that cuts its memory short under the wire: what the kernel sends from there is zeroes, and the server lives."""

import os
import socket
import struct

import pytest
from namespaces import namespace, veth
from served_cards import serving
from test_vfio_user_server import Client

from e1000.device import E1000Device
from e1000.vfio_user import VfioUserServer
from fastring.clock import VirtualClock
from softnet.wire import open_wire

SIZE, BUFFERS = 1 << 20, 0x80000
FRAME = b"\xff" * 6 + b"\2\0\0\0\0\1\x88\xb5" + bytes(range(1, 201)) * 4
SECONDS = 60


class Guest(Client):
    """Sends FRAMEs out of a memfd."""

    def __init__(self, path):
        super().__init__(path)
        self.memory = os.memfd_create("guest")
        os.ftruncate(self.memory, SIZE)
        assert self.map(0, SIZE, self.memory) == 0
        self.write(7, 4, b"\7\0")
        for slot in range(64):
            os.pwrite(self.memory, struct.pack("<QQ", BUFFERS + 4096 * slot, len(FRAME) | 0x0B << 24), 16 * slot)
            os.pwrite(self.memory, FRAME, BUFFERS + 4096 * slot)
        for offset, value in ((0x3800, 0), (0x3804, 0), (0x3808, 1024), (0x400, 2)):
            self.register(offset, value)

    def register(self, offset, value):
        self.write(0, offset, struct.pack("=I", value))


def datagrams(undo, tmp_path):
    far = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    far.bind(str(tmp_path / "far"))
    return f"unix:{tmp_path}/near,remote={tmp_path}/far", far


def stream(undo, tmp_path):
    listener = undo.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(str(tmp_path / "far"))
    listener.listen()
    return f"unix-stream:{tmp_path}/far", listener


def tap(undo, tmp_path):
    undo.enter_context(undo.enter_context(namespace()).inside())
    return "tap:tap0", None


def packet(undo, tmp_path):
    here = undo.enter_context(namespace())
    veth(here, "near", here, "far")
    undo.enter_context(here.inside())
    return "packet:near", None


def listen(undo, name):
    """A packet socket on what is there by now, for frames of any kind: nobody else speaks."""
    far = undo.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
    far.bind((name, 0))
    return far


def take(far, kind):
    """The next frame."""
    far.settimeout(SECONDS)
    if kind is stream:
        length = int.from_bytes(far.recv(4, socket.MSG_WAITALL), "big")
        return far.recv(length, socket.MSG_WAITALL)
    return far.recv(65536)


@pytest.mark.parametrize("kind", [datagrams, stream, tap, packet])
def test_frames_of_memory_that_is_gone_are_zeroes_on_the_wire(undo, tmp_path, kind):
    spec, far = kind(undo, tmp_path)
    clock = VirtualClock()
    cabling = open_wire(spec, clock=clock)
    undo.callback(cabling.close)
    card = undo.enter_context(E1000Device(wire=cabling.near, clock=clock))
    clock.advance(5 * 10**9)
    server = undo.enter_context(VfioUserServer(card, tmp_path / "card"))
    if kind is stream:
        far = undo.enter_context(far.accept()[0])
    elif far is None:
        far = listen(undo, "tap0" if kind is tap else "far")
    with serving(server):
        guest = Guest(server.path)
        guest.register(0x3818, 2)
        assert [take(far, kind) for _ in range(2)] == [FRAME] * 2
        os.ftruncate(guest.memory, BUFFERS + 4096 * 10 + 14)  # in the middle of one
        guest.register(0x3818, 40)
        sent = [take(far, kind) for _ in range(38)]
        assert sent[:8] == [FRAME] * 8  # and the next lies across the end
        assert sent[9:] == [bytes(len(FRAME))] * 29
        assert guest.read(0, 0x3810, 4) == struct.pack("=I", 40)
        guest.socket.close()
        assert Client(server.path).read(7, 0, 2) == b"\x86\x80"
        os.close(guest.memory)
