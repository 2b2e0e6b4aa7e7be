"""Edits against scapy: a packet edited by us is the one that scapy builds anew with the fields changed."""

from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import edited
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

MACS = st.integers(0, 2**48 - 1).map(lambda value: value.to_bytes(6, "big"))
PORTS = st.sampled_from([0, 53, 80, 443, 8080, 65535]) | st.integers(0, 65535)
IP4 = st.sampled_from(["10.0.0.1", "10.1.2.3", "192.168.7.9", "224.0.0.5", "255.255.255.255"]) | st.ip_addresses(v=4).map(str)
IP6 = st.sampled_from(["fd00::1", "2001:db8::5", "ff02::1"]) | st.ip_addresses(v=6).map(str)
NETWORKS = [
    ("10.0.0.0/8", "192.168.0.0/16"),
    ("0.0.0.0/0", "172.16.0.0/12"),
    ("10.0.0.0/13", "198.51.100.0/27"),
    ("192.168.7.9/32", "0.0.0.0/0"),
    ("fd00::/8", "2001:db8::/29"),
    ("::/0", "fd00:1::/64"),
    ("2001:db8::5/128", "fd00::9/128"),
    ("ff00::/8", "ff00::/13"),
]
MAPS = st.lists(st.sampled_from([tuple(map(ip_network, pair)) for pair in NETWORKS]), max_size=3)


@st.composite
def transports(draw, version):
    kind = draw(st.sampled_from(["tcp", "udp", "icmp", "udp-unchecked", "raw"]))
    payload = Raw(draw(st.binary(max_size=40)))
    ports = {"sport": draw(PORTS), "dport": draw(PORTS)}
    if kind == "tcp":
        return TCP(seq=draw(st.integers(0, 2**32 - 1)), flags="PA", options=draw(st.sampled_from([[], [("MSS", 1460)]])), **ports) / payload
    if kind == "udp":
        return UDP(**ports) / payload
    if kind == "udp-unchecked":
        return UDP(chksum=0, **ports) / payload
    if kind == "icmp":
        return (ICMP(id=7) if version == 4 else ICMPv6EchoRequest(id=7)) / payload
    return payload


@st.composite
def networks(draw):
    if draw(st.booleans()):
        fragment = draw(st.sampled_from([{}, {"flags": "MF"}, {"flags": "MF", "frag": 9}, {"frag": 20}, {"flags": "DF"}]))
        options = draw(st.sampled_from([[], [IPOption_NOP()] * 4, [IPOption_RR(routers=["1.2.3.4", "0.0.0.0"])]]))
        header = IP(src=draw(IP4), dst=draw(IP4), ttl=draw(st.integers(0, 255)), tos=draw(st.integers(0, 255)), options=options, **fragment)
        if header.frag:
            return header.copy() / Raw(draw(st.binary(min_size=8, max_size=64))), True
        return header / draw(transports(4)), False
    fields = {"hlim": draw(st.integers(0, 255)), "tc": draw(st.integers(0, 255)), "fl": draw(st.integers(0, 2**20 - 1))}
    header = IPv6(src=draw(IP6), dst=draw(IP6), **fields)
    extensions = {
        "hop": IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]),
        "dest": IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))]),
        "routed": IPv6ExtHdrRouting(addresses=["2001:db8::77"], segleft=1),
        "arrived": IPv6ExtHdrRouting(addresses=["2001:db8::77"], segleft=0),
    }
    for name in draw(st.lists(st.sampled_from(sorted(extensions)), max_size=2, unique=True)):
        header = header / extensions[name]
    if draw(st.integers(0, 4)) == 0:
        return header / IPv6ExtHdrFragment(offset=5, m=1, id=9, nh=17) / Raw(draw(st.binary(min_size=8, max_size=64))), True
    return header / draw(transports(6)), False


@st.composite
def frames(draw):
    network, opaque = draw(networks())
    frame = Ether(src="02:00:00:00:00:01", dst=draw(st.sampled_from(["02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"])))
    for tag in draw(st.lists(st.sampled_from([Dot1Q, Dot1AD]), max_size=2)):
        frame = frame / tag(vlan=draw(st.integers(0, 4095)), prio=draw(st.integers(0, 7)), dei=draw(st.integers(0, 1)))
    return frame / network, opaque, draw(st.binary(max_size=10))


EDITS = st.fixed_dictionaries(
    {},
    optional={
        "enet_dmac": MACS,
        "enet_smac": MACS,
        "skipl2broadcast": st.booleans(),
        "vlan": st.sampled_from(["add", "add-plain", "del"]),
        "srcipmap": MAPS,
        "dstipmap": MAPS,
        "skipbroadcast": st.booleans(),
        "portmap": st.lists(st.tuples(PORTS, PORTS, PORTS).map(lambda p: (min(p[:2]), max(p[:2]), p[2])), max_size=3),
        "ttl": st.tuples(st.sampled_from(["", "+", "-"]), st.integers(0, 255)),
        "tos": st.integers(0, 255),
        "tclass": st.integers(0, 255),
        "flowlabel": st.integers(0, 2**20 - 1),
        "fixcsum": st.booleans(),
    },
)
VLANS = {
    "add": {"enet_vlan": "add", "enet_vlan_tag": 77, "enet_vlan_pri": 5, "enet_vlan_cfi": 1, "enet_vlan_proto": 0x88A8},
    "add-plain": {"enet_vlan": "add", "enet_vlan_tag": 9},
    "del": {"enet_vlan": "del"},
}


def mapped(address, maps, skip):
    address = ip_address(address)
    if skip and (address.is_multicast or str(address) == "255.255.255.255"):
        return str(address)
    for match, to in maps:
        if address.version == match.version and address in match:
            return str(ip_address(int(to.network_address) | int(address) & int(to.hostmask)))
    return str(address)


def is_group(mac):
    return int(mac[:2], 16) & 1


def judged(frame, edits):
    """`frame` with scapy's fields changed, to be built anew."""
    frame = frame.copy()
    for name, field in (("enet_smac", "src"), ("enet_dmac", "dst")):
        if name in edits and not (edits.get("skipl2broadcast") and is_group(getattr(frame, field))):
            setattr(frame, field, edits[name].hex(":"))
    ip = frame.getlayer(IP) or frame.getlayer(IPv6)
    ip.src = mapped(ip.src, edits.get("srcipmap", ()), edits.get("skipbroadcast"))
    ip.dst = mapped(ip.dst, edits.get("dstipmap", ()), edits.get("skipbroadcast"))
    field = "ttl" if IP in frame else "hlim"
    sign, number = edits.get("ttl", ("+", 0))
    before = getattr(ip, field)
    if "ttl" in edits:
        setattr(ip, field, {"": number, "+": min(before + number, 255), "-": max(before - number, 1)}[sign])
    for name, layer, field in (("tos", IP, "tos"), ("tclass", IPv6, "tc"), ("flowlabel", IPv6, "fl")):
        if name in edits and layer in frame:
            setattr(ip, field, edits[name])
    for layer in (TCP, UDP):
        if layer in frame:
            for field in ("sport", "dport"):
                port = getattr(frame[layer], field)
                becomes = [to for first, last, to in edits.get("portmap", ()) if first <= port <= last]
                setattr(frame[layer], field, becomes[-1] if becomes else port)
    return tagged(frame, edits.get("vlan"))


def tagged(frame, vlan):
    tag = frame.payload if frame.payload.__class__ in (Dot1Q, Dot1AD) else None
    outer = Ether(src=frame.src, dst=frame.dst)
    if vlan == "add":
        return outer / Dot1AD(vlan=77, prio=5, dei=1) / frame.payload
    if vlan == "add-plain":
        return outer / Dot1Q(vlan=9, prio=tag.prio if tag else 0, dei=tag.dei if tag else 0) / frame.payload
    if vlan == "del" and tag:
        return outer / tag.payload
    return frame


@settings(max_examples=120, deadline=None)
@given(frame=frames(), edits=EDITS)
def test_an_edited_packet_is_the_one_scapy_builds(frame, edits):
    packet, opaque, trailer = frame
    before, after = bytes(packet) + trailer, bytes(judged(packet, edits)) + trailer
    ours = {name: value for name, value in edits.items() if name != "vlan"} | VLANS.get(edits.get("vlan"), {})
    (packet,), rewriter = edited([before], **ours)
    assert packet.hex() == after.hex()
    assert (rewriter.packets, rewriter.edited, rewriter.malformed) == (1, before != after, 0)
    assert opaque or not rewriter.unchecked or edits["fixcsum"]


@settings(max_examples=30, deadline=None)
@given(frame=frames(), edits=EDITS, data=st.data())
def test_what_pieces_a_packet_comes_in_makes_no_difference(frame, edits, data):
    packet, _, trailer = frame
    whole = bytes(packet) + trailer
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=5)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    ours = {name: value for name, value in edits.items() if name != "vlan"} | VLANS.get(edits.get("vlan"), {})
    assert edited([pieces], **ours)[0] == edited([whole], **ours)[0]


@settings(max_examples=60, deadline=None)
@given(frame=frames(), edits=EDITS, data=st.data())
def test_checksums_are_right_again_with_fixcsum(frame, edits, data):
    packet, opaque, _ = frame
    if opaque or IPv6ExtHdrRouting in packet or (IP in packet and packet[IP].flags.MF):
        return                      # parts of datagrams, and those for somebody else first: not checked
    spoiled = packet.copy()
    layer = next((layer for layer in (TCP, UDP, ICMP, ICMPv6EchoRequest) if layer in packet), None)
    if layer is not None and getattr(packet[layer], "chksum", None) != 0:
        setattr(spoiled[layer], "cksum" if layer is ICMPv6EchoRequest else "chksum", data.draw(st.integers(1, 0xFFFE)))
    if IP in packet:
        spoiled[IP].chksum = data.draw(st.integers(0, 0xFFFF))
    ours = {name: value for name, value in edits.items() if name not in ("vlan", "fixcsum")} | VLANS.get(edits.get("vlan"), {})
    (packet_out,), rewriter = edited([bytes(spoiled)], fixcsum=True, **ours)
    assert packet_out.hex() == bytes(judged(packet, edits)).hex()
    assert rewriter.unchecked == 0


@given(op=st.sampled_from([1, 2, 3]), sender=IP4, target=IP4, tags=st.integers(0, 2), pad=st.integers(0, 18))
@settings(max_examples=60, deadline=None)
def test_arp_gets_the_addresses_of_pnat(op, sender, target, tags, pad):
    maps = [(ip_network("10.0.0.0/8"), ip_network("192.168.0.0/16"))]
    frame = Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff")
    for _ in range(tags):
        frame = frame / Dot1Q(vlan=5)
    arp = ARP(op=op, psrc=sender, pdst=target)
    after = ARP(op=op, psrc=mapped(sender, maps, False), pdst=mapped(target, maps, False)) if op < 3 else arp
    for layer in (arp, after):
        layer.hwsrc, layer.hwdst = "02:00:00:00:00:01", "00:00:00:00:00:00"
    assert edited([bytes(frame / arp) + bytes(pad)], pnat=[maps])[0] == [bytes(frame / after) + bytes(pad)]
    assert edited([bytes(frame / arp)], srcipmap=maps, dstipmap=maps)[0] == [bytes(frame / arp)]
