"""What callers of an E1000Device may give, checked: addresses, offsets, sizes."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from e1000 import regs

if TYPE_CHECKING:
    from typing_extensions import Buffer

CONFIG_SIZE = 256

# Registers that no handler may stand for: the engines, or a driver for each burst, use them, and a doorbell may be a plain store.
HOT = frozenset({regs.ICR, regs.ICS, regs.IMS, regs.IMC, regs.RCTL, regs.TCTL,
                 regs.RDBAL, regs.RDBAH, regs.RDLEN, regs.RDH, regs.RDT, regs.TDBAL, regs.TDBAH, regs.TDLEN, regs.TDH, regs.TDT})


def parse_mac(mac: str | Buffer) -> bytes:
    """A station address as six bytes, from "52:54:00:12:34:56" or six bytes. Raises ValueError."""
    try:
        raw = bytes.fromhex(mac.replace(":", "").replace("-", "")) if isinstance(mac, str) else bytes(mac)
    except ValueError:
        raw = b""
    if len(raw) != 6 or raw[0] & 1 or not any(raw):
        raise ValueError(f"{mac!r} is no station address: six bytes, not all zero, not multicast")
    return raw


def check_device_id(device_id: object, known: Collection[int]) -> None:
    """A PCI device id that this card can have. Raises ValueError."""
    if not isinstance(device_id, int) or device_id not in known:
        shown = f"{device_id:#x}" if isinstance(device_id, int) else repr(device_id)
        raise ValueError(f"no PCI device id of this card: {shown}; 0x100E is the 82540EM, 0x100F the 82545EM")


def check_size(size: int, value: int) -> None:
    """An access of `size` bytes that writes `value`. Raises ValueError."""
    if size not in (1, 2, 4):
        raise ValueError(f"an access has 1, 2 or 4 bytes, not {size}")
    if value >> 8 * size:
        raise ValueError(f"{value:#x} does not fit into {size} bytes")


def check_register(where: str, end: int, offset: int, size: int = 4, value: int = 0) -> None:
    """An access to the registers of a BAR of `end` bytes. Raises ValueError."""
    check_size(size, value)
    if offset >= end or offset % 4 + size > 4:
        raise ValueError(f"{where} offset {offset:#x}: registers lie at multiples of 4 below {end:#x}, and an access stays within one")


def check_config(offset: int, size: int, value: int = 0) -> None:
    """An access to configuration space. Raises ValueError."""
    check_size(size, value)
    if offset > CONFIG_SIZE - size:
        raise ValueError(f"{size} bytes at {offset:#x} of configuration space: it ends at {CONFIG_SIZE:#x}")
