"""Writing the EEPROM, by its wires in EECD, as there is no register for it (§5.6; the kernel's e1000_write_eeprom_microwire)."""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from e1000 import regs
from e1000.driver.hw import EEPROM_SUM, EEPROM_WORDS, READY_TIMEOUT, EepromError, Hw

CHECKSUM_WORD = EEPROM_WORDS - 1
ADDRESS_BITS, DATA_BITS = 6, 16
WRITE, EWEN, EWDS = 0b101, 0b10011, 0b10000  # with the start bit; the latter two with the address' upper two bits


class EepromWriter:
    """One card's pins. Control thread."""

    def __init__(self, hw: Hw) -> None:
        self.hw = hw
        self._eecd = 0

    def update(self, change: Mapping[int, int]) -> None:
        """Write words, by their place, and the checksum that makes all of them right. Raises OSError EIO; EEPROM words may be lost then."""
        words = list(struct.unpack(f"<{EEPROM_WORDS}H", self.hw.read_eeprom_image()))
        before = list(words)
        for place, word in change.items():
            words[place] = word
        words[CHECKSUM_WORD] = EEPROM_SUM - sum(words[:CHECKSUM_WORD]) & 0xFFFF
        changed = {place: word for place, word in enumerate(words) if word != before[place]}
        if not changed:
            return
        with self._acquired():
            self._instruct(EWEN, 5, 0, ADDRESS_BITS - 2)
            for place, word in changed.items():
                self._shift_out(WRITE, 3)
                self._shift_out(place, ADDRESS_BITS)
                self._shift_out(word, DATA_BITS)
                self._standby()  # it begins as CS falls
                self._wait_ready(place)
                self._standby()
            self._instruct(EWDS, 5, 0, ADDRESS_BITS - 2)
        for place, word in changed.items():
            if (read := self.hw.read_eeprom(place)) != word:
                raise EepromError(errno.EIO, f"{self.hw.bus!r}: word {place} of the EEPROM is {read:#06x} after {word:#06x} was written")

    @contextmanager
    def _acquired(self) -> Iterator[None]:
        """e1000_acquire_eeprom: the pins are the host's, the chip selected. Given back whatever happens."""
        self._eecd = self.hw.read(regs.EECD)
        self._set(on=regs.EECD_REQ)
        try:
            deadline = time.monotonic() + READY_TIMEOUT
            while not self.hw.read(regs.EECD) & regs.EECD_GNT:
                if time.monotonic() > deadline:
                    raise EepromError(errno.EIO, f"{self.hw.bus!r}: the EEPROM's pins are not granted")
            self._set(on=regs.EECD_CS, off=regs.EECD_DI | regs.EECD_SK)
            yield
        finally:
            self._set(off=regs.EECD_CS | regs.EECD_DI | regs.EECD_SK)
            self._set(off=regs.EECD_REQ)

    def _instruct(self, code: int, bits: int, rest: int, rest_bits: int) -> None:
        self._shift_out(code, bits)
        self._shift_out(rest, rest_bits)
        self._standby()

    def _shift_out(self, value: int, bits: int) -> None:
        """e1000_shift_out_ee_bits: the highest first, each taken as SK rises."""
        for i in reversed(range(bits)):
            self._set(on=regs.EECD_DI if value >> i & 1 else 0, off=regs.EECD_DI)
            self._set(on=regs.EECD_SK)
            self._set(off=regs.EECD_SK)
        self._set(off=regs.EECD_DI)

    def _standby(self) -> None:
        """e1000_standby_eeprom: an instruction ends as CS falls."""
        self._set(off=regs.EECD_CS | regs.EECD_SK)
        self._set(on=regs.EECD_SK)
        self._set(on=regs.EECD_CS)
        self._set(off=regs.EECD_SK)

    def _wait_ready(self, place: int) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while not self.hw.read(regs.EECD) & regs.EECD_DO:
            if time.monotonic() > deadline:
                raise EepromError(errno.EIO, f"{self.hw.bus!r}: the EEPROM does not end the write of word {place}")

    def _set(self, *, on: int = 0, off: int = 0) -> None:
        self._eecd = self._eecd & ~off | on
        self.hw.bus.write(regs.EECD, self._eecd)
        self.hw.bus.read(regs.STATUS)  # flush: edges must not travel together
