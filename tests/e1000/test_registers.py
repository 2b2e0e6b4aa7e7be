"""Registers: a walk over the register map, reset, and what no register access may do."""

import random

import pytest
from cards import BROADCAST, MAC, STATION, RecordingWire, packet

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.regmap import Access, expand
from fastring.burst import Burst

ALL = 0xFFFFFFFF
MAP = expand()
# Written to, these do something else than store; each has tests of its own.
ACTING = {"CTRL", "CTRL_DUP", "STATUS", "ICR", "ICS", "IMS", "IMC", "EECD", "EERD", "CTRL_EXT", "MDIC", "PBA", "RDTR", "TCTL", "WUC", "WUS"}
MODERATING = {"ITR", "RDTR", "RXDCTL", "RSRPD", "TIDV", "TXDCTL"}


def by_access(*accesses):
    rows = [(offset, name, line) for offset, (name, line) in MAP.items() if line.access in accesses and name not in ACTING]
    return pytest.mark.parametrize(("offset", "line"), [pytest.param(o, r, id=n) for o, n, r in rows if not n.startswith(("MTA", "VFTA"))])


def line_of(name):
    return next(line for found, line in MAP.values() if found == name)


def busy_card(card):
    """Every counter and every kind of register differs from what it is after reset."""
    card.tx_ring()
    card.rx_ring(rctl=regs.RCTL_BAM | regs.RCTL_MPE | regs.RCTL_LPE)
    for length in (60, 100, 200, 400, 800, 1400):
        for to in (STATION, BROADCAST, b"\1" * 6):
            card.post_packets(packet(length, to=to))
            card.receive(packet(length, to=to))
    card.receive(packet(30), packet(20000))
    for offset, (name, line) in MAP.items():
        if line.access is Access.RW or name.startswith("RA") or name in MODERATING:
            card.write(offset, 0x5A5A5A5A)
    card.write(regs.IMS, 0x1FFFF)
    card.write(regs.ICS, 0x1FFFF)


def test_every_register_holds_its_reset_value_in_a_new_card(card):
    dump = card.device.dump()
    assert set(dump) == {name for name, _ in MAP.values()}
    expected = {name: line.reset for name, line in MAP.values()}
    expected["RAL0"], expected["RAH0"] = int.from_bytes(STATION[:4], "little"), int.from_bytes(STATION[4:], "little") | regs.RAH_AV
    expected["CTRL"] = expected["CTRL_DUP"] = line_of("CTRL").reset | regs.CTRL_SLU     # the EEPROM enables wake-up by APM
    expected["WUC"] = regs.WUC_APME
    expected["STATUS"] |= regs.STATUS_LU
    assert dump == expected


@by_access(Access.RW, Access.SPECIAL)
def test_a_write_changes_the_writable_bits_and_no_others(card, offset, line):
    fixed = card.read(offset) & ~line.mask
    for value in (ALL, 0x5A5A5A5A, 0xA5A5A5A5, 0):
        card.write(offset, value)
        assert card.read(offset) == fixed | value & line.mask


@pytest.mark.parametrize("table", ["MTA", "VFTA"])
def test_every_word_of_a_table_is_its_own(card, table):
    base = getattr(regs, table)
    for i in range(128):
        card.write(base + 4 * i, 0x01010101 * i)
    assert [card.read(base + 4 * i) for i in range(128)] == [0x01010101 * i for i in range(128)]


@by_access(Access.STAT, Access.STAT64_LOW, Access.STAT64_HIGH, Access.RO)
def test_writing_a_statistic_changes_nothing(card, offset, line):
    busy_card(card)
    before = card.peek(offset)
    for value in (0, ALL):
        card.write(offset, value)
        assert card.peek(offset) == before


def test_status_cannot_be_written(card):
    before = card.read(regs.STATUS)
    card.write(regs.STATUS, ~before & ALL)
    assert card.read(regs.STATUS) == before


def test_reading_a_statistic_clears_it_and_peeking_does_not(card):
    busy_card(card)
    counted = []
    for offset, (name, line) in MAP.items():
        if line.access is Access.STAT:
            value = card.peek(offset)
            assert card.read(offset) == value
            assert card.read(offset) == 0, name
            counted += [name] * (value > 0)
    expected = "TPR TPT GPRC GPTC BPRC MPRC BPTC MPTC RUC ROC PRC64 PTC64 PRC1522 PTC1522"
    assert set(expected.split()) <= set(counted)


@pytest.mark.parametrize("name", ["GORC", "GOTC", "TOR", "TOT"])
def test_a_64_bit_statistic_is_cleared_by_reading_its_high_half_alone(card, name):
    busy_card(card)
    low = card.read(getattr(regs, name + "L"))
    assert low > 0
    assert card.read(getattr(regs, name + "L")) == low
    assert card.read(getattr(regs, name + "H")) == 0
    assert card.read(getattr(regs, name + "L")) == 0


def test_reset_clears_itself_and_restores_every_register(card):
    fresh = card.device.dump()
    busy_card(card)
    assert card.device.dump() != fresh
    card.write(regs.CTRL, card.read(regs.CTRL) | regs.CTRL_RST)
    assert not card.read(regs.CTRL) & regs.CTRL_RST
    sticky = {name for name, line in MAP.values() if line.sticky}
    assert {name: value for name, value in card.device.dump().items() if name not in sticky} == {
        name: value for name, value in fresh.items() if name not in sticky
    }


def test_reset_drops_the_interrupt_line(card):
    card.write(regs.IMS, regs.ICR_RXT0)
    card.write(regs.ICS, regs.ICR_RXT0)
    assert card.bus.irq.asserted
    card.write(regs.CTRL, regs.CTRL_RST)
    assert not card.bus.irq.asserted


def test_reset_keeps_what_fastring_counts_itself(card):
    card.receive(packet(64))
    card.write(regs.CTRL, regs.CTRL_RST)
    assert card.device.drops["rx_disabled"] == 1


@pytest.mark.parametrize("offset", [1, 2, 3, 0x1FFFE, 0x20000, 0x20004, 0xFFFFFFFC])
def test_an_offset_that_is_no_register_is_refused(card, offset):
    with pytest.raises(ValueError, match="multiples of 4 below 0x20000"):
        card.read(offset)
    with pytest.raises(ValueError, match="multiples of 4 below 0x20000"):
        card.write(offset, 0)
    with pytest.raises(ValueError, match="multiples of 4 below 0x20000"):
        card.peek(offset)


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_a_value_of_more_than_32_bits_is_refused(card, value):
    with pytest.raises(OverflowError):
        card.write(regs.TDT, value)


def test_what_is_no_register_reads_zero_and_takes_no_write(card):
    before = card.device.dump()
    for offset in range(0, 0x20000, 4):
        if offset not in MAP and offset < regs.PBM and offset != regs.SWSM:
            card.write(offset, ALL)
            assert card.read(offset) == 0, hex(offset)
    assert card.device.dump() == before


def test_random_writes_never_change_what_is_read_only(card):
    random.seed(1)
    fixed = {offset: card.peek(offset) & ~line.mask for offset, (name, line) in MAP.items() if line.access is Access.RW}
    for _ in range(20000):
        card.write(random.randrange(0x8000) * 4, random.getrandbits(32) & ~regs.CTRL_RST)
    assert {offset: card.peek(offset) & ~MAP[offset][1].mask for offset in fixed} == fixed


# --- link, cable, bus ---


def test_set_link_up_brings_the_link_up_and_says_so(card):
    card.write(regs.CTRL, 0)
    card.read(regs.ICR)
    assert not card.read(regs.STATUS) & regs.STATUS_LU
    card.write(regs.CTRL, regs.CTRL_SLU)
    assert card.read(regs.STATUS) & regs.STATUS_LU
    assert card.read(regs.ICR) == regs.ICR_LSC
    card.write(regs.CTRL, regs.CTRL_SLU)
    assert card.read(regs.ICR) == 0
    card.device.unplug()
    assert not card.read(regs.STATUS) & regs.STATUS_LU
    assert card.read(regs.ICR) == regs.ICR_LSC


def test_without_a_cable_there_is_no_link():
    device = E1000Device()
    device.write(regs.CTRL, regs.CTRL_SLU)
    assert not device.read(regs.STATUS) & regs.STATUS_LU
    device.plug(RecordingWire())
    assert device.read(regs.STATUS) & regs.STATUS_LU


def test_a_card_takes_one_cable_and_a_wire_one_card(card):
    with pytest.raises(OSError, match=r"plugged into .* already"):
        card.device.plug(RecordingWire())
    with pytest.raises(OSError, match="has a card attached already"):
        E1000Device(wire=card.wire)
    card.device.unplug()
    card.device.unplug()
    E1000Device(wire=card.wire).close()


def test_a_card_is_on_one_bus_at_a_time(card):
    with pytest.raises(OSError, match="is on a bus already"):
        LocalBus(card.device)
    card.bus.close()
    card.bus.close()
    with HostMemory(size=4096) as memory, LocalBus(card.device, memory=memory):
        assert card.device.read(regs.CTRL) == 0x241


def test_a_card_on_no_bus_reaches_nothing_and_crashes_nothing():
    device = E1000Device(wire=RecordingWire())
    for register in (regs.TDLEN, regs.RDLEN):
        device.write(register, 1024)
    device.write(regs.TCTL, regs.TCTL_EN)
    device.write(regs.RCTL, regs.RCTL_EN)
    device.write(regs.TDT, 5)
    device.write(regs.RDT, 5)
    device.wire.inject(Burst.from_packets([packet(60)]))
    assert device.wire.sent == []
    assert (device.read(regs.TDH), device.read(regs.RDH)) == (0, 0)


def test_the_station_address_is_what_reset_loads():
    for mac in (MAC, "52-54-00-12-34-56", STATION):
        assert E1000Device(mac=mac).mac == MAC


@pytest.mark.parametrize("mac", ["", "52:54:00:12:34", "zz:54:00:12:34:56", "01:00:5e:00:00:01", "00:00:00:00:00:00", BROADCAST, b"12345"])
def test_what_is_no_station_address_is_refused(mac):
    with pytest.raises(ValueError, match="no station address"):
        E1000Device(mac=mac)
