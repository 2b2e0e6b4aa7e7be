"""Receive checksum offload of any headers, split anywhere, and of what is no packet: scapy's word, and no byte behind the frame."""

from functools import partial
from itertools import pairwise

import pytest
from cards import IPCS, IPE, IXSM, TCPCS, TCPE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rx_checksums import ALL, CHECKED, MACS, SUPPORTED, V4_TCP, V4_UDP, V6_TCP, frame, packet_checksum, patched, verdict, verifying_card
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from scapy.layers.l2 import LLC, SNAP, Dot1Q, Dot3, Ether
from scapy.packet import Raw

from e1000 import regs
from fastring.burst import Burst
from fastring.memory import Arena


@pytest.fixture
def offload(make_card):
    """offload(rxcsum, **rx_ring options): a BareCard that verifies checksums."""
    return partial(verifying_card, make_card)


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
