"""Every register as one line of data: how it is accessed, what it holds after reset, which bits a write changes.

The device builds its dispatch tables from this, `E1000Device.dump` prints from it, and tests walk it.
What a register does beyond storing bits is in device/mmio.pyx.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cache

from e1000 import regs

ALL = 0xFFFFFFFF
CAUSES = 0x0001FFFF  # Linux's self-test wants the reserved ones below bit 10 too
CTRL_MASK = 0xDFFC1BE1  # no LRST: that is the serial link's


class Access(Enum):
    """What a read and a write do."""

    RW = "RW"  # stored; reset value and writable mask say the rest
    RO = "RO"  # a write changes nothing
    STAT = "RC"  # 32-bit statistic: cleared by a read, stays at its maximum (§13.7)
    STAT64_LOW = "RC64L"  # low half of a 64-bit statistic
    STAT64_HIGH = "RC64H"  # high half: reading it clears both (§13.7.1)
    SPECIAL = "special"  # a function of its own in device/mmio.pyx


@dataclass(frozen=True, slots=True)
class Register:
    """One register, or `count` of them `stride` bytes apart."""

    name: str
    offset: int
    access: Access
    section: str
    reset: int = 0
    mask: int = ALL
    count: int = 1
    stride: int = 4
    sticky: bool = False  # kept by a reset: only power-up gives it its reset value


RW, RO, SPECIAL = Access.RW, Access.RO, Access.SPECIAL


def _register(
    name: str, access: Access, section: str, *, reset: int = 0, mask: int = ALL, count: int = 1, stride: int = 4, sticky: bool = False
) -> Register:
    return Register(name, int(getattr(regs, name)), access, section, reset, mask, count, stride, sticky)


def _statistics() -> list[Register]:
    wide = {"GORC", "GOTC", "TOR", "TOT"}
    names = [name for name, member in vars(regs).items() if isinstance(member, int) and 0x4000 <= member < 0x4100 and name != "MAX_FRAME"]
    out = []
    for name in names:
        access = Access.STAT
        if name[:-1] in wide:
            access = Access.STAT64_LOW if name.endswith("L") else Access.STAT64_HIGH
        out.append(_register(name, access, "13.7"))
    return out


def _fifo(which: str, section: str) -> list[Register]:
    """Its pointers and its number of packets, for diagnostics."""
    return [_register(f"{which}F{name}", RW, section, mask=0x1FFF) for name in ("H", "T", "HS", "TS", "PC")]


REGISTERS: tuple[Register, ...] = (
    _register("CTRL", SPECIAL, "13.4.1", reset=0x00000201, mask=CTRL_MASK),
    _register("CTRL_DUP", SPECIAL, "13.4.1", reset=0x00000201, mask=CTRL_MASK),
    _register("STATUS", SPECIAL, "13.4.2", reset=0x00000081),
    _register("EECD", SPECIAL, "13.4.3", reset=0x00000118),
    _register("EERD", SPECIAL, "13.4.4"),
    _register("CTRL_EXT", SPECIAL, "13.4.6", mask=0x00C2FFCF),
    _register("MDIC", SPECIAL, "13.4.7", mask=0x7FFFFFFF),
    _register("FCAL", RW, "13.4.8"),
    _register("FCAH", RW, "13.4.9", mask=0xFFFF),
    _register("FCT", SPECIAL, "13.4.10", mask=0xFFFF),
    _register("VET", SPECIAL, "13.4.11", mask=0xFFFF),
    _register("ICR", SPECIAL, "13.4.17", mask=CAUSES),
    _register("ITR", SPECIAL, "13.4.18", mask=0xFFFF),
    _register("ICS", SPECIAL, "13.4.19", mask=CAUSES),
    _register("IMS", SPECIAL, "13.4.20", mask=CAUSES),
    _register("IMC", SPECIAL, "13.4.21", mask=CAUSES),
    _register("RCTL", SPECIAL, "13.4.22", mask=0x06DFB3FE),
    _register("FCTTV", RW, "13.4.12", mask=0xFFFF),
    _register("TXCW", RW, "13.4.13", mask=0xC000FFFF),
    _register("RXCW", RO, "13.4.14"),
    _register("TCTL", SPECIAL, "13.4.33", mask=0x017FFFFA),
    _register("TIPG", RW, "13.4.34", mask=0x3FFFFFFF),
    _register("AIT", RW, "13.4.35", mask=0xFFFF),
    _register("LEDCTL", RW, "13.4.15", reset=0x07068302, mask=0xCFCFCFCF),
    _register("PBA", SPECIAL, "13.4.16", reset=0x00100030, mask=0x7F, sticky=True),
    _register("FCRTL", RW, "13.4.23", mask=0x8000FFF8),
    _register("FCRTH", RW, "13.4.24", mask=0x8000FFF8),
    *_fifo("RD", "13.8.1"),
    _register("RDBAL", SPECIAL, "13.4.25", mask=0xFFFFFFF0),
    _register("RDBAH", SPECIAL, "13.4.26"),
    _register("RDLEN", SPECIAL, "13.4.27", mask=0xFFF80),
    _register("RDH", SPECIAL, "13.4.28", mask=0xFFFF),
    _register("RDT", SPECIAL, "13.4.29", mask=0xFFFF),
    _register("RDTR", SPECIAL, "13.4.30", mask=0x8000FFFF),
    _register("RXDCTL", SPECIAL, "13.4.46", reset=0x00010000, mask=0x013F3F3F),
    _register("RADV", RW, "13.4.31", mask=0xFFFF),
    _register("RSRPD", SPECIAL, "13.4.32", mask=0xFFF),
    _register("TXDMAC", RW, "13.4.42", mask=1),
    *_fifo("TD", "13.8.6"),
    _register("TDBAL", SPECIAL, "13.4.36", mask=0xFFFFFFF0),
    _register("TDBAH", SPECIAL, "13.4.37"),
    _register("TDLEN", SPECIAL, "13.4.38", mask=0xFFF80),
    _register("TDH", SPECIAL, "13.4.39", mask=0xFFFF),
    _register("TDT", SPECIAL, "13.4.40", mask=0xFFFF),
    _register("TIDV", SPECIAL, "13.4.41", mask=0xFFFF),
    _register("TXDCTL", SPECIAL, "13.4.43", mask=0xFF3F3F3F),
    _register("TADV", RW, "13.4.44", mask=0xFFFF),
    _register("TSPMT", RW, "13.4.45"),
    *_statistics(),
    _register("RXCSUM", SPECIAL, "13.4.47", mask=0x7FF),
    _register("MTA", RW, "13.5.1", count=128),
    _register("RAL0", SPECIAL, "13.5.2", count=16, stride=8),
    _register("RAH0", SPECIAL, "13.5.3", mask=0x8003FFFF, count=16, stride=8),
    _register("VFTA", RW, "13.5.4", count=128),
    _register("WUC", SPECIAL, "13.6.1", mask=0xF, sticky=True),
    _register("WUFC", RW, "13.6.2", mask=0x000F00FF),
    _register("WUS", SPECIAL, "13.6.3", mask=0x000F00FF, sticky=True),
    _register("IPAV", RW, "13.6.4", mask=0x0001000F, sticky=True),
    _register("IP4AT", RW, "13.6.5", count=4, stride=8, sticky=True),
    _register("IP6AT", RW, "13.6.6", count=4, sticky=True),
    _register("WUPL", RO, "13.6.7", sticky=True),
    _register("WUPM", RO, "13.6.8", count=32, sticky=True),
    _register("FFLT", RW, "13.6.9", mask=0x7FF, count=4, stride=8, sticky=True),
    _register("FFMT", RW, "13.6.10", mask=0xF, count=128, stride=8, sticky=True),
    _register("FFVT", RW, "13.6.11", count=128, stride=8, sticky=True),
    _register("MANC", RW, "13.4.17", mask=0x3FFFFF07),
)

# 64 KiB of data, and so not among the registers that are dumped: what is written there is read there, and the FIFO is elsewhere.
PACKET_BUFFER = _register("PBM", RW, "13.8.11", count=0x4000)

# No register of this card, but one of later cards: U-Boot's driver takes this semaphore of any card, or reads no EEPROM. QEMU has it, too.
SEMAPHORE = _register("SWSM", RW, "-", mask=3)


def expand(registers: tuple[Register, ...] = REGISTERS) -> dict[int, tuple[str, Register]]:
    """Every single register by offset: (its name, its line), arrays numbered: RAL3, MTA[17]."""
    out = {}
    for register in registers:
        for i in range(register.count):
            name = register.name
            if register.count > 1:
                name = f"{name.rstrip('0')}{i}" if name.endswith("0") else f"{name}[{i}]"
            out[register.offset + i * register.stride] = (name, register)
    return out


@cache
def _all() -> dict[int, tuple[str, Register]]:
    return expand()


def name_of(offset: int) -> str:
    """The name of the register at an offset, or the offset where there is none."""
    return _all()[offset][0] if offset in _all() else f"{offset:#07x}"


@cache
def names() -> frozenset[str]:
    """All registers' names; those of an array with their index and without."""
    return frozenset(part for name, _ in _all().values() for part in (name, name.partition("[")[0]))


def section_of(offset: int) -> str:
    """The manual's section on the register at an offset."""
    return _all()[offset][1].section if offset in _all() else "13.3"
