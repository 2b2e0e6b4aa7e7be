"""Rewriter: what it touches and what not, how long packets live, and packets that are not what they say."""

import gc
import resource
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import drained, edited
from scapy.layers.inet import ICMP, IP, TCP, UDP, in4_pseudoheader
from scapy.layers.inet6 import IPv6, in6_pseudoheader
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import checksum

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst, RepeatSource
from fastring.capture import Capture
from fastring.capture_selection import SelectingCursor, Selection
from fastring.capture_writer import CaptureWriter
from fastring.clock import VirtualClock
from fastring.rewrite import Edits, Rewriter
from fastring.wire import Wire
from softnet.stack import Stack

MAC = bytes.fromhex("02000000aa01")
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
MAPS = [(ip_network("10.0.0.0/8"), ip_network("192.168.0.0/16"))]
EVERYTHING = {
    "enet_dmac": MAC,
    "enet_vlan": "add",
    "enet_vlan_tag": 5,
    "pnat": [[*MAPS, (ip_network("::/0"), ip_network("fd00::/16"))]],
    "seed": 7,
    "portmap": [(0, 65535, 7)],
    "ttl": ("-", 1),
    "tos": 4,
    "tclass": 4,
    "flowlabel": 4,
    "mtu": 68,
    "fixlen": "trunc",
    "fixhdrlen": True,
    "fixcsum": True,
}


def tcp(payload=b"", **fields):
    return bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2", **fields) / TCP(sport=1000, dport=80) / Raw(payload))


def udp(payload, **fields):
    return ETHER / IP(src="10.0.0.1", dst="10.0.0.2", **fields) / UDP(sport=1000, dport=53) / Raw(payload)


def test_packets_no_edit_changes_pass_as_they_are():
    packets = [tcp(), bytes(60), tcp()[:10], [tcp()[:20], tcp()[20:]]]
    whole = [tcp(), bytes(60), tcp()[:10], tcp()]
    for edits in ({}, {"ttl": ("", 64)}, {"srcipmap": [(ip_network("11.0.0.0/8"), ip_network("12.0.0.0/8"))]}, {"fixcsum": True}):
        out, rewriter = edited(packets, **edits)
        assert (out, rewriter.packets, rewriter.edited) == (whole, 4, 0)


def test_a_card_reads_untouched_packets_where_they_lie_and_bounces_the_edited():
    class Recorded(Wire):
        sent = ()

        def transmit_burst(self, burst):
            self.sent = [*self.sent, *burst]

    memory = bytearray(4096)
    memory[0:60] = tcp().ljust(60, b"\0")
    memory[100:160] = bytes(60)
    wire = Recorded()
    with Stack(clock=VirtualClock()) as stack, LocalBus(E1000Device(wire=wire)) as bus, probe(bus, stack) as device:
        iova = bus.memory.map(memory)
        burst = Burst.from_mapped(memory, iova=iova, offsets=[0, 100], lengths=[60, 60])
        rewriter = Rewriter(RepeatSource(burst, packets=6), Edits(portmap=[(80, 80, 8080)]))
        sender = device.transmitter()
        while sender.play(rewriter):
            pass
        stack.run()
        assert device.netdev_ops.tx.bounced == 3
        del rewriter, burst
        bus.memory.unmap(iova)
    changed = bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=1000, dport=8080)).ljust(60, b"\0")
    assert wire.sent == [changed, bytes(60)] * 3


def test_edited_packets_live_as_long_as_their_burst():
    rewriter = Rewriter(RepeatSource(Burst.from_packets([tcp(bytes([n])) for n in range(8)]), packets=8), Edits(enet_dmac=MAC))
    first, second = Burst(4), Burst(4)
    assert (rewriter.read(first), rewriter.read(second), rewriter.read(Burst(4))) == (4, 4, 0)
    del rewriter
    assert [packet[-1] for packet in first] + [packet[-1] for packet in second] == list(range(8))
    assert all(packet.startswith(MAC) for packet in [*first, *second])


def test_times_and_lengths_on_the_wire_stay():
    source = RepeatSource(Burst.from_packets([tcp(), tcp()], times=[5, 9]), packets=2)
    assert [time for time, _ in drained(Rewriter(source, Edits(enet_vlan="add", enet_vlan_tag=1)))] == [5, 9]


def test_servers_packets_get_the_other_addresses():
    to = [[(ip_network("10.0.0.1"), ip_network("1.1.1.1"))], [(ip_network("10.0.0.2"), ip_network("2.2.2.2"))]]
    edits = {"enet_dmac": (MAC, None), "enet_smac": (None, MAC), "pnat": to}
    clients, servers = Ether(edited([tcp()], **edits)[0][0]), Ether(edited([tcp()], server=True, **edits)[0][0])
    assert (clients.dst, clients.src, clients[IP].src, clients[IP].dst) == (MAC.hex(":"), ETHER.src, "1.1.1.1", "2.2.2.2")
    assert (servers.dst, servers.src, servers[IP].src, servers[IP].dst) == (ETHER.dst, MAC.hex(":"), "10.0.0.1", "10.0.0.2")
    back = bytes(ETHER / IP(src="10.0.0.2", dst="10.0.0.1") / TCP())
    back = Ether(edited([back], server=True, **edits)[0][0])
    assert (back[IP].src, back[IP].dst) == ("2.2.2.2", "1.1.1.1")


def test_what_tells_servers_packets_apart_is_the_queue_they_are_for(tmp_path):
    with CaptureWriter(tmp_path / "in.pcap") as writer:
        writer.write(tcp())
    edits = Edits(enet_dmac=(b"client", b"server"))
    with Capture(tmp_path / "in.pcap") as capture:
        clients, servers = b"\xff", b"\xaa"
        for cache, server, mac in (
            (clients, None, b"client"),
            (servers, None, b"server"),
            (servers, False, b"client"),
            (clients, True, b"server"),
        ):
            cursor = SelectingCursor(capture, Selection(cache=cache, cached=4))
            ((_, packet),) = drained(Rewriter(cursor, edits, server=server))
            assert packet[:6] == mac


def test_a_wrong_checksum_stays_as_wrong():
    packet = ETHER / IP(src="10.0.0.1", dst="10.0.0.2", chksum=1) / TCP(chksum=2)
    after = ETHER / IP(src="192.168.0.1", dst="10.0.0.2", chksum=1) / TCP(chksum=2)
    out = Ether(edited([bytes(packet)], srcipmap=MAPS)[0][0])
    assert checksum(bytes(out[IP])[:20]) == checksum(bytes(packet[IP])[:20]) != 0
    assert out[TCP].chksum != 2
    assert bytes(out)[:10] == bytes(after)[:10]


@pytest.mark.parametrize("layer", [IP, IPv6])
def test_a_checksum_for_a_card_to_complete_stays_one(layer):
    ends = ("10.0.0.1", "10.0.0.2", "192.168.0.1") if layer is IP else ("fd00::1", "fd00::2", "fe00::1")
    maps = [(ip_network(ends[0]), ip_network(ends[2]))]

    def partial(source):
        packet = Ether(bytes(ETHER / layer(src=source, dst=ends[1]) / UDP(sport=5, dport=80) / Raw(b"some payload")))
        header = in4_pseudoheader(17, packet[IP], 20) if layer is IP else bytes(in6_pseudoheader(17, packet[IPv6], 20))
        packet[UDP].chksum = ~checksum(header) & 0xFFFF
        return packet

    after = partial(ends[2])
    after[UDP].dport = 8080
    assert edited([bytes(partial(ends[0]))], srcipmap=maps, portmap=[(80, 80, 8080)])[0][0].hex() == bytes(after).hex()


def test_a_udp_checksum_that_comes_out_as_zero_is_written_as_ones():
    right = edited([bytes(udp(b"", id=1))], fixcsum=True)[0][0]
    payload = bytes.fromhex(f"{int.from_bytes(right[40:42], 'big'):04x}")       # its own checksum in it: the sum is all ones
    packet = Ether(bytes(udp(payload)))
    del packet[UDP].chksum
    expected = bytes(packet)
    spoiled = bytearray(expected)
    spoiled[40] ^= 0x55
    assert edited([bytes(spoiled)], fixcsum=True)[0] == [expected]


def test_no_datagram_without_a_checksum_gets_one():
    packet = bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(chksum=0) / Raw(b"x"))
    for edits in ({"srcipmap": MAPS}, {"portmap": [(53, 53, 99)]}, {"fixcsum": True}):
        assert Ether(edited([packet], **edits)[0][0])[UDP].chksum == 0


def test_mtu_trunc_cuts_and_makes_lengths_and_checksums_right():
    for packet in (tcp(bytes(range(200))), bytes(udp(bytes(range(200))))):
        (out,), rewriter = edited([packet], mtu=100)
        assert len(out) == 114
        again = Ether(out)
        assert again[IP].len == 100
        assert UDP not in again or again[UDP].len == 80
        for layer in again.layers()[1:3]:
            del again[layer].chksum
        assert bytes(again) == out
        assert rewriter.unchecked == 0
    assert edited([tcp(bytes(60))], mtu=100)[1].edited == 0
    assert edited([bytes(ETHER) + b"\x90\x00" + bytes(200)], mtu=100)[0] == [(bytes(ETHER) + b"\x90\x00" + bytes(200))[:114]]


def test_icmp_of_a_packet_that_was_cut_is_right_again():
    (out,), _ = edited([bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP() / Raw(bytes(range(200))))], mtu=100)
    assert checksum(bytes(Ether(out)[ICMP])) == 0


def test_fixhdrlen_counts_what_follows_as_the_packets():
    (out,), _ = edited([tcp() + bytes(6)], fixhdrlen=True)
    again = Ether(out)
    assert (again[IP].len, len(out)) == (46, 60)
    del again[IP].chksum, again[TCP].chksum
    assert bytes(again) == out


@pytest.mark.parametrize(
    ("packet", "malformed"),
    [
        (tcp()[:13], 1),
        (tcp()[:30], 1),                                                        # in the IP header
        (tcp()[:36], 1),                                                        # in the ports
        (tcp()[:38], 0),                                                        # behind them: the checksum is not there to tell
        (tcp()[:14] + b"\x43" + tcp()[15:], 1),                                 # a header of 12 bytes
        (tcp()[:14] + b"\x65" + tcp()[15:], 1),                                 # no IPv4
        (tcp()[:14] + b"\x4f" + tcp()[15:60], 1),                               # a header longer than the packet
        (tcp()[:16] + b"\x00\x0a" + tcp()[18:], 1),                             # IP says 10 bytes
        (bytes(12) + b"\x81\x00\x00", 1),                                       # in a tag
        (bytes(12) + b"\x88\x47\x00\x00\x10\x40", 1),                           # in a label
        (bytes(12) + b"\x86\xdd" + b"\x60" + bytes(30), 1),                     # in the IPv6 header
        (bytes(12) + b"\x08\x06" + bytes(7), 1),                                # in ARP
        (bytes(12) + b"\x08\x06" + bytes.fromhex("0001080006040001") + bytes(10), 1),
        (bytes(12) + b"\x00\x05" + bytes(50), 0),                               # IEEE 802.3: nothing known
    ],
)
def test_packets_cut_short_or_wrong_are_counted(packet, malformed):
    out, rewriter = edited([packet], pnat=[MAPS], portmap=[(80, 80, 8080)])
    assert rewriter.malformed == malformed
    assert len(out[0]) == len(packet)


def test_ipv6_extension_headers_that_lead_nowhere_end():
    for header in (0, 43, 44, 51, 60):
        chain = bytes([header, 0]) + bytes(6)
        packet = bytes(12) + b"\x86\xdd" + bytes.fromhex(f"6000000000ff{header:02x}40") + bytes(32) + chain * 40
        for length in (len(packet), len(packet) - 3, 60):
            assert edited([packet[:length]], **EVERYTHING)[1].packets == 1


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_bytes_lead_outside_their_packet(data):
    base = data.draw(st.sampled_from([tcp(b"abc"), bytes(udp(b"abc")), bytes(ETHER / IPv6() / TCP()), bytes(14), bytes(60)]))
    packet = bytearray(base[: data.draw(st.integers(1, len(base)))] + data.draw(st.binary(max_size=80)))
    for at, value in data.draw(st.dictionaries(st.integers(0, len(packet) - 1), st.integers(0, 255), max_size=8)).items():
        packet[at] = value
    if data.draw(st.booleans()) and len(packet) > 14:
        packet[12:14] = data.draw(st.sampled_from([b"\x81\x00", b"\x88\x47", b"\x86\xdd", b"\x08\x00", b"\x08\x06", b"\x88\xa8"]))
    out, rewriter = edited([bytes(packet)], **EVERYTHING)
    assert rewriter.packets == 1
    assert len(out) == 1
    assert len(out[0]) <= len(packet) + 4


def test_mpls_labels_lead_to_ip():
    labels = bytes.fromhex("000100ff000201ff")
    packet = bytes(ETHER)[:12] + b"\x88\x47" + labels + tcp()[14:]
    expected = bytes(ETHER)[:12] + b"\x88\x47" + labels + edited([tcp()], srcipmap=MAPS)[0][0][14:]
    assert edited([packet], srcipmap=MAPS)[0] == [expected] != [packet]


@pytest.mark.unsanitized  # AddressSanitizer keeps what is freed
def test_edits_are_freed_out_of_reference_cycles():
    resident = []
    for _ in range(10):
        for _ in range(20):  # each older than what holds it, so that the collector comes to it first
            cycle = [Edits(portmap=[(80, 80, 8080)])]  # 128 KB
            cycle.append(cycle)
        del cycle
        gc.collect()
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
    assert resident[-1] - resident[0] < 5 << 20


def test_what_makes_no_sense_is_refused():
    for wrong in (
        {"enet_dmac": b"short"},
        {"enet_vlan": "push"},
        {"enet_vlan_tag": 4096},
        {"enet_vlan_proto": 0x0800},
        {"pnat": [[], [], []]},
        {"srcipmap": [(ip_network("10.0.0.0/8"), ip_network("fd00::/8"))]},
        {"portmap": [(1, 2, 65536)]},
        {"ttl": ("*", 2)},
        {"ttl": ("", 256)},
        {"mtu": 67},
        {"fixlen": "grow"},
        {"flowlabel": 1 << 20},
        {"seed": -1},
    ):
        with pytest.raises(ValueError, match=r"\w"):
            Edits(**wrong)
