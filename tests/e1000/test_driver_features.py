"""What the driver's features do to received packets, registers and rings: ethtool -K on a running card."""

import errno
import logging
import zlib
from contextlib import ExitStack

import pytest
from cards import BareCard, RecordingSink, packet, start_xmit
from hypothesis import given, settings
from hypothesis import strategies as st
from offloads import tagged
from scapy.layers.inet import IP, TCP, UDP
from scapy_packets import HEADERS, Layout, body

from e1000 import regs
from e1000.bus import HostMemory
from e1000.driver import probe
from fastring.burst import FRAME_BAD_CRC, Burst
from softnet import Feature, NetdevTx, SkBuff, Stack
from softnet.receive import SkbReceiver
from softnet.skbuff import CHECKSUM_NONE, CHECKSUM_UNNECESSARY

FAR = bytes.fromhex("520000000002")
RX_OFFLOADS = Feature.RXCSUM | Feature.HW_VLAN_CTAG_RX


class Host:
    """A card on a wire of the test's, whose driver passes packets to the stack; a tap notes them."""

    def __init__(self, undo, *, gro=False, **options):
        self.card = BareCard(undo, memory=undo.enter_context(HostMemory(size=1 << 26)))
        self.stack = undo.enter_context(Stack())
        self.device = probe(self.card.bus, self.stack, **options)
        undo.callback(self.device.unregister)
        self.device.register()
        self.device.promiscuous = True
        if not gro:
            self.device.set_features(off=Feature.GRO)
        self.device.open()
        self.seen = []
        self.device.taps.append(lambda skb, device: self.seen.append(skb))

    def receive(self, *frames, errors=0):
        """The SkBuffs that become of frames."""
        self.seen.clear()
        self.card.receive(*frames, errors=errors)
        self.stack.run()
        return self.seen.copy()

    def peek(self, name):
        return self.card.peek(getattr(regs, name))


@pytest.fixture
def host(undo):
    return Host(undo)


@pytest.fixture(scope="module")
def one():
    with ExitStack() as undo:
        yield Host(undo)


def tcp(payload=100, **fields):
    return Layout(([], IP(src="10.0.0.1", dst="10.0.0.2", **fields), TCP()), body(payload, 1)).right


def test_it_has_the_features_of_the_kernels_driver_and_tso6(undo):
    device = Host(undo, gro=True).device
    assert device.features.names == [
        "tx-checksum-ip-generic", "tx-scatter-gather", "tx-tcp-segmentation", "tx-tcp6-segmentation", "generic-segmentation-offload",
        "generic-receive-offload", "rx-vlan-offload", "tx-vlan-offload", "rx-vlan-filter", "highdma",
    ]  # fmt: skip
    assert {"rx-checksumming", "rx-all", "rx-fcs", "loopback"} == {*device.hw_features.names} - {*device.features.names}
    assert {"tx-vlan-offload", "rx-vlan-filter"} < {*device.features.names} - {*device.hw_features.names}


# --- checksums ---


@pytest.mark.parametrize("transport", [TCP, UDP])
def test_a_checksum_that_the_card_found_good_need_not_be_looked_at(host, transport):
    right = Layout(([], IP(src="10.0.0.1", dst="10.0.0.2"), transport()), body(100, 1)).right
    wrong = right[:-1] + bytes([right[-1] ^ 1])
    assert [skb.ip_summed for skb in host.receive(right, wrong)] == [CHECKSUM_NONE] * 2
    host.device.set_features(on=Feature.RXCSUM)
    assert host.peek("RXCSUM") & regs.RXCSUM_TUOFL
    found = host.receive(right, wrong, packet(100))
    assert [skb.ip_summed for skb in found] == [CHECKSUM_UNNECESSARY, CHECKSUM_NONE, CHECKSUM_NONE]
    assert bytes(found[1]) == wrong[14:]
    stats = host.device.ethtool_ops.get_ethtool_stats(host.device)
    assert (stats["rx_csum_offload_good"], stats["rx_csum_offload_errors"], stats["rx_errors"]) == (1, 1, 0)
    host.device.set_features(off=Feature.RXCSUM)
    assert host.receive(right)[0].ip_summed == CHECKSUM_NONE


@settings(max_examples=50)
@given(headers=HEADERS, size=st.integers(0, 1000), flip=st.integers(0, 10000))
def test_a_packet_is_said_to_be_good_only_if_it_is(one, headers, size, flip):
    if not one.device.features & Feature.RXCSUM:
        one.device.set_features(on=Feature.RXCSUM)
    layout = Layout(headers, body(size, 2))
    at = layout.transport + flip % (len(layout.right) - layout.transport)
    wrong = bytearray(layout.right)
    wrong[at] ^= 0x55
    frames = [layout.right.ljust(60, b"\0"), bytes(wrong).ljust(60, b"\0")]
    good, bad = one.receive(*frames)
    if len(headers[0]) < 2 and layout.right[layout.sum_at : layout.sum_at + 2] not in (b"\0\0", b"\xff\xff"):
        assert good.ip_summed == CHECKSUM_UNNECESSARY
    if layout.tcp:
        assert bad.ip_summed == CHECKSUM_NONE
    assert one.device.stats64.rx_errors == 0


# --- VLANs ---


@settings(max_examples=50)
@given(headers=HEADERS, size=st.integers(0, 1000), tag=st.integers(0, 0xFFFF))
def test_what_is_received_is_the_same_whoever_takes_the_tag_out(one, headers, size, tag):
    frame = tagged(Layout(headers, body(size, 2)).right, tag).ljust(64, b"\0")
    found = []
    for features in ({"on": RX_OFFLOADS}, {"off": RX_OFFLOADS}):
        one.device.set_features(**features)
        assert bool(one.peek("CTRL") & regs.CTRL_VME) == bool(one.device.features & Feature.HW_VLAN_CTAG_RX)
        (skb,) = one.receive(frame)
        found.append((skb.vlan_proto, skb.vlan_tci, skb.protocol, bytes(skb), skb.pkt_type))
    assert found[0] == found[1]
    assert found[0][1] == tag


def test_tags_are_taken_out_and_put_in_together(host):
    assert host.device.set_features(off=Feature.HW_VLAN_CTAG_RX) == Feature.NONE
    assert not host.device.features & Feature.HW_VLAN_CTAG_TX
    with pytest.raises(OSError, match="tx-vlan-offload: fixed") as error:
        host.device.set_features(on=Feature.HW_VLAN_CTAG_TX)
    assert error.value.errno == errno.EOPNOTSUPP
    host.device.set_features(on=Feature.HW_VLAN_CTAG_RX)
    assert host.device.features & Feature.HW_VLAN_CTAG_TX
    assert host.peek("CTRL") & regs.CTRL_VME


def test_known_vlans_alone_are_let_in_as_soon_as_there_is_one(host):
    device = host.device
    device.promiscuous = False
    frames = (1, 31, 32, 4094)
    to_me = lambda: [skb.vlan_tci for skb in host.receive(*(tagged(device.dev_addr + tcp()[6:], vid) for vid in frames))]  # noqa: E731
    assert to_me() == [1, 31, 32, 4094]
    device.vlan_add_vid(31)
    device.vlan_add_vid(4094)
    assert to_me() == [31, 4094]
    device.mtu = 1400  # a reset
    assert to_me() == [31, 4094]
    device.stop()
    device.vlan_add_vid(1)
    device.vlan_del_vid(31)
    device.open()
    assert to_me() == [1, 4094]
    device.promiscuous = True
    assert to_me() == [1, 31, 32, 4094]
    device.promiscuous = False
    assert to_me() == [1, 4094]
    device.vlan_del_vid(1)
    device.vlan_del_vid(4094)
    assert to_me() == [1, 31, 32, 4094]
    assert not host.peek("RCTL") & regs.RCTL_VFE


# --- rx-fcs, rx-all, loopback ---


@pytest.mark.parametrize("mtu", [1500, 2030, 4078, 16110])
def test_rx_fcs_leaves_each_packet_its_crc(undo, mtu):
    host = Host(undo, mtu=mtu)
    frame = packet(mtu + 14)
    assert bytes(host.receive(frame)[0]) == frame[14:]
    host.device.set_features(on=Feature.RXFCS)
    assert bytes(host.receive(frame)[0]) == frame[14:] + zlib.crc32(frame).to_bytes(4, "little")
    assert host.device.stats64.rx_bytes == 2 * len(frame)
    host.device.set_features(off=Feature.RXFCS)
    assert bytes(host.receive(frame)[0]) == frame[14:]


@pytest.mark.parametrize("sink", [False, True])
def test_rx_all_passes_damaged_frames_and_unknown_vlans_up(host, sink):
    device = host.device
    if sink:
        device.stop()
        device.sink = RecordingSink()
        device.open()
    device.promiscuous = False
    device.vlan_add_vid(7)
    stranger, mine = tagged(device.dev_addr + tcp()[6:], 8), device.dev_addr + packet(100)[6:]

    def arrives(*frames, **how):
        before = len(device.sink.packets) if sink else 0
        found = host.receive(*frames, **how)
        return len(device.sink.packets) - before if sink else len(found)

    assert (arrives(stranger), arrives(mine, errors=FRAME_BAD_CRC), arrives(mine)) == (0, 0, 1)
    device.set_features(on=Feature.RXALL)
    assert (arrives(stranger), arrives(mine, errors=FRAME_BAD_CRC), arrives(mine)) == (1, 1, 1)
    device.set_features(off=Feature.RXALL)
    assert (arrives(stranger), arrives(mine, errors=FRAME_BAD_CRC), arrives(mine)) == (0, 0, 1)


def test_loopback_brings_back_what_is_sent_and_nothing_reaches_the_wire(host):
    host.device.set_features(on=Feature.LOOPBACK)
    skb = SkBuff.from_bytes(packet(100), dev=host.device)
    host.seen.clear()
    assert start_xmit(skb, host.device) == NetdevTx.OK
    host.stack.run()
    assert [bytes(skb) for skb in host.seen] == [packet(100)[14:]]
    assert host.card.wire.sent == []
    host.device.set_features(off=Feature.LOOPBACK)
    start_xmit(SkBuff.from_bytes(packet(100), dev=host.device), host.device)
    host.stack.run()
    assert host.card.wire.sent == [packet(100)]


# --- switching ---


def test_features_are_kept_over_stop_and_set_while_down(host):
    host.device.stop()
    host.device.set_features(on=Feature.RXCSUM | Feature.RXFCS, off=Feature.HW_VLAN_CTAG_RX)
    host.device.open()
    assert host.peek("RXCSUM") & regs.RXCSUM_TUOFL
    assert not host.peek("RCTL") & regs.RCTL_SECRC
    assert not host.peek("CTRL") & regs.CTRL_VME
    (skb,) = host.receive(tcp())
    assert (skb.ip_summed, len(skb)) == (CHECKSUM_UNNECESSARY, len(tcp()) - 14 + 4)


def test_a_switch_for_which_there_is_no_memory_leaves_everything_as_it_was(host, caplog, monkeypatch):
    before = host.device.features
    make = host.device.netdev_ops._setup_receive
    calls = []

    def fail_once(device):
        calls.append(device)
        if len(calls) == 1:
            raise OSError(errno.ENOMEM, "no memory")
        make(device)

    monkeypatch.setattr(host.device.netdev_ops, "_setup_receive", fail_once)
    with caplog.at_level(logging.ERROR, logger="softnet"):
        assert host.device.set_features(on=Feature.RXALL) == Feature.RXALL
    assert "set_features() failed (-12)" in caplog.text
    assert (host.device.features, host.device.netdev_ops.features) == (before, before)
    assert len(host.receive(tcp())) == 1
    assert len(host.receive(tcp(), errors=FRAME_BAD_CRC)) == 0


# --- packets to the stack ---


def test_packets_go_to_gro_and_protocols_with_a_receiver_of_the_users_or_without(undo):
    host = Host(undo, gro=True)
    segments = [Layout(([], IP(src="10.0.0.1", dst="10.0.0.2", id=i), TCP(flags="A", seq=i * 100)), body(100, i)).right for i in range(3)]
    segments = [host.device.dev_addr + frame[6:] for frame in segments]
    got = []
    host.device.protocols[0x0800] = [lambda skb, device: got.append(skb)]
    host.receive(*segments)
    assert [(skb.gso_segs, len(skb)) for skb in got] == [(3, 340)]
    host.device.stop()
    host.device.sink = SkbReceiver(host.device)
    host.device.open()
    got.clear()
    host.receive(*segments)
    assert [len(skb) for skb in got] == [140] * 3


def test_a_long_packet_over_several_descriptors_is_one_skb(undo):
    host = Host(undo, mtu=9000)
    host.card.write(regs.RCTL, host.peek("RCTL") & ~(regs.RCTL_BSEX | 3 << regs.RCTL_BSIZE_SHIFT))  # buffers of 2048 bytes
    frame = packet(8000)
    (skb,) = host.receive(frame)
    assert bytes(skb) == frame[14:]


def test_what_a_handler_raises_is_raised_by_the_stack_and_the_packets_behind_it_arrive(host):
    got = []

    def handler(skb, device):
        if len(got) == 1:
            got.append(None)
            raise LookupError("no route")
        got.append(bytes(skb))

    host.device.protocols[0x0800] = [handler]
    frames = [host.device.dev_addr + packet(100, seed=i)[6:] for i in range(3)]
    with pytest.raises(LookupError, match="no route"):
        host.receive(*frames)
    host.stack.run()
    assert got == [frames[0][14:], None, frames[2][14:]]
    assert (host.device.stats64.rx_packets, host.device.stats64.rx_dropped) == (3, 1)


def test_a_sink_of_bursts_gets_whole_frames_whatever_the_features(host):
    host.device.stop()
    sink = host.device.sink = RecordingSink()
    host.device.open()
    host.device.set_features(on=RX_OFFLOADS)
    wrong = bytearray(tcp())
    wrong[-1] ^= 1
    frames = [tagged(tcp(), 5), bytes(wrong)]
    host.receive(*frames)
    assert sink.packets == frames
    assert not host.peek("RXCSUM")
    assert not host.seen
    host.device.xmit(Burst.from_packets(frames))
    host.stack.run()
    assert host.card.wire.sent == frames
