"""What all wrappers leave to the wire they are around, and the two smallest wires: a meter and a loopback."""

import threading

import pytest
from sinks import RecordingSink

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst
from fastring.clock import VirtualClock
from fastring.loopback import LoopbackWire
from fastring.meter import MeterWire
from fastring.port import WirePort
from fastring.wire import NullWire, Wire, pair
from softnet import Stack

PACKETS = [bytes([i]) * (60 + i) for i in range(200)]


class Strange(Wire):
    """One whose every answer can be told from the default."""

    polled, held_up, drops = True, True, {"strange": 3}

    def __init__(self):
        self.closed = 0

    def fileno(self):
        return 77

    def failure(self):
        return OSError(5, "strange")

    def capabilities(self):
        return {"mtu": 1234, "lossless": True}

    def close(self):
        self.closed += 1


@pytest.fixture
def meter():
    return MeterWire(NullWire(), clock=VirtualClock())


# --- any wrapper ---


def test_a_wrapper_answers_for_its_wire():
    inner = Strange()
    wire = MeterWire(inner, clock=VirtualClock())
    assert (wire.polled, wire.held_up, wire.fileno(), wire.drops) == (True, True, 77, {"strange": 3})
    assert str(wire.failure()) == "[Errno 5] strange"
    assert wire.capabilities() == {"mtu": 1234, "lossless": True}
    wire.close()
    wire.close()
    assert inner.closed == 2
    assert "MeterWire around <Strange" in repr(wire)


def test_a_wire_is_wrapped_once_and_free_again_when_its_wrapper_is_closed():
    inner = NullWire()
    wire = MeterWire(inner, clock=VirtualClock())
    with pytest.raises(OSError, match="attached already"):
        MeterWire(inner, clock=VirtualClock())
    wire.close()
    with WirePort(inner):
        pass


def test_what_nobody_takes_is_counted_in_both():
    near, far = pair()
    wire = MeterWire(near, clock=VirtualClock())
    with WirePort(far) as port:
        port.send(Burst.from_packets(PACKETS[:3]))
    assert wire.drops == {"wire_lost": 3}


# --- the meter ---


def test_a_meter_counts_each_way():
    near, far = pair()
    clock = VirtualClock()
    wire = MeterWire(near, clock=clock)
    before = wire.read()
    with WirePort(wire) as left, WirePort(far) as right:
        left.send(Burst.from_packets([PACKETS[0], [b"in ", b"pieces"]]))
        right.send(Burst.from_packets(PACKETS[:3]))
    clock.advance(500_000_000)
    assert wire.read() == {"time": 500_000_000, "tx_packets": 2, "tx_bytes": 69, "rx_packets": 3, "rx_bytes": 183}
    assert wire.rates(before) == {"tx_pps": 4, "tx_bps": 8 * 138, "rx_pps": 6, "rx_bps": 8 * 366}
    assert wire.rates(wire.read()) == dict.fromkeys(wire.rates(before), 0)


def test_what_is_refused_is_not_counted_until_it_is_taken():
    near, far = pair()
    wire = MeterWire(near, clock=VirtualClock())
    with Stack(clock=VirtualClock()) as stack, probe(LocalBus(E1000Device(wire=far)), stack, flow_control="none") as device:
        device.promiscuous, device.sink = True, RecordingSink()
        with WirePort(wire) as port:
            with pytest.raises(TimeoutError):
                port.send(Burst.from_packets([bytes(60)] * 1000), patience=0.001)
            assert 0 < wire.read()["tx_packets"] == port.tx_packets < 1000


def test_a_meter_may_be_read_from_another_thread(meter):
    burst, seen, stop = Burst.from_packets(PACKETS[:100]), [], threading.Event()

    def look():
        while not stop.is_set():
            seen.append(meter.read()["tx_packets"])

    thread = threading.Thread(target=look)
    thread.start()
    with WirePort(meter) as port:
        for _ in range(2000):
            port.send(burst)
    stop.set()
    thread.join()
    assert seen == sorted(seen)
    assert meter.read()["tx_packets"] == 200_000 == meter.inner.packets


# --- the loopback ---


def test_what_is_sent_comes_back_at_the_next_poll():
    with WirePort(LoopbackWire(), sink=(sink := RecordingSink())) as port:
        port.send(Burst.from_packets([PACKETS[1], [b"in ", b"pieces"]]))
        assert sink.packets == []
        assert port.poll() == 2
        assert sink.packets == [PACKETS[1], b"in pieces"]
        assert port.poll() == 0


def test_a_full_loopback_holds_the_card_up_and_loses_nothing():
    wire = LoopbackWire()
    with WirePort(wire, sink=(sink := RecordingSink())) as port:
        for size in (60, 16000):
            port.send(Burst.from_packets([bytes([i % 256]) * size for i in range(1000)]))
            while port.poll():
                pass
            assert [packet[0] for packet in sink.packets] == [i % 256 for i in range(1000)]
            sink.packets.clear()
    assert wire.drops == {}


def test_a_sink_that_answers_goes_on_for_ever_one_poll_at_a_time():
    class Echo(RecordingSink):
        def on_burst(self, burst):
            super().on_burst(burst)
            assert port.poll() == 0
            port.send(Burst.from_packets(list(burst)))

    with WirePort(LoopbackWire(), sink=(sink := Echo())) as port:
        port.send(Burst.from_packets(PACKETS[:3]))
        for turn in range(1, 5):
            assert port.poll(3) == 3
            assert len(sink.packets) == 3 * turn


def test_a_card_hears_itself_and_who_waits_is_woken():
    with Stack() as stack, probe(LocalBus(E1000Device(wire=LoopbackWire())), stack, flow_control="none", rx_usecs=0) as device:
        device.promiscuous, device.sink = True, RecordingSink()
        stack.run()
        assert stack.wait(0) is False
        assert device.xmit(Burst.from_packets(PACKETS)) == 200
        assert stack.wait(0) is True
        stack.run()
        assert device.sink.packets == PACKETS
        assert stack.wait(0) is False


def test_a_packet_too_long_to_be_kept_is_counted():
    wire = LoopbackWire()
    with WirePort(wire, sink=(sink := RecordingSink())) as port:
        port.send(Burst.from_packets([bytes(200_000), PACKETS[0]]))
        port.poll()
    assert sink.packets == [PACKETS[0]]
    assert wire.drops == {"not_storable": 1}
