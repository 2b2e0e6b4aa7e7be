"""PacketStream: fields take the values they should, and lengths and checksums are what scapy works out, on every packet."""

import struct
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from fastring.checksum import checksum
from fastring.headers import frame_headers
from fastring.stream import LONGEST, MOST_FIELDS, SIGNATURE_BYTES, PacketStream

ETHER = Ether(dst="52:54:00:00:00:02", src="52:54:00:00:00:01")
BELOW = {
    "ip": IP(src="10.0.0.1", dst="10.1.0.1"),
    "ip options": IP(src="10.0.0.1", dst="10.1.0.1", options=[IPOption_NOP()] * 3),
    "ipv6": IPv6(src="fd00::1", dst="fd00::2"),
    "ipv6 options": IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrDestOpt(),
}
ABOVE = {
    "udp": UDP(sport=1000, dport=2000),
    "tcp": TCP(sport=1000, dport=2000, options=[("MSS", 1460)]),
    "icmp": ICMP(id=7),
    "icmpv6": ICMPv6EchoRequest(id=7),
}


def template(below="ip", above="udp", vlans=0, payload=b"x" * 18):
    packet = ETHER
    for number in range(vlans):
        packet = packet / Dot1Q(vlan=100 + number)
    return bytes(packet / BELOW[below] / ABOVE[above] / Raw(payload))


def recomputed(frame):
    """The same packet with every length and checksum worked out by scapy, which looks at no application's: some ports are known to it."""
    with patch.object(UDP, "payload_guess", []), patch.object(TCP, "payload_guess", []):
        packet = Ether(frame)
    layer = packet
    while layer:
        for name in ("chksum", "len", "plen", "cksum"):
            if name in layer.fields:
                del layer.fields[name]
        layer.raw_packet_cache = None
        layer = layer.payload
    return bytes(packet)


@st.composite
def streams(draw):
    above = draw(st.sampled_from(["udp", "tcp", "icmp", "icmpv6"]))
    kinds = {"icmp": ["ip", "ip options"], "icmpv6": ["ipv6", "ipv6 options"]}.get(above, list(BELOW))
    below = draw(st.sampled_from(kinds))
    vlans = draw(st.integers(0, 2))
    longest = draw(st.integers(0, 200))
    frame = template(below, above, vlans, draw(st.binary(min_size=longest, max_size=longest)))
    headers = frame_headers(frame)
    signature = headers.payload if longest >= 30 and draw(st.booleans()) else 0
    least = headers.payload + (SIGNATURE_BYTES if signature else 0)
    lengths = sorted({*draw(st.lists(st.integers(least, len(frame)), max_size=4)), len(frame)})
    order = draw(st.one_of(st.none(), st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=6)))
    random_from = headers.payload + (SIGNATURE_BYTES if signature else draw(st.integers(0, 3))) if draw(st.booleans()) else 0
    if random_from > len(frame):
        random_from = 0
    places = [(0, 48), (8 * 6, 48), (8 * headers.l4 + 32 if above in ("icmp", "icmpv6") else 8 * headers.l4, 16)]
    if headers.version == 4:
        places += [(8 * headers.l3 + 8, 6), (8 * headers.l3 + 32, 16), (8 * headers.l3 + 64, 8), (8 * headers.l3 + 96, 32),
                   (8 * headers.l3 + 128, 32), (8 * headers.l3 + 96, 64)]
    else:
        places += [(8 * headers.l3 + 4, 8), (8 * headers.l3 + 12, 20), (8 * headers.l3 + 56, 8), (8 * headers.l3 + 128, 64),
                   (8 * headers.l3 + 256, 64)]
    places += [(8 * tag, 3) for tag in headers.vlans] + [(8 * tag + 4, 12) for tag in headers.vlans]
    body = (least, lengths[0])
    if body[1] - body[0] >= 1:
        byte = draw(st.integers(body[0], body[1] - 1))
        places.append((8 * byte + draw(st.integers(0, 7)), 1))
    fields = []
    for bit, bits in draw(st.lists(st.sampled_from(places), max_size=5)):
        every = draw(st.integers(1, 3))
        kind = draw(st.sampled_from(["step", "random", "cycle"]))
        low = draw(st.integers(0, 2**bits - 1))
        if kind == "cycle":
            fields.append((bit, bits, kind, 0, 0, draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=4)), every))
        else:
            fields.append((bit, bits, kind, low, draw(st.integers(0, 2**bits - 1)), draw(st.integers(1, 2**bits - low)), every))
    return PacketStream(frame, number=draw(st.integers(0, 65535)), fields=fields, lengths=lengths, order=order, random_from=random_from,
                        signature=signature, seed=draw(st.integers(0, 2**64 - 1)))


@settings(max_examples=60)
@given(streams(), st.integers(0, 2**64 - 1))
def test_lengths_and_checksums_are_what_scapy_works_out(stream, time):
    for frame in stream.make(20, time=time):
        expected = recomputed(frame)
        headers = frame_headers(frame)
        if frame != expected and headers.protocol == 17:      # scapy gives UDP's zero as it is
            at = headers.l4 + 6
            assert expected[at:at + 2] == b"\0\0"
            assert frame[at:at + 2] == b"\xff\xff"
            expected = expected[:at] + b"\xff\xff" + expected[at + 2:]
        assert frame == expected


def field(frames, bit, bits):
    return [int.from_bytes(frame, "big") >> (8 * len(frame) - bit - bits) & (1 << bits) - 1 for frame in frames]


@given(st.integers(0, 400), st.integers(1, 57), st.data())
def test_a_field_of_any_bits_takes_the_values_it_should_and_leaves_the_others(bit, bits, data):
    low = data.draw(st.integers(0, 2**bits - 1))
    values = data.draw(st.integers(1, 2**bits - low))
    step = data.draw(st.integers(0, 2**64 - 1))
    every = data.draw(st.integers(1, 4))
    frame = b"\x55" * 12 + b"\x12\x34" + b"\xa5" * 46
    if bit < 112 and bit + bits > 96:
        return
    frames = PacketStream(frame, fields=[(bit, bits, "step", low, step, values, every)]).make(12)
    assert field(frames, bit, bits) == [low + (i // every) * step % values for i in range(12)]
    rest = ~((1 << bits) - 1 << 480 - bit - bits)
    assert {int.from_bytes(made, "big") & rest for made in frames} == {int.from_bytes(frame, "big") & rest}


def test_a_field_steps_down_by_the_complement():
    frames = PacketStream(template(), fields=[(8 * 34, 16, "step", 10, 5 - 1, 5, 1)]).make(6)
    assert [frame[35] for frame in frames] == [10, 14, 13, 12, 11, 10]


def test_64_bits_wrap_at_their_end():
    frames = PacketStream(bytes(12) + b"\x12\x34" + bytes(50), fields=[(8 * 20, 64, "step", 0, 2**64 - 1, 2**64, 1)]).make(3)
    assert [frame[20:28] for frame in frames] == [bytes(8), b"\xff" * 8, b"\xff" * 7 + b"\xfe"]


def test_a_list_is_gone_through_over_and_over():
    frames = PacketStream(template(), fields=[(8 * 34, 16, "cycle", 0, 0, [5, 9, 7], 2)]).make(8)
    assert field(frames, 8 * 34, 16) == [5, 5, 9, 9, 7, 7, 5, 5]


def test_what_is_drawn_stays_within_and_reaches_every_value():
    frames = PacketStream(template(), fields=[(8 * 34, 16, "random", 1000, 0, 6, 1)], seed=1).make(600)
    counts = [field(frames, 8 * 34, 16).count(value) for value in range(1000, 1006)]
    assert sum(counts) == 600
    assert min(counts) > 60


def test_the_same_seed_makes_the_same_packets_and_another_others():
    def made(seed):
        frame = template(payload=bytes(100))
        return PacketStream(frame, fields=[(8 * 34, 16, "random", 0, 0, 65536, 1)], lengths=[80, len(frame)], order=None,
                            random_from=60, seed=seed).make(50)

    assert made(7) == made(7)
    assert made(7) != made(8)
    assert len(set(made(7))) == 50


def test_two_fields_drawn_from_one_seed_do_not_go_together():
    fields = [(8 * 34, 16, "random", 0, 0, 65536, 1), (8 * 36, 16, "random", 0, 0, 65536, 1)]
    frames = PacketStream(template(), fields=fields).make(20)
    assert field(frames, 8 * 34, 16) != field(frames, 8 * 36, 16)


def test_sizes_follow_their_order():
    stream = PacketStream(template(payload=bytes(100)), lengths=[60, 142], order=[0, 0, 1])
    assert [len(frame) for frame in stream.make(7)] == [60, 60, 142, 60, 60, 142, 60]


def test_bytes_behind_the_packet_stay_out_of_its_length_and_checksum():
    frame = template(payload=b"abc") + b"trailer"
    made, = PacketStream(frame, trailer=7).make(1)
    assert made == frame


def test_a_signature_tells_stream_number_and_time():
    made = PacketStream(template(), number=513, signature=42).make(3, time=0x1234_5678_9ABC_DEF0)
    assert [struct.unpack_from(">HHQHI", frame, 42) for frame in made] == [(0xFA57, 513, i, 0x5678, 0x9ABCDEF0) for i in range(3)]


def test_a_udp_checksum_of_zero_is_sent_as_all_ones():
    frame = bytearray(template(payload=b"\0\0"))
    stream = PacketStream(bytes(frame), fields=[(8 * 42, 16, "step", 0, 1, 65536, 1)])
    sums = [frame[40:42] for frame in stream.make(65536)]
    assert b"\0\0" not in sums
    assert b"\xff\xff" in sums


def test_a_stream_ends():
    stream = PacketStream(template(), count=3)
    assert len(stream.make(10)) == 3
    assert (stream.made, stream.left) == (3, 0)
    assert stream.make(10) == []


def test_a_fragment_gets_an_ip_checksum_alone():
    frame = bytes(ETHER / IP(flags="MF", src="1.2.3.4") / UDP() / Raw(b"x" * 16))
    made = PacketStream(frame, fields=[(8 * 26, 8, "step", 0, 1, 256, 1)]).make(2)
    assert [checksum(frame[14:34]) for frame in made] == [0, 0]
    assert made[1][34:] == frame[34:]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"fields": [(8 * 24, 16, "step", 0, 1, 2, 1)]}, "over the IPv4 checksum"),
        ({"fields": [(8 * 14, 8, "step", 0, 1, 2, 1)]}, "over the IPv4 version"),
        ({"fields": [(8 * 38, 8, "step", 0, 1, 2, 1)]}, "over the UDP length"),
        ({"fields": [(8 * 40, 8, "step", 0, 1, 2, 1)]}, "over the checksum"),
        ({"fields": [(8 * 13, 8, "step", 0, 1, 2, 1)]}, "over the type of its header"),
        ({"fields": [(8 * 50, 8, "step", 0, 1, 2, 1)], "signature": 42}, "over the signature"),
        ({"fields": [(8 * 60, 8, "step", 0, 1, 2, 1)]}, "of a frame that has 60"),
        ({"fields": [(8 * 50, 65, "step", 0, 1, 2, 1)]}, "1 to 64 bits"),
        ({"fields": [(8 * 50 + 1, 64, "step", 0, 1, 2, 1)]}, "in 8 bytes at most"),
        ({"fields": [(8 * 50, 8, "step", 200, 1, 100, 1)]}, "values below 256"),
        ({"fields": [(8 * 50, 8, "cycle", 0, 0, [256], 1)]}, "values below 256"),
        ({"fields": [(8 * 50, 8, "cycle", 0, 0, [], 1)]}, "1 or more values"),
        ({"fields": [(8 * 50, 8, "step", 0, 1, 2, 0)]}, "1 or more packets"),
        ({"fields": [(8 * 50, 8, "step", 0, 1, 2, 1)] * (MOST_FIELDS + 1)}, "at most"),
        ({"lengths": [50]}, "as many as the longest"),
        ({"lengths": []}, "as many as the longest"),
        ({"lengths": [41, 60]}, "its headers take 42 bytes"),
        ({"signature": 44}, "signature take 60|at an even offset"),
        ({"signature": 20}, "at an even offset"),
        ({"order": [1]}, "indexes"),
        ({"number": 65536}, "0 to 65535"),
        ({"trailer": 4, "random_from": 42}, "one size"),
    ],
)
def test_what_cannot_be_is_refused(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        PacketStream(template(), **arguments)


def test_a_template_that_is_no_frame_is_refused():
    for frame in (b"", bytes(13), bytes(LONGEST + 1)):
        with pytest.raises(ValueError, match="14 to 16384"):
            PacketStream(frame)
