"""`ethtool -t`: what the card can be asked about itself (the kernel's e1000_diag_test). Each test returns 0, or where it failed.

The offline ones leave registers, PHY and interrupt as a reset does; who calls them has the card for itself.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from e1000 import regs
from e1000.driver.hw import CAUSES, EEPROM_SUM, EEPROM_WORDS, EepromError, Hw
from e1000.driver.loopback_test import loopback_test

if TYPE_CHECKING:
    from e1000.bus.base import Bus
    from e1000.driver.control import E1000Adapter
    from softnet.netdev import NetDevice

# e1000_gstrings_test
NAMES = (
    "Register test  (offline)",
    "Eeprom test    (offline)",
    "Interrupt test (offline)",
    "Loopback test  (offline)",
    "Link test   (on/offline)",
)

ALL = 0xFFFFFFFF
PATTERNS = (0x5A5A5A5A, 0xA5A5A5A5, 0, ALL)
STATUS_READ_ONLY = 0xFFFFF833
RCTL_BITS = 0x06DFB3FE
# Register: bits that read back, bits that are written
PATTERN_TESTS = {
    "FCAL": (ALL, ALL), "FCAH": (0xFFFF, ALL), "FCT": (0xFFFF, ALL), "VET": (0xFFFF, ALL), "RDTR": (0xFFFF, ALL), "RDBAH": (ALL, ALL),
    "RDLEN": (0xFFF80, 0xFFFFF), "RDH": (0xFFFF, 0xFFFF), "RDT": (0xFFFF, 0xFFFF), "FCRTH": (0xFFF8, 0xFFF8), "FCTTV": (0xFFFF, 0xFFFF),
    "TIPG": (0x3FFFFFFF, 0x3FFFFFFF), "TDBAH": (ALL, ALL), "TDLEN": (0xFFF80, 0xFFFFF),
}  # fmt: skip
PATTERN_TESTS_82543 = {"RDBAL": (0xFFFFFFF0, ALL), "TXCW": (0xC000FFFF, 0xFFFF), "TDBAL": (0xFFFFFFF0, ALL), "TIDV": (0xFFFF, 0xFFFF)}
ADDRESSES, TABLE = 15, 128
TESTED_CAUSES, OTHER_CAUSES = 10, 0x7FFF
NO_EEPROM, BAD_CHECKSUM = 1, 2
NO_LINE, MASKED_CAME, NONE_CAME, OTHER_CAME = 1, 3, 4, 5

log = logging.getLogger("e1000")


def self_test(adapter: E1000Adapter, device: NetDevice, *, offline: bool) -> dict[str, int]:
    """All results by name; a test that was not made passes. rtnl. Raises OSError if the card does not come up again."""
    results = dict.fromkeys(NAMES, 0)
    results[NAMES[4]] = int(not adapter.hw.link().up)  # before a reset, which may cost the link
    if not offline:
        return results
    if device.up:
        with adapter.offline(device):
            adapter.napi.free_irq()
            try:
                results |= _offline_tests(adapter)
            finally:
                adapter.napi.request_irq()
    else:
        adapter.hw.power_up_phy()
        try:
            results |= _offline_tests(adapter)
        finally:
            adapter.hw.reset()
            adapter.power_down_phy()
    return results


def _offline_tests(adapter: E1000Adapter) -> dict[str, int]:
    hw, bus = adapter.hw, adapter.bus
    tests = (partial(register_test, bus), partial(eeprom_test, hw), partial(interrupt_test, bus), partial(loopback_test, hw))
    results = {}
    for name, test in zip(NAMES, tests, strict=False):
        hw.reset()
        results[name] = test()
    return results


# --- registers ---


def register_test(bus: Bus) -> int:
    """e1000_reg_test: returns the register's offset, or 1 for STATUS. The receiver is on in the end, with a ring that leads nowhere."""
    before = bus.read(regs.STATUS)
    bus.write(regs.STATUS, STATUS_READ_ONLY)
    if (bus.read(regs.STATUS) ^ before) & STATUS_READ_ONLY:
        log.error("failed STATUS register test got: %#010x expected: %#010x", bus.read(regs.STATUS), before)
        return 1
    bus.write(regs.STATUS, before)
    return (
        _patterns(bus, PATTERN_TESTS)
        or _set_and_check(bus, regs.RCTL, ALL, 0)
        or _set_and_check(bus, regs.RCTL, RCTL_BITS, 0x003FFFFB)
        or _set_and_check(bus, regs.TCTL, ALL, 0)
        or _set_and_check(bus, regs.RCTL, RCTL_BITS, ALL)
        or _patterns(bus, PATTERN_TESTS_82543)
        or _first(_pattern_test(bus, regs.RAH0 + 8 * i, 0x8003FFFF, ALL) for i in range(ADDRESSES))
        or _first(_pattern_test(bus, regs.MTA + 4 * i, ALL, ALL) for i in range(TABLE))
    )


def _first(results: Iterable[int]) -> int:
    return next(filter(None, results), 0)


def _patterns(bus: Bus, tests: dict[str, tuple[int, int]]) -> int:
    return _first(_pattern_test(bus, getattr(regs, name), mask, write) for name, (mask, write) in tests.items())


def _pattern_test(bus: Bus, offset: int, mask: int, write: int) -> int:
    """reg_pattern_test."""
    for pattern in PATTERNS:
        bus.write(offset, write & pattern)
        if (got := bus.read(offset)) != write & pattern & mask:
            log.error("pattern test reg %04X failed: got %#010x expected %#010x", offset, got, write & pattern & mask)
            return offset
    return 0


def _set_and_check(bus: Bus, offset: int, mask: int, write: int) -> int:
    """reg_set_and_check."""
    bus.write(offset, write & mask)
    if (got := bus.read(offset) & mask) != write & mask:
        log.error("set/check reg %04X test failed: got %#010x expected %#010x", offset, got, write & mask)
        return offset
    return 0


# --- EEPROM ---


def eeprom_test(hw: Hw) -> int:
    """e1000_eeprom_test."""
    try:
        image = hw.read_eeprom_image()
    except EepromError:
        return NO_EEPROM
    return BAD_CHECKSUM if sum(struct.unpack(f"<{EEPROM_WORDS}H", image)) & 0xFFFF != EEPROM_SUM else 0


# --- interrupt ---


def interrupt_test(bus: Bus) -> int:
    """e1000_intr_test, the line being the card's own: each cause comes when it is not masked, and then alone."""
    seen = 0

    def handler() -> None:
        nonlocal seen
        seen |= bus.read(regs.ICR)

    def caused(*, mask: int = 0, unmask: int = 0, causes: int) -> int:
        nonlocal seen
        seen = 0
        bus.write(regs.IMC, mask)
        bus.write(regs.IMS, unmask)
        bus.write(regs.ICS, causes)
        bus.read(regs.STATUS)
        bus.irq.handle_irq()
        return seen

    if bus.irq.requested:
        return NO_LINE
    bus.irq.request_irq(handler)
    try:
        bus.write(regs.IMC, CAUSES)
        for cause in (1 << i for i in range(TESTED_CAUSES)):
            others = ~cause & OTHER_CAUSES
            if caused(mask=CAUSES, causes=cause) & cause:  # all: the link may just come up, and its interrupt show this one
                return MASKED_CAME
            if not caused(unmask=cause, causes=cause) & cause:
                return NONE_CAME
            came = caused(mask=others, causes=others)
            if came and not came & cause:  # else it came by itself
                return OTHER_CAME
        return 0
    finally:
        bus.irq.free_irq()
        bus.write(regs.IMC, CAUSES)
