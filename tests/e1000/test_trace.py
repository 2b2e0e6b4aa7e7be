"""Traces: what happens on a card, as events."""

import struct

import pytest
from cards import BROADCAST, DEXT, EOP, IFCS, RS, BareCard, RecordingWire, context, data, packet

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.fields import decode
from e1000.trace import Trace
from fastring.clock import VirtualClock


def told(trace, *names):
    """The named values of each event."""
    trace.flush()
    return [tuple(event.get(name) for name in names) for event in trace.events]


@pytest.fixture
def trace(card):
    """A trace of `card`, kept in memory."""
    with Trace(card.device) as trace:
        yield trace


def test_register_accesses_have_offset_name_size_and_value(card, trace):
    card.write(regs.VET, 0x8100)
    card.read(regs.VET)
    card.write(regs.VET + 1, 0x91, 1)
    card.read(regs.VET, 2)
    assert told(trace, "cat", "event", "offset", "register", "size", "value") == [
        ("mmio", "write", 0x38, "VET", 4, 0x8100),
        ("mmio", "read", 0x38, "VET", 4, 0x8100),
        ("mmio", "write", 0x39, "VET", 1, 0x91),
        ("mmio", "read", 0x38, "VET", 2, 0x9100),
    ]


def test_io_and_configuration_space_are_told_apart(card, trace):
    card.device.io_write(0, regs.VET)
    card.device.io_write(4, 7)
    card.device.io_read(4)
    card.device.config_read(0, 2)
    card.device.config_write(0x3C, 11, 1)
    assert told(trace, "cat", "event", "offset", "register", "size", "value") == [
        ("io", "write", 0, "IOADDR", 4, regs.VET),
        ("io", "write", 4, "VET", 4, 7),
        ("io", "read", 4, "VET", 4, 7),
        ("config", "read", 0, None, 2, 0x8086),
        ("config", "write", 0x3C, None, 1, 11),
    ]


def test_a_packet_sent_is_fetched_read_sent_and_written_back(card, trace):
    card.tx_ring()
    card.write(regs.IMS, regs.ICR_TXDW)
    trace.flush()
    trace.events.clear()
    content = packet(100)
    card.post_packets(content)
    assert told(trace, "cat", "event") == [
        ("mmio", "write"), ("desc", "fetch"), ("dma", "read"), ("frame", "sent"), ("desc", "write-back"), ("irq", "up"),
    ]  # fmt: skip
    write, fetch, read, sent, back, line = trace.events
    assert (write["register"], write["value"]) == ("TDT", 1)
    assert (fetch["ring"], fetch["index"], fetch["address"]) == ("tx", 0, read["address"])
    assert read["length"] == sent["length"] == 100
    assert sent["head"] == content[:16].hex()
    assert int(back["word"], 16) == int(fetch["word"], 16) | 1 << 32
    assert line["icr"] & (regs.ICR_TXDW | regs.ICR_TXQE) == regs.ICR_TXDW | regs.ICR_TXQE
    assert line["ims"] == regs.ICR_TXDW


def test_a_packet_received_arrives_is_written_and_raises_the_line_until_icr_is_read(card, trace):
    card.rx_ring(8)
    card.write(regs.IMS, regs.ICR_RXT0)
    trace.flush()
    trace.events.clear()
    card.receive(packet(100))
    card.read(regs.ICR)
    assert told(trace, "cat", "event", "length") == [
        ("frame", "arrived", 100), ("desc", "fetch", None), ("dma", "write", 100), ("desc", "write-back", None), ("irq", "up", None),
        ("mmio", "read", None), ("irq", "down", None),
    ]  # fmt: skip
    assert decode("RX", int(trace.events[3]["word"], 16)) == "LENGTH=0x64 DD EOP IXSM"


def test_a_frame_that_goes_nowhere_is_told_with_its_reason(card, trace):
    card.receive(packet(60))
    card.rx_ring(8)
    card.receive(packet(60, to=b"\x02" * 6), packet(20))
    assert [event for event in told(trace, "event", "reason", "count") if event[0] == "dropped"] == [
        ("dropped", "rx_disabled", 1),
        ("dropped", "rx_filtered", 1),
        ("dropped", "rx_runt", 1),
    ]


def test_dma_that_leads_nowhere_is_told_as_aborted(card, trace):
    card.tx_ring()
    card.post(data(0xDEAD0000, 60))
    dma = [event for event in told(trace, "cat", "event", "address", "length", "aborted") if event[0] == "dma"]
    assert dma == [("dma", "read", "0xdead0000", 60, True)]


def test_a_message_signalled_interrupt_is_told_with_address_and_data(card, trace):
    where = card.alloc(4)
    card.device.config_write(0xF4, where)
    card.device.config_write(0xFC, 0x55, 2)
    card.device.config_write(0xF2, 1, 2)
    card.write(regs.IMS, regs.ICR_LSC)
    card.write(regs.ICS, regs.ICR_LSC)
    assert ("message", hex(where), 0x55) in told(trace, "event", "address", "data")


def test_timers_fire_at_their_time_on_the_clock():
    clock = VirtualClock(start=1000)
    with E1000Device(wire=RecordingWire(), clock=clock) as device, Trace(device) as trace:
        device.write(regs.CTRL, regs.CTRL_SLU)
        clock.advance(2_000_000_000)
        trace.flush()
        assert trace.events[0]["t"] == 1000
        assert ("timer", "fires", "link", 1_500_001_000) in told(trace, "cat", "event", "timer", "t")


def test_a_traced_card_does_what_one_that_is_not_does(make_card):
    def run(card):
        card.tx_ring(16)
        card.rx_ring(8)
        for i in range(20):
            card.post_packets(packet(60 + i, seed=i))
            card.post(context(), data(card.alloc(packet(80, seed=i)), 80))
            card.receive(packet(64 + i, to=BROADCAST, seed=i), packet(70, to=b"\x02" * 6))
        return card.wire.sent, card.take(), dict(card.device.dump()) | card.device.drops

    plain = run(make_card())
    traced = make_card()
    with Trace(traced.device):
        assert run(traced) == plain


def test_when_it_ends_the_card_is_as_before(card):
    with Trace(card.device) as trace:
        card.read(regs.STATUS)
    assert len(trace.events) == trace.recorded == 1
    card.read(regs.STATUS)
    card.tx_ring()
    card.post_packets(packet(60))
    assert len(trace.events) == 1
    trace.close()


def test_one_card_has_one_trace_at_a_time(card):
    with Trace(card.device):
        with pytest.raises(OSError, match="traced already"):
            Trace(card.device)
        card.read(regs.STATUS)
    with Trace(card.device):
        pass


def test_bus_mastering_can_be_taken_and_given_back_under_a_trace(card, trace):
    card.tx_ring()
    card.device.config_write(4, 3, 2)
    card.post_packets(packet(60))
    assert card.wire.sent == []
    card.device.config_write(4, 7, 2)
    assert card.wire.sent == [packet(60)]
    assert "sent" in {event for (event,) in told(trace, "event")}


def test_the_tap_is_gone_with_the_trace_also_when_memory_changed_meanwhile(card):
    with Trace(card.device):
        card.bus.close()
        with HostMemory(size=1 << 16) as other, LocalBus(card.device, memory=other):
            pass
        bus = LocalBus(card.device, memory=card.memory)
    card.tx_ring()
    card.post_packets(packet(60))
    assert card.wire.sent == [packet(60)]
    bus.close()


def test_moderation_timers_fire_and_descriptors_kept_back_are_written_then(undo):
    clock = VirtualClock()
    card = BareCard(undo, clock=clock)
    clock.advance(2_000_000_000)  # the link is up
    card.write(regs.RDTR, 100)
    card.write(regs.RXDCTL, 4 << 16 | 1 << 24)
    card.rx_ring(8)
    with Trace(card.device) as trace:
        card.receive(packet(100))
        assert "write-back" not in {event for (event,) in told(trace, "event")}
        clock.advance(1_000_000)
        back = [event for event in told(trace, "event", "ring", "index", "timer", "t") if event[0] in ("fires", "write-back")]
    fired = 2_000_102_400
    assert back == [("fires", None, None, "receive", fired), ("write-back", "rx", 0, None, fired)]


def test_a_packet_cut_into_segments_is_read_and_sent_piece_by_piece(card, trace):
    content = packet(54)[:12] + bytes.fromhex("0800450000280000000040060000") + bytes(28) + bytes(2000)
    card.tx_ring()
    card.post(
        struct.pack("<QQ", 14 | 24 << 8 | 33 << 16 | 34 << 32 | 50 << 40, 2000 | DEXT | 7 << 24 | 54 << 40 | 1000 << 48),
        struct.pack("<QQ", card.alloc(content), 2054 | 1 << 20 | DEXT | EOP | IFCS | RS | 1 << 26 | 3 << 40),
    )
    events = told(trace, "event", "index", "length")
    assert [event for event in events if event[0] == "sent"] == [("sent", None, 1054)] * 2
    assert {event[1] for event in events if event[0] == "fetch"} == {0, 1}
    assert [event[1] for event in events if event[0] == "write-back"] == [1]


def test_the_end_of_a_pause_is_a_timer_of_its_own(undo):
    clock = VirtualClock()
    card = BareCard(undo, clock=clock)
    clock.advance(2 * 10**9)
    card.write(regs.CTRL, card.read(regs.CTRL) | regs.CTRL_RFCE)
    for register, value in ((regs.FCT, 0x8808), (regs.FCAH, 0x0100), (regs.FCAL, 0x00C28001)):
        card.write(register, value)
    card.rx_ring()
    card.tx_ring()
    with Trace(card.device) as trace:
        card.receive((bytes.fromhex("0180C2000001") + bytes(6) + bytes.fromhex("880800010001")).ljust(60, b"\0"))
        card.post_packets(packet(60))
        clock.advance(512)
    names = [event.get("timer") or event["event"] for event in trace.events]
    assert names.index("pause") < names.index("sent")


def test_what_is_looped_back_is_told_as_sent_and_arrived(card, trace):
    card.rx_ring(rctl=regs.RCTL_SECRC | regs.RCTL_LBM_MAC)
    card.tx_ring()
    card.post_packets(packet(60), packet(61))
    assert [pair for pair in told(trace, "event", "length") if pair[0] in ("sent", "arrived")] == [
        ("sent", 60),
        ("sent", 61),
        ("arrived", 60),
        ("arrived", 61),
    ]


def test_null_descriptors_of_the_receiver_are_fetched_and_written_back(card, trace):
    card.rx_ring(8, give=0)
    card.addresses.write(card.rx_base, bytes(16))
    card.write(regs.RDT, 3)
    card.receive(packet(60))
    assert [e for e in told(trace, "event", "index", "address") if e[0] in ("fetch", "write-back")] == [
        ("fetch", 0, "0x0"),
        ("write-back", 0, "0x0"),
        ("fetch", 1, hex(card.rx_buffers[1])),
        ("write-back", 1, hex(card.rx_buffers[1])),
    ]
