"""Receive checksum offload (§3.2.9, §13.4.47): what is verified, what is not, and the packet checksum."""

import random
from itertools import pairwise

import pytest
from cards import DD, IPCS, IPE, IXSM, RX_EOP, TCPCS, TCPE, VP, packet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP, IPOption_Timestamp
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import LLC, SNAP, Dot1Q, Dot3, Ether
from scapy.packet import Raw

from e1000 import regs
from fastring.burst import FRAME_BAD_CRC, Burst
from fastring.checksum import checksum
from fastring.memory import Arena

ALL = regs.RXCSUM_IPOFL | regs.RXCSUM_TUOFL | regs.RXCSUM_IPV6OFL
MACS = {"dst": "52:54:00:12:34:56", "src": "02:00:00:00:00:01"}
CHECKED = IPCS | TCPCS


@pytest.fixture
def offload(make_card):
    """offload(rxcsum, **rx_ring options): a BareCard that verifies checksums."""

    def make(rxcsum=ALL, *, vet=0x8100, **options):
        card = make_card()
        card.write(regs.VET, vet)
        card.write(regs.RXCSUM, rxcsum)
        card.rx_ring(**options)
        return card

    return make


def patched(content, *changes):
    """`content` with other bytes at some places."""
    content = bytearray(content)
    for at, value in changes:
        content[at] = value
    return bytes(content)


def frame(*layers, length=60):
    """A frame of scapy's, all checksums right, padded to `length`."""
    packed = layers[0]
    for layer in layers[1:]:
        packed = packed / layer
    return bytes(packed).ljust(length, b"\0")


def verdict(card, content):
    """(status without DD and EOP, errors) of the descriptor `content` ends in."""
    card.receive(content)
    *_, (desc, _) = card.take_descs()
    card.give((card.rx_head - 1 - card.rx_tail) % card.rx_count)
    assert desc.status & (DD | RX_EOP) == DD | RX_EOP
    return desc.status & ~(DD | RX_EOP), desc.errors


V4 = IP(src="10.1.2.3", dst="10.4.5.6")
V6 = IPv6(src="fd00::1", dst="fd00::2")
BODY = Raw(bytes(range(200)))
FILLED = {"options": [PadN(optdata=bytes(60))]}         # a header of 64 bytes
SUPPORTED = {                                           # Table 3-5: what is calculated
    "ipv4-tcp": ((Ether(**MACS), V4, TCP(), BODY), CHECKED),
    "ipv4-udp": ((Ether(**MACS), V4, UDP(), BODY), CHECKED),
    "odd-length": ((Ether(**MACS), V4, UDP(), Raw(b"abc")), CHECKED),
    "no-payload": ((Ether(**MACS), V4, TCP()), CHECKED),
    "ipv4-options": ((Ether(**MACS), IP(src="10.1.2.3", options=[IPOption_NOP(), IPOption_Timestamp()]), TCP(), BODY), CHECKED),
    "ipv4-most-options": ((Ether(**MACS), IP(options=[IPOption_NOP()] * 40), UDP(), BODY), CHECKED),
    "tcp-options": ((Ether(**MACS), V4, TCP(options=[("MSS", 1460), ("Timestamp", (1, 2))]), BODY), CHECKED),
    "vlan": ((Ether(**MACS), Dot1Q(vlan=5), V4, TCP(), BODY), CHECKED),
    "snap": ((Dot3(**MACS), LLC(), SNAP(code=0x0800), V4, TCP(), BODY), CHECKED),
    "vlan-snap": ((Ether(**MACS, type=0x8100), Dot1Q(type=248), LLC(), SNAP(code=0x0800), V4, UDP(), BODY), CHECKED),
    "other-protocol": ((Ether(**MACS), IP(proto=47), BODY), IPCS),
    "icmp": ((Ether(**MACS), IP(proto=1), BODY), IPCS),
    "first-fragment": ((Ether(**MACS), IP(flags="MF"), UDP(), BODY), IPCS),
    "last-fragment": ((Ether(**MACS), IP(frag=8, proto=17), BODY), IPCS),
    "udp-without-checksum": ((Ether(**MACS), V4, UDP(chksum=0), BODY), IPCS),
    "ipv6-tcp": ((Ether(**MACS), V6, TCP(), BODY), TCPCS),
    "ipv6-udp": ((Ether(**MACS), V6, UDP(), BODY), TCPCS),
    "ipv6-vlan": ((Ether(**MACS), Dot1Q(), V6, UDP(), BODY), TCPCS),
    "ipv6-hop-by-hop": ((Ether(**MACS), V6, IPv6ExtHdrHopByHop(), TCP(), BODY), TCPCS),
    "ipv6-destination": ((Ether(**MACS), V6, IPv6ExtHdrDestOpt(), UDP(), BODY), TCPCS),
    "ipv6-routing-arrived": ((Ether(**MACS), V6, IPv6ExtHdrRouting(addresses=["fd00::9"], segleft=0), TCP(), BODY), TCPCS),
    "ipv6-three-extensions": (
        (Ether(**MACS), V6, IPv6ExtHdrHopByHop(**FILLED), IPv6ExtHdrRouting(segleft=0), IPv6ExtHdrDestOpt(**FILLED), TCP(), BODY), TCPCS,
    ),
    "ipv6-in-ipv4": ((Ether(**MACS), V4, V6, TCP(), BODY), CHECKED),
}
UNSUPPORTED = {
    "arp": (Ether(**MACS, type=0x0806), BODY),
    "other-type": (Ether(**MACS, type=0x88B5), V4, TCP(), BODY),
    "other-vlan-type": (Ether(**MACS, type=0x88A8), Dot1Q(), V4, TCP(), BODY),
    "ipv4-in-ipv4": (Ether(**MACS), V4, V4, TCP(), BODY),
    "ipv4-in-ipv6": (Ether(**MACS), V6, V4, TCP(), BODY),
    "ipv6-in-ipv6": (Ether(**MACS), V6, V6, TCP(), BODY),
    "ipv6-fragment": (Ether(**MACS), V6, IPv6ExtHdrFragment(), TCP(), BODY),
    "ipv6-routing-on-its-way": (Ether(**MACS), V6, IPv6ExtHdrRouting(addresses=["fd00::9"], segleft=1), TCP(), BODY),
    "ipv6-long-extension": (Ether(**MACS), V6, IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(61))]), TCP(), BODY),
    "ipv6-icmp": (Ether(**MACS), IPv6(nh=58), BODY),
    "llc-without-snap": (Dot3(**MACS), LLC(dsap=0x42, ssap=0x42, ctrl=3), V4, TCP(), BODY),
    "snap-of-somebody": (Dot3(**MACS), LLC(), SNAP(OUI=0x00000C, code=0x0800), V4, TCP(), BODY),
    "ip-version-5": (Ether(**MACS, type=0x0800), IP(version=5), TCP(), BODY),
}


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("name", SUPPORTED)
def test_a_packet_of_a_kind_in_the_table_is_verified(offload, name, pieces):
    card = offload()
    layers, status = SUPPORTED[name]
    good = frame(*layers)
    cut = [good] if pieces == 1 else [good[:20], good[20:61], good[61:]] if len(good) > 61 else [good[:20], good[20:]]
    assert verdict(card, cut) == (status, 0)
    ip = next(at for at in (14, 18, 22, 26) if good[at - 2 : at] in (b"\x08\0", b"\x86\xdd"))
    if status & IPCS:
        assert verdict(card, patched(good, (ip + 8, 13))) == (status, IPE)      # time to live
    if status & TCPCS:
        source = ip + (12 if good[ip] >> 4 == 4 else 8)
        assert verdict(card, patched(good, (source, 99)))[1] & ~IPE == (0 if name == "ipv6-in-ipv4" else TCPE)
    if status & TCPCS and len(good) > 60:
        assert verdict(card, patched(good, (-1, good[-1] ^ 1))) == (status, TCPE)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_packet_of_another_kind_is_not(offload, name):
    assert verdict(offload(), frame(*UNSUPPORTED[name])) == (IXSM, 0)


@pytest.mark.parametrize(
    ("rxcsum", "ipv4", "ipv6"),
    [
        (0, IXSM, IXSM),
        (regs.RXCSUM_IPOFL, IPCS, IXSM),
        (regs.RXCSUM_TUOFL, TCPCS, IXSM),
        (regs.RXCSUM_IPV6OFL, IXSM, IXSM),
        (regs.RXCSUM_IPOFL | regs.RXCSUM_TUOFL, CHECKED, IXSM),
        (regs.RXCSUM_TUOFL | regs.RXCSUM_IPV6OFL, TCPCS, TCPCS),
        (ALL, CHECKED, TCPCS),
    ],
)
def test_each_check_is_switched_on_by_itself(offload, rxcsum, ipv4, ipv6):
    card = offload(rxcsum)
    bad4, bad6 = (frame(Ether(**MACS), ip, TCP(chksum=1), BODY) for ip in (IP(chksum=1), V6))
    for content, status in ((bad4, ipv4), (bad6, ipv6)):
        errors = (IPE if status & IPCS else 0) | (TCPE if status & TCPCS else 0)
        assert verdict(card, content) == (status, errors)


def test_without_a_vlan_type_no_tag_is_skipped(offload):
    assert verdict(offload(vet=0), frame(Ether(**MACS), Dot1Q(), V4, TCP(), BODY)) == (IXSM, 0)
    assert verdict(offload(vet=0x88A8), frame(Ether(**MACS, type=0x88A8), Dot1Q(), V4, TCP(), BODY)) == (CHECKED, 0)


def test_reset_switches_it_off(offload):
    card = offload()
    card.write(regs.CTRL, regs.CTRL_RST)
    card.rx_ring()
    card.receive(frame(Ether(**MACS), V4, TCP(), BODY))
    (desc, _), = card.take_descs()
    assert (desc.status & (IXSM | CHECKED), desc.checksum) == (IXSM, 0)


def test_a_padded_packet_is_verified_without_its_padding(offload):
    card = offload()
    content = frame(Ether(**MACS), V4, UDP(), Raw(b"x"), length=0)
    assert verdict(card, content + b"\xff" * (100 - len(content))) == (CHECKED, 0)


def test_udp_may_be_shorter_than_its_ip_packet(offload):
    udp = bytes(IP(bytes(V4 / UDP() / Raw(b"four")))[UDP])
    content = frame(Ether(**MACS), IP(src=V4.src, dst=V4.dst, proto=17), Raw(udp + b"\xff\xff\xff"))
    # The pseudo header has UDP's own length
    assert verdict(offload(), content) == (CHECKED, 0)


@pytest.mark.parametrize("size", [9000, 16370])
def test_a_jumbo_packet_is_verified_over_all_its_descriptors(offload, size):
    card = offload(rctl=regs.RCTL_SECRC | regs.RCTL_LPE, count=16)
    content = frame(Ether(**MACS), V4, TCP(), Raw(random.Random(size).randbytes(size - 54)))
    assert verdict(card, content) == (CHECKED, 0)
    assert verdict(card, content[:-1] + bytes([content[-1] ^ 0x80])) == (CHECKED, TCPE)


def test_a_packet_that_waits_in_the_fifo_keeps_what_was_found_out(offload):
    card = offload(give=0)
    good, bad = frame(Ether(**MACS), V4, TCP(), BODY), frame(Ether(**MACS), V4, TCP(chksum=5), BODY)
    card.receive(good, bad)
    card.write(regs.RXCSUM, 0)
    card.give(2)
    assert [(d.status & (IXSM | CHECKED), d.errors) for d, _ in card.take_descs()] == [(CHECKED, 0), (CHECKED, TCPE)]


def test_nothing_is_verified_of_a_bad_frame(offload):
    card = offload(rctl=regs.RCTL_SECRC | regs.RCTL_SBP)
    card.receive(frame(Ether(**MACS), V4, TCP(chksum=1), BODY), errors=FRAME_BAD_CRC)
    (desc, _), = card.take_descs()
    assert desc.status & (IXSM | CHECKED) == IXSM


# --- lengths that lie ---


V4_TCP = frame(Ether(**MACS), V4, TCP(), BODY)
V4_UDP = frame(Ether(**MACS), V4, UDP(), BODY)
V6_TCP = frame(Ether(**MACS), V6, TCP(), BODY)


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (patched(V4_TCP, (14, 0x44)), 0),                       # IHL under 5
        (patched(V4_TCP, (14, 0x40)), 0),
        (patched(V4_TCP, (16, 0xFF)), IPCS),                    # total length beyond the frame
        (patched(V4_TCP, (16, 0), (17, 19)), IPCS),             # under the header's
        (patched(V4_TCP, (16, 0), (17, 39)), IPCS),             # too short for TCP
        (V4_TCP[:-1], IPCS),                                    # truncated
        (patched(V4_UDP, (38, 0), (39, 7)), IPCS),              # UDP length under its header's
        (patched(V4_UDP, (38, 0xFF)), IPCS),                    # beyond the packet
        (patched(V6_TCP, (18, 0xFF)), 0),                       # payload beyond the frame
        (patched(V6_TCP, (18, 0), (19, 0)), 0),                 # none, as in a jumbogram
        (patched(V6_TCP, (18, 0), (19, 19)), 0),                # too short for TCP
        (patched(V6_TCP, (20, 0), (55, 7)), 0),                 # an extension that ends at 64 bytes, and then nonsense
        (patched(V6_TCP, (20, 60), (55, 255)), 0),              # an extension beyond the packet
        (V6_TCP[:-1], 0),
    ],
)
def test_lengths_that_do_not_fit_are_not_believed(offload, content, seen):
    status, errors = verdict(offload(), content)
    assert status == (seen or IXSM)
    assert errors & ~IPE == 0


# --- packet checksum ---


def packet_checksum(content, start):
    return checksum(content[start:])


@pytest.mark.parametrize("start", [0, 1, 12, 13, 14, 34, 35, 54, 59, 60, 100, 255])
@pytest.mark.parametrize("offloads", [0, ALL])
@pytest.mark.parametrize("strip", [True, False], ids=["SECRC", "with-crc"])
def test_the_packet_checksum_covers_all_that_is_stored_from_pcss_on(offload, start, offloads, strip):
    card = offload(offloads | start, rctl=regs.RCTL_SECRC if strip else 0)
    for content in (V4_TCP, packet(60), packet(61), packet(1514, seed=3)):
        card.receive(content)
        (desc, stored), = card.take_descs()
        assert desc.checksum == packet_checksum(stored, start)


@pytest.mark.parametrize("start", [0, 5, 11, 12, 13, 14, 18, 40])
@pytest.mark.parametrize("offloads", [0, ALL])
def test_a_tag_that_is_stripped_is_not_in_it(offload, start, offloads):
    card = offload(offloads | start)
    card.write(regs.CTRL, card.read(regs.CTRL) | regs.CTRL_VME)
    card.receive(frame(Ether(**MACS), Dot1Q(vlan=7), V4, TCP(), BODY))
    (desc, stored), = card.take_descs()
    assert desc.status & (VP | TCPCS) == (VP | TCPCS if offloads else VP)
    assert desc.errors == 0
    assert desc.checksum == packet_checksum(stored, start)


def test_every_descriptor_of_a_chain_has_it(offload):
    card = offload(14, buffer=256, rctl=3 << 16 | regs.RCTL_SECRC)
    card.receive(packet(1000))
    descs = card.take_descs()
    assert len(descs) == 4
    assert {d.checksum for d, _ in descs} == {packet_checksum(b"".join(part for _, part in descs), 14)}


def test_it_is_left_out_until_rxcsum_is_written(card):
    card.rx_ring()
    card.receive(packet(60))
    card.write(regs.RXCSUM, 0)
    card.receive(packet(60))
    (before, _), (after, stored) = card.take_descs()
    assert (before.checksum, after.checksum) == (0, packet_checksum(stored, 0))


# --- anything ---


def reference(content, vet=0x8100):
    """(status, errors) by scapy, for a whole packet of layers this table names; None where scapy is not asked."""
    layers = Ether(content) if int.from_bytes(content[12:14], "big") > 1500 else Dot3(content)
    ip = layers[IP] if IP in layers else layers[IPv6]
    again = layers.copy()
    for layer in (IP, TCP, UDP):
        if layer in again:
            del again[layer].chksum
    again = layers.__class__(bytes(again))
    status = IPCS if IP in layers else 0
    errors = IPE if IP in layers and again[IP].chksum != layers[IP].chksum else 0
    segment = next((kind for kind in (TCP, UDP) if kind in layers), None)
    if segment and not (IP in layers and (ip.flags.MF or ip.frag)) and not (segment is UDP and layers[UDP].chksum == 0):
        status |= TCPCS
        errors |= TCPE if again[segment].chksum != layers[segment].chksum else 0
    return status, errors


ETHERNETS = [(Ether(**MACS),), (Ether(**MACS), Dot1Q(vlan=3)), (Dot3(**MACS), LLC(), SNAP())]
ADDRESSES = st.binary(min_size=4, max_size=4).map(lambda raw: ".".join(map(str, raw)))
IPV4 = st.builds(
    lambda src, dst, options, tos: IP(src=src, dst=dst, options=[IPOption_NOP()] * options, tos=tos),
    ADDRESSES, ADDRESSES, st.integers(0, 40), st.integers(0, 255),
)
IPV6 = st.builds(
    lambda last, label, *extensions: [IPv6(dst=f"fd00::{last:x}", fl=label), *(layer for layer in extensions if layer)],
    st.integers(1, 0xFFFF), st.integers(0, 0xFFFFF),
    st.sampled_from([None, IPv6ExtHdrHopByHop()]), st.sampled_from([None, IPv6ExtHdrDestOpt()]),
)
SEGMENT = st.builds(
    lambda kind, sport, dport: kind(sport=sport, dport=dport),
    st.sampled_from([TCP, UDP]), st.integers(1, 0xFFFF), st.integers(1, 0xFFFF),
)


@given(
    st.sampled_from(ETHERNETS), st.one_of(IPV4, IPV6), SEGMENT, st.binary(min_size=30, max_size=300),
    st.one_of(st.none(), st.sampled_from(["ip", "segment", "payload"])), st.integers(1, 0xFFFF), st.lists(st.integers(1, 400), max_size=6),
)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_scapy_agrees_on_every_header_and_every_split(offload, ethernet, ip, segment, payload, broken, wrong, cuts):
    ip = [ip] if isinstance(ip, IP) else ip
    segment = segment.copy()
    code = 0x0800 if isinstance(ip[0], IP) else 0x86DD
    ethernet = [layer.copy() for layer in ethernet]
    if isinstance(ethernet[-1], SNAP):
        ethernet[-1].code = code
    layers = [*ethernet, *(layer.copy() for layer in ip), segment, Raw(payload)]
    if broken == "ip" and code == 0x0800:
        layers[len(ethernet)].chksum = wrong
    if broken == "segment":
        segment.chksum = wrong
    content = frame(*layers)
    if broken == "payload":
        content = content[:-9] + bytes([content[-9] ^ (wrong % 255 + 1)]) + content[-8:]
    expected = reference(content)
    card = offload()
    assert verdict(card, content) == expected
    edges = [0, *sorted({cut for cut in cuts if cut < len(content)}), len(content)]
    assert verdict(card, [content[a:b] for a, b in pairwise(edges)]) == expected


@pytest.mark.parametrize("layers", [SUPPORTED["vlan"][0], SUPPORTED["ipv6-hop-by-hop"][0], SUPPORTED["ipv4-options"][0]])
@pytest.mark.parametrize("vme", [0, regs.CTRL_VME])
@pytest.mark.parametrize("strip", [regs.RCTL_SECRC, 0])
def test_a_split_at_any_byte_changes_nothing(offload, layers, vme, strip):
    card = offload(ALL | 14, rctl=strip)
    card.write(regs.CTRL, card.read(regs.CTRL) | vme)
    content = frame(*layers)
    card.receive(content)
    (whole,) = card.take_descs()
    for cut in range(1, len(content)):
        card.receive([content[:cut], content[cut:]])
        (split,) = card.take_descs()
        assert split[0][1:] == whole[0][1:]
        assert split[1] == whole[1]
        card.give((card.rx_head - 1 - card.rx_tail) % card.rx_count)


HEADERS = st.sampled_from([frame(*layers)[: 14 + 60] for layers, _ in SUPPORTED.values()])


@pytest.fixture
def brink():
    """brink(content): a burst of one frame whose last byte is the last before memory that cannot be read."""
    with Arena(4096) as arena:
        arena.alloc(4096)           # AddressSanitizer lets nobody write to what was not

        def make(content):
            with memoryview(arena) as view:
                view[len(view) - len(content) :] = content
                size = len(view)
            return Burst.from_mapped(arena, iova=0, offsets=[size - len(content)], lengths=[len(content)])

        yield make


@given(HEADERS, st.binary(max_size=120), st.lists(st.tuples(st.integers(12, 120), st.integers(0, 255)), max_size=4))
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
def test_of_a_frame_of_anything_no_byte_behind_it_is_looked_at(offload, brink, header, tail, changes):
    content = patched(header + tail, *((at, value) for at, value in changes if at < len(header + tail))).ljust(60, b"\0")
    card = offload()
    with brink(content) as burst:
        card.wire.inject(burst)
    (desc, stored), = card.take_descs()
    assert stored == content
    assert desc.checksum == packet_checksum(stored, 0)
    assert desc.errors & ~((IPE if desc.status & IPCS else 0) | (TCPE if desc.status & TCPCS else 0)) == 0
    assert (desc.status & IXSM != 0) == (desc.status & CHECKED == 0)


@pytest.mark.parametrize(
    "content",
    [
        V6_TCP[:18] + b"\0\x08\0\x40" + V6_TCP[22:54] + bytes([following]) + bytes(7) for following in (0, 6, 17, 43, 60)
    ] + [
        V4_UDP[:14] + bytes([0x4B, 0, 0, total]) + V4_UDP[18:58] + b"xx" for total in (45, 46)
    ] + [
        V4_TCP[:14] + bytes([0x4F, 0, 0, 60]) + V4_TCP[18:60],
    ],
)
def test_headers_that_begin_at_the_end_of_the_frame_are_not_looked_at(offload, brink, content):
    card = offload()
    with brink(content) as burst:
        card.wire.inject(burst)
    (desc, stored), = card.take_descs()
    assert stored == content
    assert not desc.status & TCPCS
