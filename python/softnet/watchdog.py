"""The transmit watchdog (dev_watchdog): a queue that has been stopped for too long gets its driver's tx_timeout."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastring.clock import TimerHandle

if TYPE_CHECKING:
    from softnet.netdev import NetDevice

WATCHDOG_TIMEO = 5_000_000_000  # ns

log = logging.getLogger("softnet")


class Watchdog:
    """One device's. It runs while the device is up, has a carrier and a driver with tx_timeout."""

    def __init__(self, device: NetDevice) -> None:
        self.device = device
        self.timeo = WATCHDOG_TIMEO
        self._timer: TimerHandle | None = None

    def up(self) -> None:
        """netdev_watchdog_up: start it; again is harmless."""
        if getattr(self.device.netdev_ops, "tx_timeout", None) is not None and (self._timer is None or not self._timer.armed):
            self._timer = self.device.stack.clock.call_later(self.timeo, self._fire)

    def down(self) -> None:
        """dev_watchdog_down: it does not fire any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        device = self.device
        if not device.up or not device.carrier_ok:
            return
        now = device.stack.clock.monotonic_ns()
        oldest = now
        for queue in device.tx:
            txq = queue.txq
            if not txq.xmit_stopped:
                continue
            oldest = min(oldest, txq.trans_start)
            if now - txq.trans_start > self.timeo:
                self._timed_out(queue.index, now - txq.trans_start)
                oldest = now
                break
        if device.up:
            self._timer = device.stack.clock.call_at(oldest + self.timeo + 1, self._fire)

    def _timed_out(self, index: int, waited: int) -> None:
        device = self.device
        device.tx[index].trans_timeout += 1
        log.warning("%s: NETDEV WATCHDOG: transmit queue %d timed out %d ms", device.name, index, waited // 1_000_000)
        for queue in device.tx:
            queue.txq.freeze()
        try:
            device.netdev_ops.tx_timeout(device, index)
        finally:
            for queue in device.tx:
                queue.txq.unfreeze()
