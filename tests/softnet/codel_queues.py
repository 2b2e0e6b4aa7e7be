"""Packets of many flows, and fq_codel queues that a test works by hand."""

from functools import cache, partial

from drivers import RingDriver, make_device
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from softnet import SkBuff
from softnet.sch_fq_codel import FqCodel

MS = 1_000_000
MAC = "52:54:00:00:00:09"
ETHER = Ether(src="52:54:00:00:00:01", dst="52:54:00:00:00:02")

fq_codel = partial(FqCodel, perturbation=1)


@cache
def udp(flow, size=1514, tos=0, ip=IP):
    header = ETHER / IP(src="10.0.0.1", dst="10.0.0.2", tos=tos) if ip is IP else ETHER / IPv6(src="fd00::1", dst="fd00::2", tc=tos)
    packet = header / UDP(sport=1000 + flow, dport=53)
    return bytes(packet / Raw(bytes(size - len(packet))))


def idle_fq_codel(stack, **options):
    """An FqCodel that nobody runs."""
    device = make_device(stack, RingDriver(), bql=False)
    device.txq.stop()
    return fq_codel(device.tx[0], **options)


def skb_of(content, mark=0):
    skb = SkBuff.from_bytes(content)
    skb.mark = mark
    return skb


def fill(qdisc, flow, count, **options):
    skbs = [skb_of(udp(flow, **options), i) for i in range(count)]
    return skbs, [qdisc.enqueue(skb) for skb in skbs]


def drain(qdisc):
    skbs = []
    while (skb := qdisc.pop()) is not None:
        skbs.append(skb)
    qdisc.free_dropped()
    return skbs
