"""What an 82540EM's EEPROM holds: 64 words, little-endian in bytes and in files (as `ethtool -e raw on` writes them). §5.6."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

WORDS = 64
SIZE = 2 * WORDS
CHECKSUM = 0xBABA  # what the words add up to, modulo 65536 (§5.6)
MAC_SIZE = 6
DEVICE_ID = 0x0D  # word
LAYOUT = f"<{WORDS}H"

# Words that are not all ones, as on an empty chip
DEFAULTS = {
    0x03: 0x0000,  # compatibility: nothing special
    0x04: 0xFFFF,  # ID LED settings: the driver's own
    0x0A: 0x640B,  # initialization control 1: signature 01, 32-bit BARs, full duplex, power management, IDs from here
    0x0B: 0x001E,  # subsystem: PRO/1000 MT Desktop Adapter
    0x0C: 0x8086,
    0x0D: 0x100E,  # device: 82540EM
    0x0E: 0x8086,
    0x0F: 0x3040,  # initialization control 2: advertise pause, symmetric and asymmetric
    0x24: 0x0400,  # initialization control 3: wake up by magic packet (APM)
}


def checksum(image: bytes) -> int:
    """What all 64 words add up to: CHECKSUM in a good image."""
    return int(sum(struct.unpack(LAYOUT, image))) & 0xFFFF


def with_mac(image: bytes, mac: bytes) -> bytes:
    """The image with another station address, its checksum made right."""
    return with_checksum(struct.unpack(LAYOUT, mac + image[MAC_SIZE:]))


def with_device_id(image: bytes, device_id: int) -> bytes:
    """The image with another PCI device ID, its checksum made right."""
    words = struct.unpack(LAYOUT, image)
    return with_checksum((*words[:DEVICE_ID], device_id, *words[DEVICE_ID + 1 :]))


def with_checksum(words: tuple[int, ...]) -> bytes:
    """An image of these words, but for the last, which is the checksum."""
    return struct.pack(LAYOUT, *words[:-1], CHECKSUM - sum(words[:-1]) & 0xFFFF)


def build(mac: bytes) -> bytes:
    """An image as a new card has it."""
    return with_mac(struct.pack(LAYOUT, *(DEFAULTS.get(i, 0xFFFF) for i in range(WORDS))), mac)


def load(source: str | os.PathLike[str] | Buffer) -> bytes:
    """An image from a file or from bytes; its checksum may be wrong. Raises ValueError for any other size, OSError from the file."""
    if isinstance(source, str | os.PathLike):
        what = f"EEPROM image {os.fspath(source)}"
        with Path(source).open("rb") as file:
            image = file.read(SIZE + 1)
    else:
        what = "an EEPROM image"
        image = bytes(memoryview(source))
    if len(image) != SIZE:
        size = f"{len(image)}" if len(image) < SIZE or not isinstance(source, str | os.PathLike) else "more"
        raise ValueError(f"{what}: {SIZE} bytes (64 words, little-endian) are needed, not {size}")
    return image
