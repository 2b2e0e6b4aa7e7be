"""A card saved at any moment goes on elsewhere, byte for byte; what is no snapshot is refused."""

import re
import struct
import zlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from cards import BROADCAST, MAC, STATION, BareCard, RecordingWire, context, data, legacy, packet, pieces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.regmap import expand
from e1000.trace import Trace
from fastring.burst import Burst
from fastring.clock import VirtualClock
from fastring.wire import pair

DEVICE = Path(__file__).parents[2] / "e1000" / "device"
RING, COUNT = 0x1000, 32
BUFFERS = 0x8000
MEMORY = 1 << 17


class World:
    """A card on a bus, with a clock, over its own image of memory; `same` compares all of it with another's."""

    def __init__(self, image=bytes(MEMORY), time=0, plugged=True):
        self.memory = HostMemory(size=MEMORY)
        self.addresses = self.memory.addresses
        self.base = self.memory.alloc_coherent(MEMORY)
        self.addresses.write(self.base, image)
        self.clock = VirtualClock(start=time)
        self.wire = RecordingWire()
        self.device = E1000Device(mac=MAC, wire=self.wire if plugged else None, clock=self.clock)
        self.bus = LocalBus(self.device, memory=self.memory)

    @property
    def image(self):
        return self.addresses.read(self.base, MEMORY)

    def play(self, step):
        kind, *rest = step
        if kind == "write":
            self.device.write(*rest)
        elif kind == "read":
            return self.device.read(*rest)
        elif kind == "config":
            self.device.config_write(*rest)
        elif kind == "rings":
            self.rings(*rest)
        elif kind == "send":
            self.send(*rest)
        elif kind == "receive":
            self.wire.inject(Burst.from_packets([packet(n, to=to, seed=n) for n, to in rest[0]]))
        elif kind == "give":
            self.device.write(regs.RDT, (self.device.read(regs.RDT) + rest[0]) % COUNT)
        else:
            self.clock.advance(rest[0])
        return None

    def rings(self, rctl, tctl):
        for slot in range(COUNT):
            self.addresses.write(self.base + RING + 512 + 16 * slot, struct.pack("<QQ", self.base + BUFFERS + 2048 * slot, 0))
        for low, length, at in ((regs.TDBAL, regs.TDLEN, 0), (regs.RDBAL, regs.RDLEN, 512)):
            self.device.write(low, self.base + RING + at)
            self.device.write(length, 16 * COUNT)
        self.device.write(regs.RCTL, rctl | regs.RCTL_EN)
        self.device.write(regs.TCTL, tctl | regs.TCTL_EN)

    def send(self, descriptors):
        tail = self.device.read(regs.TDT) % COUNT
        for make, *arguments in descriptors:
            if make is not context:
                arguments[0] += self.base + BUFFERS
            self.addresses.write(self.base + RING + 16 * tail, make(*arguments) if make is not context else make(payload=arguments[0]))
            tail = (tail + 1) % COUNT
        self.device.write(regs.TDT, tail)

    def told(self):
        """All that can be seen of it."""
        return self.device.dump(), self.image, self.wire.sent, self.bus.irq.asserted, self.device.drops, self.device.eeprom, [
            self.device.config_read(offset) for offset in range(0, 256, 4)
        ]  # fmt: skip

    def close(self):
        self.bus.close()
        self.device.close()
        self.memory.close()


REGISTER_NAMES = """
    CTRL RCTL TCTL RDTR RADV ITR TIDV TADV IMS IMC ICS PBA RXCSUM VET FCT FCTTV FCRTH FCRTL RXDCTL TXDCTL MTA RAL0 RAH0 VFTA EECD EERD MDIC
    RSRPD CTRL_EXT"""
REGISTERS = st.sampled_from(
    [getattr(regs, name) for name in re.findall(r"\w+", REGISTER_NAMES)],
)
VALUE = st.one_of(st.sampled_from([0, 1, 0x10, 0x100, 0x8100, 0x8808, 0x141, 0xFFFFFFFF, 1 << 26]), st.integers(0, 2**32 - 1))
MDIC = st.builds(
    lambda op, reg, value: op | 1 << 21 | reg << 16 | value, st.sampled_from([1 << 26, 2 << 26]), st.integers(0, 31), st.integers(0, 0xFFFF)
)
LENGTH = st.sampled_from([30, 60, 100, 1000, 1514])
DESCRIPTOR = st.one_of(
    st.tuples(st.just(legacy), st.integers(0, 4096), LENGTH),
    st.tuples(st.just(data), st.integers(0, 4096), LENGTH),
    st.tuples(st.just(context), LENGTH),
)
STEP = st.one_of(
    st.tuples(st.just("write"), REGISTERS, VALUE),
    st.tuples(st.just("write"), st.just(regs.MDIC), MDIC),
    st.tuples(st.just("read"), st.sampled_from([regs.ICR, regs.GPRC, regs.TORH, regs.MPC, regs.MDIC])),
    st.tuples(st.just("config"), st.sampled_from([4, 0xE0, 0xF2]), st.integers(0, 0xFF), st.just(1)),
    st.tuples(st.just("rings"), st.sampled_from([0x8000, 0x4008002, 0x801A, 0x403803E]), st.sampled_from([8, 0])),
    st.tuples(st.just("send"), st.lists(DESCRIPTOR, min_size=1, max_size=5)),
    st.tuples(st.just("receive"), st.lists(st.tuples(LENGTH, st.sampled_from([STATION, BROADCAST])), min_size=1, max_size=12)),
    st.tuples(st.just("give"), st.integers(1, 20)),
    st.tuples(st.just("time"), st.sampled_from([1000, 300_000, 10**8, 2 * 10**9])),
)


@given(st.lists(STEP, max_size=30), st.lists(STEP, max_size=30))
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_a_restored_card_goes_on_byte_for_byte(before, after):
    first = World(bytes(i * 7 & 0xFF for i in range(MEMORY)))
    second = None
    try:
        for step in [("rings", 0x8000, 8), *before]:
            first.play(step)
        second = World(first.image, time=first.clock.monotonic_ns() + 12345)
        second.wire.sent = list(first.wire.sent)
        second.device.restore(first.device.snapshot())
        assert second.told() == first.told()
        assert second.device.snapshot() == first.device.snapshot()
        for step in after:
            assert second.play(step) == first.play(step), step
            assert second.told() == first.told(), step
    finally:
        first.close()
        if second is not None:
            second.close()


def test_a_frame_that_waits_in_the_fifo_and_a_cause_that_is_pending_come_along(undo):
    first = BareCard(undo)
    first.rx_ring(8, give=0)
    first.receive(packet(100, seed=3))
    first.write(regs.IMS, regs.ICR_RXT0 | regs.ICR_LSC)
    first.write(regs.ICS, regs.ICR_LSC)
    second = BareCard(undo, memory=first.memory)
    second.device.restore(first.device.snapshot())
    assert second.bus.irq.asserted
    assert second.read(regs.ICR) & regs.ICR_LSC
    second.write(regs.RDT, 1)
    assert first.take() == [packet(100, seed=3)]


def test_what_the_eeprom_and_a_half_clocked_instruction_hold_comes_along():
    first, second = E1000Device(mac="02:00:00:00:00:07"), E1000Device()
    pins = regs.EECD_REQ | regs.EECD_CS
    instruction = "110000001" + "0" * 16
    for bit in instruction[:12]:
        first.write(regs.EECD, pins | regs.EECD_DI * int(bit))
        first.write(regs.EECD, pins | regs.EECD_SK | regs.EECD_DI * int(bit))
    second.restore(first.snapshot())
    assert second.mac == "02:00:00:00:00:07"
    for card in (first, second):
        word = 0
        for _ in range(13):
            card.write(regs.EECD, pins)
            card.write(regs.EECD, pins | regs.EECD_SK)
            word = word << 1 | (card.read(regs.EECD) & regs.EECD_DO) // regs.EECD_DO
        assert word == int.from_bytes(first.eeprom[2:4], "little") & 0x1FFF


def test_the_link_takes_the_time_it_had_left():
    first, second = (World(time=time) for time in (0, 10**12))
    first.clock.advance(10**9)
    second.device.restore(first.device.snapshot())
    for world in (first, second):
        world.device.write(regs.CTRL, regs.CTRL_SLU)
        world.clock.advance(499_999_999)
        assert not world.device.read(regs.STATUS) & regs.STATUS_LU
        world.clock.advance(1)
        assert world.device.read(regs.STATUS) & regs.STATUS_LU
        world.close()


def test_a_pause_lasts_as_long_as_it_had_to_go():
    first, second = (World(time=time) for time in (0, 10**12))
    first.clock.advance(2 * 10**9)
    for register, value in ((regs.FCAL, 0x00C28001), (regs.FCAH, 0x0100), (regs.FCT, 0x8808), (regs.CTRL, regs.CTRL_SLU | regs.CTRL_RFCE)):
        first.device.write(register, value)
    first.rings(0x8000, 8)
    pause = bytes.fromhex("0180C2000001") + bytes(6) + bytes.fromhex("880800011000") + bytes(42)
    first.wire.inject(Burst.from_packets([pause]))
    assert first.device.read(regs.STATUS) & regs.STATUS_TXOFF
    first.clock.advance(10**6)
    second.addresses.write(second.base, first.image)
    second.device.restore(first.device.snapshot())
    for world in (first, second):
        world.send([(legacy, 0, 100)])
        world.clock.advance(0x1000 * 512 - 10**6 - 1)
        assert world.wire.sent == []
        world.clock.advance(1)
        assert len(world.wire.sent) == 1
        world.close()


def test_a_cable_that_is_not_there_any_more_takes_the_link_along():
    first, second = World(), World(plugged=False)
    first.device.write(regs.CTRL, regs.CTRL_SLU)
    first.clock.advance(2 * 10**9)
    second.device.restore(first.device.snapshot())
    assert not second.device.read(regs.STATUS) & regs.STATUS_LU
    assert second.device.read(regs.ICR) & regs.ICR_LSC
    first.close()
    second.close()


@pytest.mark.unsanitized        # copies a host's memory whole, with what nobody allocated
def test_the_rest_of_a_segmentation_leaves_the_restored_card(undo):
    def plug(image=None):
        memory = undo.enter_context(HostMemory(size=1 << 20))
        if image is not None:
            memory.addresses.write(memory.iova, image)
        return memory, *(BareCard(undo, wire=wire, memory=memory) for wire in pair())

    memory, near, far = plug()
    far.rx_ring(64, give=7)
    near.tx_ring()
    content = packet(54 + 20 * 100, seed=5)
    tse = 1 << 26
    setup = context(cmd=tse | 1 << 24, payload=2000, ip=(14, 24, 33), transport=(34, 50, 0), header=54, mss=100)
    near.post(setup, *pieces(near, content, [54, 1000], first=tse))
    assert far.peek(regs.RDH) == 7
    other_memory, other_near, other_far = plug(memory.addresses.read(memory.iova, 1 << 20))
    other_near.device.restore(near.device.snapshot())
    other_far.device.restore(far.device.snapshot())
    for card in (far, other_far):
        card.write(regs.RDT, 9)
        card.write(regs.RDT, 40)
    assert far.peek(regs.RDH) == 20
    assert other_near.device.snapshot() == near.device.snapshot()
    assert other_far.device.snapshot() == far.device.snapshot()
    assert other_memory.addresses.read(other_memory.iova, 1 << 20) == memory.addresses.read(memory.iova, 1 << 20)
    payloads = [whole[54:] for whole in far.take()]
    assert b"".join(payloads) == content[54:]


def test_a_running_timer_needs_a_clock():
    running = World()
    with pytest.raises(ValueError, match="has no clock"):
        E1000Device().restore(running.device.snapshot())
    running.close()


def test_a_wire_cannot_save_the_card_that_is_transmitting():
    class Curious(RecordingWire):
        def transmit_burst(self, burst):
            for call in (self.device.snapshot, lambda: self.device.restore(self.before)):
                with pytest.raises(RuntimeError, match="from inside"):
                    call()
            super().transmit_burst(burst)

    wire = Curious()
    with HostMemory(size=1 << 16) as memory, E1000Device(wire=wire) as device, LocalBus(device, memory=memory):
        wire.device, wire.before = device, device.snapshot()
        ring = memory.alloc_coherent(128)
        memory.addresses.write(ring, legacy(memory.alloc_coherent(100), 100))
        for register, value in ((regs.TDBAL, ring), (regs.TDLEN, 128), (regs.TCTL, regs.TCTL_EN), (regs.TDT, 1)):
            device.write(register, value)
    assert wire.error is None
    assert len(wire.sent) == 1


# --- what is refused ---


def sealed(snapshot):
    """Make the checksum right again."""
    return snapshot[:28] + zlib.crc32(snapshot[32:]).to_bytes(4, "little") + snapshot[32:]


def test_the_checksum_is_where_this_file_thinks_it_is():
    snapshot = E1000Device().snapshot()
    assert sealed(snapshot) == snapshot


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda s: b"", "not a snapshot"),
        (lambda s: s[:7], "not a snapshot"),
        (lambda s: b"x" + s[1:], "not a snapshot"),
        (lambda s: s[:8] + b"\2" + s[9:], "another version"),
        (lambda s: s[:16] + bytes([s[16] ^ 1]) + s[17:], "laid out differently"),
        (lambda s: s[:19], "cut short"),
        (lambda s: s[:-1], "cut short"),
        (lambda s: s + b"\0", "cut short"),
        (lambda s: s[:-1000] + bytes([s[-1000] ^ 1]) + s[-999:], "damaged"),
        (lambda s: s[:40] + bytes([s[40] ^ 1]) + s[41:], "damaged"),
    ],
)
def test_what_is_no_snapshot_is_refused_in_one_line(spoil, why):
    card = E1000Device()
    before = card.snapshot()
    with pytest.raises(ValueError, match=why) as refused:
        card.restore(spoil(before))
    assert "\n" not in str(refused.value)
    assert card.snapshot() == before


@given(st.lists(st.tuples(st.integers(32, 1 << 18), st.integers(1, 255)), min_size=1, max_size=4))
@settings(max_examples=300)
def test_a_forged_snapshot_is_refused_or_makes_a_card_that_works_after_a_reset(changes):
    card, wire = E1000Device(), RecordingWire()
    card.plug(wire)
    forged = bytearray(card.snapshot())
    for at, value in changes:
        forged[32 + (at - 32) % (len(forged) - 32)] ^= value
    before = card.snapshot()
    try:
        card.restore(sealed(bytes(forged)))
    except ValueError:
        assert card.snapshot() == before
        return
    wire.inject(Burst.from_packets([packet(100)]))
    card.config_write(0xE0, 0, 2)
    card.config_write(4, 7, 2)
    card.write(regs.CTRL, regs.CTRL_RST)
    dump, fresh = card.dump(), E1000Device(eeprom=card.eeprom).dump()
    reset = [name for name, register in expand().values() if not register.sticky and name != "STATUS"]
    assert {name: dump[name] for name in reset} == {name: fresh[name] for name in reset}


PAUSE = bytes.fromhex("0180C2000001") + bytes(6) + bytes.fromhex("880800011000") + bytes(42)


FIFO = 56  # where it lies in a snapshot, behind a header


def states():
    """Snapshots of one card whose path, pause and PHY wires are as they can be; its registers are last."""
    world = World()
    card, snapshots = world.device, []

    def save(*steps):
        for step in steps:
            world.play(step)
        snapshots.append(card.snapshot())

    save()  # about to have a link
    save(("write", regs.CTRL, regs.CTRL_SLU | regs.CTRL_FD), ("time", 2 * 10**9))
    save(("rings", 0x8000, 8))
    save(("write", regs.CTRL, regs.CTRL_SLU | regs.CTRL_FD | 3 << 27), ("write", regs.FCT, 0x8808))
    save(("write", regs.FCAL, 0x00C28001), ("write", regs.FCAH, 0x0100), ("write", regs.FCRTL, 8))
    world.wire.inject(Burst.from_packets([PAUSE]))
    save(("send", [(legacy, 0, 100)]))
    save(("write", regs.FCRTH, 0x10), ("receive", [(1000, STATION)] * 40))
    save(("time", 10**9), ("write", regs.RCTL, 0x8000 | regs.RCTL_EN | regs.RCTL_LBM_MAC))
    save(("config", 0xE0, 3, 1))
    card.close()
    save(("config", 0xE0, 0, 1), ("write", regs.RCTL, 0))
    world.close()
    return snapshots


def test_a_word_from_another_state_is_refused_or_worked_out_or_the_cards_own():
    snapshots, words, outcomes = states(), set(), Counter()
    for a, b in pairwise(snapshots):
        words |= {at for at in (*range(32, FIFO, 4), *range(FIFO + 0x10000, len(a), 4)) if a[at : at + 4] != b[at : at + 4]}
    for base in snapshots[1::3]:
        for at in words:
            for word in {s[at : at + 4] for s in snapshots} | {b"\xff" * 4, b"\x40\0\0\0"}:
                if base[at : at + 4] != word:
                    outcomes[play_forged(base[:at] + word + base[at + 4 :], base)] += 1
    assert min(outcomes[kind] for kind in ("refused", "worked out", "its own")) > 10, outcomes


def play_forged(content, base):
    """Restore it on cards with and without a cable, and use what became of it: whatever it is, it goes on and can be saved."""
    out = "refused"
    for plugged in (True, False):
        world = World(plugged=plugged)
        try:
            world.device.restore(sealed(content))
        except ValueError:
            world.close()
            continue
        after = world.device.snapshot()
        out = "worked out" if after == base or out == "worked out" else "its own"
        world.device.restore(after)
        world.send([(legacy, 0, 100)])
        if plugged:
            world.play(("receive", [(100, STATION)]))
        world.clock.advance(10**10)
        world.device.restore(world.device.snapshot())
        world.close()
    return out


# --- while somebody looks ---


def test_a_trace_goes_on_over_a_restore_and_tells_no_drop_of_the_other_card(undo):
    first, second = BareCard(undo), BareCard(undo)
    first.receive(*[packet(60)] * 5)  # the receiver is off
    first.tx_ring()
    with Trace(second.device) as trace:
        second.device.restore(first.device.snapshot())
        second.write(regs.TDT, 0)
        second.tx_ring()
        second.post_packets(packet(60))
        second.receive(packet(60))
    told = [event["event"] for event in trace.events]
    assert [e["count"] for e in trace.events if e["event"] == "dropped"] == [1]
    assert [told.count(name) for name in ("fetch", "read", "write-back", "sent", "arrived")] == [1, 1, 1, 1, 1]
    assert next(e for e in trace.events if e["event"] == "read")["cat"] == "dma"


def test_strict_mode_knows_after_a_restore_what_the_other_card_was_given(undo):
    first, second = BareCard(undo), BareCard(undo)
    strict = undo.enter_context(E1000Device(wire=RecordingWire(), strict=True))
    undo.enter_context(LocalBus(strict, memory=first.memory))
    first.tx_ring()
    content = packet(54 + 300)
    tse = 1 << 26
    first.post(context(cmd=tse | 1 << 24, payload=300, ip=(14, 24, 33), transport=(34, 50, 0), header=54, mss=100))
    buffer = first.alloc(content)
    first.post(data(buffer, 100, cmd=tse))
    strict.write(regs.EERD, 1)
    strict.breaches.clear()
    strict.restore(first.device.snapshot())
    first.put(data(buffer + 100, len(content) - 100, cmd=tse | 0x0B000000))
    strict.write(regs.TDT, first.tx_tail)
    strict.write(regs.EERD, 1)
    assert [str(breach) for breach in strict.breaches] == []
    assert second.peek(regs.TDH) == 0


def test_every_pointer_of_a_card_is_left_out_of_its_snapshots():
    state, kept = (re.sub(r"#.*", "", (DEVICE / name).read_text()) for name in ("state.pxd", "snapshot.pyx"))
    body = re.search(r"^ctypedef struct Card:.*?\n(.*?)(?=^\S)", state, re.M | re.S)[1]
    names = re.findall(r"^ +(?:\w+\*|Timer) (.*?) *$", body, re.M)
    assert len(names) > 8
    for name in re.findall(r"\w+", " ".join(names)):
        assert f"to.{name}" in kept, f"snapshot.pyx: keep_process does not know {name}"
