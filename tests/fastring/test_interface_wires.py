"""Wires onto network interfaces of the host, whatever their way there: `packet:` and `xdp:`."""

import errno
import os
import time

import pytest
from interface_ends import FRAMES, PATIENCE, TAGGED, addresses, card_on, listening, poll_for, poll_until, run_until, two_ends
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

from fastring.burst import Burst, BurstSink
from fastring.capture import Capture
from fastring.packet import PacketWire
from fastring.port import WirePort
from fastring.xdp import XdpWire
from softnet import Stack


@pytest.fixture(params=[PacketWire, XdpWire], ids=["packet", "xdp"])
def wire_class(request):
    return request.param


@pytest.fixture
def open_near(ends, wire_class):
    """Open a wire onto the near end."""

    def opened():
        with ends.near.inside():
            return wire_class("near")

    return opened


@pytest.fixture
def port(open_near):
    with listening(open_near()) as made:
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


def test_jumbo_frames_where_the_interface_has_them(wire_class):
    with two_ends(mtu=9000) as ends, ends.socket(ends.far, "far") as far:
        with ends.near.inside():
            wire = wire_class("near")
        with listening(wire) as port:
            exchange_jumbo_frames(port, far)


def exchange_jumbo_frames(port, far):
    jumbo = FRAMES[3] * 200
    tagged = TAGGED[0][:18] + jumbo[:9000]
    assert port.wire.capabilities()["mtu"] == 9000
    port.send(Burst.from_packets([jumbo[:9014], jumbo[:9015], tagged]))
    assert far.recv(20000) == jumbo[:9014]
    assert far.recv(20000) == tagged[:12] + tagged[16:]
    assert port.wire.drops == {"too_long": 1}
    far.send(jumbo[:9014])
    assert poll_for(port, 1) == [jumbo[:9014]]


def test_what_no_frame_can_be_is_counted_and_the_rest_goes(port, far):
    port.send(Burst.from_packets([FRAMES[0], bytes(1519), FRAMES[1], b"short", [bytes(800)] * 2, FRAMES[2]]))
    assert [far.recv(4096) for _ in range(3)] == FRAMES[:3]
    assert port.wire.drops == {"too_long": 2, "too_short": 1}
    assert (port.wire.tx_packets, port.wire.tx_bytes) == (3, sum(map(len, FRAMES[:3])))


def test_all_that_is_sent_in_a_flood_arrives_or_is_counted(ends, port):
    before = ends.received(ends.far, "far")
    for _ in range(200):
        port.send(Burst.from_packets(FRAMES[:100]))
    lost = sum(port.wire.drops.values())
    assert port.wire.tx_packets + lost == 20000
    poll_until(port, lambda: ends.received(ends.far, "far") - before >= 20000 - lost)
    assert ends.received(ends.far, "far") - before + lost == 20000


# --- with a card ---


def test_the_kernel_at_the_far_end_answers_a_ping_through_the_card(ends, open_near):
    addresses(ends)
    to = Ether(src="02:00:00:00:00:01", dst=ends.address(ends.far, "far"))
    requests = [bytes(to / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(id=7, seq=i) / (b"ping" * (10 + 10 * i))) for i in range(30)]
    with open_near() as wire, Stack() as stack, card_on(stack, wire) as device:
        device.xmit(Burst.from_packets(requests))
        replies = run_until(stack, lambda: len(found := [p for p in map(Ether, device.sink.packets) if ICMP in p]) >= 30 and found)
        found = [(reply[ICMP].type, reply[ICMP].seq, bytes(reply[ICMP].payload)) for reply in replies]
        assert found == [(0, i, b"ping" * (10 + 10 * i)) for i in range(30)]


def test_a_deleted_interface_is_an_error_and_no_hang(ends, open_near):
    with open_near() as wire, Stack() as stack, card_on(stack, wire) as device:
        stack.run()
        ends.near.ip("link", "delete", "near")
        with pytest.raises(OSError, match="Wire near> has failed") as failed:
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
    """An XDP socket notices when it sends: it keeps those frames, and no more."""
    kept = FRAMES[1:4] if isinstance(port.wire, XdpWire) else []
    port.send(Burst.from_packets(FRAMES[:1]))
    ends.near.ip("link", "set", "near", "down")
    port.send(Burst.from_packets(FRAMES[1:4]))
    port.send(Burst.from_packets(FRAMES[1:4]))
    assert port.wire.drops == {"interface_down": 6 - len(kept)}
    ends.near.ip("link", "set", "near", "up")
    port.send(Burst.from_packets(FRAMES[4:6]))
    assert port.wire.drops == {"interface_down": 6 - len(kept)}
    expected = [FRAMES[0], *kept, *FRAMES[4:6]]
    assert [far.recv(4096) for _ in expected] == expected
    far.send(FRAMES[6])
    assert poll_for(port, 1) == [FRAMES[6]]


def test_frames_sent_where_there_is_no_carrier_are_counted(ends, port):
    ends.far.ip("link", "set", "far", "down")
    port.send(Burst.from_packets(FRAMES[:3]))
    assert port.wire.drops == {"no_carrier": 3}


# --- what cannot be opened ---


def test_no_interface_of_that_name(ends, wire_class):
    for name in ("nothere", "x" * 16, "", "a\0b"):
        with ends.near.inside(), pytest.raises(OSError, match="there is no interface") as failed:
            wire_class(name)
        assert failed.value.errno == errno.ENODEV


def test_an_interface_that_is_not_ethernet(ends, wire_class):
    ends.near.ip("tuntap", "add", "tun7", "mode", "tun")
    with ends.near.inside(), pytest.raises(OSError, match="tun7 is not Ethernet but of type 65534") as failed:
        wire_class("tun7")
    assert failed.value.errno == errno.ENOTSUP


def test_an_interface_that_is_down(ends, open_near):
    ends.near.ip("link", "set", "near", "down")
    with pytest.raises(OSError, match="near is down: ip link set near up") as failed:
        open_near()
    assert failed.value.errno == errno.ENETDOWN


def test_without_the_right_to_it_the_capability_is_named(ends, wire_class):
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            opened_by_nobody = wire_class("lo")
            os._exit(opened_by_nobody is not None)
        except PermissionError as error:
            os._exit(0 if error.errno == errno.EPERM and "CAP_NET_RAW" in str(error) else 2)
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_closed_wire_is_closed(ends, open_near):
    wire = open_near()
    with listening(wire) as port:
        wire.close()
        assert wire.fileno() is None
        with pytest.raises(OSError, match="has failed"):
            port.send(Burst.from_packets(FRAMES[:1]))
        with pytest.raises(OSError, match="has failed"):
            port.poll()


def test_an_open_wire_is_not_opened_again(ends, open_near):
    with open_near() as wire, pytest.raises(OSError, match="open already"):
        wire.__init__("near")


def test_a_wire_closed_by_who_is_shown_its_frames_leaves_them_until_then(open_near, far):
    class Closing(BurstSink):
        def on_burst(self, burst):
            wire.close()
            self.seen = list(burst)

    with open_near() as wire, WirePort(wire, sink=Closing()) as port:
        far.send(FRAMES[0])
        with pytest.raises(OSError, match="has failed") as failed:
            poll_until(port, lambda: False)
        assert failed.value.errno == errno.ENODEV
        assert port.sink.seen == [FRAMES[0]]
