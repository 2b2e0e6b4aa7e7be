"""The TAP's wire, by itself: made and attached to, both ways with and without a virtio_net_hdr, down, deleted, and asked for nonsense."""

import errno
import fcntl
import os
import select
import socket
import struct
import time
from contextlib import contextmanager

import pytest
from namespaces import namespace
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from fastring.burst import Burst, BurstSink
from fastring.port import WirePort
from fastring.tap import TapWire

if not os.path.exists("/dev/net/tun"):
    pytest.skip("needs /dev/net/tun", allow_module_level=True)

TUNSETSNDBUF = 0x400454D4
HERE, THERE, OUR_MAC = "10.9.0.1", "10.9.0.2", "02:00:00:00:00:02"
FRAME = b"\xff" * 6 + bytes.fromhex("0200000000 0288b5") + bytes(46)


@pytest.fixture
def net():
    with namespace() as net:
        yield net


def tap(net, name="tap0", **options):
    with net.inside():
        return TapWire(name, **options)


def addressed(net, wire, here=f"{HERE}/24", there=THERE):
    """Give the kernel's end its address, and ours as a neighbour; returns its MAC address."""
    net.ip("addr", "add", here, "dev", wire.name, *(["nodad"] if ":" in here else []))
    net.ip("neigh", "add", there, "lladdr", OUR_MAC, "dev", wire.name, "nud", "permanent")
    return net.ip("link", "show", wire.name).split("link/ether ")[1][:17]


def statistics(net, wire):
    """(packets, dropped) the interface received."""
    numbers = net.ip("-s", "link", "show", wire.name).splitlines()[3].split()
    return int(numbers[1]), int(numbers[3])


def poll_until(port, condition, *, patience=20):
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        port.poll()
        select.select([port.wire.fileno()], [], [], 0.01)


@contextmanager
def udp(net):
    with net.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(20)
        endpoint.bind(("", 0))
        yield endpoint


class IPSink(BurstSink):
    """Keeps the IP packets to us."""

    def __init__(self):
        self.packets, self.queues = [], set()

    def on_burst(self, burst):
        self.packets += [packet for packet in burst if packet[12:14] in (b"\x08\0", b"\x86\xdd") and packet[0] == 2]


# --- made, attached to, gone ---


def test_an_interface_is_made_set_up_and_gone_with_its_wire(net):
    with tap(net, "mine%d", mtu=4000) as wire:
        assert (wire.name, wire.queues, wire.vnet_hdr, wire.polled, repr(wire)) == ("mine0", 1, True, True, "<TapWire mine0>")
        shown = net.ip("link", "show", "mine0")
        assert ",UP" in shown
        assert " mtu 4000 " in shown
    wire.close()
    assert wire.fileno() is None
    assert "mine0" not in net.ip("link")


def test_the_kernel_chooses_a_name_if_there_is_none(net):
    with tap(net, "") as first, tap(net, "", up=False) as second:
        assert (first.name, second.name) == ("tap0", "tap1")
        assert ",UP" not in net.ip("link", "show", "tap1")


@pytest.mark.parametrize("options", [{}, {"vnet_hdr": False}, {"queues": 3}])
def test_a_persistent_interface_is_attached_to_and_left_as_it_is(net, options):
    net.ip("tuntap", "add", "dev", "kept", "mode", "tap", "vnet_hdr", *(["multi_queue"] if "queues" in options else []))
    with tap(net, "kept", **options):
        assert ",UP" not in net.ip("link", "show", "kept")
    with tap(net, "kept", up=True, **options) as wire:
        assert wire.name == "kept"
    assert ",UP" in net.ip("link", "show", "kept")


def test_a_wire_is_told_once_that_its_interface_was_deleted(net):
    with tap(net) as wire, WirePort(wire) as port:
        net.ip("link", "del", "tap0")
        for _ in range(2):
            with pytest.raises(OSError, match=r"^\[Errno 19\] <TapWire tap0> has failed: the interface was deleted$"):
                port.poll()
            with pytest.raises(OSError, match="was deleted"):
                port.send(Burst.from_packets([FRAME] * 3))
        assert wire.drops == {"wire_failed": 6}
        assert port.wire.tx_packets == 0


def test_a_send_finds_out_too(net):
    with tap(net, vnet_hdr=False) as wire, WirePort(wire) as port:
        net.ip("link", "del", "tap0")
        with pytest.raises(OSError, match="was deleted"):
            port.send(Burst.from_packets([FRAME]))


def test_waiting_ends_when_the_interface_is_deleted(net):
    with tap(net) as wire:
        assert not select.select([wire.fileno()], [], [], 0)[0]
        net.ip("link", "del", "tap0")
        assert select.select([wire.fileno()], [], [], 20)[0]


def test_while_the_interface_is_down_frames_are_lost_and_counted(net):
    with tap(net) as wire, WirePort(wire) as port:
        port.send(Burst.from_packets([FRAME] * 2))
        net.ip("link", "set", "tap0", "down")
        port.send(Burst.from_packets([FRAME] * 3))
        assert port.poll() == 0
        net.ip("link", "set", "tap0", "up")
        port.send(Burst.from_packets([FRAME] * 4))
        assert wire.drops == {"interface_down": 3}
        assert (wire.tx_packets, wire.tx_bytes) == (6, 6 * len(FRAME))
        assert statistics(net, wire)[0] == 6


def test_a_wire_that_was_closed_says_so(net):
    with tap(net) as wire, WirePort(wire) as port:
        wire.close()
        assert port.poll() == 0
        with pytest.raises(OSError, match="<TapWire tap0> is closed"):
            port.send(Burst.from_packets([FRAME]))


def test_a_wire_is_opened_once(net):
    with tap(net) as wire, pytest.raises(OSError, match="open already"):
        wire.__init__("tap1")


# --- what is asked for and cannot be ---


@pytest.mark.parametrize("name", ["a" * 16, "ä" * 8, "a b", "a/b", "a:b", "tap%", "%d%d", "%s", ".", "..", "a\0b"])
def test_what_is_no_interface_name_is_refused(name):
    with pytest.raises(ValueError, match="is no interface name: at most 15 bytes"):
        TapWire(name)


@pytest.mark.parametrize("queues", [0, 257, -1])
def test_a_tap_has_1_to_256_queues(queues):
    with pytest.raises(ValueError, match="1 to 256 queues"):
        TapWire("tap0", queues=queues)


def test_another_process_is_attached(net):
    with tap(net), pytest.raises(OSError, match=r"^.Errno 16. tap0: another process is attached to it$"):
        tap(net)


@pytest.mark.parametrize(("name", "queues", "said"), [("lo", 1, "without"), ("many", 1, "without"), ("single", 2, "with")])
def test_the_interface_is_no_such_tap(net, name, queues, said):
    net.ip("tuntap", "add", "dev", "many", "mode", "tap", "multi_queue")
    net.ip("tuntap", "add", "dev", "single", "mode", "tap")
    with pytest.raises(OSError, match=f"^.Errno 22. {name}: the interface is there, but no TAP made {said} multi_queue$"):
        tap(net, name, queues=queues)


def test_an_mtu_that_the_kernel_refuses(net):
    with pytest.raises(OSError, match=r"^.Errno 22. tap0: it cannot be set up, or not with an MTU of 70000: Invalid argument$"):
        tap(net, mtu=70000)
    assert "tap0" not in net.ip("link")


def test_without_the_right_to_it_the_capability_is_named(net):
    """In a child, which gives its capabilities up."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with net.inside():
            try:
                os.setresuid(65534, 65534, 65534)
                TapWire("tap0")
            except BaseException as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
    os.close(writer)
    said = os.read(reader, 4096).decode()
    os.close(reader)
    os.waitpid(child, 0)
    assert "needs CAP_NET_ADMIN" in said or "/dev/net/tun cannot be opened: Permission denied" in said


@pytest.mark.parametrize(
    ("code", "said"), [(errno.ENOENT, "there is no /dev/net/tun: load"), (errno.ENODEV, "there is no"), (errno.EACCES, "cannot be opened")]
)
def test_without_dev_net_tun(monkeypatch, code, said):
    def no_tun(path, *arguments):
        assert path == "/dev/net/tun"
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", no_tun)
    with pytest.raises(OSError, match=said) as raised:
        TapWire("tap0")
    assert raised.value.errno == code


# --- both ways ---


@pytest.mark.parametrize("vnet_hdr", [True, False])
def test_what_is_sent_arrives_whole_also_in_pieces(net, vnet_hdr):
    with tap(net, vnet_hdr=vnet_hdr) as wire, WirePort(wire) as port, udp(net) as endpoint:
        contents = [bytes([i]) * length for i, length in enumerate((1, 100, 1472, 1472, 700))]
        headers = Ether(dst=addressed(net, wire), src=OUR_MAC) / IP(src=THERE, dst=HERE) / UDP(sport=7, dport=endpoint.getsockname()[1])
        packets = [bytes(headers / Raw(content)) for content in contents]
        packets[2] = [packets[2][:20], packets[2][20:300], packets[2][300:]]
        packets[3] = [packets[3][i : i + 1] for i in range(1514)]
        assert port.send(Burst.from_packets(packets)) == 5
        assert [endpoint.recv(4096) for _ in contents] == contents
        assert (wire.tx_packets, wire.tx_bytes, wire.drops) == (5, sum(map(len, contents)) + 5 * 42, {})


@pytest.mark.parametrize("vnet_hdr", [True, False])
def test_what_the_kernel_sends_arrives_with_its_checksum(net, vnet_hdr):
    sink = IPSink()
    with tap(net, vnet_hdr=vnet_hdr) as wire, WirePort(wire, sink=sink) as port, udp(net) as endpoint:
        addressed(net, wire)
        contents = [bytes([i]) * length for i, length in enumerate((1, 100, 1471, 1472))]
        for content in contents:
            endpoint.sendto(content, (THERE, 9))
        poll_until(port, lambda: len(sink.packets) == 4)
        for packet, content in zip(sink.packets, contents, strict=True):
            again = Ether(packet)
            assert again[UDP].payload.load == content
            del again[UDP].chksum
            assert bytes(again) == packet
        assert wire.drops == {}


def test_what_an_earlier_user_let_the_kernel_leave_undone_is_done_again(net):
    """TUNSETOFFLOAD stays with a persistent interface."""
    sink = IPSink()
    net.ip("tuntap", "add", "dev", "kept", "mode", "tap")
    with tap(net, "kept"):
        pass
    with tap(net, "kept", vnet_hdr=False, up=True) as wire, WirePort(wire, sink=sink) as port, udp(net) as endpoint:
        addressed(net, wire)
        endpoint.sendto(b"whole", (THERE, 9))
        poll_until(port, lambda: sink.packets)
        again = Ether(sink.packets[0])
        del again[UDP].chksum
        assert bytes(again) == sink.packets[0]


def tcp_from(net, address, content, port):
    """The kernel opens a connection to us and sends: a child, since it waits."""
    child = os.fork()
    if child:
        return child
    with net.inside():
        try:
            with socket.create_connection((address, port), timeout=20) as connection:
                connection.sendall(content)
        finally:
            os._exit(0)


@pytest.mark.parametrize(("layer", "address"), [(IP, THERE), (IPv6, "fd09::2")])
def test_tcp_segments_that_the_kernel_left_uncut_arrive_cut(net, layer, address):
    """The tests' own end of a connection: it answers the handshake, and then its window takes all at once."""
    content = os.urandom(14000)

    class Peer(BurstSink):
        def __init__(self):
            self.got, self.lengths, self.next = b"", [], 0

        def on_burst(self, burst):
            for packet in burst:
                frame = Ether(packet)
                if TCP not in frame:
                    continue
                segment = frame[TCP]
                again = Ether(packet)
                del again[TCP].chksum
                assert bytes(again) == packet
                if segment.flags.S:
                    self.next = segment.seq + 1
                    answers.append(answer(frame, flags="SA", seq=1000, ack=self.next, options=[("MSS", 1000), ("WScale", 0)]))
                elif segment.payload:
                    assert segment.seq <= self.next
                    if segment.seq < self.next:  # sent again, on a slow machine
                        answers.append(answer(frame, flags="A", seq=1001, ack=self.next))
                        continue
                    self.got += bytes(segment.payload)
                    self.next += len(segment.payload)
                    self.lengths.append(len(segment.payload))
                    answers.append(answer(frame, flags="A", seq=1001, ack=self.next))

    def answer(frame, **fields):
        ip = frame[layer]
        tcp = TCP(sport=frame[TCP].dport, dport=frame[TCP].sport, window=65535, **fields)
        return bytes(Ether(dst=frame.src, src=frame.dst) / layer(src=ip.dst, dst=ip.src) / tcp)

    answers, sink = [], Peer()
    with tap(net) as wire, WirePort(wire, sink=sink) as port:
        addressed(net, wire, *([f"{HERE}/24", THERE] if layer is IP else ["fd09::1/64", "fd09::2"]))
        child = tcp_from(net, address, content, 80)
        try:
            deadline = time.monotonic() + 20
            while len(sink.got) < len(content) and time.monotonic() < deadline:
                port.poll()
                while answers:
                    port.send(Burst.from_packets([answers.pop(0)]))
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
        assert sink.got == content
        assert max(sink.lengths) <= 1000
        assert wire.drops == {}
    assert len(sink.lengths) >= 14


def test_udp_segments_that_the_kernel_left_uncut_arrive_cut(net):
    sink = IPSink()
    with tap(net) as wire, WirePort(wire, sink=sink) as port, udp(net) as endpoint:
        addressed(net, wire)
        endpoint.setsockopt(socket.SOL_UDP, 103, 1000)                  # UDP_SEGMENT
        content = os.urandom(40_300)
        endpoint.sendto(content, (THERE, 9))
        poll_until(port, lambda: len(sink.packets) == 41)
        assert b"".join(bytes(Ether(packet)[UDP].payload) for packet in sink.packets) == content


def test_a_poll_moves_no_more_packets_than_its_budget_also_of_segments(net):
    sink = IPSink()
    with tap(net) as wire, WirePort(wire, sink=sink) as port, udp(net) as endpoint:
        addressed(net, wire)
        endpoint.setsockopt(socket.SOL_UDP, 103, 100)
        for _ in range(3):
            endpoint.sendto(bytes(6000), (THERE, 9))
        before = 0
        while len(sink.packets) < 180:
            assert port.poll(1) == port.rx_packets - before == 1
            before += 1


def test_more_segments_than_a_pull_holds(net):
    sink = IPSink()
    with tap(net) as wire, WirePort(wire, sink=sink) as port, udp(net) as endpoint:
        addressed(net, wire)
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        endpoint.setsockopt(socket.SOL_UDP, 103, 600)
        sent = [os.urandom(60_000) for _ in range(4)]
        for content in sent:
            endpoint.sendto(content, (THERE, 9))
        poll_until(port, lambda: len(sink.packets) == 400)
        assert b"".join(packet[42:] for packet in sink.packets) == b"".join(sent)


def test_what_is_shorter_than_an_ethernet_header_the_kernel_refuses_and_it_is_counted(net):
    with tap(net) as wire, WirePort(wire) as port:
        port.send(Burst.from_packets([b"123", FRAME, bytes(13), bytes(70_000)]))
        assert wire.drops == {"refused_by_kernel": 2}
        assert (wire.tx_packets, wire.tx_bytes) == (2, len(FRAME) + 70_000)


# --- several queues ---


def test_several_queues_are_all_received_from_and_one_descriptor_tells_of_all(net):
    sink = IPSink()
    with tap(net, queues=4) as wire, WirePort(wire, sink=sink) as port:
        assert wire.queues == 4
        assert not select.select([wire.fileno()], [], [], 0)[0]
        addressed(net, wire)
        contents = set()
        for number in range(64):
            with udp(net) as endpoint:
                content = b"%d" % number
                endpoint.sendto(content, (THERE, 1000 + number))
                contents.add(content)
        assert select.select([wire.fileno()], [], [], 20)[0]
        assert port.poll() >= 64
        assert {Ether(packet)[UDP].load for packet in sink.packets} == contents


def test_a_flow_stays_on_its_queue_and_answers_come_back_on_it(net):
    """The kernel sends a flow's packets to the queue it last received it from (tun_automq_select_queue)."""
    sink = IPSink()
    with tap(net, queues=4) as wire, WirePort(wire, sink=sink) as port, udp(net) as endpoint:
        to_us = Ether(dst=addressed(net, wire), src=OUR_MAC) / IP(src=THERE, dst=HERE)
        there = endpoint.getsockname()[1]
        burst = Burst.from_packets([bytes(to_us / UDP(sport=number, dport=there) / b"?") for number in range(2000, 2032)])
        port.send(burst)
        once = wire.tx_queue_packets
        assert sum(once) == 32
        assert all(once)
        port.send(burst)
        assert wire.tx_queue_packets == [2 * packets for packets in once]
        for _ in range(64):
            endpoint.sendto(*endpoint.recvfrom(100))
        poll_until(port, lambda: len(sink.packets) == 64)
        assert wire.rx_queue_packets == wire.tx_queue_packets


@pytest.mark.parametrize(
    "headers", [IP(dst="10.0.0.1", frag=9) / Raw(bytes(30)), IPv6(dst="::1") / UDP(), IPv6(dst="::1", nh=59), Raw(b"..."), Raw(bytes(20))]
)
def test_several_queues_take_whatever_is_sent(net, headers):
    with tap(net, queues=3) as wire, WirePort(wire) as port:
        packet = bytes(Ether(dst="02:00:00:00:00:09") / headers)
        port.send(Burst.from_packets([packet] * 5 + [packet[:14]]))
        assert sum(wire.tx_queue_packets) == 6
        assert 5 in wire.tx_queue_packets or 6 in wire.tx_queue_packets


def test_a_queue_without_room_is_told_of_by_the_descriptor_of_all(net):
    with held_up(net, queues=2) as (wire, port, _, _):
        deadline = time.monotonic() + 20
        while wire.held_up:
            assert select.select([wire.fileno()], [], [], 20)[0]
            assert time.monotonic() < deadline
            port.poll()
        while port.poll():
            pass
        assert not select.select([wire.fileno()], [], [], 0)[0]


def test_a_send_that_is_tried_again_before_a_poll_ends_the_wait_for_room(net):
    with held_up(net, queues=2) as (wire, port, frames, listener):
        assert select.select([wire.fileno()], [], [], 20)[0]
        assert port.send(Burst.from_packets(frames[:1])) == 1
        assert not wire.held_up
        for _ in range(wire.tx_packets):
            listener.recv(2000)                 # now there is room for sure, which nobody waits for
        while port.poll():
            pass
        assert not select.select([wire.fileno()], [], [], 0)[0]


# --- held up ---


@contextmanager
def held_up(net, **options):
    """A wire that can send no more: a bridge to a slow veth keeps frames charged to the TAP, whose send buffer is small.

    Gives the wire, its port, all frames, of which some were sent, and a socket that receives them at the far end of the veth.
    """
    net.ip("link", "add", "br0", "type", "bridge")
    net.ip("link", "add", "slow", "type", "veth", "peer", "name", "far")
    for name in ("br0", "slow", "far"):
        net.ip("link", "set", name, "up")
    net.run("tc", "qdisc", "add", "dev", "slow", "root", "tbf", "rate", "4mbit", "burst", "3000", "limit", "10000000")
    net.ip("link", "set", "slow", "master", "br0")
    frames = [bytes.fromhex("02000000000902000000000288b5") + struct.pack("!H", number) + bytes(998) for number in range(200)]
    with net.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)) as listener:
        listener.bind(("far", 0x88B5))
        listener.settimeout(20)
        listener.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)             # SO_RCVBUFFORCE: it is read at the end
        with tap(net, **options) as wire, WirePort(wire) as port:
            net.ip("link", "set", wire.name, "master", "br0")
            queue = next(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{fd}") == "/dev/net/tun")
            fcntl.ioctl(queue, TUNSETSNDBUF, struct.pack("i", 20_000))          # of all queues
            with pytest.raises(TimeoutError, match="took nothing for"):
                port.send(Burst.from_packets(frames), patience=0.001)
            assert 0 < port.tx_packets < 200
            assert wire.held_up
            yield wire, port, frames, listener


def test_what_the_kernel_has_no_room_for_is_sent_later(net):
    with held_up(net) as (wire, port, frames, listener):
        port.send(Burst.from_packets(frames[port.tx_packets :]), patience=20)
        assert (wire.tx_packets, wire.drops, wire.held_up) == (200, {}, False)
        assert [listener.recv(2000) for _ in frames] == frames
