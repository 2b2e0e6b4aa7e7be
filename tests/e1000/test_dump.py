"""Registers by name, and their bits by name."""

import re

import pytest

from e1000 import regs
from e1000.fields import TABLE, decode, fields_of, reserved_bits
from e1000.regmap import REGISTERS, Access, expand


def test_a_dump_is_a_dict_of_every_register(card):
    card.write(regs.MTA + 4 * 7, 0x80)
    dump = card.device.dump()
    assert set(dump) == {name for name, _ in expand().values()}
    assert dump["MTA[7]"] == 0x80
    assert dump["STATUS"] == card.peek(regs.STATUS)


def test_as_text_it_is_a_table_with_bit_names_where_equal_neighbours_share_a_line(card):
    card.write(regs.RCTL, regs.RCTL_EN | regs.RCTL_BAM | 1 << regs.RCTL_BSIZE_SHIFT)
    card.write(regs.MTA + 4 * 7, 0x80)
    lines = str(card.device.dump()).splitlines()
    assert "00100  RCTL          00018002  EN RDMTS=1/2 MO=47:36 BAM BSIZE=1024(16384)" in lines
    assert [line for line in lines if "MTA" in line] == [
        "05200  MTA[0..6]     00000000",
        "0521c  MTA[7]        00000080",
        "05220  MTA[8..127]   00000000",
    ]
    assert sum("VFTA" in line for line in lines) == 1
    statistics = sum(register.access in (Access.STAT, Access.STAT64_LOW, Access.STAT64_HIGH) for register in REGISTERS)
    assert lines[-1] == f"{statistics} statistics are 0"


def test_a_dump_has_no_side_effects(card):
    card.write(regs.ICS, regs.ICR_LSC)
    assert "LSC" in str(card.device.dump())
    assert card.read(regs.ICR) & regs.ICR_LSC


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("CTRL", 0x201, "FD SPEED=1000M"),
        ("EECD", 0x1D0, "FWE=disabled REQ GNT PRES"),
        ("MDIC", 1 << 28 | 2 << 26 | 1 << 21 | 17 << 16 | 0xAC00, "DATA=0xac00 REG=0x11 PHY=1 OP=read READY"),
        ("RAH3", 0x80011234, "ADDRESS=0x1234 AS=source AV"),
        ("IMS", 0x9D, "TXDW LSC RXSEQ RXDMT0 RXT0"),
        ("TCTL", 1, "reserved=0x1"),
        ("IMC", 0xFFFFFFFF, "all bits"),
        ("TDT", 77, ""),
        ("MTA[4]", 77, ""),
        ("GPRC", 77, ""),
        ("TX legacy", 60 | 0xB << 24 | 1 << 32, "LENGTH=0x3c EOP IFCS RS DD"),
    ],
)
def test_a_value_is_told_in_its_fields_names(name, value, text):
    assert decode(name, value) == text


def test_fields_of_a_register_do_not_overlap_and_fit(card):
    for name in TABLE:
        width = 64 if name[:2] in ("TX", "RX") and (" " in name or name == "RX") else 32
        seen = 0
        for field in fields_of(name):
            assert not seen & field.mask, (name, field)
            assert field.mask < 1 << width
            assert not field.values or len(field.values) <= 1 << field.width
            seen |= field.mask


def test_every_line_is_a_registers_or_a_descriptors():
    known = {re.sub(r"\d+$", "", register.name) for register in REGISTERS} | {name for name in dir(regs) if name.isupper()}
    assert {name for name in TABLE if not name.startswith(("TX ", "RX"))} - {"RXDCTL", "RXCSUM", "RXCW"} <= known | {"RAL", "RAH"}


def test_each_bit_a_reset_or_a_write_can_set_has_a_name(card):
    for offset, (name, register) in expand().items():
        if fields_of(name) and register.mask != 0xFFFFFFFF:
            assert not register.reset & reserved_bits(name), (hex(offset), name)
