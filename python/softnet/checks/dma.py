"""Rule 17: the DMA API (softnet.dma), as dma-debug has it, and a look at what the CPU does to memory that it gave away."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet, ref

from softnet.checks.calls import Call, unchecked
from softnet.checks.contexts import whose
from softnet.checks.group import RuleGroup
from softnet.checks.where import driver_line
from softnet.dma import DMA_TO_DEVICE, DmaDevice, DmaMapping, DmaMisuse

if TYPE_CHECKING:
    from softnet.checks.checker import Checker
    from softnet.netdev import NetDevice
    from softnet.stack import Stack


@dataclass(eq=False)
class Mapped:
    """What is known of a mapping."""

    mapping: DmaMapping
    while_open: bool  # made between ndo_open and ndo_stop, and so to be gone after that
    where: str
    checksum: int | None = None  # of what the device owns, and nobody writes


class DmaMappings(RuleGroup):
    """Rule 17. A DmaDevice is of the device in whose operation or poll it is used first, or whose driver or private data refers to it."""

    def __init__(self, checker: Checker) -> None:
        super().__init__(checker)
        self._devices: WeakSet[NetDevice] = WeakSet()
        self._open: WeakSet[NetDevice] = WeakSet()
        self._owners: WeakKeyDictionary[DmaDevice, ref[NetDevice]] = WeakKeyDictionary()
        self._mapped: WeakKeyDictionary[DmaDevice, dict[int, Mapped]] = WeakKeyDictionary()
        self._aborts: WeakKeyDictionary[DmaDevice, int] = WeakKeyDictionary()

    def _report(self, dma: DmaDevice, operation: str, detail: str, where: str | None = None) -> None:
        self.checker.report(17, self._owner(dma) or "?", operation, detail, where)

    def device_made(self, device: NetDevice) -> None:
        self._devices.add(device)
        if self not in DmaDevice.watchers:
            DmaDevice.watchers.append(self)

    def finished(self) -> None:
        if self in DmaDevice.watchers:
            DmaDevice.watchers.remove(self)

    def _owner(self, dma: DmaDevice) -> NetDevice | None:
        known = self._owners.get(dma)
        if known is not None:
            return known()
        device = whose()
        if device is None:
            device = next((device for device in self._devices if _refers(device, dma)), None)
        if device is not None:
            self._owners[dma] = ref(device)
        return device

    def _ours(self, dma: DmaDevice) -> bool:
        device = self._owner(dma)
        return device is None or device in self._devices

    # --- who is told of all DMA (softnet.dma.DmaWatcher) ---

    def dma_mapped(self, dma: DmaDevice, mapping: DmaMapping) -> None:
        """Remember it, and what the CPU must not change."""
        device = self._owner(dma)
        mapped = Mapped(mapping, not mapping.coherent and device in self._open, driver_line())
        self._mapped.setdefault(dma, {})[mapping.handle] = mapped
        self._aborts.setdefault(dma, _master_aborts(dma))
        _given(mapped)

    def dma_unmapping(self, dma: DmaDevice, mapping: DmaMapping) -> None:
        """Look whether it is as it was given."""
        mapped = self._mapped.get(dma, {}).pop(mapping.handle, None)
        if mapped is not None and mapping.device_owned:
            self._compare(dma, mapped, "dma_unmap_single")

    def dma_synced(self, dma: DmaDevice, mapping: DmaMapping, *, for_device: bool) -> None:
        """The same where it stays mapped."""
        mapped = self._mapped.get(dma, {}).get(mapping.handle)
        if mapped is None:
            return
        if for_device:
            _given(mapped)
        elif mapping.device_owned:
            self._compare(dma, mapped, "dma_sync_single_for_cpu")

    def dma_misuse(self, dma: DmaDevice, misuse: DmaMisuse, message: str) -> None:
        """What dma-debug complains about."""
        if self._ours(dma):
            call, _, detail = message.partition(": ")
            self._report(dma, call, detail)

    def _compare(self, dma: DmaDevice, mapped: Mapped, operation: str) -> None:
        mapping = mapped.mapping
        if mapped.checksum is not None and zlib.crc32(mapping.view) != mapped.checksum and self._ours(dma):
            detail = f"the CPU wrote to {_named(mapping)} while the device owned it, without dma_sync_single_for_cpu"
            self._report(dma, operation, detail, mapped.where)

    # --- what is left ---

    def op_begins(self, call: Call) -> None:
        if call.name == "open":
            self._open.add(call.device)

    def op_ends(self, call: Call) -> None:
        device = call.device
        if call.name == "stop" and not isinstance(call.error, TimeoutError):
            self._open.discard(device)
            self._leaked(device, "ndo_stop", while_open=True)
        elif call.name == "open" and call.error is not None:
            self._open.discard(device)
            self._leaked(device, "ndo_open", while_open=True)
        elif call.name == "start_xmit":
            self._look_for_aborts(device)

    def freed(self, device: NetDevice) -> None:
        self._leaked(device, "free_netdev", while_open=False)

    def stack_ran(self, stack: Stack) -> None:
        for device in list(stack.devices.values()):
            self._look_for_aborts(device)

    def _dmas(self, device: NetDevice) -> list[DmaDevice]:
        return [dma for dma in list(self._mapped) if self._owner(dma) is device]

    def _leaked(self, device: NetDevice, operation: str, *, while_open: bool) -> None:
        """Once for each operation, with the first as an example; it is not told of again."""
        self._look_for_aborts(device)
        for dma in self._dmas(device):
            known = self._mapped[dma]
            left = [mapped for mapped in known.values() if mapped.while_open or not while_open]
            if left:
                first = left[0]
                self._report(dma, operation, f"{len(left)} mappings are left, the first {_named(first.mapping)}", first.where)
            for mapped in left:
                del known[mapped.mapping.handle]

    def _look_for_aborts(self, device: NetDevice) -> None:
        for dma in self._dmas(device):
            now, before = _master_aborts(dma), self._aborts[dma]
            if now > before:
                self._aborts[dma] = now
                detail = f"the card used an address that is not mapped, or not any more, or wrote to one mapped {DMA_TO_DEVICE.name}"
                self._report(dma, "DMA", f"{detail}: {now - before} master aborts", "")


def _given(mapped: Mapped) -> None:
    """The device owns it now. What the device itself may write cannot be told from what the CPU writes, unless it is copied."""
    mapping = mapped.mapping
    if not mapping.coherent and (mapping.direction is DMA_TO_DEVICE or mapping.bounce is not None):
        mapped.checksum = zlib.crc32(mapping.view)


def _named(mapping: DmaMapping) -> str:
    kind = "coherent" if mapping.coherent else f"DMA_{mapping.direction.name}"
    return f"{mapping.size} bytes at {mapping.handle:#x}, {kind}"


def _master_aborts(dma: DmaDevice) -> int:
    """0 where the memory does not count them."""
    return getattr(getattr(dma.memory, "addresses", None), "master_aborts", 0)


def _refers(device: NetDevice, dma: DmaDevice) -> bool:
    for holder in (unchecked(device.netdev_ops) if hasattr(device, "_ops") else None, device._priv):
        if any(value is dma for value in getattr(holder, "__dict__", {}).values()):
            return True
    return False
