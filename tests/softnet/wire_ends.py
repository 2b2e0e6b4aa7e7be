"""Wires opened by their spec, each with a port that records what arrives."""

import time

from fastring.burst import Burst, BurstSink
from fastring.clock import MonotonicClock
from fastring.port import WirePort
from softnet.wire import open_wire


class Recorder(BurstSink):
    """Remembers every packet and its time."""

    def __init__(self):
        self.packets, self.times = [], []

    def on_burst(self, burst):
        self.packets += list(burst)
        self.times += burst.times


class End:
    """A wire by its spec, and a port on it."""

    def __init__(self, undo, spec, *, clock=None):
        self.clock = MonotonicClock() if clock is None else clock
        self.cabling = open_wire(spec, clock=self.clock)
        undo.callback(self.cabling.close)
        self.wire = self.cabling.near
        self.sink = Recorder()
        self.port = undo.enter_context(WirePort(self.wire, sink=self.sink, clock=self.clock))

    def send(self, *packets):
        return self.port.send(Burst.from_packets(packets))

    def take(self):
        packets, self.sink.packets = self.sink.packets, []
        return packets


def until(condition, *ends):
    """Poll until something is so: a generous while."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, [end.wire for end in ends]
        for end in ends:
            end.port.poll()


def numbered(count, *, longest=1514):
    """Packets that differ in content and length."""
    return [i.to_bytes(4, "big") * ((60 + i * 37 % (longest - 59)) // 4) for i in range(count)]
