"""What softnet costs: bursts through a device against the driver's ring called directly, and packets one by one in Python.

    pytest bench/test_softnet.py -s
"""

import statistics
import time

import pytest
from loopback_driver import LoopbackDriver
from path import Path, packets

from fastring.burst import Burst
from softnet import NetDevice, SkBuff, Stack, dev_queue_xmit

SIZES = (60, 1514)
BURST = 128  # packets: fewer than the ring holds, so that each burst is one call of the driver
RUNS = 9
BURSTS = 2_000
PACKETS = 20_000
MAC = bytes.fromhex("525400000001")


class Bursts:
    """A path, and one burst sent over and over: by the driver's ring itself, by a device, by a Transmitter."""

    def __init__(self, size: int) -> None:
        self.path = Path(size)
        data, apart = packets(size)
        self._memory = self.path.near.netdev_ops.bus.memory
        self._iova = self._memory.map(data)
        self.burst = Burst.from_mapped(data, iova=self._iova, offsets=[apart * i for i in range(BURST)], lengths=[size] * BURST)

    def ring(self, count: int) -> int:
        """What a user does who calls the driver: xmit, and the softirq, which keeps the ring free. Returns packets taken."""
        xmit, poll, burst = self.path.near.xmit_target.xmit, self.path.net.softirq.net_rx_action, self.burst
        taken = 0
        for _ in range(count):
            taken += xmit(burst)
            poll()
        return taken

    def device(self, count: int) -> int:
        xmit, burst = self.path.near.xmit, self.burst
        taken = 0
        for _ in range(count):
            taken += xmit(burst)
        return taken

    def transmitter(self, count: int) -> int:
        send, burst = self.path.sender.send, self.burst
        taken = 0
        for _ in range(count):
            taken += send(burst)
        return taken

    def nanoseconds(self, way: str) -> float:
        """Per packet, of CPU time; all that were taken must arrive."""
        before = self.path.sink.packets
        start = time.process_time_ns()
        taken: int = getattr(self, way)(BURSTS)
        while self.path.sink.packets < before + taken:
            self.path.net.run()
        return (time.process_time_ns() - start) / taken

    def __enter__(self) -> "Bursts":
        return self

    def __exit__(self, *exc: object) -> None:
        for device in (self.path.near, self.path.far):
            device.stop()
        self._memory.unmap(self._iova)
        self.path.__exit__()


@pytest.mark.parametrize("size", SIZES)
def test_bursts_through_softnet_against_the_drivers_ring(size, capsys):
    ways = ("ring", "device", "transmitter")
    with Bursts(size) as bursts:
        runs = [[bursts.nanoseconds(way) for way in ways] for _ in range(RUNS + 1)][1:]  # in turn; the first warms up
    ring, device, transmitter = (statistics.median(run[i] for run in runs) for i in range(3))
    ratio, other = (statistics.median(run[i] / run[0] for run in runs) for i in (1, 2))
    with capsys.disabled():
        print(f"\nsoftnet, bursts of {BURST} packets of {size} bytes: NetDevice.xmit {ratio:.3f} and Transmitter.send {other:.3f} times "
              f"the driver's ring called directly ({device:.1f}, {transmitter:.1f} and {ring:.1f} ns a packet, medians of {RUNS} runs)")


def test_packets_one_by_one_in_python(capsys):
    """From dev_queue_xmit through a qdisc and a driver in Python, its NAPI and netif_receive_skb to a protocol's handler."""
    runs = []
    received = 0

    def handler(skb, device):
        nonlocal received
        received += 1
        skb.consume()

    with Stack() as stack:
        device = NetDevice(stack, LoopbackDriver(), dev_addr=MAC)
        device.register()
        device.open()
        stack.protocols[0x0800] = [handler]
        packet = MAC + bytes.fromhex("525400000002") + b"\x08\x00" + bytes(46)
        for _ in range(RUNS + 1):
            wanted = received + PACKETS
            start = time.process_time_ns()
            for number in range(PACKETS):
                skb = SkBuff.from_bytes(packet, dev=device)
                skb.protocol = 0x0800
                dev_queue_xmit(skb)
                if not number % 32:
                    stack.run()
            while received < wanted:
                stack.run()
            runs.append((time.process_time_ns() - start) / PACKETS)
    nanoseconds = statistics.median(runs[1:])
    with capsys.disabled():
        print(f"\nsoftnet, packet by packet in Python: {1e6 / nanoseconds:.0f} thousand a second "
              f"({nanoseconds / 1e3:.2f} us each of CPU time, median of {RUNS} runs)")
