"""What a qdisc counts a packet as: one that is to be cut has its headers once for each segment (qdisc_pkt_len_init)."""

from functools import partial

import pytest
from drivers import RingDriver, make_device
from packets import MACS
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from fastring.clock import VirtualClock
from softnet import Feature, SkBuff, Stack, dev_queue_xmit
from softnet.sch_fq_codel import FqCodel
from softnet.sch_generic import PfifoFast
from softnet.skbuff import CHECKSUM_PARTIAL, GsoType

SIZE = 100
TCP4, TCP6, UDP4 = (IP() / TCP(), GsoType.TCPV4, 54), (IPv6() / TCP(), GsoType.TCPV6, 74), (IP() / UDP(), GsoType.UDP_L4, 42)
OPTIONS = (IP() / TCP(options=[("NOP", None)] * 8), GsoType.TCPV4, 62)


def to_be_cut(payload, packet=TCP4[0], kind=TCP4[1], *, segments=None, size=SIZE, tag=False):
    """A packet of that much payload, that says how many segments it is, or says right."""
    frame = Ether(**MACS) / (Dot1Q(vlan=5) / packet if tag else packet)
    skb = SkBuff.from_bytes(bytes(frame) + bytes(payload))
    skb.protocol = frame.type
    skb.gso_size, skb.gso_type = size, kind
    skb.gso_segs = -(-payload // size) if segments is None else segments
    skb.ip_summed = CHECKSUM_PARTIAL
    skb.csum_start, skb.csum_offset = skb.data_offset + len(frame) - (8 if kind is GsoType.UDP_L4 else 20), 16
    return skb


@pytest.fixture(params=[PfifoFast, partial(FqCodel, perturbation=1)], ids=["pfifo_fast", "fq_codel"])
def waiting(request):
    """A qdisc before a stopped queue."""
    with Stack(clock=VirtualClock()) as stack:
        device = make_device(stack, RingDriver(size=1000), bql=False)
        device.features |= Feature.SG | Feature.HW_CSUM | Feature.TSO | Feature.TSO6
        device.stop()
        device.qdisc_class = request.param
        device.open()
        device.txq.stop()
        yield device.tx[0].qdisc


def send(qdisc, skb):
    skb.dev = qdisc.queue.device
    dev_queue_xmit(skb)
    return qdisc.backlog


@pytest.mark.parametrize(("packet", "kind", "headers"), [TCP4, TCP6, UDP4, OPTIONS])
def test_headers_count_once_for_each_segment(waiting, packet, kind, headers):
    assert send(waiting, to_be_cut(450, packet, kind)) == 450 + 5 * headers


def test_a_tag_in_the_packet_is_a_header_too(waiting):
    assert send(waiting, to_be_cut(450, tag=True)) == 450 + 5 * 58


def test_from_outside_the_number_of_segments_is_worked_out(waiting):
    assert send(waiting, to_be_cut(450, kind=GsoType.TCPV4 | GsoType.DODGY, segments=999)) == 450 + 5 * 54


@pytest.mark.parametrize(("payload", "how"), [(450, {"kind": GsoType.UDP_L4}), (50, {}), (450, {"segments": 0})])
def test_what_cannot_be_cut_weighs_what_it_is_long(waiting, payload, how):
    assert send(waiting, to_be_cut(payload, **how)) == payload + 54


def test_what_was_counted_on_the_way_in_is_counted_on_the_way_out(waiting):
    send(waiting, to_be_cut(450))
    send(waiting, SkBuff.from_bytes(bytes(60)))
    assert waiting.backlog == 450 + 5 * 54 + 60
    waiting.queue.device.txq.wake()
    waiting.queue.device.stack.run()
    assert (waiting.backlog, waiting.qlen, waiting.packets, waiting.bytes) == (0, 0, 6, 450 + 5 * 54 + 60)


def test_a_copy_is_weighed_anew():
    skb = to_be_cut(450)
    skb.wire_len = 720
    copy = skb.copy()
    assert (skb.clone().wire_len, copy.wire_len) == (0, 0)
