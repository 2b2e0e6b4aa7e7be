"""Packets that want checksums, segments and tags, through the driver: on the wire the same bytes, whether card or software made them."""

from contextlib import ExitStack

import pytest
from cards import MAC, RecordingWire, TwoCards, start_xmit
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from offloads import TX_OFFLOADS, in_pieces, tagged, wanting
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop, PadN
from scapy_packets import HEADERS, Layout, body, resummed

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from softnet import DropReason, Feature, SkBuff, Stack, dev_queue_xmit
from softnet.skbuff import CHECKSUM_PARTIAL, GsoType
from softnet.validate_xmit import skb_checksum_help

TAGS_BESIDE = st.one_of(st.none(), st.integers(0, 0xFFFF))
CUTS = st.lists(st.integers(0, 1 << 16), max_size=17)
CWR = 0x80


@pytest.fixture(scope="module")
def both():
    """Two cards for all examples; what arrives is whole frames, as they were on the wire."""
    with ExitStack() as undo:
        two = TwoCards(undo, tx_descriptors=256, rx_descriptors=256).open()
        yield two
        two.offered = len(two.sink.packets)


def on_the_wire(two, skb):
    """The frames that arrive when it is sent."""
    before = len(two.sink.packets)
    skb.dev = two.near
    assert dev_queue_xmit(skb) == 0
    two.stack.run()
    return two.sink.packets[before:]


def either_way(two, make):
    """The frames that arrive of a packet with the card's offloads, and those without."""
    assert not two.near.set_features(on=TX_OFFLOADS)
    assert two.near.features & Feature.HW_VLAN_CTAG_TX
    by_card = on_the_wire(two, make())
    two.near.set_features(off=TX_OFFLOADS)
    assert not two.near.features & (TX_OFFLOADS | Feature.HW_VLAN_CTAG_TX)
    return by_card, on_the_wire(two, make())


@settings(max_examples=60)
@given(headers=HEADERS, size=st.integers(0, 1200), seed=st.integers(0, 99), tag=TAGS_BESIDE, cuts=CUTS)
def test_checksums_and_tags_are_the_same_by_card_and_by_software(both, headers, size, seed, tag, cuts):
    layout = Layout(headers, body(size, seed))
    assume(layout.right[layout.sum_at : layout.sum_at + 2] not in (b"\0\0", b"\xff\xff"))  # one 0 in ones' complement has two forms
    cuts = [cut % (len(layout.right) + 1) for cut in cuts]
    by_card, by_software = either_way(both, lambda: wanting(layout, tag=tag, cuts=cuts))
    assert by_card == by_software == [tagged(layout.right, tag).ljust(60, b"\0")]


@settings(max_examples=60)
@given(headers=HEADERS, mss=st.integers(30, 1400), segments=st.floats(1.01, 9), seed=st.integers(0, 99), tag=TAGS_BESIDE, cuts=CUTS)
def test_segments_are_the_same_by_card_and_by_software(both, headers, mss, segments, seed, tag, cuts):
    tags, network, transport = headers
    assume(isinstance(transport, TCP))
    transport = transport.copy()
    transport.flags = int(transport.flags) & ~CWR  # of a TCP_ECN packet alone, which goes by software
    layout = Layout((tags[:1], network, transport), body(int(mss * segments) + 1, seed))
    cuts = [cut % (len(layout.right) + 1) for cut in cuts]
    before = both.near.ethtool_ops.get_ethtool_stats(both.near)["tx_tcp_seg_good"]
    by_card, by_software = either_way(both, lambda: wanting(layout, mss=mss, tag=tag, cuts=cuts))
    assert by_card == by_software
    assert len(by_card) == -(-(len(layout.right) - layout.header) // mss)
    length = len(layout.right) - layout.header
    assert all(resummed(frame) == frame for frame in by_card if len(frame) > 60)
    assert sum(len(frame) - layout.header - (tag is not None) * 4 for frame in by_card if len(frame) > 60) <= length
    cut_by_card = both.near.ethtool_ops.get_ethtool_stats(both.near)["tx_tcp_seg_good"] - before
    assert cut_by_card == (not (layout.packet.haslayer("Dot1Q") and tag is not None))  # behind two tags no card looks


def frame_of(size, *, transport=TCP):
    return Layout(([], IP(src="10.0.0.1", dst="10.0.0.2"), transport()), body(size, 1))


LARGEST = frame_of(65535 - 54)


def test_64_kib_in_pieces_are_cut_by_the_card_and_counted_as_what_was_sent(two_cards):
    two = two_cards()
    skb = wanting(LARGEST, mss=1448, cuts=range(1000, 65535, 3850))
    assert (len(skb), len(skb.frags)) == (65535, 17)
    frames = on_the_wire(two, skb)
    two.offered += len(frames)
    assert b"".join(frame[54:] for frame in frames) == body(65535 - 54, 1)
    assert all(resummed(frame) == frame for frame in frames)
    stats = two.near.stats64
    assert (stats.tx_packets, stats.tx_bytes) == (len(frames), sum(map(len, frames))) == (46, 65535 + 45 * 54)
    assert two.near.txq.inflight == 0
    assert skb.freed is True
    tx = two.near.netdev_ops.tx
    lengths = [int.from_bytes(two.memory.addresses.read(tx.iova + 16 * i + 8, 4), "little") & 0xFFFFF for i in range(1, 20)]
    assert lengths == [1000, *[3850] * 16, 65535 - 62600 - 4, 4]  # the last bytes in a descriptor of their own


def test_the_headers_of_a_clone_stay_as_they_are(two_cards):
    two = two_cards()
    skb = wanting(frame_of(3000), mss=1000)
    clone = skb.clone()
    before = bytes(clone)
    two.offered += len(on_the_wire(two, skb))
    assert bytes(clone) == before


def contexts(two):
    """Context descriptors in the near card's ring, however old."""
    tx = two.near.netdev_ops.tx
    words = [int.from_bytes(two.memory.addresses.read(tx.iova + 16 * i + 8, 8), "little") for i in range(tx.count)]
    return sum(word >> 20 & 0x20F == 0x200 for word in words)


def test_a_context_is_written_only_when_it_changes_and_again_after_a_reset(two_cards):
    two = two_cards()
    tcp, udp = frame_of(100), frame_of(100, transport=UDP)
    for layout, expected in [(tcp, 1), (tcp, 1), (udp, 2), (udp, 2), (tcp, 3)]:
        assert on_the_wire(two, wanting(layout)) == [layout.right]
        assert contexts(two) == expected
    two.near.mtu = 2000
    assert on_the_wire(two, wanting(tcp)) == [tcp.right]
    assert contexts(two) == 1
    two.offered += 6


def test_what_a_context_cannot_say_is_done_in_software(both):
    both.near.set_features(on=TX_OFFLOADS)
    far_off = IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(250))])
    layout = Layout(([], IPv6() / far_off, TCP()), body(2500, 3))
    assert layout.transport > 255
    assert on_the_wire(both, wanting(Layout(([], IPv6() / far_off, TCP()), body(99, 3))))[0][-99:] == body(99, 3)
    frames = on_the_wire(both, wanting(layout, mss=800))
    assert b"".join(frame[layout.header :] for frame in frames) == body(2500, 3)
    assert all(resummed(frame) == frame for frame in frames)


@pytest.mark.parametrize("start", [240, 300])
def test_a_checksum_beyond_a_context_that_reaches_the_driver_is_summed_there(two_cards, start):
    two = two_cards()
    made = in_pieces(bytes(range(1, 201)) * 5, [300])
    made.ip_summed, made.csum_start, made.csum_offset = CHECKSUM_PARTIAL, made.data_offset + start, 16
    expected = made.copy()
    skb_checksum_help(expected)
    assert start_xmit(made, two.near) == 0
    two.stack.run()
    two.offered += 1
    assert two.sink.packets == [bytes(expected)]
    expected.consume()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"csum_start": 0}, DropReason.SKB_CSUM),
        ({"csum_offset": 4000}, DropReason.SKB_CSUM),
        ({"gso_size": 500, "gso_type": GsoType.UDP_L4}, DropReason.SKB_GSO_SEG),
        ({"gso_size": 500, "gso_type": GsoType.TCPV6}, DropReason.SKB_GSO_SEG),
    ],
)
def test_what_makes_no_sense_is_dropped_by_the_driver_and_counted(two_cards, change, reason):
    two = two_cards()
    skb = wanting(frame_of(1000))
    for name, value in change.items():
        setattr(skb, name, value)
    assert start_xmit(skb, two.near) == 0
    two.offered += 1
    assert (skb.freed, two.near.stats64.tx_dropped) == (reason, 1)


@pytest.mark.breaks_rules(13)  # the test is what sends them
@pytest.mark.parametrize(
    ("length", "reason"), [(0, DropReason.PKT_TOO_SMALL), (16129, DropReason.PKT_TOO_BIG), (1 << 20, DropReason.PKT_TOO_BIG)]
)
def test_packets_of_no_length_that_a_card_can_send_are_dropped(two_cards, length, reason):
    two = two_cards()
    skb = SkBuff.from_bytes(bytes(length), dev=two.near)
    dev_queue_xmit(skb)
    two.offered += 1
    assert (skb.freed, two.near.stats64.tx_dropped) == (reason, 1)


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(1, 65534), max_size=17, unique=True))
def test_the_room_that_a_queue_keeps_is_enough_for_any_packet(both, cuts):
    """The queue stops when fewer than MAX_SKB_FRAGS + 7 descriptors are free (e1000_xmit_frame)."""
    both.near.set_features(on=TX_OFFLOADS)
    both.stack.run()
    tx = both.near.netdev_ops.tx
    free = tx.unused_descriptors
    start_xmit(wanting(LARGEST, mss=1448, cuts=cuts, dev=both.near), both.near)
    assert free - tx.unused_descriptors <= 24
    both.stack.run()


def test_offloads_are_switched_while_packets_run(two_cards):
    two = two_cards()
    layout, switches = frame_of(5000), [Feature.TSO, Feature.HW_CSUM, Feature.SG, Feature.HW_VLAN_CTAG_RX, Feature.TSO6]
    for i in range(60):
        switch = switches[i % 5]
        two.near.set_features(**{"on" if two.near.features & switch ^ switch else "off": switch})
        two.offered += 5
        dev_queue_xmit(wanting(layout, mss=1000, tag=i, dev=two.near))
    two.stack.run()
    assert len(two.sink.packets) == 300
    payload = body(5000, 1)
    for i, frame in enumerate(two.sink.packets):
        assert frame[12:16] == b"\x81\0" + (i // 5).to_bytes(2, "big")
        assert frame[58:] == payload[i % 5 * 1000 :][:1000]
        assert resummed(frame) == frame


def test_a_tag_beside_the_packet_is_put_in_without_the_card_when_a_sink_of_bursts_wants_whole_frames(two_cards):
    two = two_cards()
    two.far.stop()
    two.near.stop()
    two.far.sink, two.near.sink = None, two.sink
    two.near.open()
    two.far.open()
    assert not two.cards[0].peek(regs.CTRL) & regs.CTRL_VME
    seen = []
    two.far.taps.append(lambda skb, device: seen.append((skb.vlan_tci, bytes(skb))))
    layout = frame_of(100)
    dev_queue_xmit(wanting(layout, tag=0x2345, dev=two.near))
    two.stack.run()
    assert seen == [(0x2345, layout.right[14:])]


def test_pieces_without_offloads_and_empty_ones(both):
    content = bytes(range(200)) * 5
    for cuts in ([], [0, 0, 500], [1, 2, 3, 1000]):
        assert on_the_wire(both, in_pieces(content, cuts)) == [content]


@pytest.mark.parametrize(("start", "offset"), [(0, 0), (14, 0), (14, 984), (0, 255), (1, 254), (1, 255), (996, 2), (255, 0), (256, 0)])
def test_a_checksum_from_any_byte_to_any_other_is_what_software_makes_of_it(both, start, offset):
    def skb():
        made = in_pieces(bytes(range(1, 201)) * 5, [300])
        made.ip_summed, made.csum_start, made.csum_offset = CHECKSUM_PARTIAL, made.data_offset + start, offset
        return made

    by_card, by_software = either_way(both, skb)
    assert by_card == by_software


def test_strict_mode_finds_nothing_against_the_manual(undo):
    memory, wire = undo.enter_context(HostMemory(size=1 << 26)), RecordingWire()
    card = undo.enter_context(E1000Device(mac=MAC, wire=wire, strict=True))
    stack = undo.enter_context(Stack())
    device = undo.enter_context(probe(undo.enter_context(LocalBus(card, memory=memory)), stack))
    for transport in (TCP, UDP):
        for size in (0, 100, 1300):
            dev_queue_xmit(wanting(frame_of(size, transport=transport), tag=5, cuts=[20, 60], dev=device))
    dev_queue_xmit(wanting(frame_of(50000), mss=1448, cuts=range(100, 50000, 3000), dev=device))
    stack.run()
    everything = Feature.RXCSUM | Feature.RXALL | Feature.RXFCS | Feature.LOOPBACK
    device.set_features(on=everything)
    device.vlan_add_vid(5)
    device.set_features(off=everything | TX_OFFLOADS)
    assert len(wire.sent) == 6 + 35
    assert list(card.breaches) == []
