"""Packets that the kernel left unfinished become frames for a wire: scapy judges them, and no header makes them more than that."""

import struct

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from fastring import virtio_net as v

NEEDS_CSUM, GSO = v.VIRTIO_NET_HDR_F_NEEDS_CSUM, {TCP: v.VIRTIO_NET_HDR_GSO_TCPV4, UDP: v.VIRTIO_NET_HDR_GSO_UDP_L4}
ROUTE = IPv6ExtHdrRouting(addresses=["2001:db8::7"], segleft=1)
EXTENSIONS = [None, IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]), IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)]), ROUTE]
OPTIONS = [[], [("Timestamp", (7, 8))], [("MSS", 1460), ("SAckOK", b""), ("WScale", 7)], [("NOP", None)] * 40]


def header(flags=0, gso_type=0, hdr_len=0, gso_size=0, csum_start=0, csum_offset=0):
    return struct.pack("=BBHHHH", flags, gso_type, hdr_len, gso_size, csum_start, csum_offset)


def folded(content):
    total = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return total


def unfinished(packet, gso_size=0, *, ecn=0):
    """A packet as the kernel leaves it (CHECKSUM_PARTIAL), with its header: the checksum field holds the sum of the pseudo header."""
    packet = packet.__class__(bytes(packet))
    kind = TCP if TCP in packet else UDP
    ip = packet.getlayer(IP) or packet[IPv6]
    l4 = bytes(packet[kind])
    offset = 16 if kind is TCP else 6
    route = packet.getlayer(IPv6ExtHdrRouting)
    last = route.addresses[-1] if route else ip.dst
    addresses = bytes(IP(src=ip.src, dst=last))[12:20] if IP in packet else bytes(IPv6(src=ip.src, dst=last))[8:40]
    content = bytearray(bytes(packet))
    start = len(content) - len(l4)
    struct.pack_into("!H", content, start + offset, folded(addresses + struct.pack("!IHH", len(l4), 0, 6 if kind is TCP else 17)))
    gso = 0
    if gso_size:
        gso = v.VIRTIO_NET_HDR_GSO_TCPV6 if kind is TCP and IPv6 in packet else GSO[kind]
    return header(NEEDS_CSUM, gso | ecn, 0, gso_size, start, offset), bytes(content)


def rebuilt(frame):
    """The frame with every length and checksum computed by scapy, and 0xFFFF where it has 0 for TCP."""
    packet = Ether(frame)
    for layer, fields in ((IP, ("len", "chksum")), (IPv6, ("plen",)), (TCP, ("chksum",)), (UDP, ("len", "chksum"))):
        for field in fields if layer in packet else ():
            packet[layer].delfieldval(field)
    packet = Ether(bytes(packet))
    if TCP in packet and packet[TCP].chksum == 0:
        packet[TCP].chksum = 0xFFFF
    return bytes(packet)


@st.composite
def packets(draw, kind, longest=4000):
    """An Ethernet packet of TCP or UDP over IPv4 or IPv6, with whatever may be in its headers."""
    payload = draw(st.binary(min_size=0, max_size=64)) * draw(st.integers(1, 60))
    packet = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
    for tag in draw(st.lists(st.integers(0, 4095), max_size=2)):
        packet /= Dot1Q(vlan=tag)
    if draw(st.booleans()):
        ip = IP(src="10.1.2.3", dst=draw(st.sampled_from(["10.0.0.2", "255.255.255.255"])), id=draw(st.integers(0, 65535)))
        ip.tos, ip.flags = draw(st.integers(0, 255)), draw(st.sampled_from([0, 2]))
        ip.options = draw(st.sampled_from([[], [b"\x94\x04\0\0"]]))
    else:
        ip = IPv6(src="2001:db8::1", dst="2001:db8::2", tc=draw(st.integers(0, 255)))
        extension = draw(st.sampled_from(EXTENSIONS))
        ip = ip / extension if extension is not None else ip
    if kind is TCP:
        flags, sequence = draw(st.integers(0, 511)) & ~2, draw(st.integers(0, 2**32 - 1))
        l4 = TCP(sport=1024, dport=80, seq=sequence, ack=5, flags=flags, options=draw(st.sampled_from(OPTIONS)))
    else:
        l4 = UDP(sport=draw(st.integers(0, 65535)), dport=4433)
    return packet / ip / l4 / Raw(payload[:longest])


# --- checksums ---


@given(st.one_of(packets(TCP), packets(UDP)))
def test_a_checksum_that_is_missing_is_computed(packet):
    (frame,) = v.finish(*unfinished(packet))
    assert frame == rebuilt(bytes(packet))


@given(st.binary(max_size=200), st.integers(0, 255))
def test_what_is_whole_goes_as_it_is(content, flags):
    assert v.finish(header(flags & ~NEEDS_CSUM, csum_start=9, csum_offset=9, gso_size=7), content) == [content]


@pytest.mark.parametrize(("start", "offset", "length"), [(60, 0, 60), (0, 60, 60), (59, 0, 60), (65535, 65535, 60), (0, 0, 0), (0, 0, 1)])
def test_a_checksum_outside_the_packet_is_refused(start, offset, length):
    with pytest.raises(ValueError, match="vnet_bad_checksum"):
        v.finish(header(NEEDS_CSUM, csum_start=start, csum_offset=offset), bytes(length))


def test_a_checksum_may_be_the_last_two_bytes():
    assert v.finish(header(NEEDS_CSUM, csum_start=0, csum_offset=58), bytes([1, 0] * 29 + [0, 0])) == [bytes([1, 0] * 29 + [0xE2, 0xFF])]


def test_a_sum_of_zero_is_written_as_ffff():
    assert v.finish(header(NEEDS_CSUM, csum_start=0, csum_offset=0), b"\xff\xff") == [b"\xff\xff"]


# --- segments ---


def check_segments(packet, frames, gso_size):
    kind = TCP if TCP in packet else UDP
    segments = [Ether(frame) for frame in frames]
    original = Ether(rebuilt(bytes(packet)))
    payloads = [bytes(segment[kind].payload) for segment in segments]
    assert b"".join(payloads) == bytes(original[kind].payload)
    assert all(len(payload) == gso_size for payload in payloads[:-1])
    assert len(payloads[-1]) <= gso_size
    for number, frame in enumerate(frames):
        assert frame == rebuilt(frame), number
        expected = Ether(bytes(original))                   # all else in the headers is the original's
        if IP in expected:
            expected[IP].id = (original[IP].id + number) & 0xFFFF
        if kind is TCP:
            expected[TCP].seq = (original[TCP].seq + number * gso_size) & 0xFFFFFFFF
            clear = (0 if number == len(frames) - 1 else 0x09) | (0x80 if number else 0)    # FIN and PSH; CWR
            expected[TCP].flags = int(original[TCP].flags) & ~clear
        expected[kind].remove_payload()
        assert rebuilt(bytes(expected / Raw(payloads[number]))) == rebuilt(frame)


@settings(max_examples=40)
@given(st.one_of(packets(TCP), packets(UDP)), st.integers(1, 2000), st.integers(2, 256), st.booleans())
def test_segments_are_the_packet_cut_and_each_is_right(packet, gso_size, batch, ecn):
    gso_size = max(gso_size, len(packet) // 40)
    hdr, content = unfinished(packet, gso_size, ecn=v.VIRTIO_NET_HDR_GSO_ECN if ecn and TCP in packet else 0)
    check_segments(packet, v.finish(hdr, content, batch=batch), gso_size)


@settings(max_examples=40)
@given(st.one_of(packets(TCP), packets(UDP)), st.integers(200, 2000))
def test_a_packet_with_a_whole_checksum_can_be_cut_too(packet, gso_size):
    """No NEEDS_CSUM: what GRO put together, seen by a packet socket."""
    hdr, _ = unfinished(packet, gso_size)
    assume(IPv6ExtHdrRouting not in packet)                 # its pseudo header has an address that only the sender and the last hop know
    check_segments(packet, v.finish(header(0, hdr[1], 0, gso_size), rebuilt(bytes(packet))), gso_size)


def test_the_longest_packet_of_all():
    payload = bytes(range(256)) * 256
    packet = Ether() / IP(src="10.0.0.1", dst="10.0.0.2", id=65530) / TCP(flags="PAFC", seq=2**32 - 5) / Raw(payload[: 65535 - 40])
    frames = v.finish(*unfinished(packet, 1448))
    assert len(frames) == 46
    check_segments(packet, frames, 1448)


def test_a_udp_packet_without_checksum_has_none_in_its_segments():
    packet = Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(chksum=0) / Raw(bytes(100))
    frames = v.finish(header(0, v.VIRTIO_NET_HDR_GSO_UDP_L4, 0, 40), bytes(packet))
    assert [(Ether(frame)[UDP].chksum, Ether(frame)[UDP].len) for frame in frames] == [(0, 48), (0, 48), (0, 28)]


def ipv4(**fields):
    return Ether() / IP(src="10.0.0.1", dst="10.0.0.2", **fields)


DATA, IPV6 = Raw(bytes(3000)), Ether() / IPv6(src="::1", dst="::2")
BROKEN = {
    "of no size": (ipv4() / TCP() / DATA, {"gso_size": 0}),
    "of no kind": (ipv4() / TCP() / DATA, {"gso_type": 2}),
    "UFO": (ipv4() / UDP() / DATA, {"gso_type": v.VIRTIO_NET_HDR_GSO_UDP}),
    "TCP that is UDP": (ipv4() / UDP() / DATA, {"gso_type": v.VIRTIO_NET_HDR_GSO_TCPV4}),
    "TCPv6 that is TCPv4": (ipv4() / TCP() / DATA, {"gso_type": v.VIRTIO_NET_HDR_GSO_TCPV6}),
    "UDP that is TCP": (ipv4() / TCP() / DATA, {"gso_type": v.VIRTIO_NET_HDR_GSO_UDP_L4}),
    "a fragment": (ipv4(flags="MF") / TCP() / DATA, {}),
    "a later fragment": (ipv4(frag=9) / TCP() / DATA, {}),
    "an IPv6 fragment": (IPV6 / IPv6ExtHdrFragment() / TCP() / DATA, {"gso_type": v.VIRTIO_NET_HDR_GSO_TCPV6}),
    "with its checksum elsewhere": (ipv4() / TCP() / DATA, {"csum_start": 30}),
    "with its checksum at another place": (ipv4() / TCP() / DATA, {"csum_offset": 6}),
    "of another IP version": (ipv4(version=5) / TCP() / DATA, {}),
    "of a short IP header": (ipv4(ihl=4) / TCP() / DATA, {}),
    "of a short TCP header": (ipv4() / TCP(dataofs=4) / DATA, {}),
    "shorter than its TCP header": (ipv4() / TCP(dataofs=15), {}),
    "without TCP": (ipv4(proto=6), {}),
    "without IP": (Ether(type=0x0800), {}),
    "no IP at all": (Ether() / ARP() / DATA, {}),
    "of more headers than are kept": (
        IPV6 / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(222))]) / TCP() / DATA,
        {"gso_type": v.VIRTIO_NET_HDR_GSO_TCPV6, "csum_start": 14 + 40 + 232},
    ),
}


@pytest.mark.parametrize(("packet", "says"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_cut_as_its_header_says_is_refused(packet, says):
    fields = {"flags": NEEDS_CSUM, "gso_type": v.VIRTIO_NET_HDR_GSO_TCPV4, "gso_size": 1000, "csum_start": 34, "csum_offset": 16}
    if says.get("gso_type") in (v.VIRTIO_NET_HDR_GSO_UDP_L4, v.VIRTIO_NET_HDR_GSO_UDP):
        fields["csum_offset"] = 6
    with pytest.raises(ValueError, match="vnet_bad_gso"):
        v.finish(header(**fields | says), bytes(packet))


HEADERS = st.builds(
    header,
    flags=st.integers(0, 255),
    gso_type=st.sampled_from([0, 1, 3, 4, 5, 0x81, 0x84, 77]),
    hdr_len=st.integers(0, 65535),
    gso_size=st.sampled_from([0, 1, 2, 100, 1448, 65535]),
    csum_start=st.one_of(st.sampled_from([14, 34, 38, 54, 58]), st.integers(0, 65535)),
    csum_offset=st.one_of(st.sampled_from([6, 16]), st.integers(0, 65535)),
)


@given(HEADERS, st.one_of(packets(TCP, 300), packets(UDP, 300)), st.integers(0, 400), st.binary(max_size=8), st.integers(0, 120))
def test_no_header_and_no_packet_does_harm(hdr, packet, length, scribble, at):
    content = bytearray(bytes(packet))
    content[at : at + len(scribble)] = scribble
    content = bytes(content[:length])
    try:
        frames = v.finish(hdr, content)
    except ValueError:
        return
    assert frames
    assert sum(map(len, frames)) <= len(content) * v.VNET_HEADERS
    assert all(len(frame) <= len(content) for frame in frames)


def test_what_finish_itself_is_given_is_checked():
    for arguments in ((b"", b""), (header(), bytes(v.VNET_LONGEST + 1)), (header(), b"", 1), (header(), b"", 257)):
        with pytest.raises(ValueError, match="are needed"):
            v.finish(*arguments[:2], **({"batch": arguments[2]} if len(arguments) > 2 else {}))
