"""Wires over sockets, with QEMU at their other end: its own e1000 under our driver, and a card of ours."""

import socket
import time
from functools import partial

import pytest
from cards import RecordingSink
from qemu_guest import Guest, frames

from e1000.bus import LocalBus
from e1000.bus.qemu import Qemu
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst
from softnet.wire import open_wire

FAR = bytes.fromhex("520000000002")
COUNT = 1000

pytestmark = pytest.mark.usefixtures("qemu_program")


class Quiet:
    """In the place of the wire that a Qemu has by itself: its frames go elsewhere, and its main loop moves them."""

    unread = waiting = 0

    def poll(self):
        return 0

    def close(self):
        """Nothing is open."""


class StreamQemu(Qemu):
    """A QEMU whose cable is a stream: `netdev` says which, {folder} in it being where its files are."""

    def __init__(self, *, netdev, **options):
        self.netdev = netdev
        super().__init__(**options)

    def _netdev(self):
        return f"stream,id=wire,{self.netdev.format(folder=self.folder)}"

    def _connect_wire(self):
        self.wire.close()
        self.wire = Quiet()


def until(guest, condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        guest.stack.run()


def exchange(undo, guest, spec):
    """A thousand frames each way between QEMU's card and one of ours on the wire of that spec."""
    cabling = open_wire(spec, clock=guest.stack.clock)
    undo.callback(cabling.close)
    far = probe(LocalBus(E1000Device(mac=FAR, wire=cabling.near), memory=guest.memory), guest.stack, flow_control="none", rx_usecs=0)
    far.sink = RecordingSink()
    undo.enter_context(far)
    guest.open()
    until(guest, lambda: getattr(cabling.near, "connected", True))
    out, back = frames(COUNT, seed=4, to=FAR), frames(COUNT, seed=5)
    for start in range(0, COUNT, 50):
        guest.device.xmit(Burst.from_packets(out[start : start + 50]))
        far.xmit(Burst.from_packets(back[start : start + 50]))
        until(guest, lambda end=start + 50: len(far.sink.packets) >= end and len(guest.sink.packets) >= end)
    assert far.sink.packets == out
    assert guest.sink.packets == back
    assert (cabling.near.tx_packets, cabling.near.rx_packets, cabling.near.drops) == (COUNT, COUNT, {})


def test_a_card_of_ours_and_qemus_exchange_frames_by_unix_datagrams(undo):
    guest = Guest(undo)
    guest.qemu.wire.close()         # whose path is taken over
    guest.qemu.wire = Quiet()
    folder = guest.qemu.folder
    exchange(undo, guest, f"unix:{folder}/ours,remote={folder}/qemu")


def test_they_exchange_frames_by_a_unix_stream_at_which_qemu_listens(undo):
    guest = Guest(undo, qemu=partial(StreamQemu, netdev="server=on,addr.type=unix,addr.path={folder}/stream"))
    exchange(undo, guest, f"unix-stream:{guest.qemu.folder}/stream,reconnect-ms=10")


def test_they_exchange_frames_by_tcp_with_qemu_connecting_again_and_again(undo):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = f"server=off,addr.type=inet,addr.host=127.0.0.1,addr.port={port},reconnect-ms=20"
    guest = Guest(undo, qemu=partial(StreamQemu, netdev=options))
    exchange(undo, guest, f"tcp:127.0.0.1:{port},server=on")
