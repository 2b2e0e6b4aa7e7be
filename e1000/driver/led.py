"""The card's LEDs, as `ethtool -p` blinks them (the kernel's e1000_id_led_init and e1000_set_phys_id; §13.4.15)."""

from __future__ import annotations

import errno

from e1000 import regs
from e1000.driver.hw import EepromError, Hw

ID_LED_WORD, ID_LED_DEFAULT = 4, 0x8911  # in the EEPROM, a digit for each LED; that for words that say nothing
MODE_ON, MODE_OFF = 0xE, 0xF
# What a digit says: what the LED does in the dark half of a blink, and in the bright one; None: what it always does
DARK = {4: MODE_ON, 5: MODE_ON, 6: MODE_ON, 7: MODE_OFF, 8: MODE_OFF, 9: MODE_OFF}
BRIGHT = {2: MODE_ON, 5: MODE_ON, 8: MODE_ON, 3: MODE_OFF, 6: MODE_OFF, 9: MODE_OFF}
STATES = ("active", "on", "off", "inactive")
BLINKS = 2  # a second


class Leds:
    """One card's. Control thread."""

    def __init__(self, hw: Hw) -> None:
        self.hw = hw
        self._before: int | None = None

    def set_phys_id(self, state: str) -> int:
        """One step of it, ETHTOOL_ID_*; after "active" returns how often a second to blink. Raises OSError EINVAL for no such step."""
        if state not in STATES:
            raise OSError(errno.EINVAL, f"{self.hw.bus!r}: a step of identifying is {', '.join(STATES)}; not {state!r}")
        if self._before is None:
            self._before = self.hw.read(regs.LEDCTL)
        if state == "inactive":
            self.hw.bus.write(regs.LEDCTL, self._before)
            self._before = None
            return 0
        self.hw.bus.write(regs.LEDCTL, self._blink(BRIGHT if state == "on" else DARK))
        return BLINKS if state == "active" else 0

    def _blink(self, modes: dict[int, int]) -> int:
        assert self._before is not None
        value, digits = self._before, self._digits()
        for led in range(4):
            mode = modes.get(digits >> 4 * led & 0xF)
            if mode is not None:
                value = value & ~(0xFF << 8 * led) | mode << 8 * led
        return value

    def _digits(self) -> int:
        try:
            digits = self.hw.read_eeprom(ID_LED_WORD)
        except EepromError:
            return ID_LED_DEFAULT
        return ID_LED_DEFAULT if digits in (0, 0xFFFF) else digits
