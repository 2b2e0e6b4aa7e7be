"""The I/O BAR, and registers read and written by 8 and 16 bits."""

import pytest

from e1000 import regs

ONES = 0xFFFFFFFF
COMMAND, PMCSR = 0x04, 0xE0
IO, MEMORY, MASTER = 1, 2, 4
IOADDR, IODATA = 0, 4
D3HOT = 3


def command(card, value):
    card.bus.config_write(COMMAND, value, 2)


def power(card, state):
    card.bus.config_write(PMCSR, state, 1)


# --- the I/O BAR ---


def test_io_reaches_every_register(card):
    card.bus.io_write(IOADDR, regs.FCTTV)
    card.bus.io_write(IODATA, 0xABCD)
    assert (card.bus.io_read(IOADDR), card.bus.io_read(IODATA), card.read(regs.FCTTV)) == (regs.FCTTV, 0xABCD, 0xABCD)
    card.bus.io_write(IOADDR, regs.VFTA + 4 * 127)
    card.bus.io_write(IODATA, 0x12345678)
    assert card.read(regs.VFTA + 4 * 127) == 0x12345678


def test_linux_resets_the_card_through_io(card):
    fresh = card.device.dump()
    card.write(regs.FCTTV, 0x1234)
    control = card.read(regs.CTRL)
    card.bus.io_write(IOADDR, regs.CTRL)
    card.bus.io_write(IODATA, control | regs.CTRL_RST)
    assert card.device.dump() == fresh


def test_io_works_with_memory_off_and_not_with_io_off(card):
    command(card, IO)
    card.bus.io_write(IOADDR, regs.FCTTV)
    card.bus.io_write(IODATA, 0x1234)
    assert card.peek(regs.FCTTV) == 0x1234
    for gate in (lambda: command(card, MEMORY | MASTER), lambda: power(card, D3HOT)):
        gate()
        card.bus.io_write(IODATA, 0x5678)
        card.bus.io_write(IOADDR, 0)
        assert (card.bus.io_read(IOADDR), card.bus.io_read(IODATA), card.bus.io_read(0, 1)) == (ONES, ONES, 0xFF)
        command(card, IO)
    assert card.peek(regs.FCTTV) == 0x1234


def test_ioaddr_has_20_bits_and_behind_the_registers_is_nothing(card):
    card.bus.io_write(IOADDR, ONES)
    assert card.bus.io_read(IOADDR) == 0xFFFFF
    for address in (0x20000, 0x7FFFC, 0xFFFFC):
        card.bus.io_write(IOADDR, address)
        card.bus.io_write(IODATA, regs.CTRL_RST)
        assert card.bus.io_read(IODATA) == ONES
    for offset in range(8, 64, 4):
        card.bus.io_write(offset, 0)
        assert card.bus.io_read(offset) == ONES
    assert card.bus.io_read(IOADDR) == 0xFFFFC


def test_io_writes_of_less_than_a_dword_are_ignored_and_reads_give_the_bytes_asked_for(card):
    card.bus.io_write(IOADDR, regs.VFTA)
    card.bus.io_write(IODATA, 0x12345678)
    for size in (1, 2):
        card.bus.io_write(IOADDR, 0, size)
        card.bus.io_write(IODATA, 0, size)
    assert (card.bus.io_read(IOADDR), card.bus.io_read(IODATA)) == (regs.VFTA, 0x12345678)
    assert [card.bus.io_read(IODATA + i, 1) for i in range(4)] == [0x78, 0x56, 0x34, 0x12]
    assert [card.bus.io_read(IODATA + i, 2) for i in range(3)] == [0x5678, 0x3456, 0x1234]


def test_io_offsets_outside_the_bar_or_across_registers_are_refused(card):
    for offset, size in ((64, 4), (64, 1), (2, 4), (3, 2), (ONES, 1)):
        with pytest.raises(ValueError, match="below 0x40"):
            card.bus.io_read(offset, size)
        with pytest.raises(ValueError, match="below 0x40"):
            card.bus.io_write(offset, 0, size)


# --- BAR0 by 8 and 16 bits ---


def test_part_of_a_register_reads_its_bytes_with_its_side_effects_once(card):
    card.write(regs.VFTA, 0x12345678)
    assert [card.read(regs.VFTA + i, 1) for i in range(4)] == [0x78, 0x56, 0x34, 0x12]
    assert [card.read(regs.VFTA + i, 2) for i in range(3)] == [0x5678, 0x3456, 0x1234]
    card.write(regs.ICS, regs.ICR_RXT0 | regs.ICR_TXD_LOW)
    assert card.read(regs.ICR + 1, 1) == regs.ICR_TXD_LOW >> 8
    assert card.read(regs.ICR) == 0


def test_part_of_a_register_written_changes_no_other_byte(card):
    card.write(regs.VFTA, 0x12345678)
    card.write(regs.VFTA + 1, 0xAB, 1)
    assert card.read(regs.VFTA) == 0x1234AB78
    card.write(regs.VFTA + 2, 0xCDEF, 2)
    assert card.read(regs.VFTA) == 0xCDEFAB78
    card.write(regs.RCTL, regs.RCTL_BAM | regs.RCTL_SECRC)
    card.write(regs.RCTL, regs.RCTL_EN, 1)
    assert card.read(regs.RCTL) == regs.RCTL_BAM | regs.RCTL_SECRC | regs.RCTL_EN


def test_bytes_not_written_to_an_interrupt_register_do_nothing(card):
    card.write(regs.IMS, 0x11)
    card.write(regs.IMS + 1, 0x02, 1)
    assert card.read(regs.IMS) == 0x211
    card.write(regs.IMC, 0x01, 1)
    assert card.read(regs.IMS) == 0x210
    card.write(regs.ICS, 0x204)
    card.write(regs.ICS, 0x80, 1)
    card.write(regs.ICR, 0x04, 1)
    assert card.read(regs.ICR) == 0x280


def test_accesses_across_two_registers_are_refused(card):
    for offset, size in ((2, 4), (3, 2), (0x20000, 1), (0x1FFFE, 4)):
        with pytest.raises(ValueError, match="below 0x20000"):
            card.bus.read(offset, size)
        with pytest.raises(ValueError, match="below 0x20000"):
            card.bus.write(offset, 0, size)
