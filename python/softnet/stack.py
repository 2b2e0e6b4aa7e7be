"""Stack: what the devices of one host share: a clock, the softirq that polls them, and their names."""

from __future__ import annotations

import errno
import logging
import math
import os
import select
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from fastring.clock import Clock, MonotonicClock
from fastring.kthread import Kthread
from fastring.softirq import Softirq
from softnet.dev_xmit import qdisc_run
from softnet.netdev_link import LinkWatch
from softnet.rtnl import NetdevEvent, Notifier, Rtnl

if TYPE_CHECKING:
    from softnet.checks.checker import Checker
    from softnet.netdev import NetDevice
    from softnet.receive import Handler
    from softnet.sch_generic import Qdisc

log = logging.getLogger("softnet")

IFNAMSIZ = 16  # with the NUL at the end
MAX_SOFTIRQ_TIME, MAX_SOFTIRQ_RESTART = 2_000_000, 10  # ns and rounds of `run` before the rest is ksoftirqd's


class Stack:
    """One host's network stack (the kernel's `struct net`, with its softnet_data).

    `clock`: every timer and time stamp reads it; a VirtualClock makes a run deterministic. `threaded`: ksoftirqd and the threads of
    threaded NAPIs run beside whoever calls `run`, until `close`: see fastring.softirq for what that asks of the cards.
    """

    checker: Checker | None = None  # softnet.checks: who looks whether its drivers keep the rules

    def __init__(self, *, clock: Clock | None = None, threaded: bool = False) -> None:
        self.clock = MonotonicClock() if clock is None else clock
        self.softirq = Softirq(self.clock, preempt=threaded)
        self.ksoftirqd: Kthread | None = None
        self.devices: dict[str, NetDevice] = {}
        self.rtnl = Rtnl()
        self.linkwatch = LinkWatch(self.clock, self.rtnl)
        self.taps: list[Handler] = []  # ptype_all: packet sockets on every device
        self.protocols: dict[int, list[Handler]] = {}  # ptype_base, by ETH_P_*
        self.notifiers: list[Notifier] = []
        self.work: list[Callable[[], object]] = []  # called by each `run` before anything else, where rtnl may be taken
        self._next_ifindex = 1
        self._scheduled: dict[Qdisc, None] = {}
        if threaded:
            self.ksoftirqd = Kthread("ksoftirqd/0", self._run_ksoftirqd)
            self.ksoftirqd.start()

    # --- notifiers ---

    def notify(self, event: NetdevEvent, device: NetDevice) -> None:
        """call_netdevice_notifiers: rtnl. Raises the OSError of the first that refuses; those after it are not told."""
        for notifier in tuple(self.notifiers):
            notifier(event, device)

    def tell(self, event: NetdevEvent, device: NetDevice) -> None:
        """The same for what has happened and cannot be refused: every notifier hears of it, and one that fails is logged. rtnl."""
        for notifier in tuple(self.notifiers):
            try:
                notifier(event, device)
            except Exception:
                log.exception("%s: a notifier failed at %s, which nobody can refuse", device.name, event.name)

    def register_netdevice_notifier(self, notifier: Notifier) -> None:
        """Tell it what happens, and first of the devices there are: REGISTER, and UP of those that are.

        Raises the OSError by which it refuses one; those it was told of are then taken back, and it hears no more.
        """
        with self.rtnl:
            told: list[NetDevice] = []
            self.notifiers.append(notifier)
            try:
                for device in tuple(self.devices.values()):
                    notifier(NetdevEvent.REGISTER, device)
                    told.append(device)
                    if device.up:
                        notifier(NetdevEvent.UP, device)
            except BaseException:
                self.notifiers.remove(notifier)
                self._take_back(notifier, told)
                raise

    def unregister_netdevice_notifier(self, notifier: Notifier) -> None:
        """Tell it no more, after every device that there is has gone as far as it can see. Raises OSError ENOENT if it was not told."""
        with self.rtnl:
            if notifier not in self.notifiers:
                raise OSError(errno.ENOENT, "this notifier is not registered")
            self.notifiers.remove(notifier)
            self._take_back(notifier, list(self.devices.values()))

    def _take_back(self, notifier: Notifier, devices: list[NetDevice]) -> None:
        for device in devices:
            if device.up:
                notifier(NetdevEvent.GOING_DOWN, device)
                notifier(NetdevEvent.DOWN, device)
            notifier(NetdevEvent.UNREGISTER, device)

    # --- names ---


    def new_ifindex(self) -> int:
        """The next interface index; they are not reused."""
        self._next_ifindex += 1
        return self._next_ifindex - 1

    def allocate_name(self, template: str) -> str:
        """A free name from a template such as "eth%d" (dev_alloc_name). Raises OSError EINVAL, EEXIST."""
        check_name(template)
        if "%" not in template:
            if template in self.devices:
                raise OSError(errno.EEXIST, f"there is a device {template!r} already")
            return template
        if template.count("%") != 1 or "%d" not in template:
            raise OSError(errno.EINVAL, f"{template!r}: a name template has one %d and no other %")
        number = 0
        while (name := template.replace("%d", str(number))) in self.devices:
            number += 1
        check_name(name)
        return name

    # --- running ---

    def netif_schedule(self, qdisc: Qdisc) -> None:
        """Have a qdisc run by the next `run`, and again until it is empty."""
        self._scheduled[qdisc] = None

    def run(self) -> int:
        """Fire due timers and run the softirqs until nothing is pending; return how many packets and interrupts they handled.

        Where there is a ksoftirqd, for 2 ms or ten rounds, and the rest is left to that (__do_softirq); what that met with is raised here.
        Frames from outside the process may never end, so where a wire brings some it is 2 ms, too, and the rest is the next `run`'s.
        """
        total, done, rounds, end, outside_end = 0, 1, 0, 0, 0
        for work in tuple(self.work):
            work()
        ksoftirqd = self.ksoftirqd
        if ksoftirqd is not None:
            end = self.clock.monotonic_ns() + MAX_SOFTIRQ_TIME
            error, ksoftirqd.error = ksoftirqd.error, None
            if error is not None:
                raise error
        while done:
            if ksoftirqd is not None and (rounds >= MAX_SOFTIRQ_RESTART or self.clock.monotonic_ns() >= end):
                ksoftirqd.wake_up()
                break
            if rounds == MAX_SOFTIRQ_RESTART and self.softirq.polled_wires:
                outside_end = time.monotonic_ns() + MAX_SOFTIRQ_TIME
            elif rounds > MAX_SOFTIRQ_RESTART and outside_end and time.monotonic_ns() >= outside_end:
                break
            rounds += 1
            self.clock.fire_due()
            done = self.softirq.net_rx_action()
            if self._scheduled:
                done += self.net_tx_action()
            self.linkwatch.run()
            total += done
        return total

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until `run` may have something to do, or `timeout` seconds; return whether it may. Signals are let through.

        That is: a frame at a wire from outside the process, room at one that had none, a timer due (on a real clock), work pending.
        Without a timeout and without any of these to wait for, raises ValueError rather than sleep for ever.
        """
        if self.softirq.work_pending or self._scheduled or self.work:
            return True
        waiter, wires = select.poll(), self.softirq.polled_wires
        for wire in wires:
            number = wire.fileno()
            if number is not None:
                waiter.register(number, select.POLLIN | (select.POLLOUT if wire.held_up else 0))
        deadline = self.clock.next_deadline if isinstance(self.clock, MonotonicClock) else None
        until = None if deadline is None else max(0.0, (deadline - self.clock.monotonic_ns()) / 1e9)
        if timeout is None and until is None and not wires:
            raise ValueError("there is nothing to wait for: no timer, and no wire that frames come from by themselves")
        seconds = min(math.inf if limit is None else limit for limit in (timeout, until))
        return bool(waiter.poll(None if seconds == math.inf else math.ceil(1000 * seconds))) or seconds == until

    def _run_ksoftirqd(self) -> None:
        """run_ksoftirqd, until nothing is pending. Timers and the link's events are left to `run`."""
        while self.softirq.run_ksoftirqd() + (self.net_tx_action() if self._scheduled else 0):
            pass

    def net_tx_action(self) -> int:
        """Run the qdiscs that have packets and whose queue is awake; returns how many packets they sent."""
        sent = 0
        for qdisc in tuple(self._scheduled):
            self._scheduled.pop(qdisc, None)  # before the look: who adds a packet after it schedules it anew
            if qdisc.qlen:
                if qdisc.queue.txq.xmit_stopped or not (done := qdisc_run(qdisc)):
                    self.netif_schedule(qdisc)
                else:
                    sent += done
        return sent

    def close(self) -> None:
        """Unregister every device, the others also when one does not let itself be; ksoftirqd ends."""
        with ExitStack() as undo:
            if self.ksoftirqd is not None:
                undo.callback(self.ksoftirqd.stop)
            for device in reversed(self.devices.values()):
                undo.callback(device.unregister)

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Stack: {', '.join(self.devices) or 'no devices'}, {self.clock!r}>"


def check_name(name: str) -> None:
    """dev_valid_name. Raises OSError EINVAL."""
    if not 0 < len(os.fsencode(name)) < IFNAMSIZ or name in (".", "..") or any(c in "/:\0" or c.isspace() for c in name):
        raise OSError(errno.EINVAL, f"{name!r} is no interface name: 1 to {IFNAMSIZ - 1} bytes, no '/', ':' or white space")
