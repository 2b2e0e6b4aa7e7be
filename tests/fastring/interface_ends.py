"""What the tests of wires onto real interfaces share: a veth pair between namespaces, and who looks what arrives at its ends."""

import json
import socket
import time
from contextlib import contextmanager

from namespaces import namespace, veth
from sinks import RecordingSink

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.clock import MonotonicClock
from fastring.port import WirePort

ETH_P_ALL = 3
PATIENCE = 30
BROADCAST = b"\xff" * 6
FRAMES = [BROADCAST + b"\x02\0\0\0\0\1" + b"\x88\xb5" + bytes([i]) * (46 + 13 * i) for i in range(110)]     # 60 to 1477 bytes
TAGGED = [
    frame[:12] + tag + frame[12:]
    for frame, tag in zip(FRAMES, (b"\x81\0\0\7", b"\x88\xa8\x20\7", b"\x88\xa8\x20\7\x81\0\xef\xff", b"\x81\0\0\0"), strict=False)
]


class Ends:
    """A veth pair, `near` and `far`, each in the namespace of the same name."""

    def __init__(self, near, far):
        self.near, self.far = near, far

    def socket(self, where, name):
        """A packet socket in one of the namespaces that has seen nothing yet."""
        with where.inside():
            plain = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        plain.setsockopt(socket.SOL_SOCKET, 33, 1 << 25)            # SO_RCVBUFFORCE
        plain.bind((name, ETH_P_ALL))
        plain.settimeout(PATIENCE)
        return plain

    def address(self, where, name):
        """An interface's MAC address, as bytes."""
        with self.socket(where, name) as plain:
            return plain.getsockname()[4]

    def received(self, where, name):
        """Packets that the kernel counts as received at an interface."""
        return json.loads(where.ip("-j", "-s", "link", "show", name))[0]["stats64"]["rx"]["packets"]


@contextmanager
def two_ends(*, mtu=1500):
    with namespace() as near, namespace() as far:
        veth(near, "near", far, "far", mtu=mtu)
        yield Ends(near, far)


@contextmanager
def listening(wire):
    """A port on `wire`, whose sink records."""
    with wire, WirePort(wire, sink=RecordingSink(), clock=MonotonicClock()) as port:
        yield port


def poll_until(port, condition):
    """Poll until `condition()` holds; its value."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"nothing for {PATIENCE} s: {port!r}, {port.wire.drops}"
        if not port.poll():
            time.sleep(0.0005)
    return found


def go_round(port, far, times):
    """All FRAMES arrive, so many times; yields after each."""
    for _ in range(times):
        for frame in FRAMES:
            far.send(frame)
        assert poll_for(port, len(FRAMES)) == FRAMES
        port.sink.packets.clear()
        yield


def poll_for(port, count):
    """Poll until `count` packets have come; all that came."""
    poll_until(port, lambda: len(port.sink.packets) >= count)
    return port.sink.packets


def addresses(ends, *, ipv6=False):
    """The far kernel knows 10.0.0.1 at our end and has an address itself; with `ipv6` fd00::1, too, and reports its groups unasked."""
    ends.far.ip("addr", "add", "10.0.0.2/24", "dev", "far")
    ends.far.ip("neigh", "add", "10.0.0.1", "lladdr", "02:00:00:00:00:01", "dev", "far")
    if ipv6:
        ends.far.ip("-6", "addr", "add", "fd00::2/64", "dev", "far", "nodad")
        ends.far.ip("neigh", "add", "fd00::1", "lladdr", "02:00:00:00:00:01", "dev", "far")


def card_on(stack, wire):
    device = probe(LocalBus(E1000Device(wire=wire)), stack, flow_control="none", rx_usecs=0)
    device.promiscuous = True
    device.sink = RecordingSink()
    return device


def run_until(stack, condition):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        stack.run()
        stack.wait(0.01)
    return found
