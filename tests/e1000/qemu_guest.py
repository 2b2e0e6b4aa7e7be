"""The driver on QEMU's card, and what its tests share."""

import os
import random
import signal
from contextlib import contextmanager

import pytest
from cards import STATION, RecordingSink

from e1000.bus.qemu import GuestMemory, Qemu
from e1000.bus.qtest import QtestBus
from e1000.driver import probe
from fastring.clock import VirtualClock
from softnet import Stack

SECOND = 1_000_000_000


@contextmanager
def raises(number, match):
    with pytest.raises(OSError, match=match) as raised:
        yield
    assert raised.value.errno == number


class Guest:
    """A Stack with one device of the driver, on QEMU's card; at the end nothing of it is left."""

    def __init__(self, undo, *, clock=None, mtu=1500, qemu=Qemu, **options):
        self.memory = undo.enter_context(GuestMemory(size=1 << 25))
        self.qemu = undo.enter_context(qemu(memory=self.memory))
        self.wire = self.qemu.wire
        self.clock = VirtualClock() if clock is None else clock
        self.stack = Stack(clock=self.clock)
        self.bus = undo.enter_context(QtestBus(self.qemu, clock=self.clock))
        self.device = probe(self.bus, self.stack, mtu=mtu, **options)
        self.sink = self.device.sink = RecordingSink()
        self.device.register()
        undo.callback(self.check)

    def open(self):
        """Open it, and let the second pass in which QEMU's card receives nothing."""
        self.device.open()
        self.clock.advance(2 * SECOND)
        self.stack.run()
        return self

    def receive(self, *frames):
        for frame in frames:
            self.wire.send(frame)
        self.stack.run()

    def kill(self):
        os.kill(self.qemu.pid, signal.SIGKILL)

    def check(self):
        self.device.unregister()
        assert self.memory.arena.allocated == 0


def frames(count, *, seed, longest=1514, to=STATION):
    rng = random.Random(seed)
    return [to + rng.randbytes(rng.randint(60, longest) - 6) for _ in range(count)]
