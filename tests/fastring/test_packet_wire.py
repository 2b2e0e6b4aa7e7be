"""PacketWire: frames to and from a network interface of the host, by a packet socket."""

import errno
import json
import os
import select
import socket
import struct
import time

import pytest
from packet_ends import PATIENCE, listening, poll_for, poll_until, two_ends
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from sinks import RecordingSink

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst
from fastring.capture import Capture
from fastring.checksum import checksum
from fastring.packet import PacketWire
from softnet import Stack

SOL_PACKET, PACKET_VNET_HDR, UDP_SEGMENT = 263, 15, 103
BROADCAST = b"\xff" * 6
FRAMES = [BROADCAST + b"\x02\0\0\0\0\1" + b"\x88\xb5" + bytes([i]) * (46 + 13 * i) for i in range(110)]     # 60 to 1477 bytes
TAGGED = [
    frame[:12] + tag + frame[12:]
    for frame, tag in zip(FRAMES, (b"\x81\0\0\7", b"\x88\xa8\x20\7", b"\x88\xa8\x20\7\x81\0\xef\xff", b"\x81\0\0\0"), strict=False)
]


@pytest.fixture
def ends():
    with two_ends() as made:
        yield made


def opened(ends, **options):
    with ends.near.inside():
        return PacketWire("near", **options)


@pytest.fixture
def far(ends):
    with ends.socket(ends.far, "far") as plain:
        yield plain


@pytest.fixture
def port(ends):
    with listening(opened(ends)) as made:
        yield made


# --- frames, both ways ---


def test_what_is_sent_arrives_byte_for_byte(port, far):
    assert port.send(Burst.from_packets(FRAMES)) == len(FRAMES)
    assert [far.recv(4096) for _ in FRAMES] == FRAMES
    assert port.wire.drops == {}


def test_a_packet_in_pieces_is_gathered(port, far):
    cut = [[frame[:14], frame[14:30], frame[30:]] for frame in FRAMES]
    assert port.send(Burst.from_packets(cut)) == len(FRAMES)
    assert [far.recv(4096) for _ in FRAMES] == FRAMES


def test_more_pieces_than_one_call_takes_are_sent_by_several(port, far):
    cut = [[bytes([byte]) for byte in frame[:90]] for frame in FRAMES]
    assert port.send(Burst.from_packets(cut)) == len(FRAMES)
    assert [far.recv(4096) for _ in FRAMES] == [frame[:90] for frame in FRAMES]


def test_what_arrives_is_received_byte_for_byte_and_stamped(port, far):
    before = time.time_ns()
    for frame in FRAMES:
        far.send(frame)
    assert poll_for(port, len(FRAMES)) == FRAMES
    assert before <= port.sink.times[0] <= port.sink.times[-1] <= time.time_ns()
    assert port.sink.times == sorted(port.sink.times)
    assert port.wire.rx_packets == len(FRAMES)


def test_the_ring_goes_round(ends, far):
    """Eight blocks of 128 KiB, gone through several times."""
    with listening(opened(ends, ring=1)) as port:
        for _ in range(30):
            for frame in FRAMES:
                far.send(frame)
            poll_for(port, len(FRAMES))
            assert port.sink.packets == FRAMES
            port.sink.packets.clear()
        assert port.wire.drops == {}


def test_vlan_tags_stay_in_their_frames_both_ways(port, far):
    """The kernel takes the outer tag out of what arrives."""
    for frame in TAGGED:
        far.send(frame)
    assert poll_for(port, len(TAGGED)) == TAGGED
    with far:
        port.send(Burst.from_packets(TAGGED))
        tagless = [far.recv(4096) for _ in TAGGED]
    assert [len(frame) for frame in tagless] == [len(frame) - 4 for frame in TAGGED]       # what it did at the far end, too


def test_tcpdump_at_the_far_end_sees_the_frames_with_their_tags(ends, port, tmp_path):
    sent = FRAMES + TAGGED
    file = tmp_path / "far.pcap"
    dump = ends.far.popen("tcpdump", "-Z", "root", "-i", "far", "-w", file, "-U", "-c", len(sent), "-s", 0, stderr=-1, text=True)
    try:
        assert any("listening on far" in line for line in iter(dump.stderr.readline, ""))
        port.send(Burst.from_packets(sent))
        dump.communicate(timeout=PATIENCE)
    finally:
        dump.kill()
        dump.wait()
    with Capture(file) as capture:
        burst = Burst(len(sent))
        capture.cursor().read(burst)
        assert list(burst) == sent


def test_jumbo_frames_where_the_interface_has_them():
    with two_ends(mtu=9000) as ends, ends.socket(ends.far, "far") as far, listening(opened(ends)) as port:
        jumbo = FRAMES[3] * 200
        assert port.wire.capabilities()["mtu"] == 9000
        port.send(Burst.from_packets([jumbo[:9014], jumbo[:9015]]))
        assert far.recv(20000) == jumbo[:9014]
        assert port.wire.drops == {"too_long": 1}
        far.send(jumbo[:9014])
        assert poll_for(port, 1) == [jumbo[:9014]]


def test_what_no_frame_can_be_is_counted_and_the_rest_goes(port, far):
    too_many_pieces = [[b"x"] * 1300]
    port.send(Burst.from_packets([FRAMES[0], bytes(1515), FRAMES[1], b"short", *too_many_pieces, FRAMES[2]]))
    assert [far.recv(4096) for _ in range(3)] == FRAMES[:3]
    assert port.wire.drops == {"too_long": 2, "too_short": 1}
    assert (port.wire.tx_packets, port.wire.tx_bytes) == (3, sum(map(len, FRAMES[:3])))


def test_what_this_host_sends_there_does_not_arrive(ends, port, far):
    with ends.socket(ends.near, "near") as other:
        other.send(FRAMES[0])
    far.recv(4096)
    far.send(FRAMES[1])
    assert poll_for(port, 1) == [FRAMES[1]]


# --- what local senders leave to a card ---


def addresses(ends):
    """The far kernel knows 10.0.0.1 and fd00::1 at our end, and has addresses itself."""
    ends.far.ip("addr", "add", "10.0.0.2/24", "dev", "far")
    ends.far.ip("-6", "addr", "add", "fd00::2/64", "dev", "far", "nodad")
    for address in ("10.0.0.1", "fd00::1"):
        ends.far.ip("neigh", "add", address, "lladdr", "02:00:00:00:00:01", "dev", "far")


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "10.0.0.1"), (socket.AF_INET6, "fd00::1")])
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_checksums_that_the_sender_left_to_its_card_are_completed(ends, port, family, address, kind):
    addresses(ends)
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
    addresses(ends)
    large_datagrams(ends, 30, address)

    def datagrams():
        return [p for p in map(Ether, port.sink.packets) if UDP in p]

    found = poll_until(port, lambda: len(datagrams()) >= 600 and datagrams())
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


# --- with a card ---


def card_on(stack, wire):
    device = probe(LocalBus(E1000Device(wire=wire)), stack, flow_control="none", rx_usecs=0)
    device.promiscuous = True
    device.sink = RecordingSink()
    return device


def run_until(stack, condition):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        stack.run()
        stack.wait(0.01)
    return found


def test_the_kernel_at_the_far_end_answers_a_ping_through_the_card(ends):
    addresses(ends)
    to = Ether(src="02:00:00:00:00:01", dst=ends.address(ends.far, "far"))
    requests = [bytes(to / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(id=7, seq=i) / (b"ping" * (10 + 10 * i))) for i in range(30)]
    with opened(ends) as wire, Stack() as stack, card_on(stack, wire) as device:
        device.xmit(Burst.from_packets(requests))
        replies = run_until(stack, lambda: len(device.sink.packets) >= 30 and [p for p in map(Ether, device.sink.packets) if ICMP in p])
        found = [(reply[ICMP].type, reply[ICMP].seq, bytes(reply[ICMP].payload)) for reply in replies]
        assert found == [(0, i, b"ping" * (10 + 10 * i)) for i in range(30)]


def test_a_deleted_interface_is_an_error_and_no_hang(ends):
    with opened(ends) as wire, Stack() as stack, card_on(stack, wire) as device:
        stack.run()
        ends.near.ip("link", "delete", "near")
        with pytest.raises(OSError, match="<PacketWire near> has failed") as failed:
            run_until(stack, lambda: False)
        assert failed.value.errno == errno.ENODEV
        device.xmit(Burst.from_packets(FRAMES[:2]))
        stack.run()
        assert wire.drops == {"wire_failed": 2}


# --- the interface comes and goes ---


def test_one_who_only_sends_hears_of_a_deleted_interface(ends, port):
    ends.far.ip("link", "delete", "far")
    with pytest.raises(OSError, match="has failed") as failed:
        port.send(Burst.from_packets(FRAMES[:3]))
    assert failed.value.errno == errno.ENXIO


def test_an_interface_that_is_down_loses_what_is_sent_and_goes_on_when_it_is_up(ends, port, far):
    port.send(Burst.from_packets(FRAMES[:1]))
    ends.near.ip("link", "set", "near", "down")
    port.send(Burst.from_packets(FRAMES[1:4]))
    assert port.wire.drops == {"interface_down": 3}
    ends.near.ip("link", "set", "near", "up")
    port.send(Burst.from_packets(FRAMES[4:6]))
    assert port.wire.drops == {"interface_down": 3}
    assert [far.recv(4096) for _ in range(3)] == [FRAMES[0], *FRAMES[4:6]]
    far.send(FRAMES[6])
    assert poll_for(port, 1) == [FRAMES[6]]


def test_the_error_of_an_interface_set_down_wakes_nobody_for_ever(ends, port):
    ends.near.ip("link", "set", "near", "down")
    ends.near.ip("link", "set", "near", "up")
    waiter = select.poll()
    waiter.register(port.wire.fileno(), select.POLLIN)
    assert waiter.poll(0) == [(port.wire.fileno(), select.POLLERR)]
    poll_until(port, lambda: not waiter.poll(0))
    assert port.wire.failure() is None


def test_frames_sent_where_there_is_no_carrier_are_counted(ends, port):
    ends.far.ip("link", "set", "far", "down")
    port.send(Burst.from_packets(FRAMES[:3]))
    assert port.wire.drops == {"no_carrier": 3}


# --- nothing is lost uncounted ---


def test_what_the_receive_ring_has_no_room_for_is_counted(ends, far):
    with listening(opened(ends, ring=1)) as port:
        for _ in range(2000):
            far.send(FRAMES[100])
        far.send(FRAMES[100])
        arrived = poll_until(port, lambda: not port.poll() and len(port.sink.packets))
        drops = port.wire.drops["receive_ring_full"]
        assert arrived + drops == 2001
        assert arrived < 800
        assert port.wire.drops == {"receive_ring_full": drops}, "counted twice"
    assert port.wire.drops == {"receive_ring_full": drops}, "forgotten by close"


def test_all_that_is_sent_in_a_flood_arrives_or_is_counted(ends, port):
    before = ends.received(ends.far, "far")
    for _ in range(200):
        port.send(Burst.from_packets(FRAMES[:100]))
    lost = sum(port.wire.drops.values())
    assert port.wire.tx_packets + lost == 20000
    poll_until(port, lambda: ends.received(ends.far, "far") - before >= 20000 - lost)
    assert ends.received(ends.far, "far") - before + lost == 20000


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
        with pytest.raises(OSError, match=r"\[Errno 22\]"):
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


# --- what cannot be opened ---


def test_no_interface_of_that_name(ends):
    for name in ("nothere", "x" * 16, "", "a\0b"):
        with ends.near.inside(), pytest.raises(OSError, match="there is no interface") as failed:
            PacketWire(name)
        assert failed.value.errno == errno.ENODEV


def test_an_interface_that_is_not_ethernet(ends):
    ends.near.ip("tuntap", "add", "tun7", "mode", "tun")
    with ends.near.inside(), pytest.raises(OSError, match="tun7 is not Ethernet but of type 65534") as failed:
        PacketWire("tun7")
    assert failed.value.errno == errno.ENOTSUP


def test_an_interface_that_is_down(ends):
    ends.near.ip("link", "set", "near", "down")
    with pytest.raises(OSError, match="near is down: ip link set near up") as failed:
        opened(ends)
    assert failed.value.errno == errno.ENETDOWN


def test_without_the_right_to_it_the_capability_is_named(ends):
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            opened_by_nobody = PacketWire("lo")
            os._exit(opened_by_nobody is not None)
        except PermissionError as error:
            os._exit(0 if error.errno == errno.EPERM and "CAP_NET_RAW" in str(error) else 2)
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_closed_wire_is_closed(ends):
    wire = opened(ends)
    with listening(wire) as port:
        wire.close()
        assert wire.fileno() is None
        with pytest.raises(OSError, match="has failed"):
            port.send(Burst.from_packets(FRAMES[:1]))
        with pytest.raises(OSError, match="has failed"):
            port.poll()


def test_an_open_wire_is_not_opened_again(ends):
    with opened(ends) as wire, pytest.raises(OSError, match="open already"):
        wire.__init__("near")
