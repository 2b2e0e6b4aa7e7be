"""What `ethtool` can have the driver look into: self-test, EEPROM, registers, LEDs. Afterwards the card is as it was."""

import errno
import struct

import pytest
from cards import RecordingWire, packet
from failing import SMALL, Host
from mdio import LOOPBACK
from microwire import WRITE, Microwire

from e1000 import regs
from e1000.bus import LocalBus
from e1000.device import DeviceThread, E1000Device, eeprom_image
from e1000.driver import probe, resume, suspend
from e1000.driver.loopback_test import loopback_test
from e1000.driver.selftest import eeprom_test
from fastring.burst import Burst
from fastring.clock import VirtualClock
from softnet.stack import Stack

FAR = bytes.fromhex("520000000002")


def test_of(device, **options):
    """The results by their first word."""
    results = device.ethtool_ops.self_test(device, **options)
    assert tuple(results) == device.ethtool_ops.get_strings(device, "test")
    return {name.split()[0]: value for name, value in results.items()}


test_of.__test__ = False
PASSED = dict.fromkeys(("Register", "Eeprom", "Interrupt", "Loopback", "Link"), 0)


# --- self-test ---


def test_the_self_test_passes_and_the_same_sender_goes_on(two_cards):
    two = two_cards()
    two.send([packet(100, to=FAR)])
    assert two.near.stats64.tx_packets == 1         # which reads the counters
    before = two.cards[0].dump()
    allocated, ring = two.memory.arena.allocated, two.near.netdev_ops.tx
    sender = two.near.transmitter()
    assert test_of(two.near) == PASSED
    assert two.near.carrier_ok
    assert (two.memory.arena.allocated, two.near.netdev_ops.tx) == (allocated, ring)
    changed = {name for name, value in two.cards[0].dump().items() if value != before[name]}
    assert changed <= {"TDH", "TDT", "RDH", "RDT", "MDIC", "RDBAL", "TDBAL", "EERD"}
    two.offered += 1
    assert sender.send(Burst.from_packets([packet(200, to=FAR)])) == 1
    two.stack.run()
    assert two.sink.packets[-1] == packet(200, to=FAR)
    assert len(two.sink.packets) == two.near.ethtool_ops.get_ethtool_stats(two.near)["tx_packets"] == 2     # none of the test's


def test_the_self_test_passes_on_a_card_with_a_thread_of_its_own(two_cards):
    two = two_cards()
    with DeviceThread(two.cards):
        assert test_of(two.near) == PASSED


def test_a_device_that_is_down_is_tested_too_and_stays_down(undo):
    host = Host(undo)
    assert test_of(host.device) == PASSED
    assert not host.card.peek(regs.RCTL)
    assert host.is_down()
    assert host.works()


def test_online_only_the_link_is_looked_at(two_cards):
    two = two_cards()
    reads = two.cards[0].read(regs.RDT)
    assert test_of(two.near, offline=False) == PASSED
    assert two.cards[0].read(regs.RDT) == reads
    two.cards[0].unplug()
    assert test_of(two.near, offline=False) == PASSED | {"Link": 1}
    two.cards[0].plug(two.wires[0])


class Stuck(LocalBus):
    """A card with a register one of whose bits is stuck."""

    stuck = None

    def read(self, offset, size=4):
        value = super().read(offset, size)
        return value | 0x10 if offset == self.stuck else value


@pytest.mark.parametrize("name", ["FCTTV", "TDLEN", "MTA", "RAH0"])
def test_a_stuck_bit_fails_the_register_test_and_is_named(undo, caplog, name):
    host = Host(undo, bus=Stuck)
    host.bus.stuck = getattr(regs, name)
    assert test_of(host.device)["Register"] == getattr(regs, name)
    assert f"pattern test reg {getattr(regs, name):04X} failed: got 0x" in caplog.text


def test_a_wrong_checksum_fails_the_eeprom_test(undo):
    host = Host(undo)
    memory = bytearray(host.card.eeprom)
    memory[20] ^= 1

    class Damaged:
        def __getattr__(self, name):
            return getattr(host.device.netdev_ops.hw, name)

        def read_eeprom_image(self):
            return bytes(memory)

    assert eeprom_test(Damaged()) == 2
    assert eeprom_test(host.device.netdev_ops.hw) == 0


class Deaf(LocalBus):
    """A card whose interrupt causes cannot be set, or whose mask does nothing."""

    lost = ()

    def write(self, offset, value, size=4):
        if offset not in self.lost:
            super().write(offset, value, size)


@pytest.mark.parametrize(("lost", "code"), [(regs.ICS, 4), (regs.IMS, 4), (regs.IMC, 5)])
def test_an_interrupt_that_does_not_come_fails_its_test(undo, lost, code):
    host = Host(undo, bus=Deaf)
    host.bus.lost = (lost,)
    assert test_of(host.device)["Interrupt"] == code
    host.bus.lost = ()
    assert host.works()


def test_a_link_that_changes_meanwhile_fails_no_interrupt_test(undo):
    class Flapping(LocalBus):
        def write(self, offset, value, size=4):
            super().write(offset, value | regs.ICR_LSC if offset == regs.ICS else value, size)

    assert test_of(Host(undo, bus=Flapping).device)["Interrupt"] == 0


def test_packets_that_do_not_come_back_fail_the_loopback_test(undo):
    host = Host(undo, bus=Deaf)
    host.bus.lost = (regs.TDT,)
    assert test_of(host.device)["Loopback"] == 13
    host.bus.lost = ()
    assert not host.device.netdev_ops.hw.read_phy(0) & LOOPBACK
    assert host.works()


def test_without_memory_the_loopback_test_says_so(undo):
    host = Host(undo)
    filler = host.memory.arena.alloc(len(host.memory.arena) - (1 << 16))
    assert test_of(host.device) == PASSED | {"Loopback": 2}
    host.memory.arena.free(filler)
    assert host.is_down()


# --- EEPROM ---


MAGIC = 0x100E8086


@pytest.mark.parametrize(("offset", "data"), [(0, b"\x52\x54\0\1\2\3"), (1, b"\xaa"), (6, b"\1\2\3"), (127, b"x"), (0, bytes(range(128)))])
def test_the_eeprom_is_written_and_its_checksum_made_right(undo, offset, data):
    host = Host(undo)
    before = host.card.eeprom
    host.device.ethtool_ops.set_eeprom(host.device, data, magic=MAGIC, offset=offset)
    wanted = before[:offset] + data + before[offset + len(data) :]
    assert host.card.eeprom[:126] == wanted[:126]
    assert eeprom_image.checksum(host.card.eeprom) == 0xBABA
    assert host.device.ethtool_ops.get_eeprom(host.device, 0, 128)[1] == host.card.eeprom
    assert host.card.peek(regs.EECD) & (regs.EECD_REQ | regs.EECD_CS) == 0
    assert host.works()


def test_the_eeprom_cannot_be_written_after_it_was(undo):
    host = Host(undo)
    host.device.ethtool_ops.set_eeprom(host.device, b"\0", magic=MAGIC, offset=40)
    Microwire(host.card).do(WRITE, 20, 0x1234)
    assert host.card.eeprom[40:42] != b"\x34\x12"


@pytest.mark.parametrize(
    ("data", "options", "number"),
    [
        (b"", {"magic": MAGIC}, errno.EOPNOTSUPP),
        (b"x", {"magic": 1}, errno.EFAULT),
        (b"x", {"magic": MAGIC, "offset": 128}, errno.EINVAL),
        (b"xy", {"magic": MAGIC, "offset": 127}, errno.EINVAL),
        (b"x", {"magic": MAGIC, "offset": -1}, errno.EINVAL),
    ],
)
def test_a_write_that_is_none_of_this_eeprom_is_refused(undo, data, options, number):
    host = Host(undo)
    before = host.card.eeprom
    with pytest.raises(OSError, match="eth0: ") as error:
        host.device.ethtool_ops.set_eeprom(host.device, data, **options)
    assert error.value.errno == number
    assert host.card.eeprom == before


# --- registers, LEDs ---


def test_the_registers_are_those_of_ethtool_d_in_its_order(two_cards):
    two = two_cards()
    named = two.near.ethtool_ops.get_regs(two.near)
    version, raw = two.near.ethtool_ops.get_regs_raw(two.near)
    words = struct.unpack("<32I", raw)
    assert version == 1 << 24 | two.cards[0].config_read(8, 1) << 16 | 0x100E
    order = ["CTRL", "STATUS", "RCTL", "RDLEN", "RDH", "RDT", "RDTR", "TCTL", "TDLEN", "TDH", "TDT", "TIDV"]
    assert list(named)[:12] == order
    assert list(words[:12]) == [two.cards[0].peek(getattr(regs, name)) for name in order]
    assert words[13] == words[18] == words[23] == named["PHY_SPEC_STATUS"]
    assert words[17] == words[20] == named["PHY_SPEC_CTRL"]
    assert words[24] == words[25] == named["PHY_1000T_STATUS"]
    assert words[26] == two.cards[0].peek(regs.MANC)
    assert not any(words[27:])


def test_the_leds_blink_as_the_eeprom_says_and_are_as_before_then(undo):
    host = Host(undo)
    before = host.card.peek(regs.LEDCTL)
    identify = host.device.ethtool_ops.set_phys_id
    assert identify(host.device, "active") == 2
    shown = []
    for state in ("on", "off"):
        assert identify(host.device, state) == 0
        shown.append(host.card.peek(regs.LEDCTL) >> 16)
    assert shown == [0x0E0F, 0x0F0F]        # LED 3 blinks, LED 2 is dark
    assert host.card.peek(regs.LEDCTL) & 0xFFFF == before & 0xFFFF
    identify(host.device, "inactive")
    assert host.card.peek(regs.LEDCTL) == before
    with pytest.raises(OSError, match="a step of identifying is active, on, off, inactive; not 'party'") as error:
        identify(host.device, "party")
    assert error.value.errno == errno.EINVAL


def test_nothing_of_this_is_against_the_manual(undo):
    card = E1000Device(wire=RecordingWire(), strict=True)
    bus = undo.enter_context(LocalBus(card))
    device = probe(bus, Stack(clock=VirtualClock()), **SMALL)
    device.register()
    device.open()
    ethtool = device.ethtool_ops
    for pause in (False, True):
        ethtool.set_pauseparam(device, rx_pause=pause, tx_pause=pause)
    for mtu in (9000, 16110, 1500):
        device.mtu = mtu
    ethtool.set_link_ksettings(device, autoneg=False, speed=100)
    ethtool.set_link_ksettings(device)
    ethtool.set_eeprom(device, b"x", magic=MAGIC, offset=40)
    ethtool.get_regs_raw(device)
    ethtool.set_phys_id(device, "active")
    ethtool.set_phys_id(device, "inactive")
    suspend(device)
    resume(device)
    device.xmit(Burst.from_packets([packet(60)]))
    device.stop()
    hw = device.netdev_ops.hw
    hw.reset()
    assert loopback_test(hw) == 0
    assert not card.breaches, str(card.breaches)
