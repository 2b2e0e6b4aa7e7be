"""A device's link: carrier, operational state, and who is told (net/core/link_watch.c)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

from fastring.clock import Clock, TimerHandle
from softnet.netdev_features import LinkMode, OperState, RegState
from softnet.rtnl import NetdevEvent, Rtnl

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.netdev_queue import NetdevQueue
    from softnet.stack import Stack

LINKWATCH_INTERVAL = 1_000_000_000  # ns: events are handled once a second, but for the first after a quiet time, and urgent ones
MAX_DO_DEV_PER_LOOP = 100  # devices in one run; urgent ones get twice that


class LinkWatch:
    """What a carrier does to its device: the queues, the operational state and the notifiers; the first event at once, then once a second.

    As in the kernel the second is that of all devices together, and an event is urgent if it lets packets into the queues again: a
    carrier that came back. The driver's call may come from an interrupt or another thread: what follows from it waits for the next
    Stack.run (the kernel's workqueue).
    """

    def __init__(self, clock: Clock, rtnl: Rtnl) -> None:
        self._clock = clock
        self._rtnl = rtnl
        self._lock = threading.Lock()  # lweventlist_lock
        self._pending: dict[NetDevice, None] = {}
        self._watchdogs: dict[NetDevice, None] = {}
        self._urgent = False  # LW_URGENT
        self._next_event = 0  # linkwatch_nextevent
        self._timer: TimerHandle | None = None

    def fire(self, device: NetDevice) -> None:
        """linkwatch_fire_event. Any thread."""
        with self._lock:
            if device not in self._pending:
                device.hold()
                self._pending[device] = None
            self._urgent = self._urgent or device.linkwatch_urgent

    def restart_watchdog(self, device: NetDevice) -> None:
        """Have the next run arm a device's watchdog: timers belong to the thread of the clock, and this may be another."""
        with self._lock:
            self._watchdogs[device] = None

    def forget(self, device: NetDevice) -> None:
        """The device goes: no event of it is handled any more."""
        with self._lock:
            self._watchdogs.pop(device, None)
            pending = device in self._pending
            self._pending.pop(device, None)
        if pending:
            device.put()

    def run(self) -> int:
        """linkwatch_event: handle what is due; returns how many devices were. The thread of the clock."""
        if not self._pending and not self._watchdogs:
            return 0
        with self._rtnl:
            with self._lock:
                watchdogs, self._watchdogs = self._watchdogs, {}
            for device in watchdogs:
                if device.running and device.carrier_ok:
                    device.watchdog.up()
            return self._run_queue(urgent_only=self._next_event > self._clock.monotonic_ns())

    def _run_queue(self, *, urgent_only: bool) -> int:
        """__linkwatch_run_queue."""
        done = 0
        if not urgent_only:
            self._next_event = self._clock.monotonic_ns() + LINKWATCH_INTERVAL
        if not urgent_only or self._urgent:
            for device in self._take(urgent_only=urgent_only):
                device.linkwatch_event()
                device.put()
                done += 1
        if self._pending and (self._timer is None or not self._timer.armed):
            # It only says when a Stack.run has something to do: a timer must not sleep, and what is to be done takes rtnl.
            self._timer = self._clock.call_at(self._next_event, lambda: None)
        return done

    def _take(self, *, urgent_only: bool) -> list[NetDevice]:
        most = MAX_DO_DEV_PER_LOOP * (2 if urgent_only else 1)
        with self._lock:
            self._urgent = False
            taken = [device for device in self._pending if not urgent_only or device.linkwatch_urgent][:most]
            for device in taken:
                del self._pending[device]
        return taken


class LinkState:
    """Carrier and operational state: NetDevice's part that link events change."""

    # What NetDevice has for its parts.
    name: str
    stack: Stack
    netdev_ops: Any
    reg_state: RegState
    up: bool
    running: bool
    tx: list[NetdevQueue]

    carrier_up_count = 0
    carrier_down_count = 0
    link_mode: LinkMode = LinkMode.DEFAULT
    _carrier = True  # __LINK_STATE_NOCARRIER is clear until a driver says otherwise
    _dormant = False
    _testing = False
    _operstate = OperState.UNKNOWN  # stays so for a device that never had a carrier event

    def __init__(self) -> None:
        self._state_lock = threading.Lock()  # what the kernel has atomic bits for

    def activate(self) -> None:
        """Let packets into the queues."""
        raise NotImplementedError

    def deactivate(self) -> None:
        """Let no more in."""
        raise NotImplementedError

    def notify(self, event: NetdevEvent) -> None:
        """Ask the notifiers. Raises the OSError of one that refuses."""
        self.stack.notify(event, cast("NetDevice", self))

    def tell(self, event: NetdevEvent) -> None:
        """Tell the notifiers what nobody can refuse."""
        self.stack.tell(event, cast("NetDevice", self))

    @property
    def registered(self) -> bool:
        """Whether its stack has it."""
        return self.reg_state is RegState.REGISTERED

    # --- carrier ---

    def carrier_on(self) -> None:
        """netif_carrier_on: the cable carries. Driver, any context. Before registering it counts nothing and tells nobody."""
        if self._switch("_carrier", True):
            if self.reg_state is not RegState.UNINITIALIZED:
                with self._state_lock:
                    self.carrier_up_count += 1
            self._fire()
            if self.registered and self.running:
                self.stack.linkwatch.restart_watchdog(cast("NetDevice", self))

    def carrier_off(self) -> None:
        """netif_carrier_off: it does not: the watchdog rests at once, the queues with the next Stack.run. Driver, any context."""
        if self._switch("_carrier", False):
            if self.reg_state is not RegState.UNINITIALIZED:
                with self._state_lock:
                    self.carrier_down_count += 1
            self._fire()

    @property
    def carrier_ok(self) -> bool:
        """netif_carrier_ok."""
        return self._carrier

    @property
    def carrier_changes(self) -> int:
        """How often it came or went."""
        return self.carrier_up_count + self.carrier_down_count

    def set_dormant(self, dormant: bool) -> None:
        """netif_dormant_on, netif_dormant_off: the link is up but something, such as 802.1X, is not done. Any context."""
        if self._switch("_dormant", dormant):
            self._fire()

    def set_testing(self, testing: bool) -> None:
        """netif_testing_on, netif_testing_off: a test has the link, such as a cable's. Any context."""
        if self._switch("_testing", testing):
            self._fire()

    @property
    def dormant(self) -> bool:
        """netif_dormant."""
        return self._dormant

    @property
    def testing(self) -> bool:
        """netif_testing."""
        return self._testing

    def _switch(self, what: str, value: bool) -> bool:
        """test_and_set_bit: whether it was the other way before."""
        with self._state_lock:
            changed: bool = getattr(self, what) is not value
            setattr(self, what, value)
        return changed

    def _fire(self) -> None:
        if self.registered:
            self.stack.linkwatch.fire(cast("NetDevice", self))

    @property
    def linkwatch_urgent(self) -> bool:
        """linkwatch_urgent_event: its carrier is there, and packets are still kept out of a queue."""
        return self.running and self._carrier and any(q.qdisc is None or q.qdisc is not q.qdisc_sleeping for q in self.tx)

    def linkwatch_event(self) -> None:
        """linkwatch_do_dev: state, queues, notifiers. rtnl."""
        self._rfc2863_policy()
        if self.up:
            if self._carrier:
                self.activate()
            else:
                self.deactivate()
            self.tell(NetdevEvent.CHANGE)

    # --- operational state ---

    @property
    def operstate(self) -> OperState:
        """RFC 2863's ifOperStatus, as users see it: down while it is, and unknown when there was no carrier event ever."""
        return self._operstate if self.running else OperState.DOWN

    @property
    def oper_up(self) -> bool:
        """netif_oper_up: what IFF_RUNNING tells."""
        return self._operstate in (OperState.UP, OperState.UNKNOWN)

    def set_operstate(self, state: OperState) -> None:
        """`ip link set ... state`: what a user such as a supplicant may do; what it may not, does nothing (rtnetlink's set_operstate)."""
        with self.stack.rtnl:
            before = self._operstate
            if state is OperState.UP:
                waiting = before in (OperState.DORMANT, OperState.TESTING, OperState.UNKNOWN)
                if waiting and not self._dormant and not self._testing:
                    self._operstate = state
            elif state in (OperState.DORMANT, OperState.TESTING) and self.oper_up:
                self._operstate = state
            if self._operstate is not before and self.up:
                self.tell(NetdevEvent.CHANGE)

    def _linkwatch_init(self) -> None:
        """linkwatch_init_dev: what happened before it was registered."""
        if not self._carrier or self._dormant or self._testing:
            self._rfc2863_policy()

    def _rfc2863_policy(self) -> None:
        state = OperState.UP
        if self._testing:
            state = OperState.TESTING
        elif not self._carrier:
            state = OperState.DOWN
        elif self._dormant:
            state = OperState.DORMANT
        if state is self._operstate:
            return
        if state is OperState.UP and self.link_mode is not LinkMode.DEFAULT:
            state = OperState.DORMANT if self.link_mode is LinkMode.DORMANT else OperState.TESTING
        self._operstate = state
