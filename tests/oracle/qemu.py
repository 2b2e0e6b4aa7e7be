"""A QEMU that keeps all statistics, but whose clock cannot be stepped: it jumps to every timer."""

import time

from e1000.bus.qemu import Qemu

HPET_CONTROL, HPET_COUNTER, HPET_TIMER, HPET_TIMER_END = (0xFED00000 + offset for offset in (0x10, 0xF0, 0x100, 0x108))
HPET_TIMER_ON = 20 << 9 | 1 << 2        # interrupt 20, which nobody looks at
HPET_PERIOD = 10                        # nanoseconds


class CountingQemu(Qemu):
    """Under TCG; the firmware is one HLT."""

    ACCELERATOR = ("-accel", "tcg", "-icount", "shift=0,sleep=off")

    def __init__(self, **options):
        super().__init__(**options)
        self.write(HPET_CONTROL, 1, 8)                  # let it count

    def advance(self, nanoseconds):
        """Set a timer of the HPET's, to which the clock jumps, and wait for it."""
        end = self.read(HPET_COUNTER, 8) + nanoseconds // HPET_PERIOD
        self.write(HPET_TIMER, HPET_TIMER_ON, 8)
        self.write(HPET_TIMER_END, end, 8)
        deadline = time.monotonic() + self.timeout
        while self.read(HPET_COUNTER, 8) < end:
            if time.monotonic() > deadline:
                raise TimeoutError("QEMU's clock stands still")
            time.sleep(0.0002)
