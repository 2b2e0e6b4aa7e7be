"""RuleGroup: rules that look at the same things. A subclass is used by every Checker made after its module was imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from fastring.clock import TimerHandle
    from softnet.checks.calls import Call, QueueEvent
    from softnet.checks.checker import Checker
    from softnet.checks.contexts import SoftirqEvent
    from softnet.netdev import NetDevice
    from softnet.skbuff import DropReason, SkBuff
    from softnet.stack import Stack


class RuleGroup:
    """Override the hooks that are of use; the others cost nothing. One object for each Checker, for all its devices.

    Any thread may call a hook, with whatever locks the observed code holds: look, report, and change nothing. Keep what belongs to a
    device in a WeakKeyDictionary.
    """

    all: ClassVar[list[type[RuleGroup]]] = []

    def __init_subclass__(cls) -> None:
        RuleGroup.all.append(cls)

    def __init__(self, checker: Checker) -> None:
        self.checker = checker

    def stack_watched(self, stack: Stack) -> None:
        """The checker begins to look at this Stack, which has no device yet."""

    def stack_ran(self, stack: Stack) -> None:
        """Stack.run returns: timers and softirqs that were due have run."""

    def device_made(self, device: NetDevice) -> None:
        """Allocated (alloc_netdev), not registered."""

    def registering(self, device: NetDevice) -> None:
        """register_netdev begins."""

    def registered(self, device: NetDevice) -> None:
        """register_netdev is done. Not called if it failed."""

    def unregistering(self, device: NetDevice) -> None:
        """unregister_netdev begins."""

    def unregistered(self, device: NetDevice) -> None:
        """unregister_netdev is done."""

    def freed(self, device: NetDevice) -> None:
        """free_netdev is done."""

    def op_begins(self, call: Call) -> None:
        """The stack calls an operation of the driver."""

    def op_ends(self, call: Call) -> None:
        """It returned, with `call.result` or `call.error`."""

    def queue_begins(self, event: QueueEvent) -> None:
        """Somebody calls the stop/wake/BQL interface of a queue; see QueueEvent. A driver in Cython does so unseen."""

    def queue_done(self, event: QueueEvent) -> None:
        """And it returned `event.result`."""

    def skb_freed(self, skb: SkBuff, how: DropReason | bool) -> None:
        """consume (`how` is True) or kfree gave up a user of it; `skb.freed` tells whether that was the last."""

    def skb_received(self, skb: SkBuff) -> None:
        """netif_receive_skb of a packet that a driver (or GRO) passes up; `skb.dev` is set."""

    def burst_sent(self, device: NetDevice, began: int, packets: int) -> None:
        """NetDevice.xmit, begun at this time (ns), gave so many packets to a driver that takes bursts."""

    def slept(self, what: str) -> None:
        """This thread does something that may sleep, inside of an operation, a poll or a handler: `what` says it."""

    def gro_received(self, skb: SkBuff) -> None:
        """napi_gro_receive of a packet."""

    def carrier_changed(self, device: NetDevice, on: bool) -> None:
        """netif_carrier_on or off changed something."""

    def softirq_event(self, event: SoftirqEvent) -> None:
        """A NAPI is scheduled, polled, completed ..., a line serviced: see fastring.napi.EVENTS. Drivers in Cython are seen, too."""

    def timer_armed(self, device: NetDevice, timer: TimerHandle) -> None:
        """A driver armed a timer of Clock.call_at or call_later, in an operation, a poll, a handler or another timer of the device."""

    def finished(self) -> None:
        """The checker is closed: a last look."""
