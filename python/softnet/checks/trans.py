"""Rule 8: the watchdog counts from trans_start, which who transmits without the queue's lock has to move."""

from __future__ import annotations

from typing import Any

from softnet.checks.calls import Call
from softnet.checks.group import RuleGroup
from softnet.checks.probes import Wrapper, probe, tell
from softnet.netdev import NetDevice
from softnet.netdev_features import Feature
from softnet.netdev_ops import NETDEV_TX_OK
from softnet.netdev_queue import NetdevQueue

COARSE = 20_000_000  # ns: drivers may read a clock that is behind by this much (jiffies)


def has_watchdog(device: NetDevice) -> bool:
    """Whether anybody asks for trans_start."""
    return getattr(device.netdev_ops, "tx_timeout", None) is not None


class TransStart(RuleGroup):
    """Of drivers that the watchdog looks after."""

    def op_begins(self, call: Call) -> None:
        if call.name == "start_xmit" and call.device.features & Feature.LLTX:
            call.notes["began"] = call.device.stack.clock.monotonic_ns()

    def op_ends(self, call: Call) -> None:
        if call.error is None and call.result == NETDEV_TX_OK and "began" in call.notes and has_watchdog(call.device):
            queue = call.device.tx[call.args[0].queue_mapping]
            self._check(queue, call.notes["began"], "a packet was taken, with LLTX", call.where)

    def burst_sent(self, device: NetDevice, began: int, packets: int) -> None:
        """NetDevice.xmit gave so many packets to a driver that takes bursts."""
        if packets and has_watchdog(device):
            self._check(device.tx[0], began, f"a burst of {packets} packets was taken", "")

    def _check(self, queue: NetdevQueue, began: int, what: str, where: str) -> None:
        behind = began - queue.txq.trans_start
        if behind > COARSE:
            detail = f"{what}, and trans_start of tx-{queue.index} is {behind / 1e6:.0f} ms old"
            self.checker.report(8, queue.device, "ndo_start_xmit", detail, where)


@probe(NetDevice, "xmit")
def _xmit(original: Wrapper, device: NetDevice, *args: Any, **kwargs: Any) -> int:
    began = device.stack.clock.monotonic_ns()
    sent: int = original(device, *args, **kwargs)
    tell(device.stack, "burst_sent", device, began, sent)
    return sent
