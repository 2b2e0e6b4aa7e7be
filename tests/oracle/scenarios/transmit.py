"""TX: descriptors, the ring, segmentation and checksums (§3.3 to §3.5, §13.4.33 to §13.4.45)."""

import itertools
import struct

from cards import packet
from script import EOP, IC, IFCS, RPS, RS, VLE, scenario

from e1000 import regs

TCP, UDP = 6, 17
IXSM, TXSM = 1, 2
TUCMD_TCP, TUCMD_IP, TUCMD_TSE = 1 << 24, 1 << 25, 1 << 26
TSE = 1 << 26


@scenario("tx")
def one_frame(s):
    s.start()
    s.tx_ring()
    s.post(s.legacy(packet(100)))
    s.sent()


@scenario("tx")
def frames_of_all_lengths(s):
    s.start()
    s.tx_ring(32)
    for length in (60, 61, 64, 65, 127, 128, 255, 256, 511, 512, 1023, 1024, 1513, 1514, 1518):
        s.post(s.legacy(packet(length, seed=length)))
    s.sent()


@scenario("tx")
def ring_wraps(s):
    s.start()
    s.tx_ring(8)
    for round_ in range(5):
        s.post(*(s.legacy(packet(60 + i, seed=round_)) for i in range(5)))
        s.sent()


@scenario("tx")
def frame_in_pieces(s):
    s.start()
    s.tx_ring(16)
    content = packet(1000)
    s.post(s.legacy(content[:14], cmd=IFCS), s.legacy(content[14:400], cmd=IFCS), s.legacy(content[400:]))
    s.post(*(s.legacy(content[i : i + 100], cmd=IFCS | (RS | EOP if i == 900 else 0)) for i in range(0, 1000, 100)))
    s.sent()


@scenario("tx")
def end_comes_later(s):
    s.start()
    s.tx_ring()
    content = packet(300)
    s.post(s.legacy(content[:100], cmd=IFCS))
    s.frames("half a frame")
    s.post(s.legacy(content[100:]))
    s.sent()


@scenario("tx")
def enabled_after_the_doorbell(s):
    s.start()
    s.tx_ring(tctl=regs.TCTL_PSP)
    s.post(s.legacy(packet(80)), s.legacy(packet(90)))
    s.sent()
    s.write("TCTL", regs.TCTL_PSP | regs.TCTL_EN)
    s.sent()


@scenario("tx")
def no_status_without_rs(s):
    s.start()
    s.tx_ring()
    s.post(s.legacy(packet(80), cmd=EOP | IFCS), s.legacy(packet(90)), s.legacy(packet(70), cmd=EOP | IFCS))
    s.sent()


@scenario("tx")
def legacy_checksum_insertion(s):
    s.start()
    s.tx_ring()
    s.post(s.legacy(packet(200), cmd=EOP | IFCS | RS | IC, css=14, cso=24))
    s.sent()


def internet_header(length, protocol, *, version=4):
    """An IP header without checksum, of a packet with `length` bytes behind it."""
    if version == 6:
        return struct.pack(">IHBB", 6 << 28, length, protocol, 64) + bytes(range(16)) + bytes(range(16, 32))
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + length, 7, 0, 64, protocol, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")


def segment(payload, protocol, *, version=4, flags=0x18, seed=0):
    """Ethernet, IP and TCP (6) or UDP (17) with the pseudo header's sum where the checksum is to be put (§3.5.4)."""
    body = bytes((i * 5 + seed) & 0xFF for i in range(payload))
    transport = struct.pack(">HHIIBBHHH", 1000, 2000, 0x01020304, 0x05060708, 0x50, flags, 8192, 0, 0)
    if protocol == UDP:
        transport = struct.pack(">HHHH", 1000, 2000, 8 + payload, 0)
    header = internet_header(len(transport) + payload, protocol, version=version)
    addresses = header[8:] if version == 6 else header[12:]
    pseudo = sum(struct.unpack(f">{len(addresses) // 2}H", addresses)) + protocol
    while pseudo >> 16:
        pseudo = (pseudo & 0xFFFF) + (pseudo >> 16)
    at = 6 if protocol == UDP else 16
    transport = transport[:at] + pseudo.to_bytes(2, "big") + transport[at + 2 :]
    return packet(12) + (b"\x86\xdd" if version == 6 else b"\x08\0") + header + transport + body


def offsets(protocol, *, version=4):
    """A context's `ip` and `tu` for the frames of `segment`, and the length of their headers."""
    transport = 54 if version == 6 else 34
    end = 0 if version == 6 else 33
    ip = (14, 24, end)
    return {"ip": ip, "tu": (transport, transport + (6 if protocol == UDP else 16), 0)}, transport + (8 if protocol == UDP else 20)


@scenario("tx", kind=("tcp4", "udp4", "tcp6", "udp6"))
def checksums_of_a_data_descriptor(s, kind):
    protocol, version = TCP if kind.startswith("tcp") else UDP, int(kind[-1])
    places, _ = offsets(protocol, version=version)
    s.start()
    s.tx_ring(16)
    cmd = (TUCMD_TCP if protocol == TCP else 0) | (TUCMD_IP if version == 4 else 0)
    s.post(s.context(**places, cmd=cmd | RS))
    for payload in (0, 1, 100, 1001, 1400):
        popts = TXSM | (IXSM if version == 4 else 0)
        s.post(s.data(segment(payload, protocol, version=version, seed=payload), popts=popts))
    s.sent()


@scenario("tx")
def ip_checksum_alone(s):
    s.start()
    s.tx_ring()
    places, _ = offsets(TCP)
    s.post(s.context(**places, cmd=TUCMD_TCP | TUCMD_IP), s.data(segment(100, TCP), popts=IXSM))
    s.post(s.data(segment(100, TCP), popts=0))
    s.sent()


@scenario("tx")
def a_context_serves_many_frames(s):
    s.start()
    s.tx_ring(16)
    places, _ = offsets(TCP)
    s.post(s.context(**places, cmd=TUCMD_TCP | TUCMD_IP))
    for i in range(3):
        s.post(s.data(segment(64 + i, TCP, seed=i), popts=IXSM | TXSM))
        s.post(s.legacy(packet(90, seed=i)))
    s.sent()


@scenario("tx")
def checksum_over_frame_in_pieces(s):
    s.start()
    s.tx_ring(16)
    places, _ = offsets(UDP)
    content = segment(777, UDP)
    s.post(s.context(**places, cmd=TUCMD_IP))
    s.post(
        s.data(content[:14], cmd=IFCS, popts=IXSM | TXSM),
        s.data(content[14:200], cmd=IFCS),
        s.data(content[200:201], cmd=IFCS),
        s.data(content[201:]),
    )
    s.sent()


@scenario("tx", payload=(1, 999, 1000, 1001, 2500, 20000))
def segmentation_tcp4(s, payload):
    tso(s, payload, TCP, 4)


@scenario("tx", payload=(999, 2500, 20000))
def segmentation_tcp6(s, payload):
    tso(s, payload, TCP, 6)


@scenario("tx", payload=(999, 2500))
def segmentation_udp4(s, payload):
    tso(s, payload, UDP, 4)


def tso(s, payload, protocol, version, *, mss=1000, pieces=1, flags=0x19):
    """Segmentation (§3.5): one frame of headers and payload becomes frames of at most `mss` bytes behind their headers."""
    places, header = offsets(protocol, version=version)
    content = segment(payload, protocol, version=version, flags=flags)
    at = 16 if version == 4 else 18                 # the driver leaves the lengths to the card (§3.5.6)
    content = content[:at] + b"\0\0" + content[at + 2 :]
    s.start()
    s.tx_ring(32)
    cmd = TUCMD_TSE | (TUCMD_TCP if protocol == TCP else 0) | (TUCMD_IP if version == 4 else 0)
    popts = TXSM | (IXSM if version == 4 else 0)
    s.put(s.context(**places, cmd=cmd, payload=payload, header=header, mss=mss))
    cuts = [0, header, *range(header + 4000, len(content), 4000), len(content)]
    for begin, end in itertools.pairwise(cuts):
        s.put(s.data(content[begin:end], cmd=IFCS | TSE | (EOP | RS if end == len(content) else 0), popts=popts))
    s.write("TDT", s.tx.tail)
    s.sent()


@scenario("tx")
def segmentation_twice_with_one_context(s):
    s.start()
    s.tx_ring(16)
    places, header = offsets(TCP)
    s.put(s.context(**places, cmd=TUCMD_TSE | TUCMD_TCP | TUCMD_IP, payload=1500, header=header, mss=1000))
    for seed in (1, 2):
        content = segment(1500, TCP, seed=seed)
        s.put(s.data(content[:16] + b"\0\0" + content[18:], cmd=EOP | IFCS | RS | TSE, popts=TXSM | IXSM))
    s.write("TDT", s.tx.tail)
    s.sent()


@scenario("tx")
def vlan_tag_inserted(s):
    s.start()
    s.change("CTRL", set=regs.CTRL_VME)
    s.write("VET", 0x8100)
    s.tx_ring(16)
    s.post(s.legacy(packet(80), cmd=EOP | IFCS | RS | VLE, special=0x6123))
    s.post(s.data(packet(90), cmd=EOP | IFCS | RS | VLE, special=0x0FFF))
    s.post(s.legacy(packet(100)))
    s.post(s.data(packet(60), cmd=EOP | IFCS | RS | VLE, special=0))
    s.sent()


@scenario("tx")
def vlan_tag_inserted_into_a_frame_in_pieces(s):
    s.start()
    s.change("CTRL", set=regs.CTRL_VME)
    s.write("VET", 0x8100)
    s.tx_ring(16)
    content = packet(400)
    s.post(s.data(content[:14], cmd=IFCS | VLE, special=0x0123), s.data(content[14:], cmd=EOP | IFCS | RS | VLE, special=0x0123))
    s.sent()


@scenario("tx")
def vlan_off(s):
    s.start()
    s.change("CTRL", clear=regs.CTRL_VME)
    s.tx_ring(16)
    s.post(s.legacy(packet(80), cmd=EOP | IFCS | RS | VLE, special=0x0123))
    s.sent()


@scenario("tx")
def vlan_type_of_another_kind(s):
    s.start()
    s.change("CTRL", set=regs.CTRL_VME)
    s.write("VET", 0x88A8)
    s.tx_ring(16)
    s.post(s.legacy(packet(80), cmd=EOP | IFCS | RS | VLE, special=0x0123))
    s.sent()


@scenario("tx")
def short_frames_with_padding(s):
    s.start()
    s.tx_ring(16)
    for length in (17, 33, 59, 60):
        s.post(s.legacy(packet(length)))
    s.sent()


@scenario("tx")
def short_frames_without_padding(s):
    s.start()
    s.tx_ring(16, tctl=regs.TCTL_EN)
    for length in (17, 33, 59, 60):
        s.post(s.legacy(packet(length)))
    s.sent()


@scenario("tx")
def pieces_of_no_length(s):
    s.start()
    s.tx_ring(16)
    content = packet(100)
    s.post(s.legacy(content[:50], cmd=IFCS), s.legacy(b"", cmd=IFCS), s.legacy(content[50:]))
    s.sent()


@scenario("tx")
def report_packet_sent(s):
    s.start()
    s.tx_ring(16)
    s.post(s.legacy(packet(60), cmd=EOP | IFCS | RPS), s.legacy(packet(61), cmd=EOP | IFCS | RPS | RS))
    s.sent()


@scenario("tx")
def a_long_frame(s):
    s.start()
    s.tx_ring(16)
    content = packet(9014)
    s.post(*(s.legacy(content[i : i + 4096], cmd=IFCS | (EOP | RS if i == 8192 else 0)) for i in range(0, 9014, 4096)))
    s.sent()


@scenario("tx")
def the_head_starts_anywhere(s):
    s.start()
    s.tx_ring(8)
    s.tx.tail = 6
    s.write("TDT", 6)
    s.write("TDH", 6)
    s.post(*(s.legacy(packet(60 + i)) for i in range(4)))
    s.sent()


@scenario("tx")
def ring_registers(s):
    s.start()
    for name in ("TDBAL", "TDBAH", "TDLEN"):
        s.probe(name, 0x5A5A5A50, 0xA5A5A5A0, 0xFFFFFFF0, 0)
    s.probe("TDH", 0x5A5A, 0xFFFF, 0)


@scenario("tx")
def control_registers(s):
    s.start()
    s.probe("TCTL", 0x0103F0F8, 0x00000008, 0)
    s.probe("TIPG", 0x00602008, 0x3FFFFFFF, 0)
    s.probe("TXDCTL", 0x01010000, 0)


@scenario("tx")
def one_checksum_field_zero_in_udp(s):
    """A UDP checksum of 0 is sent as FFFF; TCP has no such rule (§3.5.4, RFC 768)."""
    s.start()
    s.tx_ring(16)
    places, _ = offsets(UDP)
    s.put(s.context(**places, cmd=TUCMD_IP))
    for value in range(2):
        content = segment(2, UDP)
        total = sum(struct.unpack(">4H", content[34:42]))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        s.put(s.data(content[:42] + (0xFFFF - total - value).to_bytes(2, "big") + packet(20), popts=TXSM))
    s.write("TDT", s.tx.tail)
    s.sent()


@scenario("tx")
def a_ring_of_no_length(s):
    s.start()
    s.tx_ring()
    s.write("TDLEN", 0)
    s.post(s.legacy(packet(80)))
    s.frames()
    s.write("TDLEN", 128)
    s.write("TDT", 0)


@scenario("tx")
def segments_of_no_length(s):
    """MSS 0: nothing to divide by."""
    s.start()
    s.tx_ring()
    places, header = offsets(TCP)
    s.put(s.context(**places, cmd=TUCMD_TSE | TUCMD_TCP | TUCMD_IP, payload=200, header=header, mss=0))
    s.put(s.data(segment(200, TCP), cmd=EOP | IFCS | RS | TSE, popts=TXSM | IXSM))
    s.write("TDT", s.tx.tail)
    s.read("TDH")


@scenario("tx")
def checksum_places_outside_the_frame(s):
    s.start()
    s.tx_ring()
    s.post(s.context(ip=(14, 200, 33), tu=(250, 252, 0), cmd=TUCMD_IP), s.data(packet(100), popts=IXSM | TXSM))
    s.sent()


@scenario("tx")
def works_after_a_frame_too_long(s):
    s.start()
    s.tx_ring(16)
    content = packet(4096)
    s.post(*(s.legacy(content, cmd=IFCS) for _ in range(5)), s.legacy(packet(60)))
    s.frames("a frame of 20 KB")
    s.post(s.legacy(packet(90)))
    s.read("TDH")
