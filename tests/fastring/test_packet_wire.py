"""PacketWire: what packet sockets have of their own. What they share with other wires onto interfaces: test_interface_wires.py."""

import json
import select
import socket
import struct

import pytest
from interface_ends import FRAMES, addresses, card_on, go_round, listening, poll_for, poll_until, run_until
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from fastring.burst import Burst
from fastring.checksum import checksum
from fastring.packet import PacketWire
from softnet import Stack

SOL_PACKET, PACKET_VNET_HDR, UDP_SEGMENT = 263, 15, 103


def opened(ends, **options):
    with ends.near.inside():
        return PacketWire("near", **options)


@pytest.fixture
def port(ends):
    with listening(opened(ends)) as made:
        yield made


# --- the ring ---


def test_the_ring_goes_round(ends, far):
    """Eight blocks of 128 KiB, gone through several times."""
    with listening(opened(ends, ring=1)) as port:
        assert len(list(go_round(port, far, 30))) == 30
        assert port.wire.drops == {}


def test_a_block_waits_as_long_as_it_is_told_to(ends, far):
    with listening(opened(ends, block_timeout=1000)) as port:
        far.send(FRAMES[0])
        assert select.select([port.wire], [], [], 0.05)[0] == []
        assert poll_for(port, 1) == [FRAMES[0]]


def test_what_this_host_sends_there_does_not_arrive(ends, port, far):
    with ends.socket(ends.near, "near") as other:
        other.send(FRAMES[0])
    far.recv(4096)
    far.send(FRAMES[1])
    assert poll_for(port, 1) == [FRAMES[1]]


def test_a_packet_of_more_pieces_than_the_kernel_takes_is_counted(port, far):
    port.send(Burst.from_packets([FRAMES[0], [b"x"] * 1300, FRAMES[1]]))
    assert [far.recv(4096) for _ in range(2)] == FRAMES[:2]
    assert port.wire.drops == {"too_long": 1}


# --- what local senders leave to a card ---


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "10.0.0.1"), (socket.AF_INET6, "fd00::1")])
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_checksums_that_the_sender_left_to_its_card_are_completed(ends, port, family, address, kind):
    addresses(ends, ipv6=family == socket.AF_INET6)
    with ends.far.inside():
        sender = socket.socket(family, kind)
    with sender:
        sender.setblocking(False)
        sender.connect_ex((address, 7))
        if kind == socket.SOCK_DGRAM:
            sender.send(b"odd" * 101)
        layer, network = (UDP if kind == socket.SOCK_DGRAM else TCP), (IP if family == socket.AF_INET else IPv6)
        found = poll_until(port, lambda: [p for p in map(Ether, port.sink.packets) if layer in p])[0]
    arrived = found[layer].chksum
    del found[network][layer].chksum
    assert Ether(bytes(found))[layer].chksum == arrived


def test_a_checksum_behind_a_vlan_tag_is_completed_too(port, far):
    """The kernel takes the tag out, and says where the checksum is without it."""
    ethernet = Ether(src="02:00:00:00:00:02", dst="ff:ff:ff:ff:ff:ff")
    whole = ethernet / Dot1Q(vlan=7) / IP(src="10.0.0.2", dst="10.0.0.1") / UDP() / (b"odd" * 9)
    frame, udp = bytes(whole), 14 + 4 + 20
    pseudo = ~checksum(frame[udp - 8:udp] + struct.pack("!HH", 17, len(frame) - udp)) & 0xFFFF
    partial = frame[:udp + 6] + struct.pack("!H", pseudo) + frame[udp + 8:]
    far.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    far.send(struct.pack("BBHHHH", 1, 0, 0, 0, udp, 6) + partial)
    assert poll_for(port, 1) == [frame]


def large_datagrams(ends, count, address="10.0.0.1"):
    """The far kernel sends UDP packets of 20 segments, 1000 bytes each and 500 the last, in one piece."""
    with ends.far.inside():
        sender = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        sender.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1000)
        for number in range(count):
            sender.sendto(bytes([number]) * 19500, (address, 7))


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1"])
def test_what_the_sender_left_to_its_card_to_cut_is_cut(ends, port, address):
    addresses(ends, ipv6=":" in address)
    large_datagrams(ends, 30, address)
    poll_until(port, lambda: sum(len(packet) > 500 for packet in port.sink.packets) >= 600)
    found = [packet for packet in map(Ether, port.sink.packets) if UDP in packet]
    assert [bytes(p[UDP].payload) for p in found] == [bytes([i // 20]) * (1000 if i % 20 < 19 else 500) for i in range(600)]
    for packet in found[:40]:
        arrived = packet[UDP].chksum
        del packet[UDP].chksum
        assert Ether(bytes(packet))[UDP].chksum == arrived
    assert port.wire.drops == {}


def test_or_arrives_in_one_piece_without_vnet_hdr(ends, far):
    addresses(ends)
    with listening(opened(ends, vnet_hdr=False)) as port:
        large_datagrams(ends, 1)
        assert [len(packet) for packet in poll_for(port, 1)] == [14 + 20 + 8 + 19500]
        port.send(Burst.from_packets(FRAMES[:3]))
        poll_until(port, lambda: far.recv(65536) in FRAMES[:3])


def test_a_card_counts_what_is_too_long_for_it(ends):
    addresses(ends)
    with opened(ends, vnet_hdr=False) as wire, Stack() as stack, card_on(stack, wire) as device:
        large_datagrams(ends, 1)
        run_until(stack, lambda: wire.rx_packets)
        assert device.sink.packets == []
        assert (device.stats64.rx_errors, device.stats64.rx_length_errors) == (1, 1)


def test_the_error_of_an_interface_set_down_wakes_nobody_for_ever(ends, port):
    ends.near.ip("link", "set", "near", "down")
    ends.near.ip("link", "set", "near", "up")
    waiter = select.poll()
    waiter.register(port.wire.fileno(), select.POLLIN)
    assert waiter.poll(0) == [(port.wire.fileno(), select.POLLERR)]
    poll_until(port, lambda: not waiter.poll(0))
    assert port.wire.failure() is None


def test_what_the_receive_ring_has_no_room_for_is_counted(ends, far):
    with listening(opened(ends, ring=1)) as port:
        for _ in range(2000):
            far.send(FRAMES[100])
        far.send(FRAMES[100])
        poll_until(port, lambda: len(port.sink.packets) + port.wire.drops.get("receive_ring_full", 0) == 2001)
        drops = port.wire.drops["receive_ring_full"]
        assert 1000 < drops < 2001
        assert port.wire.drops == {"receive_ring_full": drops}, "counted twice"
    assert port.wire.drops == {"receive_ring_full": drops}, "forgotten by close"


# --- options ---


def test_qdisc_bypass_hides_what_is_sent_from_this_hosts_taps(ends, far):
    with ends.socket(ends.near, "near") as tap:
        for bypass, seen in ((True, []), (False, FRAMES[:1])):
            with listening(opened(ends, qdisc_bypass=bypass)) as port:
                port.send(Burst.from_packets(FRAMES[:1]))
                assert far.recv(4096) == FRAMES[0]
            tap.settimeout(None if seen else 0)
            got = [tap.recv(4096)] if seen or select.select([tap], [], [], 0)[0] else []
            assert got == seen


def test_promiscuous_unless_told_otherwise(ends):
    def promiscuity():
        return json.loads(ends.near.ip("-d", "-j", "link", "show", "near"))[0]["promiscuity"]

    with opened(ends, promisc=False):
        assert promiscuity() == 0
    with opened(ends):
        assert promiscuity() == 1
    assert promiscuity() == 0


def test_a_fanout_group_shares_what_arrives(ends, far):
    with listening(opened(ends, fanout=7, fanout_mode="lb")) as a, listening(opened(ends, fanout=7, fanout_mode="lb")) as b:
        for frame in FRAMES:
            far.send(frame)
        poll_until(a, lambda: b.poll() is not None and len(a.sink.packets) + len(b.sink.packets) >= len(FRAMES))
        assert sorted(a.sink.packets + b.sink.packets) == sorted(FRAMES)
        assert (len(a.sink.packets), len(b.sink.packets)) == (55, 55)
        with pytest.raises(OSError, match="fanout group 7: Invalid argument: is it of another interface, or of another mode than hash"):
            opened(ends, fanout=7, fanout_mode="hash")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ring": 0}, "1 to 4096 MiB, not 0"),
        ({"fanout": 65536}, "0 to 65535, not 65536"),
        ({"fanout": 1, "fanout_mode": "fair"}, "hash, lb, cpu, rollover, rnd, qm, not 'fair'"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        PacketWire("none", **options)
