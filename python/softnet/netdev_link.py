"""A device's link: carrier, operational state, and who is told (net/core/link_watch.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from softnet.netdev_features import OperState, RegState
from softnet.rtnl import NetdevEvent

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.stack import Stack

LINKWATCH_INTERVAL = 1_000_000_000  # ns: no more than one event a second for one device, but for the first after a quiet time


class LinkWatch:
    """What a carrier does to its device: the queues, the operational state and the notifiers, at once and then once a second.

    The driver's call may come from an interrupt: what follows from it waits for the next Stack.run (the kernel's workqueue).
    """

    def __init__(self) -> None:
        self._pending: dict[NetDevice, None] = {}

    def fire(self, device: NetDevice) -> None:
        """linkwatch_fire_event."""
        self._pending[device] = None

    def forget(self, device: NetDevice) -> None:
        """linkwatch_forget_dev: do it now, or never."""
        self._pending.pop(device, None)

    def run(self) -> int:
        """linkwatch_run_queue: returns how many devices were dealt with."""
        if not self._pending:
            return 0
        pending, self._pending = self._pending, {}
        for device in pending:
            with device.stack.rtnl:
                device.linkwatch_event()
        return len(pending)


class LinkState:
    """Carrier and operational state: NetDevice's part that link events change."""

    # What NetDevice has for its parts.
    name: str
    stack: Stack
    netdev_ops: Any
    reg_state: RegState
    up: bool

    def activate(self) -> None:
        """Let packets into the queues."""
        raise NotImplementedError

    def deactivate(self) -> None:
        """Let no more in."""
        raise NotImplementedError

    def watchdog_up(self) -> None:
        """Watch the queues."""
        raise NotImplementedError

    def tell(self, event: NetdevEvent) -> None:
        """Tell the notifiers of this device."""
        self.stack.notify(event, cast("NetDevice", self))

    @property
    def registered(self) -> bool:
        """Whether its stack has it."""
        return self.reg_state is RegState.REGISTERED

    # --- the link ---

    carrier_up_count = 0
    carrier_down_count = 0
    _carrier = True  # __LINK_STATE_NOCARRIER is clear until a driver says otherwise
    _dormant = False
    operstate = OperState.DOWN

    def carrier_on(self) -> None:
        """netif_carrier_on: the cable carries. Driver, any context."""
        if not self._carrier:
            self._carrier = True
            self.carrier_up_count += 1
            self._carrier_changed()

    def carrier_off(self) -> None:
        """netif_carrier_off: it does not: nothing is transmitted, and the watchdog rests. Driver, any context."""
        if self._carrier:
            self._carrier = False
            self.carrier_down_count += 1
            self._carrier_changed()

    def _carrier_changed(self) -> None:
        if self.registered:
            self.stack.linkwatch.fire(cast("NetDevice", self))
            if self._carrier and self.up:
                self.watchdog_up()

    @property
    def carrier_ok(self) -> bool:
        """netif_carrier_ok."""
        return self._carrier

    @property
    def carrier_changes(self) -> int:
        """How often it came or went."""
        return self.carrier_up_count + self.carrier_down_count

    def set_dormant(self, dormant: bool) -> None:
        """netif_dormant_on, netif_dormant_off: the link is up but something, such as 802.1X, is not done."""
        if dormant != self._dormant:
            self._dormant = dormant
            self.stack.linkwatch.fire(cast("NetDevice", self))

    def linkwatch_event(self) -> None:
        """linkwatch_do_dev: queues, state, notifiers. rtnl."""
        if self.up:
            if self._carrier:
                self.activate()
            else:
                self.deactivate()
        self.update_operstate()

    def update_operstate(self) -> None:
        """rfc2863_policy; tells the notifiers if it changed."""
        before = self.operstate
        if not self.up or not self._carrier:
            self.operstate = OperState.DOWN
        elif self._dormant:
            self.operstate = OperState.DORMANT
        else:
            self.operstate = OperState.UP
        if self.operstate is not before and self.registered:
            self.tell(NetdevEvent.CHANGE)
