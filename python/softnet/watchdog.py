"""The transmit watchdog (dev_watchdog): a queue that has been stopped for too long gets its driver's tx_timeout."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastring.clock import TimerHandle

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.netdev_queue import NetdevQueue

SECOND = 1_000_000_000
JIFFY = 1_000_000  # ns: HZ is 1000
WATCHDOG_TIMEO = 5 * SECOND
FOREVER = 2**63 - 1  # ns: a clock's end
XOFF = 3  # DRV_XOFF | STACK_XOFF in TxQueue.state: what netif_xmit_stopped asks

log = logging.getLogger("softnet")


def round_jiffies(when: int, now: int) -> int:
    """`when` moved to a whole second, so that timers that need not be exact fire together; never to `now` or before it."""
    rest = when % SECOND
    rounded = when - rest if rest < SECOND // 4 else when - rest + SECOND
    return rounded if rounded > now else when


class Watchdog:
    """One device's. It runs while the device is up, has a carrier and a driver with tx_timeout. The thread of the clock."""

    def __init__(self, device: NetDevice) -> None:
        self.device = device
        self.timeo = WATCHDOG_TIMEO
        self._timer: TimerHandle | None = None

    @property
    def armed(self) -> bool:
        """Whether it will look."""
        return self._timer is not None and self._timer.armed

    def up(self) -> None:
        """__netdev_watchdog_up: look after `timeo`, and not before it, if it was to. Without a `timeo` it is 5 s."""
        if getattr(self.device.netdev_ops, "tx_timeout", None) is None:
            return
        if self.timeo <= 0:
            self.timeo = WATCHDOG_TIMEO
        self._arm(self.device.stack.clock.monotonic_ns() + self.timeo)

    def down(self) -> None:
        """dev_watchdog_down: it does not fire any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, when: int) -> None:
        self.down()
        clock = self.device.stack.clock
        now = clock.monotonic_ns()
        # In a jump of years, as a capture's next time stamp may be, only the last minute counts.
        when = max(round_jiffies(when, now), now + JIFFY, clock.destination - 60 * SECOND)
        if when < FOREVER:
            self._timer = clock.call_at(when, self._fire)

    def _fire(self) -> None:
        """dev_watchdog. A timer: BHs are off."""
        device = self.device
        if not device.running or not device.carrier_ok:
            return  # a carrier that comes back arms it again
        now = device.stack.clock.monotonic_ns()
        if any(queue.locked_here for queue in device.tx):
            self._arm(now + JIFFY)  # inside a transmission, where the kernel takes no timer
            return
        oldest = now
        stuck: NetdevQueue | None = None
        for queue in device.tx:
            if queue.txq.state & XOFF:
                if now > queue.txq.trans_start + self.timeo:
                    stuck = queue
                    break
                oldest = min(oldest, queue.txq.trans_start)
        try:
            if stuck is not None:
                self._timed_out(stuck, now - stuck.txq.trans_start)
        finally:
            if device.running and device.carrier_ok and not self.armed:
                self._arm(oldest + self.timeo)

    def _timed_out(self, stuck: NetdevQueue, waited: int) -> None:
        device = self.device
        stuck.trans_timeout += 1
        log.critical("%s: NETDEV WATCHDOG: transmit queue %d timed out %d ms", device.name, stuck.index, waited // 1_000_000)
        for queue in device.tx:  # netif_freeze_queues: the lock, so that nobody is in the middle of a transmission
            queue.lock()
            queue.txq.freeze()
            queue.unlock()
        try:
            device.netdev_ops.tx_timeout(device, stuck.index)
        finally:
            for queue in device.tx:
                queue.txq.unfreeze()
