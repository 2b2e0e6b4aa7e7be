"""The driver's offloads, filters and recovery on QEMU's own e1000: the same bytes as by software, where QEMU does as the manual has it."""

import logging

import pytest
from cards import STATION, packet, start_xmit
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from offloads import TX_OFFLOADS, tagged, wanting
from qemu_guest import SECOND, Guest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy_packets import HEADERS, Layout, body

from e1000 import regs
from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst
from softnet import DropReason, Feature, NetdevTx, SkBuff, dev_queue_xmit
from softnet.skbuff import CHECKSUM_NONE

pytestmark = pytest.mark.usefixtures("qemu_program")
ON_ONE_CARD = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
TAG = st.one_of(st.none(), st.integers(0, 0xFFFF))
CWR = 0x80


@pytest.fixture
def stack_guest(guest):
    """One that passes what it receives to the stack, noted by a tap in `seen`."""
    guest.device.sink = None
    guest.device.set_features(off=Feature.GRO)  # which verifies checksums itself
    guest.seen = []
    guest.device.taps.append(lambda skb, device: guest.seen.append(skb) if skb.pkt_type != 4 else None)
    return guest.open()


def settle(guest):
    """The second passes in which QEMU's card receives nothing, since RCTL was written."""
    guest.clock.advance(2 * SECOND)
    guest.stack.run()


def sent(guest, skb):
    """The frames on the wire."""
    skb.dev = guest.device
    assert dev_queue_xmit(skb) == 0
    guest.stack.run()
    return guest.wire.take()


def either_way(guest, make):
    guest.device.set_features(on=TX_OFFLOADS)
    by_card = sent(guest, make())
    guest.device.set_features(off=TX_OFFLOADS)
    return by_card, sent(guest, make())


def shorter_by_40(frame, at):
    """QEMU's IPv6 payload length in segments counts the header, as the manual has it and no packet."""
    return frame[:at] + (int.from_bytes(frame[at : at + 2], "big") - 40).to_bytes(2, "big") + frame[at + 2 :]


@ON_ONE_CARD
@given(headers=HEADERS, size=st.integers(60, 1200), tag=TAG, cuts=st.lists(st.integers(0, 1300), max_size=9))
def test_checksums_and_tags_are_the_same_by_qemus_card_and_by_software(stack_guest, headers, size, tag, cuts):
    layout = Layout(headers, body(size, 7))
    assume(layout.right[layout.sum_at : layout.sum_at + 2] not in (b"\0\0", b"\xff\xff"))
    cuts = [cut % (len(layout.right) + 1) for cut in cuts]
    by_card, by_software = either_way(stack_guest, lambda: wanting(layout, tag=tag, cuts=cuts))
    assert by_card == by_software == [tagged(layout.right, tag)]


@ON_ONE_CARD
@given(headers=HEADERS, mss=st.integers(60, 1400), size=st.integers(1401, 9000), tag=TAG)
def test_segments_are_the_same_by_qemus_card_and_by_software(stack_guest, headers, mss, size, tag):
    _, network, transport = headers
    assume(isinstance(transport, TCP) and size % mss)  # of a multiple QEMU sends an empty segment, too
    transport = transport.copy()
    transport.flags = int(transport.flags) & ~CWR
    layout = Layout(([], network, transport), body(size, 7))
    by_card, by_software = either_way(stack_guest, lambda: wanting(layout, mss=mss, tag=tag, cuts=[layout.header, 700]))
    if not layout.v4:
        by_card = [shorter_by_40(frame, layout.ip + 4 + 4 * (tag is not None)) for frame in by_card]
    assert by_card == by_software
    assert len(by_card) == -(-size // mss)


def test_64_kib_go_through_qemus_card(stack_guest):
    content = body(65535 - 54, 5)
    layout = Layout(([], IP(src="10.0.0.1", dst="10.0.0.2"), TCP()), content)
    frames = sent(stack_guest, wanting(layout, mss=1448, cuts=range(900, 60000, 3700)))
    assert b"".join(frame[54:] for frame in frames) == content
    assert stack_guest.device.stats64.tx_packets == len(frames) == 46
    assert stack_guest.device.stats64.tx_bytes == sum(map(len, frames))


def test_segments_and_checksums_go_both_ways_between_qemus_card_and_ours(undo):
    guest = Guest(undo)
    guest.device.sink = None
    far = probe(LocalBus(E1000Device(mac=":".join(["02"] * 6), wire=guest.wire), memory=guest.memory), guest.stack)
    guest.open()
    far.set_features(on=Feature.RXCSUM)
    undo.enter_context(far)
    arrived = []
    for sender, receiver in ((guest.device, far), (far, guest.device)):
        layout = Layout(([], IP(src="10.0.0.1", dst="10.0.0.2"), TCP(flags="A")), body(30_000, 3))
        skb = wanting(layout, mss=1448, dev=sender)
        skb.cow_head()
        skb.data[:6] = receiver.dev_addr
        receiver.protocols[0x0800] = [lambda skb, device: arrived.append(bytes(skb)[40:])]
        assert dev_queue_xmit(skb) == 0
        guest.stack.run()
        guest.qemu.exchange()
        guest.stack.run()
    assert b"".join(arrived) == body(30_000, 3) * 2
    assert far.ethtool_ops.get_ethtool_stats(far)["rx_csum_offload_good"] == 21


@pytest.mark.parametrize("network", [IP(src="10.0.0.1", dst="10.0.0.2"), IPv6(src="fd00::1", dst="fd00::2")])
@pytest.mark.parametrize("transport", [TCP(), UDP()])
def test_qemus_card_verifies_no_checksum_and_the_stack_is_told_so(stack_guest, network, transport):
    frame = STATION + Layout(([], network, transport), body(200, 1)).right[6:]
    stack_guest.device.set_features(on=Feature.RXCSUM)
    settle(stack_guest)
    stack_guest.receive(frame)
    (skb,) = stack_guest.seen
    assert (bytes(skb), skb.ip_summed) == (frame[14:], CHECKSUM_NONE)


def test_tags_are_taken_out_by_qemus_card_and_vlans_filtered(stack_guest):
    device = stack_guest.device
    plain = STATION + Layout(([], IP(src="10.0.0.1", dst="10.0.0.2"), UDP()), body(200, 1)).right[6:]

    def arriving():
        settle(stack_guest)
        stack_guest.seen.clear()
        stack_guest.receive(plain, *(tagged(plain, tag) for tag in (5, 0x6FFE, 31)))
        assert all((bytes(skb), skb.protocol) == (plain[14:], 0x0800) for skb in stack_guest.seen)
        return [skb.vlan_tci for skb in stack_guest.seen]

    assert arriving() == [None, 5, 0x6FFE, 31]
    device.vlan_add_vid(0xFFE)
    assert arriving() == [None, 0x6FFE]
    device.set_features(off=Feature.HW_VLAN_CTAG_RX)
    assert arriving() == [None, 0x6FFE]
    device.mtu = 1400
    device.vlan_add_vid(31)
    assert arriving() == [None, 0x6FFE, 31]
    device.vlan_del_vid(31)
    device.vlan_del_vid(0xFFE)
    assert arriving() == [None, 5, 0x6FFE, 31]


def test_a_hung_transmitter_is_found_reset_and_goes_on(opened, caplog):
    device, tx = opened.device, opened.device.netdev_ops.tx
    opened.bus.write(regs.TCTL, opened.bus.read(regs.TCTL) & ~regs.TCTL_EN)  # behind the driver's back
    lost = [SkBuff.from_bytes(packet(100, seed=i), dev=device) for i in range(3)]
    for skb in lost:
        assert dev_queue_xmit(skb) == 0
    with caplog.at_level(logging.ERROR, logger="e1000"):
        for _ in range(24):
            opened.clock.advance(SECOND // 2)
            opened.stack.run()
            if device.netdev_ops.tx_timeout_count:
                break
    assert "Detected Tx Unit Hang" in caplog.text
    assert (device.netdev_ops.tx_timeout_count, device.netdev_ops.watchdog.tx_hangs) == (1, 1)
    settle(opened)
    assert "Reset adapter" in caplog.text
    assert opened.wire.take() == [bytes(skb) for skb in lost[1:]]  # they waited in the queue
    assert [skb.freed for skb in lost] == [DropReason.TX_ABORTED, True, True]
    assert device.netdev_ops.tx is tx
    assert device.xmit(Burst.from_packets([packet(200)])) == 1
    opened.stack.run()
    assert opened.wire.take() == [packet(200)]
    opened.receive(packet(300))
    assert opened.sink.packets[-1] == packet(300)
    stats = device.ethtool_ops.get_ethtool_stats(device)
    assert (stats["tx_timeout_count"], device.stats64.tx_errors) == (1, 1)


def group(i):
    return b"\x01\0\x5e\0" + (i * 0x101 & 0xFFFF).to_bytes(2, "big")


def test_groups_are_filtered_and_modes_switched_as_they_are_told(opened):
    device = opened.device
    stranger = bytes.fromhex("520000000099")

    def arrive(*addresses):
        settle(opened)
        before = len(opened.sink.packets)
        opened.receive(*(packet(80, to=to) for to in addresses))
        return [frame[:6] for frame in opened.sink.packets[before:]]

    listed, other = [group(i) for i in range(40)], b"\x01\0\x5e\x7f\x12\x34"
    everyone = [*listed, other, stranger, STATION]
    assert arrive(*everyone) == [STATION]
    for address in listed:
        device.mc.add(address)
    assert arrive(*everyone) == [*listed, STATION]
    device.set_allmulti(1)
    assert arrive(*everyone) == [*listed, other, STATION]
    device.promiscuous = True
    assert arrive(*everyone) == everyone
    device.set_allmulti(-1)
    device.promiscuous = False
    assert arrive(*everyone) == [*listed, STATION]
    for address in listed[:39]:
        device.mc.delete(address)
    assert arrive(*everyone) == [listed[39], STATION]


def test_packets_in_the_ring_of_a_card_that_dies_are_freed(undo):
    guest = Guest(undo, bql=False).open()
    guest.bus.write(regs.TCTL, guest.bus.read(regs.TCTL) & ~regs.TCTL_EN)
    layout = Layout(([], IP(src="10.0.0.1", dst="10.0.0.2"), TCP()), body(9000, 1))
    skbs = [wanting(layout, mss=1000, dev=guest.device), *(SkBuff.from_bytes(packet(100), dev=guest.device) for _ in range(5))]
    for skb in skbs:
        assert start_xmit(skb, guest.device) == NetdevTx.OK
    guest.stack.run()
    guest.kill()
    with pytest.raises(OSError, match="SIGKILL"):
        guest.stack.run()
    with pytest.raises(OSError, match="SIGKILL"):
        guest.device.stop()
    assert {skb.freed for skb in skbs} == {DropReason.TX_ABORTED}
    assert guest.memory.arena.allocated == 0
