"""One device of the driver on a bus and in a memory that fail at the k-th use, and what must be left of it then: nothing."""

import errno

from cards import RecordingSink, RecordingWire, packet

from e1000 import regs
from e1000.bus import Bus, HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst
from fastring.clock import VirtualClock
from softnet.stack import Stack

SMALL = {"tx_descriptors": 80, "rx_descriptors": 80}
ALL_ONES = 0xFFFFFFFF
COMMAND, ENABLED = 0x04, 7
SECOND = 1_000_000_000


class Host:
    """One device of the driver on a bus of the given kind."""

    def __init__(self, undo, *, bus=LocalBus, memory=None, **options):
        self.memory = undo.enter_context(HostMemory(size=1 << 24) if memory is None else memory)
        self.stack = Stack(clock=VirtualClock())
        self.wire = RecordingWire()
        self.card = E1000Device(wire=self.wire)
        self.bus = bus(self.card, memory=self.memory)
        self.options = SMALL | options
        self.regions = self.memory.addresses.regions
        self.probe()

    def probe(self):
        self.device = probe(self.bus, self.stack, **self.options)
        self.device.sink = RecordingSink()
        self.device.register()

    def works(self):
        """Whether it opens, passes a packet each way, and stops leaving nothing behind."""
        before = self.memory.arena.allocated
        sent, received = len(self.wire.sent), len(self.device.sink.packets)
        self.device.open()
        self.passes(sent, received)
        self.device.stop()
        assert self.memory.arena.allocated == before
        return True

    def passes(self, sent=None, received=None):
        """Whether an open device passes a packet each way."""
        sent = len(self.wire.sent) if sent is None else sent
        received = len(self.device.sink.packets) if received is None else received
        self.device.xmit(Burst.from_packets([packet(60)]))
        arriving = packet(61, to=self.device.dev_addr)
        self.wire.inject(Burst.from_packets([arriving]))
        if isinstance(self.bus, PythonBus):
            self.bus.follow_line()
        self.stack.run()
        assert self.wire.sent[sent:] == [packet(60)]
        assert self.device.sink.packets[received:] == [arriving]
        return True

    def is_down(self, allocated=0):
        """Whether nothing of an open device is left."""
        napi = self.device.netdev_ops.napi
        assert not self.device.up
        assert self.memory.arena.allocated == allocated
        assert self.memory.addresses.regions == self.regions
        assert napi.disabled
        assert napi.tx is napi.rx is self.device.netdev_ops.tx is self.device.netdev_ops.rx is None
        self.bus.irq.request_irq(lambda: None)
        self.bus.irq.free_irq()
        self.stack.softirq.add_irq(self.bus.irq)
        self.stack.softirq.remove_irq(self.bus.irq)
        assert (napi in self.device.napi_list) == (self.device.refs > 0)
        self.stack.run()
        self.stack.clock.advance(SECOND)       # the link's events
        self.stack.run()
        assert self.stack.clock.next_deadline is None
        return True


class FailingMemory(HostMemory):
    """Refuses the coherent allocation number `fail_at`; or, `full_after` so many, has no room for any other, such as a pool's."""

    fail_at = full_after = None
    calls = 0

    def __init__(self, **options):
        super().__init__(**options)
        self.filler = []

    def arm(self, *, fail_at=None, full_after=None):
        self.calls, self.fail_at, self.full_after = 0, fail_at, full_after
        while self.filler:
            self.arena.free(self.filler.pop())

    def alloc_coherent(self, size, *, align=4096):
        self.calls += 1
        if self.calls == self.fail_at:
            raise OSError(errno.ENOMEM, "no memory, says the test")
        iova = super().alloc_coherent(size, align=align)
        if self.calls == self.full_after:
            self.fill()
        return iova

    def fill(self):
        size = len(self.arena)
        while size >= 1024:
            try:
                self.filler.append(self.arena.alloc(size))
            except OSError:
                size //= 2


class FaultyBus(LocalBus):
    """Fails at access number `fail_at` of the control plane; with `dead`, at all that follow too."""

    fail_at = None
    dead = False
    calls = 0

    def hit(self):
        self.calls += 1
        return self.fail_at is not None and (self.calls == self.fail_at or (self.dead and self.calls > self.fail_at))

    def _check(self):
        if self.hit():
            raise OSError(errno.EIO, f"the bus failed at access {self.calls}")

    def read(self, offset, size=4):
        self._check()
        return super().read(offset, size)

    def write(self, offset, value, size=4):
        self._check()
        super().write(offset, value, size)

    def config_read(self, offset, size=4):
        self._check()
        return super().config_read(offset, size)

    def config_write(self, offset, value, size=4):
        self._check()
        super().config_write(offset, value, size)

    def arm(self, fail_at, *, dead=False):
        """The faults begin, or with None are over."""
        self.calls, self.fail_at, self.dead = 0, fail_at, dead


class PythonBus(Bus):
    """A bus written in Python, which the data path uses too; from access `fail_at` on each raises OSError."""

    fail_at = None
    calls = 0

    def __init__(self, card, *, memory):
        super().__init__(memory=memory)
        self.inner = LocalBus(card, memory=memory)

    def arm(self, fail_at):
        self.calls, self.fail_at = 0, fail_at

    def access(self, call, *arguments):
        self.calls += 1
        if self.fail_at is not None and self.calls >= self.fail_at:
            raise OSError(errno.EIO, f"the bus failed at access {self.calls}")
        try:
            return call(*arguments)
        finally:
            self.follow_line()

    def follow_line(self):
        """The line is the other bus's."""
        (self.irq.raise_irq if self.inner.irq.asserted else self.irq.lower_irq)()

    def read(self, offset, size=4):
        return self.access(self.inner.read, offset, size)

    def write(self, offset, value, size=4):
        self.access(self.inner.write, offset, value, size)

    def config_read(self, offset, size=4):
        return self.access(self.inner.config_read, offset, size)

    def config_write(self, offset, value, size=4):
        self.access(self.inner.config_write, offset, value, size)


class GlitchBus(FaultyBus):
    """Reads all ones at access number `fail_at`; a write there is lost."""

    def _check(self):
        pass

    def read(self, offset, size=4):
        return ALL_ONES if self.hit() else super().read(offset, size)

    def write(self, offset, value, size=4):
        if not self.hit():
            super().write(offset, value, size)

    def config_read(self, offset, size=4):
        return (1 << 8 * size) - 1 if self.hit() else super().config_read(offset, size)

    def config_write(self, offset, value, size=4):
        if not self.hit():
            super().config_write(offset, value, size)


class PulledBus(GlitchBus):
    """The card is pulled out of its slot at access number `fail_at`, for the data path too; `arm(None)` puts it back, reset."""

    out = False

    def hit(self):
        self.calls += 1
        if self.calls == self.fail_at:
            self.out = True
            self.device.config_write(COMMAND, 0, 2)
        return self.out

    def arm(self, fail_at, *, dead=True):
        super().arm(fail_at, dead=dead)
        if fail_at is None and self.out:
            self.out = False
            self.device.config_write(COMMAND, 2, 2)
            self.device.write(regs.CTRL, regs.CTRL_RST)
            self.device.config_write(COMMAND, ENABLED, 2)
