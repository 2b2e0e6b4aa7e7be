"""What the kernel does of `ethtool` itself (net/ethtool/), between who asks and the driver's ethtool_ops.

It checks what no driver should have to, and gives a missing operation its errno. All take rtnl; what they give is ready for JSON.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from softnet.ethtool_features import KERNEL_FEATURES
from softnet.ethtool_ops import wake_letters
from softnet.netdev_features import ALWAYS_ON, Feature

if TYPE_CHECKING:
    from softnet.netdev import NetDevice

U32_MAX = 0xFFFFFFFF
SECOND = 1_000_000_000  # ns


class Refused(OSError):
    """An error for which the kernel has words, too (extack)."""

    def __init__(self, number: int, extack: str, text: str | None = None) -> None:
        super().__init__(number, text or extack)
        self.extack = extack


def operation(device: NetDevice, name: str) -> Any:
    """One of its driver's ethtool_ops. Raises OSError EOPNOTSUPP."""
    found = getattr(device.ethtool_ops, name, None)
    if found is None:
        raise OSError(errno.EOPNOTSUPP, f"{device.name}: its driver has no {name}")
    return found


def has(device: NetDevice, name: str) -> bool:
    """Whether its driver has the operation."""
    return getattr(device.ethtool_ops, name, None) is not None


def _call(device: NetDevice, name: str, **arguments: Any) -> Any:
    with device.stack.rtnl:
        return operation(device, name)(device, **arguments)


# --- link ---


def get_settings(device: NetDevice) -> dict[str, Any]:
    """`ethtool DEV`: all that the driver tells; what it has no operation for is missing."""
    settings: dict[str, Any] = {}
    with device.stack.rtnl:
        if has(device, "get_link_ksettings"):
            settings["link_ksettings"] = _link_ksettings(device)
        if has(device, "get_wol"):
            wol = operation(device, "get_wol")(device)
            settings["wol"] = {name: wake_letters(wol[name]) for name in ("supported", "wolopts")}
        if has(device, "get_msglevel"):
            settings["msglevel"] = int(operation(device, "get_msglevel")(device))
        if has(device, "get_link"):
            settings["link"] = device.running and bool(operation(device, "get_link")(device))
        elif device.ethtool_ops is not None:
            settings["link"] = device.running and device.carrier_ok
    return settings


def _link_ksettings(device: NetDevice) -> dict[str, Any]:
    """What the driver tells; of one that tells link modes, the port and autonegotiation are among them, as in the kernel's bitmaps."""
    link = dict(operation(device, "get_link_ksettings")(device))
    if link.get("supported"):
        link["supported"] = [*link["supported"], str(link["port"]).upper(), *["Autoneg"] * has(device, "nway_reset")]
        link["advertising"] = [*link.get("advertising", ()), *["Autoneg"] * bool(link["autoneg"])]
    if link.get("lp_advertising"):
        link["lp_advertising"] = list(link["lp_advertising"])
    return link


def set_settings(device: NetDevice, **change: Any) -> None:
    """`ethtool -s`: of speed, duplex, autoneg, advertising, wolopts, msglvl, those that are to change."""
    with device.stack.rtnl:
        link: dict[str, Any] = {name: change[name] for name in ("speed", "duplex", "autoneg", "advertising") if name in change}
        if link:
            _set_link(device, link)
        if "wolopts" in change:
            wanted = wake_letters(change["wolopts"])
            if set(wanted) - set(operation(device, "get_wol")(device)["supported"]) - {"d"}:
                raise Refused(errno.EINVAL, "cannot enable unsupported WoL mode")
            operation(device, "set_wol")(device, wolopts=wanted)
        if "msglvl" in change:
            operation(device, "set_msglevel")(device, change["msglvl"])


def _set_link(device: NetDevice, change: dict[str, Any]) -> None:
    """ethnl_set_linkmodes: speed and duplex choose what is advertised, or are forced, if there is to be no negotiation."""
    switch, now = operation(device, "set_link_ksettings"), operation(device, "get_link_ksettings")(device)
    if not change.get("autoneg", now["autoneg"]):
        switch(device, autoneg=False, speed=change.get("speed", now["speed"]), duplex=change.get("duplex", now["duplex"]))
        return
    modes = change.get("advertising")
    if modes is None and change.keys() & {"speed", "duplex"}:
        start, end = f"{change.get('speed', '')}base", f"/{str(change.get('duplex', '')).capitalize()}"
        modes = [m for m in now.get("supported", ()) if (m.startswith(start) or "speed" not in change) and (end == "/" or m.endswith(end))]
        if not modes:
            raise OSError(errno.EINVAL, f"{device.name}: it has no link mode {start}T{end}")
    switch(device, autoneg=True, advertising=modes if modes is not None else now.get("advertising") or None)


def nway_reset(device: NetDevice) -> None:
    """`ethtool -r`."""
    _call(device, "nway_reset")


def get_pauseparam(device: NetDevice) -> dict[str, Any]:
    """`ethtool -a`."""
    return dict(_call(device, "get_pauseparam"))


def set_pauseparam(device: NetDevice, **change: bool) -> None:
    """`ethtool -A`: the driver is asked only if something changes (ethnl_set_pause)."""
    _change(device, "pauseparam", change)


class Blinking:
    """A card's light that blinks, on the stack's clock (ethtool_phys_id). The stack's thread."""

    def __init__(self, device: NetDevice, blink: Callable[[NetDevice, str], int | None]) -> None:
        self.device = device
        self.blink = blink
        self.end = 0
        self.on = False
        rate = blink(device, "active")
        self.interval = SECOND // (2 * rate) if rate else 0

    def go_on(self) -> None:
        """A timer: the next half of a blink, until the end."""
        with self.device.stack.rtnl:
            now = self.device.stack.clock.monotonic_ns()
            if now >= self.end or not self.device.registered:
                del BLINKING[self.device]
                self.blink(self.device, "inactive")
                return
            if self.interval:
                self.on = not self.on
                self.blink(self.device, "on" if self.on else "off")
            self.device.stack.clock.call_at(min(self.end, now + (self.interval or SECOND)), self.go_on)


BLINKING: dict[NetDevice, Blinking] = {}


def set_phys_id(device: NetDevice, seconds: int) -> None:
    """`ethtool -p`: blink for so long from now; 0 ends it."""
    with device.stack.rtnl:
        blink, clock = operation(device, "set_phys_id"), device.stack.clock
        known = BLINKING.get(device)
        blinking = known or Blinking(device, blink)
        blinking.end = clock.monotonic_ns() + max(0, min(seconds, U32_MAX)) * SECOND
        if known is None:
            BLINKING[device] = blinking
            clock.call_later(0, blinking.go_on)


# --- queues and interrupts ---


def get_ringparam(device: NetDevice) -> dict[str, int]:
    """`ethtool -g`."""
    return dict(_call(device, "get_ringparam"))


def set_ringparam(device: NetDevice, **change: int) -> None:
    """`ethtool -G` (ethnl_set_rings). Raises OSError EINVAL above the driver's maximum, and for what it does not have."""
    with device.stack.rtnl:
        operation(device, "set_ringparam")
        most = operation(device, "get_ringparam")(device)
        for name, count in change.items():
            if count > most.get(name.replace("_pending", "_max_pending"), 0):
                raise Refused(errno.EINVAL, "requested ring size exceeds maximum")
        _change(device, "ringparam", change)


def get_coalesce(device: NetDevice) -> dict[str, int]:
    """`ethtool -c`: what the driver has of it."""
    return dict(_call(device, "get_coalesce"))


def set_coalesce(device: NetDevice, **change: int) -> None:
    """`ethtool -C` (ethnl_set_coalesce). Raises OSError EINVAL for what the driver does not have."""
    with device.stack.rtnl:
        operation(device, "set_coalesce")
        if change.keys() - operation(device, "get_coalesce")(device).keys():
            raise Refused(errno.EINVAL, "cannot modify an unsupported parameter")
        _change(device, "coalesce", change)


def _change(device: NetDevice, what: str, change: dict[str, Any]) -> None:
    """Ask the driver for what it has with `change` in it; not at all if that is the same."""
    with device.stack.rtnl:
        switch = operation(device, f"set_{what}")
        now = operation(device, f"get_{what}")(device)
        if all(now.get(name) == value for name, value in change.items()):
            return
        settings = {name: value for name, value in now.items() if not name.endswith("_max_pending")}
        switch(device, **settings | change)


# --- what it is and has ---


def get_drvinfo(device: NetDevice) -> dict[str, Any]:
    """`ethtool -i`; how much there is of what else one may ask for, too (ethtool_get_drvinfo)."""
    with device.stack.rtnl:
        info = dict(operation(device, "get_drvinfo")(device))
        info["version"] = info.get("version") or _version()  # where a driver says none, the kernel tells its own release
        info["n_stats"] = len(operation(device, "get_ethtool_stats")(device)) if has(device, "get_ethtool_stats") else 0
        info["testinfo_len"] = int(has(device, "self_test"))
        info["eedump_len"] = int(operation(device, "get_eeprom_len")(device)) if has(device, "get_eeprom_len") else 0
        info["regdump_len"] = int(has(device, "get_regs"))
        info["n_priv_flags"] = 0
    return info


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # only now: it is slow to import

    try:
        return version("fastring")
    except PackageNotFoundError:  # not installed, only there
        return ""


def get_ethtool_stats(device: NetDevice) -> dict[str, int]:
    """`ethtool -S`."""
    return dict(_call(device, "get_ethtool_stats"))


def get_regs(device: NetDevice) -> dict[str, Any]:
    """`ethtool -d`: the driver's name, the registers by theirs, and in hexadecimal as the kernel would give them to ethtool."""
    with device.stack.rtnl:
        registers = dict(operation(device, "get_regs")(device))
        if has(device, "get_regs_raw"):
            raw = bytes(operation(device, "get_regs_raw")(device)[1])
        else:
            raw = struct.pack(f"<{len(registers)}I", *registers.values())
        driver = operation(device, "get_drvinfo")(device)["driver"] if has(device, "get_drvinfo") else ""
    return {"driver": driver, "registers": registers, "raw": raw.hex()}


def self_test(device: NetDevice, *, offline: bool = True) -> dict[str, int]:
    """`ethtool -t`: 0 is passed."""
    return {name: int(result) for name, result in _call(device, "self_test", offline=offline).items()}


def get_permaddr(device: NetDevice) -> str:
    """`ethtool -P`."""
    return device.perm_addr.hex(":")


def get_eeprom(device: NetDevice, offset: int = 0, length: int | None = None) -> dict[str, Any]:
    """`ethtool -e` (ethtool_get_any_eeprom). Raises OSError EINVAL outside of it."""
    with device.stack.rtnl:
        operation(device, "get_eeprom")
        size = operation(device, "get_eeprom_len")(device)
        length = max(0, size - offset) if length is None else length
        if offset < 0 or length < 0 or offset + length > size:
            raise OSError(errno.EINVAL, f"{device.name}: its EEPROM has bytes 0 to {size - 1}, not {length} from {offset} on")
        magic, data = operation(device, "get_eeprom")(device, offset, length) if length else (0, b"")
    return {"magic": magic, "offset": offset, "data": data.hex()}


def set_eeprom(device: NetDevice, magic: int, offset: int, data: str) -> None:
    """`ethtool -E`: `data` in hexadecimal."""
    with device.stack.rtnl:
        write = operation(device, "set_eeprom")
        size, raw = operation(device, "get_eeprom_len")(device), bytes.fromhex(data)
        if offset < 0 or offset + len(raw) > size:
            raise OSError(errno.EINVAL, f"{device.name}: its EEPROM has bytes 0 to {size - 1}, not {len(raw)} from {offset} on")
        if raw:
            write(device, raw, magic=magic, offset=offset)


# --- features ---


def get_features(device: NetDevice) -> dict[str, list[bool]]:
    """`ethtool -k`: by the kernel's names, in its order: [whether it is on, whether no user may switch it, whether it is wanted]."""
    with device.stack.rtnl:
        changeable = device.hw_features | ALWAYS_ON
        return {
            name: [bool(device.features & bit), not changeable & bit, bool(device.wanted_features & bit)]
            for name, bit in KERNEL_FEATURES.items()
        }


def set_features(device: NetDevice, wanted: dict[str, bool]) -> dict[str, Any]:
    """`ethtool -K` (ethnl_set_features): `wanted` by the kernel's names.

    Returns what is `unmet`, and what `changed`: each with its state now. What is fixed stays as it is.
    Raises OSError EOPNOTSUPP for a name that there is not.
    """
    on = off = Feature.NONE
    with device.stack.rtnl:
        changeable = device.hw_features | ALWAYS_ON
        for name, value in wanted.items():
            if name not in KERNEL_FEATURES:
                raise Refused(errno.EOPNOTSUPP, "bit name not found", f"there is no feature {name!r}")
            bit = KERNEL_FEATURES[name] & changeable
            on, off = (on | bit, off & ~bit) if value else (on & ~bit, off | bit)
        before = device.features
        device.set_features(on=on, off=off)
        now = {name: bool(device.features & bit) for name, bit in KERNEL_FEATURES.items()}
        changed = {name: now[name] for name, bit in KERNEL_FEATURES.items() if (before ^ device.features) & bit}
    return {"unmet": {name: now[name] for name, value in wanted.items() if now[name] != value}, "changed": changed}
