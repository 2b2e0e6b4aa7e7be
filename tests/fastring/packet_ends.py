"""What the tests of wires onto real interfaces share: a veth pair between namespaces, a plain packet socket at its far end."""

import json
import socket
import time
from contextlib import contextmanager

from namespaces import namespace, veth
from sinks import RecordingSink

from fastring.port import WirePort

ETH_P_ALL = 3
PATIENCE = 30


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
def listening(wire, **options):
    """A port on `wire`, whose sink records."""
    with wire, WirePort(wire, sink=RecordingSink(), **options) as port:
        yield port


def poll_until(port, condition):
    """Poll until `condition()` holds; its value."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"nothing for {PATIENCE} s: {port!r}, {port.wire.drops}"
        if not port.poll():
            time.sleep(0.0005)
    return found


def poll_for(port, count):
    """Poll until `count` packets have come; all that came."""
    poll_until(port, lambda: len(port.sink.packets) >= count)
    return port.sink.packets
