"""Anything a host or a wire can do to a bare card: it never hangs, never reaches outside mapped memory, and works after a reset."""

import faulthandler

import pytest
from cards import EOP, MAC, RS, STATION, RecordingWire, packet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.regmap import expand
from e1000.trace import Trace
from e1000.trace_events import describe
from fastring.burst import FRAME_ERRORS, Burst
from fastring.wire import pair

PAGE = 4096
WINDOWS = 4                             # what the card may reach: pages of the arena with a page of canary between them
CANARY = bytes([0xC5]) * PAGE
OFFSETS = sorted(expand())
DOORBELLS = [regs.TDT, regs.RDT, regs.TCTL, regs.RCTL, regs.TDH, regs.RDH, regs.TDLEN, regs.RDLEN, regs.TDBAL, regs.RDBAL, regs.TDBAH]


@pytest.fixture(autouse=True)
def no_hang():
    """An engine that does not return cannot be interrupted: say where it is, and end."""
    faulthandler.dump_traceback_later(600, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


class Sandbox:
    """Two cards on a cable; their host maps four single pages, so that every overrun shows: in a canary, or as a fault.

    `watched`: in strict mode, traced, and with a handler in Python.
    """

    def __init__(self, lossless, watched=False):
        self.memory = HostMemory(size=(2 * WINDOWS + 1) * PAGE)
        self.arena = self.memory.arena
        self.addresses = self.memory.addresses
        self.addresses.unmap(self.memory.iova)
        self.arena.alloc((2 * WINDOWS + 1) * PAGE, align=PAGE)
        with memoryview(self.arena) as view:
            for i in range(WINDOWS + 1):
                view[2 * i * PAGE : (2 * i + 1) * PAGE] = CANARY
        # Window 3 is read-only
        self.pages = [
            self.addresses.map_pointer(self.arena.address + (2 * i + 1) * PAGE, PAGE, self.arena, i != 3, 0x10000 * (i + 1))
            for i in range(WINDOWS)
        ]
        self.wires = pair(lossless=lossless)
        self.cards = [E1000Device(mac=MAC, wire=wire, strict=watched) for wire in self.wires]
        self.buses = [LocalBus(card, memory=self.memory) for card in self.cards]
        self.trace = Trace(self.cards, buffer=64) if watched else None
        if watched:
            self.cards[0].on_write(regs.EERD, lambda offset, value: self.cards[1].write(offset, value))

    def check(self):
        with memoryview(self.arena) as view:
            for i in range(WINDOWS + 1):
                assert view[2 * i * PAGE : (2 * i + 1) * PAGE] == CANARY, f"canary {i} was written"
            assert view[7 * PAGE : 8 * PAGE] == bytes(PAGE), "read-only memory was written"
        for card in self.cards:
            for name, value in card.dump().items():
                assert 0 <= value <= 0xFFFFFFFF, name

    def close(self):
        if self.trace is not None:
            self.trace.close()
            assert self.trace.lost == 0
            assert all(describe(event) for event in self.trace.events)
        for bus in self.buses:
            bus.close()
        for card in self.cards:
            card.close()
        self.arena.close()


# Bus addresses: in a window, near its ends, anywhere
ADDRESS = st.one_of(
    st.builds(lambda window, offset: 0x10000 * (window + 1) + offset, st.integers(0, WINDOWS - 1), st.integers(0, PAGE - 1)),
    st.builds(lambda window, back: 0x10000 * (window + 1) + PAGE - back, st.integers(0, WINDOWS - 1), st.integers(0, 64)),
    st.sampled_from([0, 1, 2**64 - 1, 2**64 - 16, 2**63, 2**32 - 1]),
    st.integers(0, 2**64 - 1),
)
# A descriptor's second word: plausible or random
WORD = st.one_of(
    st.builds(
        lambda length, cmd: length | cmd,
        st.sampled_from([0, 1, 14, 59, 60, 64, 256, 1514, 2048, 4096, 16380, 16381, 0xFFFF]),
        st.sampled_from([0, EOP, EOP | RS, RS, EOP | 1 << 29 | 1 << 20, 1 << 29 | 1 << 20, 1 << 29, EOP | 1 << 29]),
    ),
    st.integers(0, 2**64 - 1),
)
VALUE = st.one_of(
    st.sampled_from([0, 1, 7, 8, 15, 128, 256, 1024, 4096, 0xFFFF, 0x10000, 0xFFFFFFFF, 0x10000, 0x20000, 0x40000]),
    st.sampled_from([regs.RCTL_EN, regs.RCTL_EN | regs.RCTL_UPE | regs.RCTL_LPE | regs.RCTL_SECRC, regs.TCTL_EN, regs.CTRL_SLU]),
    st.integers(0, 2**32 - 1),
)
CARD = st.integers(0, 1)
# Tags, IP, ARP or anything, to the card or anybody
FRAME = st.builds(
    lambda to, ethertype, rest: packet(14, to=to, ethertype=ethertype) + rest,
    st.sampled_from([STATION, b"\xff" * 6, bytes.fromhex("0180c2000001"), b"\x52" * 6]),
    st.sampled_from([0x8100, 0x0800, 0x86DD, 0x8808, 40]),
    st.binary(max_size=150).map(lambda tail: b"\x45" + tail),
)
STEP = st.one_of(
    st.tuples(st.just("write"), CARD, st.one_of(st.sampled_from(DOORBELLS), st.sampled_from(OFFSETS)), VALUE),
    st.tuples(st.just("read"), CARD, st.sampled_from(OFFSETS)),
    st.tuples(st.just("descriptors"), st.integers(0, 2), st.integers(0, 255), st.lists(st.tuples(ADDRESS, WORD), max_size=20)),
    st.tuples(st.just("inject"), CARD, st.lists(st.integers(1, 20000), min_size=1, max_size=8)),
    st.tuples(st.just("damaged"), CARD, st.lists(st.tuples(FRAME, st.sampled_from([0, 2, FRAME_ERRORS])), min_size=1, max_size=8)),
    # A ring that makes sense, or some other steps would never reach the engines
    st.tuples(st.just("rings"), CARD, st.sampled_from([8, 16, 64, 256]), st.integers(0, 255), st.integers(0, 2**32 - 1)),
)


def ring_up(card, count, tail, rctl):
    for low, length, head, tail_register, base in (
        (regs.TDBAL, regs.TDLEN, regs.TDH, regs.TDT, 0x10000),
        (regs.RDBAL, regs.RDLEN, regs.RDH, regs.RDT, 0x20000),
    ):
        card.write(low, base)
        card.write(low + 4, 0)
        card.write(length, 16 * count)
        card.write(head, tail % count // 2)
        card.write(tail_register, tail % count)
    card.write(regs.RCTL, rctl | regs.RCTL_EN)
    card.write(regs.TCTL, rctl | regs.TCTL_EN)


def act(box, step):
    kind, *rest = step
    if kind == "write":
        which, offset, value = rest
        box.cards[which].write(offset, value)
    elif kind == "read":
        which, offset = rest
        box.cards[which].read(offset)
    elif kind == "descriptors":
        window, slot, descriptors = rest
        for i, (address, word) in enumerate(descriptors):
            at = box.pages[window] + 16 * ((slot + i) % 256)
            box.addresses.write(at, address.to_bytes(8, "little") + word.to_bytes(8, "little"))
    elif kind == "inject":
        which, lengths = rest
        box.wires[which].inject(Burst.from_packets([packet(n, seed=i) for i, n in enumerate(lengths)]))
    elif kind == "damaged":
        which, frames = rest
        box.wires[which].inject(Burst.from_packets([content for content, _ in frames], errors=[bits for _, bits in frames]))
    else:
        which, *rings = rest
        ring_up(box.cards[which], *rings)


def works_after_reset(box):
    """CTRL.RST, and then an ordinary packet goes each way."""
    for card in box.cards:
        card.write(regs.CTRL, card.read(regs.CTRL) | regs.CTRL_RST)
    content = packet(100, to=STATION, seed=1)
    for window in range(3):
        box.addresses.write(box.pages[window], bytes(PAGE))
    for card, ring in zip(box.cards, box.pages, strict=False):
        receive, transmit, buffer = ring, ring + 1024, ring + 2048
        box.addresses.write(receive, buffer.to_bytes(8, "little"))
        box.addresses.write(buffer + 1024, content)
        box.addresses.write(transmit, (buffer + 1024).to_bytes(8, "little") + (100 | EOP | RS).to_bytes(8, "little"))
        for low, length, base in ((regs.TDBAL, regs.TDLEN, transmit), (regs.RDBAL, regs.RDLEN, receive)):
            card.write(low, base)
            card.write(length, 128)
        card.write(regs.RCTL, regs.RCTL_EN | regs.RCTL_SECRC | 1 << regs.RCTL_BSIZE_SHIFT)
        card.write(regs.RDT, 1)
        card.write(regs.TCTL, regs.TCTL_EN)
    for card in box.cards:
        card.write(regs.TDT, 1)
    for ring in box.pages[:2]:
        status = box.addresses.read(ring + 8, 8)
        assert (int.from_bytes(status[:2], "little"), status[4] & 3) == (100, 3)
        assert box.addresses.read(ring + 2048, 100) == content
        assert box.addresses.read(ring + 1024 + 12, 1)[0] & 1
    for card in box.cards:
        assert card.read(regs.GPRC) == card.read(regs.GPTC) == 1


@given(st.booleans(), st.booleans(), st.lists(STEP, max_size=60))
@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_nothing_a_host_does_reaches_outside_mapped_memory_or_outlives_a_reset(lossless, watched, steps):
    box = Sandbox(lossless, watched)
    try:
        for step in steps:
            act(box, step)
        box.check()
        works_after_reset(box)
        box.check()
    finally:
        box.close()


# Buffers around the ends of a window, or in it: nearly every frame is stored, and the longer ones reach for the canary
BUFFER = st.builds(
    lambda window, offset: 0x10000 * (window + 1) + offset,
    st.sampled_from([2, 2, 2, 3]),
    st.one_of(st.integers(PAGE - 3000, PAGE), st.integers(PAGE - 130, PAGE), st.integers(-3000, 0), st.integers(-130, 64)),
)
RCTL = st.builds(
    lambda size, strip: size | strip | regs.RCTL_LPE,
    st.sampled_from([0, 1 << 16, 2 << 16, 3 << 16, 1 << 16 | regs.RCTL_BSEX, 3 << 16 | regs.RCTL_BSEX]),
    st.sampled_from([0, regs.RCTL_SECRC]),
)
LENGTH = st.one_of(st.integers(60, 130), st.integers(60, 3000))


@given(st.lists(BUFFER, min_size=64, max_size=64), st.lists(st.lists(LENGTH, min_size=1, max_size=6), max_size=8), RCTL)
@settings(max_examples=300, suppress_health_check=list(HealthCheck))
def test_no_frame_is_stored_over_the_end_of_mapped_memory(buffers, bursts, rctl):
    box = Sandbox(True)
    try:
        for slot, address in enumerate(buffers):
            box.addresses.write(box.pages[1] + 16 * slot, address.to_bytes(8, "little") + bytes(8))
        ring_up(box.cards[0], 64, 0, rctl)
        box.cards[0].write(regs.RDT, 63)
        for lengths in bursts:
            act(box, ("inject", 0, lengths))
        box.check()
        stored = [box.addresses.read(box.pages[1] + 16 * slot + 8, 8) for slot in range(64)]
        lost = sum(desc[5] != 0 for desc in stored)
        assert box.cards[0].drops["rx_dma"] == lost
        # A frame that finds no buffer at the end was received all the same (§13.7)
        assert box.cards[0].read(regs.GPRC) + sum(box.cards[0].drops.values()) - lost <= sum(map(len, bursts))
        works_after_reset(box)
    finally:
        box.close()


@given(st.lists(st.tuples(BUFFER, st.integers(0, 3000), st.sampled_from([EOP, EOP, 0])), min_size=63, max_size=63), st.booleans())
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
def test_no_packet_is_read_over_the_end_of_mapped_memory(descriptors, long):
    wire = RecordingWire()
    box = Sandbox(True)
    try:
        box.cards[0].unplug()
        box.cards[0].plug(wire)
        for slot, (address, length, cmd) in enumerate(descriptors):
            word = (length | cmd) & ~(EOP if long else 0)
            box.addresses.write(box.pages[0] + 16 * slot, address.to_bytes(8, "little") + word.to_bytes(8, "little"))
        ring_up(box.cards[0], 64, 0, 0)
        box.cards[0].write(regs.TDT, 63)
        assert wire.error is None
        assert not any(CANARY[:1] in sent for sent in wire.sent)
    finally:
        box.close()


@given(st.lists(st.tuples(ADDRESS, WORD), min_size=256, max_size=256), st.integers(0, 255), st.integers(0, 2**32 - 1))
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_a_ring_full_of_anything_is_gone_through_in_one_turn(descriptors, tail, rctl):
    box = Sandbox(True)
    try:
        act(box, ("descriptors", 0, 0, descriptors))
        ring_up(box.cards[0], 256, tail, rctl)
        box.check()
        works_after_reset(box)
    finally:
        box.close()


@given(st.lists(st.tuples(st.sampled_from(OFFSETS), VALUE), max_size=40))
@settings(max_examples=200)
def test_no_sequence_of_writes_outlives_a_reset(writes):
    card, fresh = E1000Device(wire=RecordingWire()), E1000Device(wire=RecordingWire())
    for offset, value in writes:
        card.write(offset, value)
    card.write(regs.CTRL, regs.CTRL_RST)
    sticky = {name for name, line in expand().values() if line.sticky}
    after = fresh.dump()
    assert card.dump() | {name: after[name] for name in sticky} == after
