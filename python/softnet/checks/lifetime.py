"""Rule 12: from alloc_netdev to free_netdev, and not beyond."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from softnet.checks.calls import QueueEvent
from softnet.checks.group import RuleGroup
from softnet.checks.probes import Wrapper, probe
from softnet.checks.where import driver_line
from softnet.netdev import NetDevice, alloc_netdev_mqs
from softnet.netdev_features import RegState
from softnet.netdev_refs import DeviceRefs

if TYPE_CHECKING:
    from softnet.checks.checker import Checker
    from softnet.skbuff import SkBuff


@dataclass(eq=False)
class Life:
    """What became of a device of alloc_netdev."""

    name: str
    where: str  # it was allocated
    offered: bool = False  # to register_netdev, which may have failed
    registered: bool = False


class Lifetime(RuleGroup):
    """Rule 12. A device of alloc_netdev that was registered, or was to be, is freed by the driver before the checker is closed."""

    def __init__(self, checker: Checker) -> None:
        super().__init__(checker)
        self._of: WeakKeyDictionary[NetDevice, Life] = WeakKeyDictionary()
        self._lives: list[Life] = []

    def report(self, device: NetDevice | str, operation: str, detail: str, where: str | None = None) -> None:
        self.checker.report(12, device, operation, detail, where)

    def device_made(self, device: NetDevice) -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not alloc_netdev_mqs.__code__:
            frame = frame.f_back
        if frame is not None:
            self._of[device] = Life(device.name, driver_line(frame))
            self._lives.append(self._of[device])

    def registering(self, device: NetDevice) -> None:
        if device in self._of:
            self._of[device].offered = True

    def registered(self, device: NetDevice) -> None:
        if device in self._of:
            self._of[device].registered = True
            self._of[device].name = device.name

    def unregistered(self, device: NetDevice) -> None:
        if device in self._of:
            self._of[device].registered = device.registered
        if device.refs > 1 and not device.registered:
            self.report(device, "unregister_netdev", f"{device.refs - 1} references were not given back: dev_put is missing")

    def freed(self, device: NetDevice) -> None:
        life = self._of.pop(device, None)
        if life is not None:
            self._lives.remove(life)

    def finished(self) -> None:
        for life in self._lives:
            if life.offered and not life.registered:
                self.report(life.name, "free_netdev", "it was not called: the device and its private data are lost", life.where)
        self._lives.clear()

    # --- use after free ---

    def carrier_changed(self, device: NetDevice, on: bool) -> None:
        self._alive(device, f"netif_carrier_{'on' if on else 'off'}")

    def queue_begins(self, event: QueueEvent) -> None:
        self._alive(event.device, f"its transmit queue: {event.action}")

    def skb_received(self, skb: SkBuff) -> None:
        if skb.dev is not None:
            self._alive(skb.dev, "a packet was delivered")

    def _alive(self, device: NetDevice, what: str) -> None:
        if device.reg_state is RegState.RELEASED:
            self.report(device, "free_netdev", f"used after it was freed: {what}")


def _lifetime(device: NetDevice) -> Lifetime | None:
    checker = device.stack.checker
    return None if checker is None or not checker.active else checker.group(Lifetime)


@probe(DeviceRefs, "_used_after_free")
def _used_after_free(original: Wrapper, device: NetDevice, what: str) -> Any:
    rules = _lifetime(device)
    if rules is not None:
        rules.report(device, "free_netdev", what)
    return original(device, what)


@probe(DeviceRefs, "put")
def _put(original: Wrapper, device: NetDevice) -> None:
    rules = _lifetime(device)
    if rules is not None and device.refs <= 0:
        rules.report(device, "dev_put", "more references were given back than taken")
    registered = device.registered
    original(device)
    if rules is not None and registered and not device.refs:
        rules.report(device, "dev_put", "its last reference was given back while it is registered: its private data goes early")


@probe(NetDevice, "free")
def _free(original: Wrapper, device: NetDevice) -> None:
    rules = _lifetime(device)
    if rules is not None and device.registered:
        rules.report(device, "free_netdev", "called while it is registered: unregister_netdev comes first")
    original(device)
