"""A card saved at any moment goes on elsewhere, byte for byte, also while somebody looks at it."""

import re
from pathlib import Path

import pytest
from cards import BROADCAST, STATION, BareCard, RecordingWire, context, data, legacy, packet, pieces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snapshot_world import MEMORY, PAUSE, World

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.trace import Trace
from fastring.burst import Burst
from fastring.wire import pair

DEVICE = Path(__file__).parents[2] / "e1000" / "device"
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
    first.wire.inject(Burst.from_packets([PAUSE]))
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
