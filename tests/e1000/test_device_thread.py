"""DeviceThread: the cards' engines on a thread of their own, beside the driver's."""

import os
import random
import threading
import time

import pytest
from cards import EOP, BareCard, RecordingWire, legacy, packet

from e1000 import regs
from e1000.bus import HostMemory
from e1000.device import DeviceThread, E1000Device
from fastring.burst import Burst, BurstSink, RepeatSource
from fastring.clock import MonotonicClock
from fastring.wire import pair

FAR = bytes.fromhex("520000000002")


class Verifier(BurstSink):
    """Compares what arrives, byte for byte, with the packets of a list, over and over; keeps none."""

    def __init__(self, expected):
        self.expected = expected
        self.count = 0
        self.wrong = []

    def on_burst(self, burst):
        for content in burst:
            if content != self.expected[self.count % len(self.expected)]:
                self.wrong.append(self.count)
            self.count += 1

    @property
    def packets(self):
        return range(self.count)


def mixed(count, seed=0):
    rng = random.Random(seed)
    return [packet(rng.choice([60, 64, rng.randint(60, 1514)]), to=FAR, seed=i) for i in range(count)]


def run_until(two, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        two.stack.run()
        assert time.monotonic() < deadline, "the packets do not arrive"
        time.sleep(0)


def in_between(two, packets, total, step=None):
    """Play `packets` over and over, `total` in all, and call `step` now and then. All of them arrive."""
    two.far.stop()
    sink = two.sink = two.far.sink = Verifier(packets)
    two.far.open()
    sender = two.near.transmitter()
    source = RepeatSource(Burst.from_packets(packets), packets=total)
    two.offered += total
    while sender.play(source, rounds=20):
        if step is not None:
            step()
    run_until(two, lambda: sink.count == total)
    assert sender.packets == total
    assert sink.wrong == []


@pytest.fixture
def two(two_cards):
    return two_cards(clock=MonotonicClock())


def test_200000_packets_of_random_sizes_arrive_in_order_byte_for_byte(two):
    with DeviceThread(two.cards):
        in_between(two, mixed(1009), 200_000)
    assert not two.drops


def test_two_threads_for_the_two_cards_of_a_lossy_cable_share_nothing_but_the_cable(two_cards):
    # One thread runs both cards of a pair: a wire takes one into the other's engine
    two = two_cards(clock=MonotonicClock(), lossless=False, rx_descriptors=4096, memory_size=1 << 28)
    with DeviceThread(two.cards):
        sent = mixed(500)
        two.send(sent)
        run_until(two, lambda: len(two.sink.packets) + two.cards[1].drops["rx_missed"] == 500)


def test_registers_can_be_read_while_traffic_runs_and_no_statistic_loses_a_count(two):
    near, far = two.cards
    where = {"GPTC": near, "TPT": near, "PTC64": near, "GPRC": far, "TPR": far}
    seen = dict.fromkeys(where, 0)
    stop = threading.Event()

    def read_all():
        for name, card in where.items():
            seen[name] += card.read(getattr(regs, name))

    def keep_reading():
        while not stop.is_set():
            read_all()
            far.read(regs.STATUS)
            near.write(regs.FCTTV, 0x1234)

    packets = [packet(60, to=FAR, seed=i) for i in range(100)]
    with DeviceThread(two.cards):
        reader = threading.Thread(target=keep_reading)
        reader.start()
        try:
            in_between(two, packets, 40_000)
        finally:
            stop.set()
            reader.join()
    read_all()
    for name, card in where.items():  # the driver's watchdog reads them too, every two seconds
        device = two.near if card is near else two.far
        seen[name] += device.netdev_ops.hw_stats.total[name.lower()]
    assert set(seen.values()) == {40_000}, seen


def test_the_thread_can_be_started_and_stopped_in_the_middle_of_traffic(two):
    thread = DeviceThread(two.cards)
    running = False

    def toggle():
        nonlocal running
        (thread.stop if running else thread.start)()
        running = not running

    in_between(two, mixed(257), 60_000, step=toggle)
    thread.stop()
    assert not two.drops


def test_a_device_may_be_opened_and_stopped_while_its_card_has_a_thread(two):
    with DeviceThread(two.cards):
        for i in range(10):
            sent = mixed(50, seed=i)
            before = len(two.sink.packets)
            two.send(sent)
            run_until(two, lambda: len(two.sink.packets) == before + 50)  # noqa: B023
            two.near.stop()
            two.far.stop()
            two.near.open()
            two.far.open()


def test_stop_attends_to_every_doorbell_rung_before_it(undo):
    class Slow(RecordingWire):
        """Holds the engines up inside a transmit."""

        def __init__(self):
            super().__init__()
            self.entered, self.go = threading.Event(), threading.Event()

        def transmit_burst(self, burst):
            super().transmit_burst(burst)
            self.entered.set()
            assert self.go.wait(20)

    card = BareCard(undo, wire=Slow())
    card.tx_ring()
    card.rx_ring(64, give=0)
    card.receive(packet(100))                       # waits in the FIFO
    thread = DeviceThread([card.device])
    thread.start()
    card.post(legacy(card.alloc(packet(60)), 60))
    assert card.wire.entered.wait(20)
    card.give(1)                                    # the engines have looked at the receive ring already, and do not again
    stopper = threading.Thread(target=thread.stop)
    stopper.start()
    time.sleep(0.05)
    card.wire.go.set()
    stopper.join(20)
    assert not stopper.is_alive()
    assert card.take() == [packet(100)]


def test_while_it_runs_a_doorbell_returns_before_the_packet_is_sent(undo):
    class Slow(RecordingWire):
        go = threading.Event()

        def transmit_burst(self, burst):
            assert self.go.wait(20)
            super().transmit_burst(burst)

    card = BareCard(undo, wire=Slow())
    card.tx_ring()
    address = card.alloc(packet(60))
    with DeviceThread([card.device]):
        card.post(legacy(address, 60, cmd=EOP))
        card.post(legacy(address, 60, cmd=EOP))
        assert card.wire.sent == []
        card.wire.go.set()
    assert card.wire.sent == [packet(60)] * 2


def test_after_stop_registers_run_the_engines_again(card):
    card.tx_ring()
    with DeviceThread([card.device]):
        pass
    card.post_packets(packet(60))
    assert card.wire.sent == [packet(60)]


def test_a_reset_under_the_thread_lets_a_waiting_sender_go(undo):
    memory = undo.enter_context(HostMemory(size=1 << 23))
    ends = pair()
    near, far = BareCard(undo, wire=ends[0], memory=memory), BareCard(undo, wire=ends[1], memory=memory)
    near.tx_ring()
    far.rx_ring(64, give=0)
    with DeviceThread([near.device, far.device]):
        near.post_packets(packet(60))
        time.sleep(0.01)
        assert near.read(regs.TDH) == 0
        far.write(regs.CTRL, regs.CTRL_RST)
    assert near.read(regs.TDH) == 1


def test_starting_twice_is_refused_and_stopping_twice_is_harmless():
    device = E1000Device()
    thread, other = DeviceThread([device]), DeviceThread([device])
    thread.start()
    with pytest.raises(RuntimeError, match="runs already"):
        thread.start()
    with pytest.raises(RuntimeError, match="has a DeviceThread already"):
        other.start()
    assert "running" in repr(thread)
    thread.stop()
    thread.stop()
    assert "stopped" in repr(thread)
    with other:
        assert device.read(regs.CTRL) == 0x241


@pytest.mark.parametrize("count", [0, 17])
def test_it_runs_1_to_16_devices(count):
    with pytest.raises(ValueError, match=f"1 to 16 devices, not {count}"):
        DeviceThread([E1000Device() for _ in range(count)])


@pytest.mark.parametrize("what", [[None], ["card"], [1]])
def test_it_takes_devices_only(what):
    with pytest.raises(TypeError):
        DeviceThread(what)


def test_a_device_given_twice_is_run_once_and_let_go_once():
    device = E1000Device()
    with DeviceThread([device, device]):
        assert device.read(regs.CTRL) == 0x241
    with DeviceThread([device]):
        assert device.read(regs.CTRL) == 0x241


def test_it_can_be_pinned_to_a_cpu(two):
    mine = os.sched_getaffinity(0)
    with DeviceThread(two.cards, cpu=min(mine)):
        two.send(mixed(100))
        run_until(two, lambda: len(two.sink.packets) == 100)
    assert os.sched_getaffinity(0) == mine


def test_a_cpu_there_is_not_is_refused_by_start_and_the_card_stays_usable(card):
    card.tx_ring()
    thread = DeviceThread([card.device], cpu=100_000)
    with pytest.raises(OSError, match="Invalid argument"):
        thread.start()
    card.post_packets(packet(60))
    assert card.wire.sent == [packet(60)]
