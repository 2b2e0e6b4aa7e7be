"""The driver's own watchdog: link, statistics, lost interrupts, a hung transmitter (the kernel's e1000_watchdog)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from e1000 import regs
from e1000.driver.hw import NO_LINK, CardGone
from fastring.clock import TimerHandle

if TYPE_CHECKING:
    from e1000.driver.control import E1000Adapter
    from softnet.netdev import NetDevice

PERIOD = 2_000_000_000  # ns
END_OF_TIME = (1 << 63) - 1
JUMP = 60_000_000_000  # where virtual time jumps further than this, only the jump's end is watched

log = logging.getLogger("e1000")


class WatchdogTask:
    """One adapter's; every 2 s while it is up, and at once when the card tells of its link. It reads registers: control thread."""

    def __init__(self, adapter: E1000Adapter) -> None:
        self.adapter = adapter
        self.link = NO_LINK
        self.tx_hangs = 0
        self._device: NetDevice | None = None
        self._timer: TimerHandle | None = None
        self._seen: tuple[int, int] | None = None  # what the transmitter had done the last time, if packets waited
        self._hung = False

    def up(self, device: NetDevice) -> None:
        """Look at the link now, and from now on."""
        self._device = device
        self._seen = None
        self._hung = False
        self._check_link(device)
        self._arm(PERIOD)

    def down(self) -> None:
        """Not any more; again is harmless. The carrier is off."""
        if self._timer is not None:
            self._timer.cancel()
        if self._device is not None:
            self._device.carrier_off()
        self._timer = self._device = None
        self.link = NO_LINK

    def soon(self) -> None:
        """The card's interrupt told of the link: look at it as soon as timers fire."""
        if self._device is not None:
            self._arm(0)

    def _arm(self, delay: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        clock = self.adapter.stack.clock
        when = clock.monotonic_ns() + delay
        if when < END_OF_TIME:
            self._timer = clock.call_at(when, self._run)

    def _run(self) -> None:
        device = self._device
        if device is None:
            return
        clock = self.adapter.stack.clock
        self._arm(max(PERIOD, clock.destination - JUMP - clock.monotonic_ns()))
        try:
            self._check_link(device)
        except CardGone:  # just now: there was a link
            device.carrier_off()
        self.adapter.hw_stats.update()
        tx = self.adapter.tx
        assert tx is not None
        if not device.carrier_ok and tx.in_flight:
            # They will never go, and hold their memory: a reset gives them up.
            self.adapter.tx_timeout_count += 1
            self.adapter.schedule_reset(device)
            return
        self._detect_hang(device)
        self._set_simple_itr()
        self.adapter.bus.write(regs.ICS, regs.ICR_RXDMT0)  # should an interrupt have been lost

    def _check_link(self, device: NetDevice) -> None:
        before, self.link = self.link, self.adapter.hw.link()
        self.adapter.napi.gigabit = self.link.speed == 1000
        if self.link.up and (not before.up or not device.carrier_ok):
            duplex = "Full" if self.link.full_duplex else "Half"
            self.adapter.link_is_up(self.link)
            log.info("%s: NIC Link is Up %d Mbps %s Duplex", device.name, self.link.speed, duplex)
            device.carrier_on()
        elif not self.link.up and device.carrier_ok:
            log.info("%s: NIC Link is Down", device.name)
            device.carrier_off()

    def _detect_hang(self, device: NetDevice) -> None:
        """detect_tx_hung: packets wait, and since the last look neither TDH has moved nor has DD been set.

        The queue is stopped: softnet's watchdog then calls tx_timeout.
        """
        tx, bus = self.adapter.tx, self.adapter.bus
        assert tx is not None
        if not tx.in_flight or self.link.paused or not self.link.up:
            self._seen = None
            self._hung = False
            return
        before, self._seen = self._seen, (tx.completed, bus.read(regs.TDH))
        if before == self._seen and bus.read(regs.TDT) != self._seen[1] and not self._hung:
            self._hung = True  # said once, until the reset
            self.tx_hangs += 1
            log.error("%s: Detected Tx Unit Hang: TDH <%x> TDT <%x>", device.name, self._seen[1], bus.read(regs.TDT))
            device.txq.stop()

    def _set_simple_itr(self) -> None:
        """rx-usecs 4: 2000 interrupts a second where as much is sent as received, 8000 where only one of them is."""
        if self.adapter.napi.itr_setting != 4:
            return
        sent, received = (self.adapter.hw_stats.last[name] for name in ("gotc", "gorc"))
        both, difference = (sent + received) // 10000, abs(sent - received) // 10000
        self.adapter.set_itr(difference * 6000 // both + 2000 if both else 8000)
