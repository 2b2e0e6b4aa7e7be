"""Anything that looks valid, from a client whose rings are up, while frames flow: each frame is accounted for, and the card lives."""

import errno
import os
import queue
import random
import struct
import threading
import time
from contextlib import suppress

import pytest
from cards import packet
from served_cards import RemoteCard
from test_vfio_user_server import Client

from e1000 import regs
from e1000.device import E1000Device
from e1000.driver import remove
from e1000.regmap import expand
from e1000.vfio_user import SharedMemory, VfioUserServer, attach, serve
from fastring.burst import Burst
from fastring.clock import MonotonicClock
from fastring.wire import Wire

SECONDS = 120
BAR0, IO_BAR, CONFIG = 0, 1, 7
SIZES = {BAR0: 1 << 17, IO_BAR: 64, CONFIG: 256}
OFFSETS = sorted(expand())
HOT = [regs.CTRL, regs.RCTL, regs.TCTL, regs.RDT, regs.TDT, regs.RDH, regs.TDH, regs.RDLEN, regs.TDLEN, regs.IMS, regs.ICR, regs.ICS]
NOT_RECEIVED = ("rx_disabled", "rx_filtered", "rx_control", "rx_runt", "rx_oversize", "rx_error", "rx_missed")


class CountingWire(Wire):
    """Counts what is sent."""

    packets = 0

    def transmit_burst(self, burst):
        self.packets += len(burst)


class World:
    """A served card, whose thread does what it is asked to (`ask`), and counts what becomes of frames."""

    def __init__(self, undo, folder):
        self.wire = CountingWire()
        self.clock = MonotonicClock()
        self.card = undo.enter_context(E1000Device(wire=self.wire, clock=self.clock))
        self.server = undo.enter_context(VfioUserServer(self.card, folder / "card"))
        self.jobs, self.stopped, self.injected = queue.SimpleQueue(), False, 0
        self.wake = os.eventfd(0, os.EFD_NONBLOCK)
        self.each_turn = None
        self.thread = threading.Thread(target=serve, args=([self.server],), kwargs={"until": self.work, "wake": self.wake})
        self.thread.start()
        undo.callback(self.stop)

    def work(self):
        """On the server's thread."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.wake)
        while not self.jobs.empty():
            job, answer = self.jobs.get()
            try:
                answer.put((job(), None))
            except AssertionError as error:
                answer.put((None, error))
        if self.each_turn is not None:
            self.each_turn()
        return self.stopped

    def ask(self, job):
        """Have it done there; what it returned."""
        answer = queue.SimpleQueue()
        self.jobs.put((job, answer))
        os.eventfd_write(self.wake, 1)
        result, error = answer.get(timeout=SECONDS)
        if error is not None:
            raise error
        return result

    def accounted(self):
        """Frames that came to the card: received, or dropped for a reason; and all that it looked at."""
        dropped = {name: self.card.drops[name] for name in NOT_RECEIVED}
        return self.card.peek(regs.GPRC) + sum(dropped.values()), self.card.peek(regs.TPR) + dropped["rx_disabled"]

    def inject(self, packets):
        """Let frames arrive; none may vanish."""
        before = self.accounted()
        self.wire.inject(Burst.from_packets(packets))
        self.injected += len(packets)
        assert self.accounted() == tuple(count + len(packets) for count in before), self.card.drops

    def stop(self):
        self.stopped = True
        os.eventfd_write(self.wake, 1)
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()
        os.close(self.wake)


class Wild(Client):
    """The connection of a VfioUserBus, for messages that its driver would not send."""

    def __init__(self, socket):
        self.socket = socket.dup()
        self.socket.settimeout(SECONDS)
        self.sent = 1 << 14

    def call(self, command, payload=b"", fds=(), **options):
        self.sent += 1
        self.sent &= 0xFFFF
        return super().call(command, payload, fds, **options)


class Guest(RemoteCard):
    """Our driver on the card, its stack, and the connection beside it."""

    def __init__(self, undo, world, monkeypatch):
        self.world = world
        made = []
        monkeypatch.setattr(attach, "connect", lambda *args: made.append(CONNECT(*args)) or made[-1])
        self.memory = undo.enter_context(SharedMemory(size=1 << 23))
        super().__init__(undo, world.server.path, memory=self.memory)
        self.wild = Wild(made[0])

    def leave(self):
        """As a guest whose card does not do what it should."""
        with suppress(OSError):
            remove(self.device)
        self.bus.close()
        self.wild.socket.close()

    def passes_traffic(self):
        before, frames = self.world.wire.packets, [packet(60 + n, seed=n) for n in range(100)]
        assert self.device.xmit(Burst.from_packets(frames)) == 100
        self.until(lambda: self.world.wire.packets == before + 100)
        self.sink.packets.clear()
        self.world.ask(lambda: self.world.inject(frames))
        self.until(lambda: len(self.sink.packets) == 100)
        assert self.sink.packets == frames


CONNECT = attach.connect


class Hand:
    """Random accesses, from a seed."""

    def __init__(self, guest, seed):
        self.guest, self.wild, self.random, self.mapped = guest, guest.wild, random.Random(seed), True

    def place(self):
        """(region, offset, bytes) of what a bus could ask for."""
        region = self.random.choice([BAR0] * 6 + [IO_BAR, CONFIG])
        size = self.random.choice([1, 2, 4, 4, 4, 4])
        known = region == BAR0 and self.random.random() < 0.9
        offset = self.random.choice([*HOT, *OFFSETS]) if known else self.random.randrange(SIZES[region])
        return region, min(offset, SIZES[region] - size) & -size, size

    def value(self, size):
        random = self.random
        return random.choice([0, 1, 2, 7, 0x80, 0x10000, 1 << 26, 0xFFFFFFFF, random.getrandbits(32)]).to_bytes(4, "little")[:size]

    def read(self):
        region, offset, size = self.place()
        assert len(self.wild.read(region, offset, size)) == size

    def write(self):
        region, offset, size = self.place()
        self.wild.send(10, struct.pack("=QII", offset, region, size) + self.value(size), flags=0x10)

    def write_several(self):
        count = self.random.randint(1, 6)
        writes = [(place, self.value(place[2])) for place in (self.place() for _ in range(count))]
        body = b"".join(struct.pack("=QII8s", offset, region, size, value) for (region, offset, size), value in writes)
        assert self.wild.call(15, struct.pack("=Q", count) + body) == (0, struct.pack("=Q", count))

    def out_of_range(self):
        region, offset, size = self.random.choice([(BAR0, 1 << 17, 4), (IO_BAR, 62, 4), (CONFIG, 256, 1), (2, 0, 4), (BAR0, 0, 0)])
        assert self.wild.call(9, struct.pack("=QII", offset, region, size)) == (errno.EINVAL, b"")

    def remap(self):
        memory = self.guest.memory
        if self.mapped:
            assert self.wild.unmap(memory.iova, memory.arena.size) == 0
        else:
            assert self.wild.map(memory.iova, memory.arena.size, memory.arena.fileno()) == 0
        self.mapped = not self.mapped

    def reset(self):
        assert self.wild.call(13) == (0, b"")
        self.wild.write(CONFIG, 4, b"\7\0")

    def frames(self):
        packets = [packet(self.random.choice([60, 61, 64, 200, 1514, 1518, 4000, 20])) for _ in range(self.random.randint(1, 16))]
        self.guest.world.ask(lambda: self.guest.world.inject(packets))

    def drive(self):
        """The driver's turn, on a card that is not what it thinks."""
        with suppress(OSError):
            self.guest.stack.run()

    def act(self):
        acts = [self.read, self.write, self.write, self.write_several, self.frames, self.frames, self.drive, self.out_of_range]
        self.random.choice(self.random.choice([acts] * 15 + [[self.remap, self.reset]]))()


@pytest.fixture
def world(undo, tmp_path):
    return World(undo, tmp_path)


@pytest.mark.unsanitized
@pytest.mark.parametrize("seed", range(3))
def test_no_frame_vanishes_and_the_next_driver_finds_a_card(undo, world, monkeypatch, seed):
    guest = Guest(undo, world, monkeypatch)
    guest.passes_traffic()
    hand = Hand(guest, seed)
    for _ in range(600):
        hand.act()
    assert hand.wild.read(CONFIG, 0, 4) == b"\x86\x80\x0e\x10"
    guest.leave()
    Guest(undo, world, monkeypatch).passes_traffic()
    assert world.injected > 1000


@pytest.mark.slow
@pytest.mark.unsanitized
def test_at_full_speed_too(undo, world, monkeypatch):
    guest = Guest(undo, world, monkeypatch)
    hand = Hand(guest, 7)
    frames = [packet(60 + n) for n in range(32)]
    failures = []

    def pour():
        try:
            world.inject(frames)
        except AssertionError as error:
            failures.append(error)

    world.each_turn = pour
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        messages = []
        for _ in range(200):
            region, offset, size = hand.place()
            body = struct.pack("=QII", offset, region, size) + hand.value(size)
            messages.append(struct.pack("=HHIII", 1, 10, 16 + len(body), 0x10, 0) + body)
        hand.wild.socket.sendall(b"".join(messages))
        hand.read()
        if hand.random.random() < 0.1:
            hand.random.choice([hand.remap, hand.reset])()
        os.eventfd_write(world.wake, 1)
    world.ask(lambda: setattr(world, "each_turn", None))
    assert failures == []
    assert world.injected > 1000
    guest.leave()
    Guest(undo, world, monkeypatch).passes_traffic()
