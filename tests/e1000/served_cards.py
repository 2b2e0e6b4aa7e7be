"""Cards served from another process: a cable between two, at the sockets that it is called with. Run as a program it is that process."""

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

from cards import RecordingSink

from e1000.bus import VfioUserBus
from e1000.device import E1000Device
from e1000.driver import probe
from e1000.vfio_user import SharedMemory, VfioUserServer, serve
from fastring.clock import MonotonicClock
from fastring.wire import pair
from softnet import Stack

MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
SECONDS = 120  # before a test gives up


class Servers:
    """The process, and the paths of its two sockets. `options`: words of its command line."""

    def __init__(self, undo, folder, *options):
        self.paths = [str(folder / "near"), str(folder / "far")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen([sys.executable, __file__, *self.paths, *options], stdout=subprocess.PIPE, env=environment)
        undo.callback(self.kill)
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self):
        self.process.kill()
        self.process.wait(60)
        self.process.stdout.close()


@contextmanager
def serving(*servers):
    """Serve them on a thread of this process."""
    wake, stopped = os.eventfd(0), []
    thread = threading.Thread(target=serve, args=(servers,), kwargs={"until": lambda: bool(stopped), "wake": wake})
    thread.start()
    try:
        yield
    finally:
        stopped.append(True)
        os.eventfd_write(wake, 1)
        thread.join(SECONDS)
        assert not thread.is_alive()
        os.close(wake)


def run_until(stack, condition, seconds=SECONDS):
    """Run a stack, asleep in between, until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true: {stack}"
        stack.run()
        if not condition():
            stack.wait(1)


class RemoteCard:
    """The driver on the card that is served at `path`, on a Stack of its own, on the real clock; open, and its link up. `sink` records."""

    def __init__(self, undo, path, *, memory=None):
        self.stack = undo.enter_context(Stack(clock=MonotonicClock()))
        self.bus = undo.enter_context(VfioUserBus(path, memory=memory, timeout=60.0))
        self.sink = RecordingSink()
        self.device = probe(self.bus, self.stack)
        self.device.sink, self.device.promiscuous = self.sink, True
        self.device.register()
        self.device.open()
        self.until(lambda: self.device.carrier_ok)

    def until(self, condition):
        run_until(self.stack, condition)


class TwoRemoteCards:
    """Both cards with their driver on one Stack, on the real clock; open, and their link up. Sinks record, unless others are given.

    `map_doorbells`: they are stores, where it is possible.
    """

    def __init__(self, undo, folder, *, sinks=None, size=1 << 26, timeout=60.0, map_doorbells=False, mapped=None, **options):
        self.servers = Servers(undo, folder, *(["map_doorbells"] if map_doorbells else []))
        self.memory = undo.enter_context(SharedMemory(size=size))
        self.stack = Stack(clock=MonotonicClock())
        how = {"memory": self.memory, "timeout": timeout, "mapped": mapped}
        self.buses = [undo.enter_context(VfioUserBus(path, **how)) for path in self.servers.paths]
        self.near, self.far = self.devices = [probe(bus, self.stack, **options) for bus in self.buses]
        undo.callback(self.stack.close)
        self.sinks = [RecordingSink(), RecordingSink()] if sinks is None else sinks
        for device, sink in zip(self.devices, self.sinks, strict=True):
            device.sink, device.promiscuous = sink, True
            device.register()
            device.open()
        self.link_up()

    def link_up(self):
        self.until(lambda: self.near.carrier_ok and self.far.carrier_ok)

    def until(self, condition, seconds=SECONDS):
        run_until(self.stack, condition, seconds)


def main(near, far, *options):
    """Serve until killed."""
    with ExitStack() as undo:
        clock = MonotonicClock()
        cards = [undo.enter_context(E1000Device(mac=mac, wire=wire, clock=clock)) for mac, wire in zip(MACS, pair(), strict=True)]
        servers = [
            undo.enter_context(VfioUserServer(card, path, map_doorbells="map_doorbells" in options))
            for card, path in zip(cards, (near, far), strict=True)
        ]
        print("ready", flush=True)
        serve(servers)


if __name__ == "__main__":
    main(*sys.argv[1:])
