"""Receive checksum offload (§3.2.9, §13.4.47): what is verified, what is not, and the packet checksum."""

import random
from functools import partial

import pytest
from cards import IPCS, IPE, IXSM, TCPCS, TCPE, VP, packet
from rx_checksums import (
    ALL,
    BODY,
    CHECKED,
    MACS,
    SUPPORTED,
    V4,
    V4_TCP,
    V4_UDP,
    V6,
    V6_TCP,
    frame,
    packet_checksum,
    patched,
    verdict,
    verifying_card,
)
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN
from scapy.layers.l2 import LLC, SNAP, Dot1Q, Dot3, Ether
from scapy.packet import Raw

from e1000 import regs
from fastring.burst import FRAME_BAD_CRC


@pytest.fixture
def offload(make_card):
    """offload(rxcsum, **rx_ring options): a BareCard that verifies checksums."""
    return partial(verifying_card, make_card)


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
