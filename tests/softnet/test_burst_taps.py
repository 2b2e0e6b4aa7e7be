"""Taps on bursts, which go past the qdisc: packets sent by NetDevice.xmit or a Transmitter are seen by who looks."""

import pytest

from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst, RepeatSource
from fastring.clock import VirtualClock
from fastring.wire import pair
from softnet import Stack
from softnet.ethernet import ETH_P_IP, PACKET_OUTGOING


def packets(count, length=60):
    return [b"\xff" * 6 + bytes(6) + b"\x08\x00" + bytes([i]) * (length - 14) for i in range(count)]


@pytest.fixture
def device():
    memory = HostMemory()
    with Stack(clock=VirtualClock(realtime=10**18)) as stack:
        devices = [probe(LocalBus(E1000Device(wire=end), memory=memory), stack) for end in pair()]
        for device in devices:
            device.register()
            device.open()
        yield devices[0]


@pytest.fixture
def seen():
    return []


@pytest.fixture
def tap(seen):
    def tap(skb, device):
        seen.append((bytes(skb), skb.tstamp, skb.pkt_type, skb.protocol, device.name))
        skb.consume()

    return tap


@pytest.mark.parametrize("where", ["stack", "device"])
def test_a_burst_is_seen_packet_by_packet(device, seen, tap, where):
    (device.stack if where == "stack" else device).taps.append(tap)
    device.xmit(Burst.from_packets(packets(3), times=[5, 6, 0]))
    outgoing = [entry for entry in seen if entry[2] == PACKET_OUTGOING]
    assert [(packet, time) for packet, time, *_ in outgoing] == list(zip(packets(3), [5, 6, 10**18], strict=True))
    assert {entry[2:] for entry in outgoing} == {(PACKET_OUTGOING, ETH_P_IP, "eth0")}


def test_a_packet_in_pieces_is_seen_whole_and_one_too_long_not_at_all(device, seen, tap):
    device.taps.append(tap)
    whole = packets(1, 100)[0]
    device.xmit(Burst.from_packets([[whole[:30], whole[30:]], packets(1, 3000)[0], whole]))
    assert [entry[0] for entry in seen] == [whole] * 2
    assert device.tx_oversize == 1


def test_more_than_the_ring_holds_is_seen_once_and_in_order(device, seen, tap):
    device.taps.append(tap)
    numbered = [b"\xff" * 6 + bytes(6) + b"\x88\xb5" + i.to_bytes(4, "big") + bytes(42) for i in range(3000)]
    assert device.xmit(Burst.from_packets(numbered)) == 3000
    assert [entry[0] for entry in seen] == numbered


def test_a_sender_made_before_the_tap_came_shows_what_follows_until_it_goes(device, seen, tap):
    sender = device.transmitter(burst_size=10)
    source = RepeatSource(Burst.from_packets(packets(10)), packets=30)
    assert sender.play(source, rounds=1)
    device.taps.append(tap)
    sender.play(source, rounds=1)
    device.taps.clear()
    sender.play(source)
    assert (sender.packets, [entry[0] for entry in seen]) == (30, packets(10))


@pytest.mark.parametrize("how", ["send", "play"])
def test_what_a_tap_raises_reaches_who_sent(device, seen, tap, how):
    def raising(skb, device):
        raise RuntimeError("a tap's bug")

    device.taps.append(raising)
    sender = device.transmitter()
    burst = Burst.from_packets(packets(5))
    with pytest.raises(RuntimeError, match="a tap's bug"):
        sender.send(burst) if how == "send" else sender.play(RepeatSource(burst, packets=5))
    device.taps[:] = [tap]
    assert sender.send(burst) == 5
    assert len(seen) == 5
