"""GRO: what is merged, what is not, when it goes up; and that cutting it again gives the packets that came."""

import pytest
from drivers import MAC
from gro_host import SIZE, Host, tcp
from hypothesis import given
from hypothesis import strategies as st
from packets import MACS, headers, is_right
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, PadN
from scapy.layers.l2 import ARP, Dot1Q, Ether

from softnet import Feature, SkBuff, eth_type_trans
from softnet.gro import MAX_GRO_SKBS, GroResult
from softnet.skbuff import CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, MAX_SKB_FRAGS, GsoType

HELD, MERGED, NORMAL = GroResult.HELD, GroResult.MERGED_FREE, GroResult.NORMAL

@pytest.fixture
def host():
    return Host()


def udp(number=0, *, length=SIZE, **fields):
    ip = IP(src="10.0.0.1", dst="10.0.0.2", id=number)
    return Ether(**MACS) / ip / UDP(sport=1, dport=2, **fields) / bytes([number & 0xFF] * length)


# --- a stream becomes one packet ---


def test_a_stream_becomes_one_packet_with_the_kernels_marks(host):
    assert host.receive(*map(tcp, range(5))) == [HELD, *[MERGED] * 4]
    assert host.up == []
    assert host.gro.flush() == 1
    (skb,) = host.up
    assert (skb.gso_size, skb.gso_segs, skb.gso_type, skb.ip_summed) == (SIZE, 5, GsoType.TCPV4, CHECKSUM_PARTIAL)
    assert bytes(skb)[40:] == b"".join(bytes([n] * SIZE) for n in range(1, 6))
    assert (skb.csum_start, skb.csum_offset, skb.network_header) == (skb.data_offset + 20, 16, skb.data_offset)
    parsed = IP(bytes(skb))
    assert parsed.len == 540
    header = parsed.chksum
    del parsed.chksum
    assert IP(bytes(parsed)).chksum == header
    stats = host.gro.stats
    assert (stats.held, stats.merged, stats.normal, stats.flushed) == (1, 4, 0, 1)


def test_one_alone_goes_up_as_it_came(host):
    frame = bytes(tcp())
    host.receive(frame)
    host.gro.flush()
    (skb,) = host.up
    assert (bytes(skb), skb.gso_size, skb.ip_summed) == (frame[14:], 0, CHECKSUM_UNNECESSARY)


def test_it_grows_to_64_kb_and_no_further(host):
    length = 1448
    frames = [tcp(seq=n * length, length=length, ip=IP(src="1.1.1.1", dst="2.2.2.2", id=n)) for n in range(50)]
    host.receive(*frames)
    host.gro.flush()
    most = (65535 - 40) // length
    assert [skb.gso_segs for skb in host.up] == [most, 50 - most]
    assert all(len(skb.frags) <= MAX_SKB_FRAGS for skb in host.up)
    assert b"".join(bytes(skb)[40:] for skb in host.up) == bytes([1] * length * 50)
    assert host.forward() == [bytes(frame) for frame in frames]


@pytest.mark.breaks_rules(13)
def test_64_kb_are_too_long_for_an_ip_packet(host):
    host.receive(*(tcp(seq=n * 2729, length=2729, ip=IP(src="1.1.1.1", dst="2.2.2.2", id=n)) for n in range(24)))  # 65536 with headers
    host.gro.flush()
    assert [skb.gso_segs or 1 for skb in host.up] == [23, 1]


@pytest.mark.parametrize("number", [5, 17, 18, 19, 40])
def test_frags_are_not_copied_as_long_as_there_is_room(host, number):
    host.receive(*map(tcp, range(number)))
    host.gro.flush()
    assert len(host.up[0].frags) == (number - 1 if number - 1 <= MAX_SKB_FRAGS else 1)


def test_packets_in_pieces_are_merged(host):
    frames = [bytes(tcp(n)) for n in range(3)]
    for frame in frames:
        skb = SkBuff.from_bytes(frame[:60])
        for start in range(60, len(frame), 30):
            skb.add_frag(frame[start : start + 30])
        skb.protocol = eth_type_trans(skb, host.device)
        host.gro.receive(skb)
    host.gro.flush()
    assert host.up[0].gso_segs == 3
    assert host.forward() == frames


# --- what ends it ---


@pytest.mark.parametrize("flag", "FPSRU")
def test_these_flags_end_it_at_once(host, flag):
    host.receive(tcp(0), tcp(1))
    host.receive(tcp(2, flags="A" + flag))
    assert len(host.gro) == 0
    merged = flag in "FP"  # the others make it another packet
    assert host.payloads() == ([300] if merged else [200, 100])
    assert set(str(IP(bytes(host.up[0]))[TCP].flags)) == ({"A", flag} if merged else {"A"})


@pytest.mark.parametrize("flag", "FPSRU")
def test_a_first_packet_with_these_flags_is_not_held(host, flag):
    assert host.receive(tcp(0, flags="A" + flag)) == [NORMAL]
    assert host.payloads() == [100]


def test_an_acknowledgement_without_data_is_not_held_and_ends_its_flow(host):
    assert host.receive(tcp(0), tcp(1), tcp(2, length=0)) == [HELD, MERGED, NORMAL]
    assert host.payloads() == [200, 0]


def test_a_shorter_packet_is_the_last(host):
    assert host.receive(tcp(0), tcp(1, length=99), tcp(2)) == [HELD, MERGED, HELD]
    assert host.payloads() == [199]


def test_a_longer_one_begins_another(host):
    assert host.receive(tcp(0), tcp(1, length=101)) == [HELD, HELD]
    assert host.payloads() == [100]


IP4 = {"src": "10.0.0.1", "dst": "10.0.0.2", "flags": "DF", "id": 1}


@pytest.mark.parametrize(
    "second",
    [
        tcp(2),
        tcp(1, seq=99),
        tcp(1, ack=6),
        tcp(1, flags="AE"),
        tcp(1, flags="AC"),
        tcp(1, flags=""),
        tcp(1, options=[("NOP", None)] * 4),
        tcp(1, ip=IP(**{**IP4, "ttl": 9})),
        tcp(1, ip=IP(**{**IP4, "tos": 4})),
        tcp(1, ip=IP(**{**IP4, "flags": 0})),
        tcp(1, ip=IP(**{**IP4, "id": 2})),
        tcp(1, ip=IP(**{**IP4, "id": 0xFFFF})),
    ],
)
def test_what_does_not_follow_sends_the_first_up_and_is_held_itself(host, second):
    assert host.receive(tcp(0), second) == [HELD, HELD]
    assert (host.payloads(), len(host.gro)) == ([100], 1)


@pytest.mark.parametrize(
    "second",
    [
        tcp(1, sport=1001),
        tcp(1, dport=2001),
        tcp(1, ip=IP(**{**IP4, "src": "10.0.0.3"})),
        tcp(1, ip=IP(**{**IP4, "dst": "10.0.0.3"})),
        Ether(**{**MACS, "src": "52:54:00:00:00:0a"}) / tcp(1)[IP],
        Ether(**MACS) / Dot1Q(vlan=5) / tcp(1)[IP],
        tcp(1, ip=IPv6(src="fd00::1", dst="fd00::2")),
    ],
)
def test_other_flows_are_held_beside_it(host, second):
    assert host.receive(tcp(0), second) == [HELD, HELD]
    assert (host.up, len(host.gro)) == ([], 2)


@pytest.mark.parametrize(
    ("frame", "ends"),
    [
        (Ether(**MACS) / ARP(), False),
        (Ether(**MACS) / IP(**IP4) / UDP() / bytes(100), False),
        (tcp(1, ip=IP(**IP4, options=[IPOption_NOP()] * 4)), False),
        (tcp(1, ip=IP(**IP4, chksum=1)), False),
        (tcp(1, chksum=1), False),
        (tcp(1, ip=IP(**{**IP4, "flags": "MF"})), True),
        (bytes(tcp(1)) + bytes(6), True),  # padding
        (bytes(tcp(1))[:-1], True),
        (bytes(tcp(1))[:50], False),
        (bytes(tcp(1))[:30], False),
    ],
)
def test_what_is_no_good_goes_up_by_itself(host, frame, ends):
    assert host.receive(tcp(0), frame) == [HELD, NORMAL]
    assert len(host.gro) == (not ends)


def test_a_card_that_checked_the_checksum_is_believed(host):
    assert host.receive(tcp(0), tcp(1, chksum=1), ip_summed=CHECKSUM_UNNECESSARY) == [HELD, MERGED]


@pytest.mark.parametrize(
    ("ids", "flags", "kind", "up"),
    [
        ([7, 8, 9], "DF", GsoType.TCPV4, 1),
        ([7, 7, 7], "DF", GsoType.TCPV4 | GsoType.TCP_FIXEDID, 1),
        ([0xFFFF, 0, 1], "DF", GsoType.TCPV4, 1),
        ([0xFFFF, 0, 1], 0, GsoType.TCPV4, 1),
        ([7, 8, 8], "DF", GsoType.TCPV4, 2),
        ([7, 7, 8], "DF", GsoType.TCPV4 | GsoType.TCP_FIXEDID, 2),
        ([7, 7, 7], 0, GsoType(0), 3),
    ],
)
def test_the_identification_counts_up_or_with_df_stays(host, ids, flags, kind, up):
    frames = [tcp(n, ip=IP(**{**IP4, "id": i, "flags": flags})) for n, i in enumerate(ids)]
    host.receive(*frames)
    host.gro.flush()
    assert (host.up[0].gso_type, len(host.up)) == (kind, up)
    assert host.forward() == [bytes(frame) for frame in frames]


def test_congestion_window_reduced_begins_a_packet(host):
    frames = [tcp(0), tcp(1, flags="AC"), tcp(2)]
    assert host.receive(*frames) == [HELD, HELD, MERGED]
    host.gro.flush()
    assert host.up[1].gso_type == GsoType.TCPV4 | GsoType.TCP_ECN
    assert host.forward() == [bytes(frame) for frame in frames]


@pytest.mark.parametrize(("change", "result"), [({"hlim": 9}, HELD), ({"tc": 4}, HELD), ({"fl": 77}, HELD), ({}, MERGED)])
def test_ipv6_by_its_own_rules(host, change, result):
    first = {"src": "fd00::1", "dst": "fd00::2"}
    assert host.receive(tcp(0, ip=IPv6(**first)), tcp(1, ip=IPv6(**first, **change))) == [HELD, result]
    assert len(host.gro) == 1 + ("fl" in change)  # another label is another flow


def test_ipv6_extension_headers_must_be_the_same(host):
    ip = IPv6(src="fd00::1", dst="fd00::2")
    assert host.receive(*(tcp(n, ip=ip / IPv6ExtHdrDestOpt()) for n in range(2)), tcp(2, ip=ip)) == [HELD, MERGED, HELD]


def test_ipv6_extension_headers_of_another_content_are_another_flow(host):
    ip = IPv6(src="fd00::1", dst="fd00::2")
    extensions = [IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes([content]) * 4)]) for content in (1, 2)]
    assert host.receive(*(tcp(n, ip=ip / extension) for n, extension in enumerate(extensions))) == [HELD, HELD]


def test_tcp_options_of_another_content_begin_another_packet(host):
    options = [[("NOP", None), ("NOP", None), ("Timestamp", (time, 2))] for time in (1, 1, 2)]
    assert host.receive(*(tcp(n, options=each) for n, each in enumerate(options))) == [HELD, MERGED, HELD]


# --- UDP ---


def test_udp_is_merged_when_asked():
    host = Host(udp=True)
    frames = [udp(n) for n in range(5)] + [udp(5, length=7), udp(6)]
    assert host.receive(*frames) == [HELD, *[MERGED] * 5, HELD]
    (skb,) = host.up
    assert (skb.gso_size, skb.gso_segs, skb.gso_type) == (SIZE, 6, GsoType.UDP_L4)
    host.gro.flush()
    assert host.forward() == [bytes(frame) for frame in frames]


def test_udp_without_a_checksum_or_of_another_length_is_left_alone():
    host = Host(udp=True)
    frames = udp(0, chksum=0), udp(0, len=50), udp(0, length=0)
    assert host.receive(*frames) == [NORMAL] * 3
    assert host.receive(*frames, ip_summed=CHECKSUM_UNNECESSARY) == [NORMAL] * 3


def test_64_datagrams_at_most():
    host = Host(udp=True)
    host.receive(*(udp(n, length=10) for n in range(65)))
    assert ([skb.gso_segs for skb in host.up], len(host.gro)) == ([64], 1)


# --- when it goes up ---


def test_a_bucket_holds_eight_flows_and_then_gives_up_its_oldest(host):
    frames = [tcp(0, sport=port) for port in range(1, 600)]
    assert set(host.receive(*frames)) == {HELD}
    assert len(host.gro) == 8 * MAX_GRO_SKBS
    assert IP(bytes(host.up[0]))[TCP].sport < 200


def test_what_was_held_in_an_earlier_jiffy_goes_up_when_the_budget_was_used_up(host):
    host.receive(tcp(0))
    host.clock.advance(999_999)
    assert host.gro.flush_old() == 0
    host.receive(tcp(0, sport=9))
    host.clock.advance(1)
    host.receive(tcp(0, sport=8))
    assert (host.gro.flush_old(), len(host.gro)) == (2, 1)


def test_without_the_feature_nothing_is_held(host):
    host.device.set_features(off=Feature.GRO)
    assert host.receive(tcp(0)) == [NORMAL]


def test_what_was_merged_already_is_left_alone(host):
    assert host.receive(tcp(0), gso_size=100) == [NORMAL]


def test_a_clone_of_the_first_keeps_its_headers(host):
    first = host.skb(tcp(0))
    clone = first.clone()
    before = bytes(clone)
    host.gro.receive(first)
    host.receive(tcp(1))
    host.gro.flush()
    assert (host.payloads(), bytes(clone)) == ([200], before)


# --- merging and cutting ---


@given(
    header=headers(),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    flags=st.lists(st.sampled_from("APFCE"), max_size=12),
    fixed=st.booleans(),
)
def test_merging_then_cutting_gives_the_very_same_packets(header, sizes, flags, fixed):
    host = Host(udp=True)
    seq, frames = header[TCP].seq if TCP in header else 0, []
    for number, size in enumerate([60] * len(sizes) + sizes):
        packet = header.copy()
        if IP in packet and not fixed:
            packet[IP].id = (packet[IP].id + number) & 0xFFFF
        if TCP in packet:
            packet[TCP].seq = seq
            packet[TCP].flags = "A" + flags[number] if number < len(flags) and flags[number] != "A" else "A"
        seq = (seq + size) & 0xFFFFFFFF
        frames.append(bytes(packet / bytes(i + number & 0xFF for i in range(size))))
        host.receive(frames[-1])
    host.gro.flush()
    assert sum(skb.gso_segs or 1 for skb in host.up) == len(frames)
    assert all(map(is_right, frames))
    assert host.forward() == frames


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0, 50, 100, 120])), max_size=40))
def test_streams_in_any_order_lose_nothing(steps):
    host = Host()
    sent = {port: [] for port in range(4)}
    for port, skip, length in steps:
        frames = sent[port]
        frames.append(bytes(tcp(len(frames) + skip % 2, length=length, sport=port + 1)))
        host.receive(frames[-1])
    host.gro.flush()
    forwarded = host.forward()
    for port, frames in sent.items():
        assert [frame for frame in forwarded if int.from_bytes(frame[34:36], "big") == port + 1] == frames


@given(st.lists(st.binary(max_size=120), max_size=5))
def test_noise_does_no_harm(noise):
    host = Host(udp=True)
    base = bytes(tcp(0))
    for each in noise:
        host.receive(base[: len(base) - len(each)] + each, MAC + base[6:14] + each)
    host.gro.flush()
    assert len(host.gro) == 0
