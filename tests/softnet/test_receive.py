"""The way of a packet from its driver: taps, rx_handler, protocol handlers, VLAN tags; packet by packet and from bursts."""

from contextlib import ExitStack

import pytest
from drivers import MAC, RingDriver, make_device

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst, BurstSink
from fastring.clock import VirtualClock
from fastring.wire import pair
from softnet import DropReason, RxHandlerResult, SkBuff, Stack, dev_queue_xmit, eth_type_trans, netif_receive_skb
from softnet.ethernet import PACKET_BROADCAST, PACKET_HOST, PACKET_MULTICAST, PACKET_OTHERHOST, PACKET_OUTGOING
from softnet.receive import NET_RX_DROP, NET_RX_SUCCESS, SkbReceiver

OTHER = bytes.fromhex("525400000009")
IPV4 = b"\x08\x00"


@pytest.fixture
def stack():
    with Stack(clock=VirtualClock(start=10**9, realtime=7 * 10**18)) as stack:
        yield stack


@pytest.fixture
def driver():
    return RingDriver(100)


@pytest.fixture
def device(stack, driver):
    return make_device(stack, driver, bql=False)


class Handler:
    """A handler that keeps what it gets: the content, and (skb, device)."""

    def __init__(self, *, free=True):
        self.free = free
        self.contents = []
        self.skbs = []

    def __call__(self, skb, device):
        self.contents.append(bytes(skb))
        self.skbs.append(skb)
        if self.free:
            skb.consume()


def frame(payload=b"payload", *, to=MAC, kind=IPV4):
    return to + OTHER + kind + payload


def receive(device, packet, **fields):
    skb = SkBuff.from_bytes(packet)
    skb.protocol = eth_type_trans(skb, device)
    for name, value in fields.items():
        setattr(skb, name, value)
    return skb, netif_receive_skb(skb)


# --- eth_type_trans ---


@pytest.mark.parametrize(
    ("to", "kind"),
    [(MAC, PACKET_HOST), (OTHER, PACKET_OTHERHOST), (b"\xff" * 6, PACKET_BROADCAST), (b"\x01" + MAC[1:], PACKET_MULTICAST)],
)
def test_whom_a_packet_is_for(device, to, kind):
    skb = SkBuff.from_bytes(frame(to=to))
    assert eth_type_trans(skb, device) == 0x0800
    assert (skb.pkt_type, skb.dev, bytes(skb), skb.data_offset - skb.mac_header) == (kind, device, b"payload", 14)


@pytest.mark.parametrize(
    ("kind", "payload", "protocol"),
    [
        (b"\x06\x00", b"", 0x0600),
        (b"\x05\xff", b"\xaa\xaa", 0x0004),
        (b"\x00\x10", b"\xff\xff", 0x0001),
        (b"\x00\x10", b"\xff", 0x0004),
        (b"\x86\xdd", b"", 0x86DD),
    ],
)
def test_types_and_lengths(device, kind, payload, protocol):
    assert eth_type_trans(SkBuff.from_bytes(frame(payload, kind=kind)), device) == protocol


def test_a_packet_without_a_whole_header_is_dropped_and_counted(device):
    skb, result = receive(device, bytes(13))
    assert (result, skb.freed, device.stats64.rx_dropped) == (NET_RX_DROP, DropReason.UNHANDLED_PROTO, 1)


# --- protocol handlers ---


def test_handlers_of_the_protocol_get_it_the_stacks_first_and_may_free_it(stack, device):
    order = []

    def named(name):
        return lambda skb, device: (order.append((name, bytes(skb))), skb.consume())

    device.protocols[0x0800] = [named("own")]
    stack.protocols[0x0800] = [named("first"), named("second")]
    stack.protocols[0x0806] = [named("other")]
    skb, result = receive(device, frame())
    assert result == NET_RX_SUCCESS
    assert order == [(name, b"payload") for name in ("first", "second", "own")]
    assert skb.freed is True


def test_a_handler_by_itself_has_the_packet_for_good(stack, device):
    handler = Handler(free=False)
    stack.protocols[0x0800] = [handler]
    skb, _ = receive(device, frame())
    assert handler.skbs == [skb]
    assert (skb.freed, skb.cloned) == (False, False)
    assert skb.network_header == skb.data_offset


def test_what_several_keep_is_shared(stack, device):
    handlers = [Handler(free=False), Handler(free=False)]
    stack.protocols[0x0800] = handlers
    receive(device, frame())
    one, two = (handler.skbs[0] for handler in handlers)
    assert one.cloned
    assert two.cloned
    one.consume()
    assert not two.cloned


def test_a_packet_nobody_wants_is_dropped_and_counted(device):
    skb, result = receive(device, frame())
    assert (result, skb.freed) == (NET_RX_DROP, DropReason.UNHANDLED_PROTO)
    assert (device.stats64.rx_dropped, device.stats64.rx_nohandler) == (1, 0)


def test_anothers_packet_is_dropped_before_its_protocol_and_counted(stack, device):
    handler = Handler()
    stack.protocols[0x0800] = [handler]
    skb, result = receive(device, frame(to=OTHER))
    assert (result, skb.freed, handler.contents) == (NET_RX_DROP, DropReason.OTHERHOST, [])
    assert (device.stats64.rx_otherhost_dropped, device.stats64.rx_dropped) == (1, 0)


def test_a_handler_that_another_removes_is_not_called_any_more(stack, device):
    last = Handler()
    handlers = stack.protocols[0x0800] = []
    calls = []

    def first(skb, device):
        calls.append(bytes(skb))
        handlers.remove(first)  # itself
        handlers.remove(last)
        handlers.append(lambda skb, device: calls.append("new"))
        skb.consume()

    handlers += [first, last]
    skb, result = receive(device, frame())
    assert (calls, last.contents, result, skb.freed) == ([b"payload"], [], NET_RX_SUCCESS, True)


# --- taps ---


def test_taps_see_what_comes_and_goes(stack, device, driver):
    everywhere, here = Handler(), Handler(free=False)
    stack.taps.append(everywhere)
    device.taps.append(here)
    stack.protocols[0x0800] = [Handler()]
    receive(device, frame(b"in"))
    receive(device, frame(b"others", to=OTHER))
    dev_queue_xmit(SkBuff.from_bytes(frame(b"out"), dev=device))
    assert everywhere.contents == here.contents == [b"in", b"others", frame(b"out")]
    assert [skb.pkt_type for skb in here.skbs] == [PACKET_HOST, PACKET_OTHERHOST, PACKET_OUTGOING]
    assert all(skb.freed is False for skb in here.skbs)
    driver.complete()
    assert driver.sent == [frame(b"out")]


def test_a_tap_sees_the_header_too_if_it_wants(stack, device):
    stack.taps.append(tap := Handler(free=False))
    receive(device, frame())
    skb = tap.skbs[0]
    skb.push(skb.data_offset - skb.mac_header)
    assert bytes(skb) == frame()


def test_what_a_tap_had_was_not_dropped(stack, device):
    stack.taps.append(Handler())
    skb, result = receive(device, frame())
    assert (result, skb.freed, device.stats64.rx_dropped) == (NET_RX_SUCCESS, True, 0)


def test_behind_an_rx_handler_a_tap_is_forgotten(stack, device):
    stack.taps.append(Handler())
    device.rx_handler = lambda skb: RxHandlerResult.PASS
    assert receive(device, frame())[1] == NET_RX_DROP
    assert device.stats64.rx_dropped == 1


def test_a_tap_may_remove_itself(stack, device):
    def once(skb, device):
        stack.taps.remove(once)
        skb.consume()

    stack.taps += [once, tap := Handler()]
    for _ in range(2):
        receive(device, frame())
    assert (len(tap.contents), once in stack.taps) == (2, False)


def test_the_clock_stamps_what_the_driver_did_not(stack, device):
    stack.taps.append(tap := Handler())
    stack.clock.advance(5)
    receive(device, frame())
    receive(device, frame(), tstamp=42)
    assert [skb.tstamp for skb in tap.skbs] == [stack.clock.time_ns(), 42]


# --- rx_handler ---


def test_an_rx_handler_may_keep_it(stack, device):
    stack.protocols[0x0800] = [handler := Handler()]
    kept = []
    device.rx_handler = lambda skb: (kept.append(skb), RxHandlerResult.CONSUMED)[1]
    skb, result = receive(device, frame())
    assert (result, kept, handler.contents, skb.freed) == (NET_RX_SUCCESS, [skb], [], False)


def test_an_rx_handler_may_let_it_pass(stack, device):
    stack.protocols[0x0800] = [handler := Handler()]
    device.rx_handler = lambda skb: RxHandlerResult.PASS
    receive(device, frame())
    assert handler.contents == [b"payload"]


def test_exact_delivery_is_to_the_devices_own_handlers_or_counted_as_nohandler(stack, device):
    stack.protocols[0x0800] = [handler := Handler()]
    device.rx_handler = lambda skb: RxHandlerResult.EXACT
    skb, result = receive(device, frame())
    assert (result, skb.freed, handler.contents) == (NET_RX_DROP, DropReason.UNHANDLED_PROTO, [])
    assert (device.stats64.rx_nohandler, device.stats64.rx_dropped) == (1, 0)
    device.protocols[0x0800] = [own := Handler()]
    receive(device, frame())
    assert (own.contents, handler.contents) == ([b"payload"], [])


def test_another_round_is_on_another_device_with_its_own_taps(stack, device):
    upper = make_device(stack, RingDriver(), bql=False, name="bond%d")
    device.taps.append(below := Handler())
    upper.taps.append(above := Handler())
    stack.protocols[0x0800] = [handler := Handler(free=False)]

    def rx_handler(skb):
        skb.dev = upper
        return RxHandlerResult.ANOTHER

    device.rx_handler = rx_handler
    receive(device, frame())
    assert (len(below.contents), len(above.contents), handler.skbs[0].dev) == (1, 1, upper)


def test_rounds_without_end_are_ended_and_counted(device):
    device.rx_handler = lambda skb: RxHandlerResult.ANOTHER
    skb, result = receive(device, frame())
    assert (result, bool(skb.freed), device.stats64.rx_dropped) == (NET_RX_DROP, True, 1)


# --- VLAN ---


def tagged(tci, payload=b"payload", *, kind=b"\x81\x00", inner=IPV4):
    return frame(tci.to_bytes(2, "big") + inner + payload, kind=kind)


@pytest.mark.parametrize("kind", [b"\x81\x00", b"\x88\xa8"])
def test_a_tag_is_taken_out_of_the_packet(stack, device, kind):
    proto = int.from_bytes(kind, "big")
    device.vlan_add_vid(5, proto=proto)
    device.taps.append(tap := Handler(free=False))
    stack.protocols[0x0800] = [handler := Handler(free=False)]
    receive(device, tagged(0x6005, kind=kind))
    for skb in (tap.skbs[0], handler.skbs[0]):
        assert (bytes(skb), skb.vlan_tci, skb.vlan_proto, skb.protocol) == (b"payload", 0x6005, proto, 0x0800)
        assert bytes(skb.head[skb.mac_header : skb.data_offset]) == MAC + OTHER + IPV4


def test_a_tag_is_taken_out_of_a_clone_without_the_others_seeing_it(device):
    skb = SkBuff.from_bytes(tagged(5))
    clone = skb.clone()
    skb.protocol = eth_type_trans(skb, device)
    netif_receive_skb(skb)
    assert bytes(clone) == tagged(5)


def test_a_packet_of_a_vlan_nobody_has_is_for_another(stack, device):
    stack.protocols[0x0800] = [handler := Handler()]
    skb, _ = receive(device, tagged(5))
    assert (skb.freed, handler.contents) == (DropReason.OTHERHOST, [])


def test_a_packet_of_another_devices_vlan_is_counted_as_others(stack, device):
    device.vlan_add_vid(5, proto=0x88A8)  # the same number, but a service tag
    stack.taps.append(tap := Handler(free=False))
    stack.protocols[0x0800] = [Handler()]
    _, result = receive(device, tagged(5))
    assert (result, device.stats64.rx_otherhost_dropped, device.stats64.rx_dropped) == (NET_RX_DROP, 1, 0)
    assert tap.skbs[0].pkt_type == PACKET_HOST  # taps come before that is looked at


@pytest.mark.parametrize(("inner", "drop"), [(5, None), (6, DropReason.OTHERHOST), (0x2000, None)])
def test_behind_a_priority_tag_the_next_tag_counts(stack, device, inner, drop):
    device.vlan_add_vid(5)
    stack.protocols[0x0800] = [handler := Handler(free=False)]
    device.sink = SkbReceiver(device)
    skb, _ = receive(device, tagged(0x6000, inner.to_bytes(2, "big") + IPV4 + b"payload", inner=b"\x81\x00"))
    assert skb.freed == (drop or False)
    if drop is None:
        assert (handler.contents, handler.skbs[0].vlan_tci) == ([b"payload"], 5 if inner == 5 else None)


def test_a_priority_tag_is_of_no_vlan_for_a_burst_driver_either(stack, device):
    device.sink = SkbReceiver(device)
    stack.protocols[0x0800] = [handler := Handler()]
    device.sink.put(Burst.from_packets([tagged(0x6000)]))
    assert (handler.contents, handler.skbs[0].vlan_tci) == ([b"payload"], None)


def test_a_priority_tag_is_of_no_vlan(stack, device):
    stack.protocols[0x0800] = [handler := Handler()]
    receive(device, tagged(0x6000))
    assert (handler.contents, handler.skbs[0].vlan_tci) == ([b"payload"], None)


def test_a_length_behind_a_tag_is_no_protocol(device, stack):
    device.vlan_add_vid(5)
    stack.protocols[0x0004] = [handler := Handler()]
    receive(device, tagged(5, b"\xaa\xaa\x03", inner=b"\x00\x03"))
    assert handler.contents == [b"\xaa\xaa\x03"]


def test_a_tag_that_is_cut_off_stays_where_it_is(device, stack):
    stack.protocols[0x8100] = [handler := Handler()]
    receive(device, frame(b"\0\5\x08", kind=b"\x81\x00"))
    assert handler.contents == [b"\0\5\x08"]


# --- bursts ---


class KeepingSink(BurstSink):
    """Keeps packets and their times."""

    def __init__(self):
        self.packets = []
        self.times = []

    def on_burst(self, burst):
        self.packets += list(burst)
        self.times += burst.times


@pytest.mark.parametrize("content", [frame(), tagged(0x6005), tagged(0), frame(to=OTHER)])
def test_a_sink_gets_what_no_handler_wants_as_it_was_on_the_wire(device, content):
    device.sink = KeepingSink()
    skb, result = receive(device, content, tstamp=42)
    assert (result, device.sink.packets, device.sink.times, skb.freed) == (NET_RX_SUCCESS, [content], [42], True)


def test_a_sink_gets_what_was_merged_in_its_packets(device):
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether

    frames = []
    for number in range(3):
        segment = IP(src="1.1.1.1", dst="2.2.2.2", id=number) / TCP(seq=number * 50, flags="A") / bytes([number] * 50)
        frames.append(bytes(Ether(dst=MAC.hex(":"), src=OTHER.hex(":")) / segment))
    device.sink = KeepingSink()
    for each in frames:
        skb = SkBuff.from_bytes(each)
        skb.protocol = eth_type_trans(skb, device)
        device.gro.receive(skb)
    assert device.gro.flush() == 1
    assert device.sink.packets == frames


def test_a_receiver_nobody_listens_to_drops_and_counts(device):
    device.sink = SkbReceiver(device)
    device.sink.put(Burst.from_packets([frame()] * 3))
    assert device.sink.error is None
    assert device.stats64.rx_dropped == 3


@pytest.mark.parametrize("merge", [False, True])
def test_two_cards_and_a_handler(merge):
    near, far = pair()
    with ExitStack() as undo:
        stack = undo.enter_context(Stack(clock=VirtualClock(start=10**9, realtime=7 * 10**18)))
        buses = [undo.enter_context(LocalBus(undo.enter_context(E1000Device(wire=wire)))) for wire in (near, far)]
        sender, receiver = (undo.enter_context(probe(bus, stack)) for bus in buses)
        receiver.stop()
        receiver.sink = SkbReceiver(receiver, gro=receiver.gro if merge else None)
        receiver.open()
        stack.protocols[0x88B5] = [handler := Handler()]
        contents = [bytes([number]) * 50 for number in range(100)]
        to = receiver.dev_addr
        sender.xmit(Burst.from_packets([frame(content, to=to, kind=b"\x88\xb5") for content in contents]))
        stack.run()
        assert handler.contents == contents
        assert {(skb.dev, skb.pkt_type) for skb in handler.skbs} == {(receiver, PACKET_HOST)}
        assert {skb.tstamp for skb in handler.skbs} == {stack.clock.time_ns()}
