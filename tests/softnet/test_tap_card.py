"""A card of ours on a TAP: the kernel behind it pings us, we ping it, and its own TCP goes through two cards, unharmed."""

import errno
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
from namespaces import namespace
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from e1000.bus import LocalBus
from e1000.device import DeviceThread, E1000Device
from e1000.driver import probe
from fastring.burst import Burst, BurstSink, CountingSink
from fastring.checksum import checksum
from fastring.tap import TapWire
from softnet import Stack
from softnet.wire import open_wire

if not os.path.exists("/dev/net/tun"):
    pytest.skip("needs /dev/net/tun", allow_module_level=True)

HERE, THERE = "10.9.0.1", "10.9.0.2"
MAC = bytes.fromhex("525400000009")
ADDRESS = bytes([10, 9, 0, 2])


@pytest.fixture
def net():
    with namespace() as net:
        yield net


@contextmanager
def card_on(stack, wire, *, mtu=1500, mac="52:54:00:00:00:09"):
    """A card on a wire, up, and on a bus of its own."""
    card = E1000Device(mac=mac, wire=wire)
    with probe(LocalBus(card), stack, mtu=mtu, flow_control="none", rx_usecs=0) as device:
        yield device


class Host(BurstSink):
    """Answers ARP and echo requests, fragments too: each is turned round as it is. Its answers wait to be sent."""

    def __init__(self):
        self.answers, self.replies = [], []

    def on_burst(self, burst):
        for packet in burst:
            if packet[12:14] == b"\x08\x06" and packet[20:22] == b"\0\1" and packet[38:42] == ADDRESS:
                self.answers.append(packet[6:12] + MAC + packet[12:20] + b"\0\2" + MAC + ADDRESS + packet[22:32] + bytes(18))
            elif packet[12:14] == b"\x08\0" and packet[23] == 1:
                self.on_icmp(bytearray(packet))

    def on_icmp(self, packet):
        first = not (struct.unpack_from("!H", packet, 20)[0] & 0x1FFF)
        if first and packet[34] == 0:
            self.replies.append(bytes(packet))
            return
        packet[:12] = packet[6:12] + packet[:6]
        packet[26:34] = packet[30:34] + packet[26:30]
        if first:
            total = struct.unpack_from("!H", packet, 36)[0] + 0x0800        # type 8 becomes 0: RFC 1624
            packet[34] = 0
            struct.pack_into("!H", packet, 36, (total & 0xFFFF) + (total >> 16))
        self.answers.append(bytes(packet))


def answering(stack, device, host, *, until, patience=30):
    """Run the stack, and send what the host answers, until something has happened."""
    deadline = time.monotonic() + patience
    while not until():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        stack.run()
        answers, host.answers = host.answers, []        # while they are sent there may be more
        if answers:
            device.xmit(Burst.from_packets(answers))
        else:
            stack.wait(0.01)


# --- ping ---


def pinged(net, stack, device, host, *arguments):
    """Have the kernel ping us. It waits two round trips for an answer, for which a busy machine may be late: then it tries again."""
    for _ in range(10):
        with net.popen("ping", "-i0.01", "-W20", *arguments, THERE, stdout=subprocess.PIPE, text=True) as ping:
            answering(stack, device, host, until=lambda ping=ping: ping.poll() is not None)
            said = ping.stdout.read()
        if " 0% packet loss" in said:
            return
    pytest.fail(said)


@pytest.mark.parametrize("spec", ["tap:tap0", "tap:tap0,vnet_hdr=off", "tap:tap0,queues=2"])
def test_the_kernel_pings_us_through_the_card(net, spec):
    with net.inside():
        cabling = open_wire(spec, clock=None)
    with Stack() as stack, card_on(stack, cabling.near) as device, cabling.near:
        device.sink = host = Host()
        net.ip("addr", "add", f"{HERE}/24", "dev", "tap0")
        for size in (0, 56, 1472, 3000):
            pinged(net, stack, device, host, "-c3", "-s", size)
        assert cabling.drops() == {}
        assert cabling.taken() == (device.stats64.tx_packets, device.stats64.tx_bytes)


def test_jumbo_frames_too(net):
    with net.inside():
        wire = TapWire("tap0", mtu=9000)
    with wire, Stack() as stack, card_on(stack, wire, mtu=9000) as device:
        device.sink = host = Host()
        net.ip("addr", "add", f"{HERE}/24", "dev", "tap0")
        pinged(net, stack, device, host, "-c3", "-M", "do", "-s", 8972)


def test_with_the_card_on_a_thread_of_its_own(net):
    with net.inside():
        wire = TapWire("tap0")
    card, stack = E1000Device(mac="52:54:00:00:00:09", wire=wire), Stack()
    with wire, stack, DeviceThread([card]), probe(LocalBus(card), stack, flow_control="none", rx_usecs=0) as device:
        device.sink = host = Host()
        net.ip("addr", "add", f"{HERE}/24", "dev", "tap0")
        pinged(net, stack, device, host, "-c10")


@pytest.mark.parametrize("vnet_hdr", [True, False])
def test_we_ping_the_kernel_through_the_card(net, vnet_hdr):
    with net.inside():
        wire = TapWire("tap0", vnet_hdr=vnet_hdr)
    with wire, Stack() as stack, card_on(stack, wire) as device:
        device.sink = host = Host()
        net.ip("addr", "add", f"{HERE}/24", "dev", "tap0")
        mac = net.ip("link", "show", "tap0").split("link/ether ")[1][:17]
        question = Ether(dst=mac, src=MAC) / IP(src=THERE, dst=HERE)
        contents = [os.urandom(size) for size in (0, 56, 999, 1472)]
        device.xmit(Burst.from_packets([bytes(question / ICMP(id=7, seq=seq) / Raw(content)) for seq, content in enumerate(contents)]))
        answering(stack, device, host, until=lambda: len(host.replies) == 4)
        answers = [Ether(reply)[ICMP] for reply in host.replies]
        assert [bytes(answer.payload)[: len(content)] for answer, content in zip(answers, contents, strict=True)] == contents
        assert {checksum(bytes(answer)[: 8 + len(content)]) for answer, content in zip(answers, contents, strict=True)} == {0}


def test_an_arp_question_of_ours_is_answered(net):
    with net.inside():
        wire = TapWire("tap0")
    with wire, Stack() as stack, card_on(stack, wire) as device:
        seen = []

        class Sink(BurstSink):
            def on_burst(self, burst):
                seen.extend(frame for frame in map(Ether, burst) if ARP in frame and frame[ARP].op == 2)

        device.sink = Sink()
        net.ip("addr", "add", f"{HERE}/24", "dev", "tap0")
        device.xmit(Burst.from_packets([bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=MAC) / ARP(hwsrc=MAC, psrc=THERE, pdst=HERE))]))
        answering(stack, device, Host(), until=lambda: seen)
        assert seen[0][ARP].hwsrc in net.ip("link", "show", "tap0")


# --- when something is wrong ---


def test_an_interface_that_is_deleted_is_told_once_and_nothing_hangs(net):
    with net.inside():
        wire = TapWire("tap0")
    frame = b"\xff" * 6 + MAC + b"\x88\xb5" + bytes(46)
    with wire, Stack() as stack, card_on(stack, wire) as device:
        device.xmit(Burst.from_packets([frame] * 10))
        stack.run()
        net.ip("link", "del", "tap0")
        assert stack.wait(20)
        with pytest.raises(OSError, match="<TapWire tap0> has failed: the interface was deleted") as raised:
            stack.run()
        assert raised.value.errno == errno.ENODEV
        stack.run()
        assert device.xmit(Burst.from_packets([frame] * 1000)) == 1000
        stack.run()
        assert wire.drops == {"wire_failed": 1000}
        assert device.stats64.tx_packets == 1010


def test_it_is_told_while_traffic_goes_on_too(net):
    with net.inside():
        wire = TapWire("tap0")
    frame = b"\xff" * 6 + MAC + b"\x88\xb5" + bytes(1486)
    with wire, Stack() as stack, card_on(stack, wire) as device:
        deleting = threading.Timer(0.05, net.ip, ["link", "del", "tap0"])
        deleting.start()
        deadline = time.monotonic() + 30
        with pytest.raises(OSError, match="the interface was deleted"):  # noqa: PT012
            while time.monotonic() < deadline:
                device.xmit(Burst.from_packets([frame] * 100))
                stack.run()
        deleting.join()


def test_a_flood_loses_nothing_but_what_the_kernel_counts(net):
    """More than the card's ring, the TAP's and the qdisc's have room for: the rest waits, or is dropped where `ip -s` and `tc -s` tell."""
    with net.inside():
        wire = TapWire("tap0")
    with wire, Stack() as stack, card_on(stack, wire) as device:
        device.sink = sink = CountingSink()
        net.ip("addr", "add", f"{HERE}/24", "dev", "tap0")
        net.ip("neigh", "add", THERE, "lladdr", MAC.hex(":"), "dev", "tap0", "nud", "permanent")
        with net.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
            endpoint.setsockopt(socket.SOL_SOCKET, 32, 1 << 26)             # SO_SNDBUFFORCE
            for _ in range(5000):
                endpoint.sendto(bytes(100), (THERE, 9))
            before = wire.rx_packets
            while stack.run():
                pass
        counted = json.loads(net.ip("-j", "-s", "link", "show", "tap0"))[0]["stats64"]["tx"]
        qdisc = json.loads(net.run("tc", "-j", "-s", "qdisc", "show", "dev", "tap0").stdout)[0]
        assert before == 0
        assert 500 <= wire.rx_packets == counted["packets"] < 5000
        assert wire.rx_packets + counted["dropped"] + qdisc["drops"] == 5000
        assert sink.packets == device.stats64.rx_packets == wire.rx_packets
        assert wire.drops == {}


# --- TCP ---

SEND = """
import hashlib, socket, sys, os
left, digest = int(sys.argv[2]), hashlib.sha256()
with socket.create_connection((sys.argv[1], 5001), timeout=60) as connection:
    block = os.urandom(1 << 16)
    while left:
        part = memoryview(block)[:min(left, len(block))]
        connection.sendall(part)
        digest.update(part)
        left -= len(part)
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(64).decode() == digest.hexdigest()
print(digest.hexdigest())
"""
RECEIVE = """
import hashlib, socket, sys
digest, total = hashlib.sha256(), 0
with socket.create_server(("", 5001)) as server:
    print("listening", flush=True)
    connection, _ = server.accept()
    with connection:
        while part := connection.recv(1 << 18):
            digest.update(part)
            total += len(part)
        connection.sendall(digest.hexdigest().encode())
print(total, digest.hexdigest())
"""


class Forwarder(BurstSink):
    """What one card receives waits here to be sent by the other."""

    def __init__(self):
        self.waiting = []

    def on_burst(self, burst):
        self.waiting.append(Burst.from_packets(list(burst)))


def bridge(stack, left, right, *, until, patience=120):
    """Send what each card receives by the other."""
    left.sink, right.sink = Forwarder(), Forwarder()
    left.promiscuous = right.promiscuous = True
    deadline = time.monotonic() + patience
    while not until():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        stack.run()
        if not left.sink.waiting and not right.sink.waiting:
            stack.wait(0.01)
        for source, target in ((left, right), (right, left)):
            waiting, source.sink.waiting = source.sink.waiting, []
            for burst in waiting:
                target.xmit(burst)


def transfer(size, *, vnet_hdr, mtu=1500):
    """The host's own TCP from one namespace to another, through two TAPs and two cards.

    Returns for both wires how many packets were read, became of them by cutting, and were sent.
    """
    with ExitStack() as undo:
        nets = [undo.enter_context(namespace()) for _ in range(2)]
        wires = []
        for net, address in zip(nets, (HERE, THERE), strict=True):
            with net.inside():
                wires.append(undo.enter_context(TapWire("tap0", vnet_hdr=vnet_hdr, mtu=mtu)))
            net.ip("addr", "add", f"{address}/24", "dev", "tap0")
        stack = undo.enter_context(Stack())
        cards = [undo.enter_context(card_on(stack, wire, mtu=mtu, mac=f"52:54:00:00:00:0{i}")) for i, wire in enumerate(wires)]
        receiver = nets[1].popen(sys.executable, "-c", RECEIVE, stdout=subprocess.PIPE, text=True)
        undo.enter_context(receiver)
        undo.callback(receiver.kill)
        assert receiver.stdout.readline() == "listening\n"
        sender = nets[0].popen(sys.executable, "-c", SEND, THERE, size, stdout=subprocess.PIPE, text=True)
        undo.enter_context(sender)
        undo.callback(sender.kill)
        bridge(stack, *cards, until=lambda: sender.poll() is not None and receiver.poll() is not None)
        total, digest = receiver.stdout.read().split()
        assert int(total) == size
        assert sender.stdout.read().split() == [digest]
        assert (sender.returncode, receiver.returncode) == (0, 0)
        assert [wire.drops for wire in wires] == [{}, {}]
        return [(sum(wire.rx_queue_packets), wire.rx_packets, wire.tx_packets) for wire in wires]


@pytest.mark.parametrize("vnet_hdr", [True, False])
def test_ten_megabytes_of_tcp_through_two_cards(vnet_hdr):
    (read, received, _), (_, _, sent) = transfer(10_000_000, vnet_hdr=vnet_hdr)
    assert received >= 10_000_000 / 1448
    assert sent >= 10_000_000 / 1448
    if vnet_hdr:
        assert read < received / 2      # the kernel left the cutting to us
    else:
        assert read >= received


@pytest.mark.slow
@pytest.mark.unsanitized
def test_a_hundred_megabytes_of_tcp_through_two_cards():
    transfer(100_000_000, vnet_hdr=True)
