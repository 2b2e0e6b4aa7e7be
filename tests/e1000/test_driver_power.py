"""The card's PCI side as the driver sees it: which cards, how many address bits; sleep, and what wakes."""

import errno

import pytest
from cards import BROADCAST, packet
from failing import SMALL, Host
from test_wakeup import MULTICAST, OTHER, magic

from e1000 import regs
from e1000.bus import Bus, HostMemory, LocalBus
from e1000.device import E1000Device, eeprom_image
from e1000.driver import probe, resume, suspend
from fastring.burst import Burst
from fastring.wire import NullWire
from softnet import Feature, ethtool
from softnet.stack import Stack
from softnet.tools import ethtool_text

PMCSR, PME_EN, D3HOT = 0xE0, 1 << 8, 3
FAR = bytes.fromhex("520000000002")
SECOND = 1_000_000_000


# --- probe ---


@pytest.mark.parametrize("device_id", [0x100E, 0x100F])
def test_both_cards_of_the_table_are_driven(undo, device_id):
    bus = undo.enter_context(LocalBus(E1000Device(device_id=device_id, wire=NullWire())))
    assert probe(bus, Stack()).netdev_ops.hw.pci_ids() == (0x8086, device_id)


def test_another_is_refused_by_its_id_and_those_driven_are_named(undo):
    class Other(LocalBus):
        def config_read(self, offset, size=4):
            return 0x10D38086 if offset == 0 else super().config_read(offset, size)

    bus = undo.enter_context(Other(E1000Device()))
    with pytest.raises(OSError, match=r"8086:10d3 is no card of this driver, which drives 8086:100e, .*8086:100f") as error:
        probe(bus, Stack())
    assert error.value.errno == errno.ENODEV


class Narrow(LocalBus):
    """A bus with so many address bits."""

    bits = 32

    def dma_set_mask(self, bits):
        if bits > self.bits:
            raise OSError(errno.EIO, f"this bus has {self.bits} address bits")


@pytest.mark.parametrize("bits", [64, 32])
def test_the_widest_dma_mask_is_taken(undo, bits):
    bus = undo.enter_context(Narrow(E1000Device(wire=NullWire())))
    bus.bits = bits
    assert probe(bus, Stack(), **SMALL).netdev_ops.dma_bits == bits


@pytest.mark.parametrize(("bits", "shown"), [(64, "on [fixed]"), (32, "off [fixed]")])
def test_memory_above_4_gib_is_a_feature_where_the_card_reaches_it(undo, bits, shown):
    bus = undo.enter_context(Narrow(E1000Device(wire=NullWire())))
    bus.bits = bits
    device = probe(bus, Stack(), **SMALL)
    assert device.features & Feature.HIGHDMA == device.vlan_features & Feature.HIGHDMA == (Feature.HIGHDMA if bits == 64 else 0)
    text = ethtool_text.features(device.name, ethtool.get_features(device))
    assert f"highdma: {shown}" in text.splitlines()


def test_memory_the_card_cannot_reach_ends_the_probe(undo):
    bus = undo.enter_context(Narrow(E1000Device(wire=NullWire()), enabled=False))
    bus.bits = 24
    with pytest.raises(OSError, match="No usable DMA configuration, aborting: this bus has 24 address bits") as error:
        probe(bus, Stack())
    assert error.value.errno == errno.EIO
    assert bus.config_read(4, 2) & 6 == 0


def test_a_bus_knows_how_many_bits_its_memory_needs(undo):
    bus = LocalBus(E1000Device(), memory=undo.enter_context(HostMemory(size=1 << 24)))
    bus.dma_set_mask(64)
    bus.dma_set_mask(32)
    with pytest.raises(OSError, match="its memory ends at 0x1100000, which 24 address bits do not reach") as error:
        bus.dma_set_mask(24)
    assert error.value.errno == errno.EIO


def test_a_card_left_asleep_is_woken_by_probe(undo):
    host = Host(undo)
    host.bus.config_write(PMCSR, D3HOT, 2)
    assert probe(host.bus, Stack(), **SMALL).dev_addr
    assert host.bus.config_read(PMCSR, 2) & 3 == 0


# --- what wakes ---


def wol(device):
    return device.ethtool_ops.get_wol(device)


def test_the_eeprom_says_whether_magic_packets_wake(undo):
    assert wol(Host(undo).device) == {"supported": "gumb", "wolopts": "g"}
    image = bytearray(E1000Device().eeprom)
    image[2 * 0x24 : 2 * 0x24 + 2] = b"\0\0"
    image[126:] = (0xBABA - sum(int.from_bytes(image[i : i + 2], "little") for i in range(0, 126, 2)) & 0xFFFF).to_bytes(2, "little")
    assert eeprom_image.checksum(bytes(image)) == 0xBABA
    bus = undo.enter_context(LocalBus(E1000Device(eeprom=bytes(image))))
    assert wol(probe(bus, Stack()))["wolopts"] == "d"


@pytest.mark.parametrize("letters", ["g", "u", "m", "b", "gumb", "bu"])
def test_what_wakes_is_set_and_shown_by_its_letters(undo, letters):
    device = Host(undo).device
    device.ethtool_ops.set_wol(device, wolopts=letters)
    assert sorted(wol(device)["wolopts"]) == sorted(letters)
    device.ethtool_ops.set_wol(device, wolopts="d")
    assert wol(device)["wolopts"] == "d"


@pytest.mark.parametrize("letters", ["p", "a", "s", "ga"])
def test_what_cannot_wake_is_refused(undo, letters):
    device = Host(undo).device
    with pytest.raises(OSError, match="what wakes it is some of 'bgmu'; not") as error:
        device.ethtool_ops.set_wol(device, wolopts=letters)
    assert error.value.errno == errno.EOPNOTSUPP
    assert wol(device)["wolopts"] == "g"


def test_an_82545em_cannot_wake_its_host(undo):
    bus = undo.enter_context(LocalBus(E1000Device(device_id=0x100F)))
    device = probe(bus, Stack())
    assert wol(device) == {"supported": "d", "wolopts": "d"}
    with pytest.raises(OSError, match="some of 'nothing'"):
        device.ethtool_ops.set_wol(device, wolopts="g")
    device.ethtool_ops.set_wol(device, wolopts="d")


def test_a_phy_that_need_not_wake_loses_its_power_with_stop(undo):
    host = Host(undo)
    for letters, link in (("g", True), ("d", False)):
        host.device.ethtool_ops.set_wol(host.device, wolopts=letters)
        assert host.works()
        assert bool(host.device.netdev_ops.hw.read_phy(1) & 4) == link


# --- sleep ---


class Sleeper(Host):
    def suspend(self, letters):
        self.device.ethtool_ops.set_wol(self.device, wolopts=letters)
        suspend(self.device)

    def resume(self):
        return resume(self.device)

    def arrive(self, content):
        self.wire.inject(Burst.from_packets([content]))


WAKING = {"g": (regs.WUFC_MAG, magic()), "u": (regs.WUFC_EX, packet(60)), "m": (regs.WUFC_MC, packet(60, to=MULTICAST)),
          "b": (regs.WUFC_BC, packet(60, to=BROADCAST))}  # fmt: skip


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("letter", WAKING)
def test_a_sleeping_card_wakes_its_host_by_what_it_was_told(undo, letter, opened):
    host = Sleeper(undo)
    if opened:
        host.device.open()
    host.suspend(letter)
    host.suspend(letter)                            # again is harmless
    assert host.bus.config_read(PMCSR, 2) & (PME_EN | D3HOT) == PME_EN | D3HOT
    assert host.memory.arena.allocated == 0         # the rings are given back
    host.arrive(packet(60, to=OTHER))
    assert not host.card.pme
    bit, content = WAKING[letter]
    host.arrive(content)
    assert host.card.pme
    assert host.resume() == bit
    assert not host.card.pme
    assert host.resume() == 0
    assert host.bus.config_read(PMCSR, 2) & (PME_EN | D3HOT) == 0
    if opened:
        assert host.passes()
        host.device.stop()
    assert host.is_down()
    assert host.works()


def test_without_anything_that_wakes_it_sleeps_on(undo):
    host = Sleeper(undo)
    host.device.open()
    host.suspend("d")
    host.arrive(magic())
    assert not host.card.pme
    assert host.resume() == 0
    assert host.passes()
    host.device.stop()


def test_configuration_space_comes_back_as_it_was(undo):
    host = Sleeper(undo)
    host.bus.config_write(0x3C, 0x0B, 1)
    host.bus.config_write(0x10, 0xFEB00000)
    before = [host.bus.config_read(offset) for offset in range(0, 64, 4)]
    host.suspend("g")
    host.resume()
    assert [host.bus.config_read(offset) for offset in range(0, 64, 4)] == before


def test_a_sleeping_device_sends_nothing_and_cannot_be_opened_but_be_stopped(undo):
    host = Sleeper(undo)
    host.device.open()
    sender = host.device.transmitter()
    host.suspend("g")
    assert not host.device.carrier_ok
    with pytest.raises(OSError, match="takes no packets") as error:
        sender.send(Burst.from_packets([packet(60)]))
    assert error.value.errno == errno.ENETDOWN
    host.device.stop()
    with pytest.raises(OSError, match="eth0 is suspended: resume it first") as error:
        host.device.open()
    assert error.value.errno == errno.ENODEV
    host.resume()
    assert host.is_down()
    assert host.works()


def test_traffic_goes_on_after_a_sleep_with_the_same_sender_and_statistics_stay(two_cards):
    two = two_cards()
    sender = two.near.transmitter()
    for i in range(3):
        two.offered += 1
        assert sender.send(Burst.from_packets([packet(100, to=FAR, seed=i)])) == 1
        two.stack.run()
        suspend(two.near)
        two.clock.advance(10 * SECOND)
        two.stack.run()
        resume(two.near)
        assert two.near.carrier_ok
    assert two.sink.packets == [packet(100, to=FAR, seed=i) for i in range(3)]
    assert two.near.ethtool_ops.get_ethtool_stats(two.near)["tx_packets"] == 3


def test_a_bus_without_configuration_space_sleeps_without_d3(undo):
    class Plain(Bus):
        def __init__(self, card, *, memory):
            super().__init__(memory=memory)
            self.inner = LocalBus(card, memory=memory)

        def read(self, offset, size=4):
            return self.inner.read(offset, size)

        def write(self, offset, value, size=4):
            self.inner.write(offset, value, size)

    host = Sleeper(undo, bus=Plain)
    assert wol(host.device) == {"supported": "d", "wolopts": "d"}
    host.device.open()
    host.suspend("d")
    assert host.memory.arena.allocated == 0
    host.resume()
    assert host.card.peek(regs.RCTL) & regs.RCTL_EN
    host.device.stop()
