"""validate_xmit_skb: what is done in software for a device that does not do it, judged by scapy."""

import pytest
from drivers import RingDriver, make_device
from hypothesis import assume, given
from hypothesis import strategies as st
from packets import MACS, headers, is_right, partial
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether

from fastring.clock import VirtualClock
from softnet import DropReason, Feature, SkBuff, Stack, dev_queue_xmit
from softnet.skbuff import CHECKSUM_COMPLETE, CHECKSUM_NONE, CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, GsoType
from softnet.validate_xmit import ChecksumError, features_for, skb_checksum_help, validate_xmit_skb

TCP4 = Ether(**MACS) / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(flags="A") / bytes(100)
TCP6 = Ether(**MACS) / IPv6() / TCP() / bytes(100)
UDP4 = Ether(**MACS) / IP() / UDP() / bytes(100)
TSO = Feature.SG | Feature.HW_CSUM | Feature.TSO | Feature.TSO6


@pytest.fixture(scope="module")
def device():
    with Stack(clock=VirtualClock(start=10**9)) as stack:
        yield make_device(stack, RingDriver(1000), bql=False)


@pytest.fixture(autouse=True)
def plain(device):
    """Each test begins with a device that can do nothing."""
    device.features = device.vlan_features = Feature.NONE
    device.netdev_ops.__dict__.pop("features_check", None)


def big(packet, size=40, *, extra=0, **fields):
    skb = partial(bytes(packet))
    skb.gso_size = size
    skb.gso_type = extra | (GsoType.UDP_L4 if UDP in packet else GsoType.TCPV4 if IP in packet else GsoType.TCPV6)
    for name, value in fields.items():
        setattr(skb, name, value)
    return skb


def in_pieces(skb, size):
    """The same in frags, but for its first `size` bytes."""
    content = bytes(skb)
    skb.trim(size)
    skb.add_frag(content[size:])
    return skb


# --- checksums ---


@given(packet=headers(), payload=st.binary(max_size=99), cut=st.integers(0, 200))
def test_a_checksum_worked_out_here_is_scapys(packet, payload, cut):
    frame = bytes(packet / payload)
    skb = partial(frame)
    if cut < len(frame):
        in_pieces(skb, cut)
    clone = skb.clone()
    before = bytes(clone)
    skb_checksum_help(skb)
    assert (bytes(skb) == frame, skb.ip_summed, bytes(clone) == before) == (True, CHECKSUM_NONE, True)


@pytest.mark.parametrize("version", ["IPv4", "IPv6"])
def test_a_udp_checksum_of_zero_is_sent_as_all_ones(version):
    ip = IP(src="10.0.0.1", dst="10.0.0.2") if version == "IPv4" else IPv6(src="fd00::1", dst="fd00::2")
    packet = Ether(**MACS) / ip / UDP() / b"\0\0"
    missing = Ether(bytes(packet))[UDP].chksum
    packet[UDP].payload.load = missing.to_bytes(2, "big")
    skb = partial(bytes(packet))
    skb_checksum_help(skb)
    assert bytes(skb)[-4:-2] == b"\xff\xff"


@pytest.mark.parametrize(
    ("start", "offset"), [(20, 0), (0, 19), (19, 0), (18, 1), (0, 1 << 16), (-1, 0), (-70, 0), (5, -1), (1 << 16, 6), (21, -3)]
)
def test_a_checksum_outside_of_the_packet_is_refused_and_the_packet_dropped_and_counted(device, start, offset):
    skb = SkBuff.from_bytes(bytes(range(20)), dev=device)
    skb.ip_summed, skb.csum_start, skb.csum_offset = CHECKSUM_PARTIAL, skb.data_offset + start, offset
    with pytest.raises(ChecksumError):
        skb_checksum_help(skb)
    assert bytes(skb) == bytes(range(20))
    before = device.stats64.tx_dropped
    assert validate_xmit_skb(skb, device) == []
    assert (skb.freed, device.stats64.tx_dropped) == (DropReason.SKB_CSUM, before + 1)


def test_the_last_two_bytes_may_be_the_checksum():
    skb = SkBuff.from_bytes(b"\x12\x34\0\0")
    skb.ip_summed, skb.csum_start, skb.csum_offset = CHECKSUM_PARTIAL, skb.data_offset, 2
    skb_checksum_help(skb)
    assert bytes(skb) == b"\x12\x34\xed\xcb"


def test_the_sum_of_a_received_packet_is_forgotten():
    skb = SkBuff.from_bytes(b"x")
    skb.ip_summed = CHECKSUM_COMPLETE
    skb_checksum_help(skb)
    assert (bytes(skb), skb.ip_summed) == (b"x", CHECKSUM_NONE)


@pytest.mark.parametrize(
    ("features", "packet", "device_does"),
    [
        (Feature.NONE, TCP4, False),
        (Feature.IP_CSUM, TCP4, True),
        (Feature.IP_CSUM, UDP4, True),
        (Feature.IP_CSUM, TCP6, False),
        (Feature.IPV6_CSUM, TCP6, True),
        (Feature.IPV6_CSUM, TCP4, False),
        (Feature.HW_CSUM, TCP6, True),
    ],
)
def test_a_checksum_is_left_to_a_device_that_does_that_protocols(device, features, packet, device_does):
    device.features = features
    skb = partial(bytes(packet))
    assert validate_xmit_skb(skb, device) == [skb]
    assert skb.ip_summed == (CHECKSUM_PARTIAL if device_does else CHECKSUM_NONE)
    assert skb.transport_header == skb.csum_start
    assert device_does or is_right(bytes(skb))


def test_ip_csum_does_tcp_and_udp_only(device):
    device.features = Feature.IP_CSUM
    skb = partial(bytes(UDP4))
    skb.csum_offset = 8  # SCTP has it there
    validate_xmit_skb(skb, device)
    assert skb.ip_summed == CHECKSUM_NONE


def test_what_needs_nothing_is_left_as_it_is(device):
    skb = in_pieces(SkBuff.from_bytes(bytes(100)), 50)
    device.features = Feature.SG
    assert validate_xmit_skb(skb, device) == [skb]
    assert len(skb.frags) == 1


# --- pieces and tags ---


def test_a_packet_in_pieces_is_linear_for_a_device_without_sg_and_its_clone_is_not(device):
    skb = in_pieces(SkBuff.from_bytes(bytes(range(100))), 50)
    clone = skb.clone()
    validate_xmit_skb(skb, device)
    assert (bytes(skb), list(skb.frags), len(clone.frags)) == (bytes(range(100)), [], 1)


@pytest.mark.parametrize("headroom", [0, 3, 4, 64])
@pytest.mark.parametrize("proto", [0x8100, 0x88A8])
def test_a_tag_beside_the_packet_is_put_into_it(device, headroom, proto):
    frame = bytes(TCP4)
    skb = SkBuff.from_bytes(frame, headroom=headroom)
    clone = skb.clone()
    skb.protocol, skb.vlan_tci, skb.vlan_proto = 0x0800, 0x6005, proto
    assert validate_xmit_skb(skb, device) == [skb]
    tag = {0x8100: Dot1Q, 0x88A8: Dot1AD}[proto](vlan=5, prio=3)
    assert bytes(skb) == bytes(Ether(**MACS, type=proto) / tag / TCP4[IP])
    assert (skb.vlan_tci, skb.protocol, skb.mac_header == skb.data_offset, bytes(clone) == frame) == (None, proto, True, True)


def test_a_tag_is_left_to_a_device_that_inserts_it_but_not_a_service_tag(device):
    device.features = Feature.HW_VLAN_CTAG_TX
    for proto, left in ((0x8100, 5), (0x88A8, None)):
        skb = SkBuff.from_bytes(bytes(TCP4))
        skb.vlan_tci, skb.vlan_proto = 5, proto
        validate_xmit_skb(skb, device)
        assert skb.vlan_tci == left


def test_a_packet_too_short_for_a_tag_is_dropped(device):
    skb = SkBuff.from_bytes(bytes(11), dev=device)
    skb.vlan_tci = 5
    assert validate_xmit_skb(skb, device) == []
    assert skb.freed


def test_behind_a_tag_only_vlan_features_hold(device):
    device.features = Feature.HW_CSUM | Feature.SG | Feature.HW_VLAN_CTAG_TX
    packet = Ether(**MACS) / Dot1Q(vlan=5) / IP() / UDP() / b"odd"
    skb = partial(bytes(packet))
    validate_xmit_skb(skb, device)
    assert skb.ip_summed == CHECKSUM_NONE
    assert is_right(bytes(skb))
    device.vlan_features = Feature.IP_CSUM  # and HW_CSUM does what that does
    skb = partial(bytes(packet))
    validate_xmit_skb(skb, device)
    assert skb.ip_summed == CHECKSUM_PARTIAL


def test_behind_two_tags_nothing_is_cut_by_the_device(device):
    device.features = device.vlan_features = TSO | Feature.HW_VLAN_CTAG_TX
    one, two = (big(Ether(**MACS) / tags / TCP4[IP]) for tags in (Dot1Q(vlan=5), Dot1Q(vlan=5) / Dot1Q(vlan=6)))
    beside = big(Ether(**MACS) / Dot1Q(vlan=6) / TCP4[IP], vlan_tci=5)
    assert features_for(one, device) & Feature.TSO
    for skb in (two, beside):
        assert not features_for(skb, device) & Feature.TSO
        assert features_for(skb, device) & Feature.HW_CSUM
        assert len(validate_xmit_skb(skb, device)) == 3


# --- segments ---


@pytest.mark.parametrize(
    ("features", "skb", "cut"),
    [
        (Feature.NONE, lambda: big(TCP4), True),
        (TSO, lambda: big(TCP4), False),
        (TSO, lambda: big(TCP6), False),
        (TSO & ~Feature.TSO6, lambda: big(TCP6), True),
        (TSO, lambda: big(UDP4), True),
        (TSO | Feature.GSO_UDP_L4, lambda: big(UDP4), False),
        (TSO & ~Feature.HW_CSUM | Feature.IPV6_CSUM, lambda: big(TCP4), True),  # TSO is no use without the checksum
        (TSO, lambda: big(TCP4, extra=GsoType.TCP_ECN), True),
        (TSO | Feature.TSO_ECN, lambda: big(TCP4, extra=GsoType.TCP_ECN), False),
        (TSO, lambda: big(TCP4, extra=GsoType.TCP_FIXEDID), True),
        (TSO, lambda: big(TCP4, ip_summed=CHECKSUM_NONE), True),
        (TSO, lambda: big(TCP4, ip_summed=CHECKSUM_UNNECESSARY), False),
        (TSO, lambda: big(TCP4 / bytes(65300), size=1000), False),
        (TSO, lambda: big(TCP4, extra=GsoType.DODGY), False),
    ],
)
def test_a_packet_is_cut_here_if_the_device_cannot(device, features, skb, cut):
    device.features = features
    skb = skb()
    result = validate_xmit_skb(skb, device)
    assert (skb.freed, result != [skb]) == (cut, cut)
    if cut:
        assert len(result) == 3
        assert features & Feature.HW_CSUM or all(is_right(bytes(segment)) for segment in result)


def test_what_is_longer_than_a_device_cuts_is_cut_here(device):
    device.features = TSO
    skb = big(TCP4)
    skb.add_frag(bytes(65536 - len(skb)))
    assert not features_for(skb, device) & Feature.TSO


def test_segments_from_outside_are_checked_and_counted(device):
    device.features = TSO
    skb = big(TCP4, extra=GsoType.DODGY)
    validate_xmit_skb(skb, device)
    assert skb.gso_segs == 3
    skb = big(TCP4, extra=GsoType.DODGY)
    skb.data[46] = 0x10  # a TCP header of 4 bytes
    assert validate_xmit_skb(skb, device) == []
    assert skb.freed is DropReason.SKB_GSO_SEG


def test_the_driver_says_what_a_packet_is_too_much_for(device):
    device.features = TSO
    asked = []

    def features_check(skb, of, features):
        asked.append((of, features))
        return ~Feature.TSO if len(skb) > 150 else ~Feature.NONE

    device.netdev_ops.features_check = features_check
    assert len(validate_xmit_skb(big(TCP4), device)) == 3
    assert len(validate_xmit_skb(big(Ether(**MACS) / IP() / TCP() / bytes(60)), device)) == 1
    assert asked == [(device, TSO)] * 2
    assert features_for(big(TCP6), device) == TSO & ~Feature.TSO  # it cannot give what the device does not have


def test_a_malformed_packet_is_dropped_and_counted(device):
    skb = big(TCP4, gso_type=GsoType.TCPV6, dev=device)
    before = device.stats64.tx_dropped
    assert validate_xmit_skb(skb, device) == []
    assert (skb.freed, device.stats64.tx_dropped) == (DropReason.SKB_GSO_SEG, before + 1)


@given(
    packet=headers(), size=st.integers(10, 300), length=st.integers(1, 900), cut=st.integers(60, 1000), tci=st.sampled_from([None, 0x2005])
)
def test_everything_at_once_over_dev_queue_xmit(packet, size, length, cut, tci):
    assume(size < length)
    with Stack(clock=VirtualClock(start=10**9)) as stack:
        driver = RingDriver(1000)
        device = make_device(stack, driver, bql=False)
        device.features = Feature.NONE
        packet /= bytes(i & 0xFF for i in range(length))
        skb = big(Ether(bytes(packet)), size, dev=device, vlan_tci=tci)
        if cut < len(skb):
            in_pieces(skb, cut)
        dev_queue_xmit(skb)
        driver.complete()
        assert len(driver.sent) == -(-length // size)
        assert all(map(is_right, driver.sent))
        assert all((frame[12:16] == b"\x81\x00\x20\x05") == (tci is not None) for frame in driver.sent) or Dot1Q in packet
        assert skb.freed is True
