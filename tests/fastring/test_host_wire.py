"""Wires to the world outside the process: polled, held up both ways, and dead at last."""

import errno
import os
import select
import socket
import threading
import time

import pytest
from sinks import RecordingSink

from e1000.bus import LocalBus
from e1000.device import DeviceThread, E1000Device
from e1000.driver import probe
from fastring.burst import Burst, BurstSink
from fastring.clock import VirtualClock
from fastring.faults import FaultyWire
from fastring.port import WirePort
from fastring.wire import pair
from softnet import Stack

PACKETS = [bytes([i]) * (60 + i) for i in range(100)]


@pytest.fixture
def ends():
    """Two ends of a socket: the wire's, and the world's."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20000)
    far.setblocking(False)
    with near, far:
        yield near, far


@pytest.fixture
def wire(socket_wire, ends):
    return socket_wire.SocketWire(ends[0].fileno())


@pytest.fixture
def far(ends):
    return ends[1]


def all_of(far):
    packets = []
    try:
        while True:
            packets.append(far.recv(4096))
    except BlockingIOError:
        return packets


def card_on(stack, wire):
    device = probe(LocalBus(E1000Device(wire=wire)), stack, flow_control="none", rx_usecs=0)
    device.promiscuous = True
    device.sink = RecordingSink()
    return device


# --- without a card ---


def test_what_a_port_sends_leaves_and_is_counted(wire, far):
    with WirePort(wire) as port:
        assert port.send(Burst.from_packets(PACKETS[:3])) == 3
        assert (wire.tx_packets, wire.tx_bytes) == (port.tx_packets, port.tx_bytes) == (3, 183)
    assert all_of(far) == PACKETS[:3]


def test_what_arrives_reaches_the_ports_sink_stamped(wire, far):
    sink = RecordingSink()
    with WirePort(wire, sink=sink, clock=VirtualClock(realtime=77)) as port:
        for packet in PACKETS[:40]:
            if len(all_of(far)) == 0:
                far.send(packet)
            port.poll()
        assert sink.packets == PACKETS[:40]
        assert sink.times == [77] * 40
        assert (wire.rx_packets, wire.rx_bytes) == (port.rx_packets, port.rx_bytes) == (40, sum(map(len, PACKETS[:40])))


def test_a_port_without_a_sink_counts_what_nobody_wants(wire, far):
    far.send(PACKETS[0])
    with WirePort(wire) as port:
        port.poll()
        assert (port.rx_packets, port.unclaimed) == (1, 1)


def test_a_poll_moves_no_more_than_its_budget(wire, far):
    for packet in PACKETS[:5]:
        far.send(packet)
    with WirePort(wire, sink=(sink := RecordingSink())) as port:
        assert port.poll(2) == 2
        assert sink.packets == PACKETS[:2]
        assert port.poll() == 3


def test_a_port_that_nobody_reads_gives_up_and_tells_what_went(wire, far):
    with WirePort(wire) as port:
        with pytest.raises(TimeoutError, match="took nothing for"):
            port.send(Burst.from_packets([bytes(1000)] * 200), patience=0.01)
        assert 0 < port.tx_packets < 200
        assert wire.held_up
        assert len(all_of(far)) == port.tx_packets


def test_a_sink_that_raises_is_heard_of(wire, far):
    class Bad(BurstSink):
        def on_burst(self, burst):
            raise KeyError("mine")

    far.send(PACKETS[0])
    with WirePort(wire, sink=Bad()) as port:
        with pytest.raises(KeyError, match="mine"):
            port.poll()
        assert port.failures == 1


def test_a_dead_wire_says_so_each_time_and_loses_what_is_sent(wire, ends):
    ends[1].close()
    with WirePort(wire) as port:
        for _ in range(2):
            with pytest.raises(OSError, match="SocketWire> has failed") as failed:
                port.send(Burst.from_packets(PACKETS[:2]))
            assert failed.value.errno == errno.ECONNREFUSED
        assert wire.drops == {"wire_failed": 4}
        with pytest.raises(OSError, match="has failed"):
            port.poll()


def test_a_wire_has_one_card_or_port(wire):
    with WirePort(wire), pytest.raises(OSError, match="attached already"):
        WirePort(wire)
    with WirePort(wire):
        pass


def test_a_port_on_a_wire_within_the_process():
    a, b = pair()
    with WirePort(a) as near, WirePort(b, sink=(sink := RecordingSink())) as far:
        near.send(Burst.from_packets([PACKETS[1], [b"in ", b"pieces"]]))
        assert sink.packets == [PACKETS[1], b"in pieces"]
        assert far.poll() == 0
        assert not a.polled
        assert a.fileno() is None


def test_a_burst_of_more_pieces_than_a_port_shows_at_once_stays_whole():
    a, b = pair()
    packets = [[b"x" * 3] * 5 for _ in range(100)]
    with WirePort(a) as near, WirePort(b, sink=(sink := RecordingSink())):
        near.send(Burst.from_packets(packets))
    assert sink.packets == [b"x" * 15] * 100


# --- with a card ---


def test_a_card_sends_and_receives_without_anybody_calling_the_wire(wire, far):
    with Stack() as stack, card_on(stack, wire) as device:
        device.xmit(Burst.from_packets(PACKETS[:3]))
        stack.run()
        assert all_of(far) == PACKETS[:3]
        for packet in PACKETS[:5]:
            far.send(packet)
        stack.run()
        assert device.sink.packets == PACKETS[:5]


def test_a_card_gets_short_frames_padded_and_a_port_gets_them_as_they_are(wire, far):
    for packet in (short := [bytes([1]) * 42, bytes([2]) * 59, bytes([3]) * 60, bytes([4])]):
        far.send(packet)
    with WirePort(wire, sink=(sink := RecordingSink())) as port:
        port.poll()
    assert sink.packets == short
    with Stack() as stack, card_on(stack, wire) as device:
        for packet in short:
            far.send(packet)
        stack.run()
        assert device.sink.packets == [packet.ljust(60, b"\0") for packet in short]


def test_with_a_device_thread_too(wire, far):
    stack = Stack()
    card = E1000Device(wire=wire)
    with stack, DeviceThread([card]):
        device = probe(LocalBus(card), stack, flow_control="none", rx_usecs=0)
        device.promiscuous, device.sink = True, RecordingSink()
        with device:
            for packet in PACKETS[:50]:
                far.send(packet)
                stack.run()
            deadline = time.monotonic() + 10
            while len(device.sink.packets) < 50 and time.monotonic() < deadline:
                stack.run()
            assert device.sink.packets == PACKETS[:50]


def test_a_card_without_a_driver_leaves_what_waits_to_the_kernel(wire, far, ends):
    with Stack() as stack:
        LocalBus(E1000Device(wire=wire))
        far.send(PACKETS[0])
        stack.run()
    assert select.select([ends[0]], [], [], 0)[0], "somebody read what waits"


def test_a_wire_that_holds_the_card_up_lets_it_go_on(wire, far):
    packets, got, stop = [bytes([i % 251]) * 1400 for i in range(300)], [], threading.Event()

    def read():
        while not stop.is_set():
            got.extend(all_of(far))
            time.sleep(0.001)

    reader = threading.Thread(target=read)
    with Stack() as stack, card_on(stack, wire) as device:
        reader.start()
        try:
            assert device.xmit(Burst.from_packets(packets)) == 300
            deadline = time.monotonic() + 10
            while len(got) < 300 and time.monotonic() < deadline:
                stack.run()
                stack.wait(0.01)
        finally:
            stop.set()
            reader.join()
    assert got == packets


def test_a_wire_that_dies_is_told_once_by_whoever_runs_the_stack(wire, ends):
    with Stack() as stack, card_on(stack, wire) as device:
        assert stack.softirq.polled_wires == [wire]
        ends[1].close()
        device.xmit(Burst.from_packets(PACKETS[:1]))
        with pytest.raises(ConnectionRefusedError, match="has failed"):
            stack.run()
        stack.run()
        assert stack.softirq.polled_wires == []
        assert wire.drops == {"wire_failed": 1}


def test_faults_wrap_it(wire, far):
    faulty = FaultyWire(wire, seed=1, lost=0.5)
    with Stack() as stack, card_on(stack, faulty) as device:
        assert (faulty.polled, faulty.fileno()) == (True, wire.fileno())
        for packet in PACKETS:
            far.send(packet)
            stack.run()
        assert len(device.sink.packets) + faulty.drops["fault_lost"] == 100
        assert 20 < faulty.drops["fault_lost"] < 80


# --- waiting ---


def test_waiting_ends_when_a_frame_arrives(wire, far):
    with Stack() as stack, card_on(stack, wire):
        stack.run()
        assert stack.wait(0) is False
        far.send(PACKETS[0])
        assert stack.wait() is True


def test_waiting_ends_at_a_timer_or_at_its_limit(wire):
    with Stack() as stack, card_on(stack, wire):
        before = time.monotonic()
        assert stack.wait(0.01) is False
        assert time.monotonic() - before >= 0.01
        fired = []
        stack.clock.call_later(20_000_000, lambda: fired.append(1))
        while not fired:
            stack.wait(10)
            stack.run()
        assert time.monotonic() - before < 5


def test_there_must_be_something_to_wait_for():
    with Stack(clock=VirtualClock()) as stack, pytest.raises(ValueError, match="nothing to wait for"):
        stack.wait()


def test_frames_without_end_do_not_hold_the_stack_for_ever(wire, ends):
    """A child sends as fast as it can; each run must end all the same."""
    child = os.fork()
    if child == 0:
        ends[1].setblocking(True)
        ends[0].close()
        try:
            while True:
                ends[1].send(bytes(60))
        finally:
            os._exit(0)
    try:
        with Stack() as stack, card_on(stack, wire) as device:
            for _ in range(20):
                stack.run()
            deadline = time.monotonic() + 10
            while not device.sink.packets and time.monotonic() < deadline:
                stack.run()
            assert device.sink.packets
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
