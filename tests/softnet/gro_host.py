"""For tests of GRO: a host that notes what goes up, and packets of a stream."""

from drivers import RingDriver, make_device
from packets import MACS
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from fastring.clock import VirtualClock
from softnet import Feature, SkBuff, Stack, dev_queue_xmit, eth_type_trans
from softnet.gro import Gro

SIZE = 100


class Host:
    """A device with a GRO that passes up to `up`; what is forwarded it sends to `driver`."""

    def __init__(self, **options):
        self.clock = VirtualClock(start=10**9)
        self.stack = Stack(clock=self.clock)
        self.driver = RingDriver(1000)
        self.device = make_device(self.stack, self.driver, bql=False)
        self.gro = Gro(self.stack, **options)
        self.up = []
        for protocol in (0x0800, 0x86DD, 0x8100):
            self.stack.protocols[protocol] = [lambda skb, device: self.up.append(skb)]
        for vid in range(1, 4095):
            self.device.vlans[0x8100, vid] = 1

    def skb(self, frame, **fields):
        skb = SkBuff.from_bytes(bytes(frame))
        for name, value in fields.items():
            setattr(skb, name, value)
        skb.protocol = eth_type_trans(skb, self.device)
        return skb

    def receive(self, *frames, **fields):
        return [self.gro.receive(self.skb(frame, **fields)) for frame in frames]

    def payloads(self):
        """Lengths of the payloads that went up."""
        return [len(skb) - (40 if skb.protocol == 0x0800 else 60) for skb in self.up]

    def forward(self):
        """Send what came up by a device that can do nothing; returns what it sends."""
        self.device.features = Feature.NONE
        for skb in self.up:
            skb.push(skb.data_offset - skb.mac_header)
            skb.pkt_type = 0
            dev_queue_xmit(skb)
        self.driver.complete()
        return self.driver.sent


def tcp(number=0, *, length=SIZE, ip=None, flags="A", **fields):
    """Packet `number` of a stream: IPv4, or over `ip`."""
    ip = IP(src="10.0.0.1", dst="10.0.0.2", id=number, flags="DF") if ip is None else ip.copy()
    fields = {"sport": 1000, "dport": 2000, "seq": number * SIZE, "ack": 5, **fields}
    return Ether(**MACS) / ip / TCP(flags=flags, **fields) / bytes([number + 1 & 0xFF] * length)
