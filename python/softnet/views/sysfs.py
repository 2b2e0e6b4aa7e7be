"""/sys/class/net/<device>, as a mapping: `device.sysfs["statistics/rx_packets"]` (net/core/net-sysfs.c).

The mapping has what a file holds, without the newline at its end; `open` gives the file as it is. What the kernel answers with an error
is an OSError of the same errno: EACCES for writing what is read-only, ENOENT for a file that is not there, EINVAL for what needs a
device that is up, ENODEV for a file that was open when its device went.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from softnet.netdev_features import Flag
from softnet.stats import Stats64

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.netdev_queue import NetdevQueue

ULONG_MAX = 2**64 - 1
DQL_MAX_LIMIT = 0x70000000
SETTABLE_VOLATILE = Flag.RUNNING | Flag.LOWER_UP | Flag.DORMANT  # not in dev->flags, which the file shows
STATISTICS = tuple(field.name for field in fields(Stats64) if field.name != "rx_otherhost_dropped")  # which has no file

Show = Callable[["NetDevice"], object]
Store = Callable[["NetDevice", str], object]


@dataclass(frozen=True)
class Attribute:
    """One file: what it shows, and how it is written if it can be."""

    show: Show
    store: Store | None = None


class NoSuchAttribute(FileNotFoundError, KeyError):
    """There is no such file: ENOENT, and a key that a mapping does not have."""


class SysfsFolder(MutableMapping[str, str]):
    """The folder of one device. There is nothing in it while the device is not registered. Takes rtnl."""

    def __init__(self, device: NetDevice) -> None:
        self._device = device

    def __getitem__(self, path: str) -> str:
        return self._show(path).removesuffix("\n")

    def __setitem__(self, path: str, value: object) -> None:
        with self.open(path) as file:
            file.write(str(value))

    def __delitem__(self, path: str) -> None:
        raise PermissionError(errno.EPERM, "a file of sysfs cannot be removed", path)

    def __iter__(self) -> Iterator[str]:
        return iter(_attributes(self._device) if self._device.registered else ())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def open(self, path: str) -> SysfsFile:
        """Open a file; it keeps the device until it is closed. Raises NoSuchAttribute (ENOENT)."""
        return SysfsFile(self._device, path, self._attribute(path))

    def _attribute(self, path: str) -> Attribute:
        attributes = _attributes(self._device) if self._device.registered else {}
        if path not in attributes:
            raise NoSuchAttribute(errno.ENOENT, os.strerror(errno.ENOENT), f"/sys/class/net/{self._device.name}/{path}")
        return attributes[path]

    def _show(self, path: str) -> str:
        with self.open(path) as file:
            return file.read()

    def __repr__(self) -> str:
        return f"<SysfsFolder /sys/class/net/{self._device.name}>"


class SysfsFile:
    """An open file of a device's folder. The device object lives as long, but once it is unregistered nothing can be read: ENODEV."""

    def __init__(self, device: NetDevice, path: str, attribute: Attribute) -> None:
        self._device = device.get_device()
        self._attribute = attribute
        self._open = True
        self.path = path

    def read(self) -> str:
        """The whole content, as it is now. Raises OSError ENODEV, EINVAL."""
        self._check()
        with self._device.stack.rtnl:
            text = self._attribute.show(self._device)
        return "" if text == "" else f"{text}\n"

    def write(self, value: str) -> int:
        """Write the whole content at once; returns its length. Raises OSError ENODEV, EACCES, EINVAL, ERANGE, or the device's."""
        self._check()
        if self._attribute.store is None:
            raise PermissionError(errno.EACCES, "this file is read-only", self.path)
        if value:  # an empty write does not reach the kernel's store
            with self._device.stack.rtnl:
                self._attribute.store(self._device, value)
        return len(value)

    def close(self) -> None:
        """Let go of the device; again is harmless."""
        if self._open:
            self._open = False
            self._device.put_device()

    def _check(self) -> None:
        if not self._open:
            raise ValueError(f"{self.path} was closed")
        if not self._device.registered:
            raise OSError(errno.ENODEV, f"{self._device.name} is gone", self.path)

    def __enter__(self) -> SysfsFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


# --- numbers (lib/kstrtox.c) ---


def kstrtoul(text: str, most: int = ULONG_MAX) -> int:
    """A number as C has it: 0x1f, 017, 31, one newline allowed after it. Raises OSError EINVAL, ERANGE."""
    match = re.fullmatch(r"\+?(?:0[xX]([0-9a-fA-F]+)|0([0-7]*)|([1-9][0-9]*))\n?", text)
    if match is None:
        raise OSError(errno.EINVAL, f"{text!r} is no unsigned number")
    hexadecimal, octal, decimal = match.groups()
    value = int(hexadecimal, 16) if hexadecimal else int(decimal) if decimal else int(octal or "0", 8)
    if value > most:
        raise OSError(errno.ERANGE, f"{text!r} is more than {most}")
    return value


def kstrtouint10(text: str) -> int:
    """A decimal number of 32 bits, one newline allowed after it. Raises OSError EINVAL, ERANGE."""
    if re.fullmatch(r"\+?[0-9]+\n?", text, re.ASCII) is None:
        raise OSError(errno.EINVAL, f"{text!r} is no unsigned decimal number")
    if int(text) > 0xFFFFFFFF:
        raise OSError(errno.ERANGE, f"{text!r} is more than {0xFFFFFFFF}")
    return int(text)


def _int32(value: int) -> int:
    """A C cast to int."""
    return (value + 2**31) % 2**32 - 2**31


# --- the files ---


def _running(show: Show) -> Show:
    """EINVAL for a device that is down."""

    def shown(device: NetDevice) -> object:
        if not device.running:
            raise OSError(errno.EINVAL, f"{device.name} is down")
        return show(device)

    return shown


def _link_setting(device: NetDevice, what: str) -> object:
    """ethtool_ops.get_link_ksettings, a mapping, of a driver that tells. Without a link the speed is -1 (SPEED_UNKNOWN)."""
    get = getattr(device.ethtool_ops, "get_link_ksettings", None)
    if get is None:
        raise OSError(errno.EINVAL, f"{device.name}: its driver does not tell speed and duplex")
    return get(device)[what]


def _store_carrier(device: NetDevice, text: str) -> None:
    """carrier_store: the driver's ndo_change_carrier."""
    change = getattr(device.netdev_ops, "change_carrier", None)
    if change is None:
        raise OSError(errno.EOPNOTSUPP, f"{device.name}: its driver has no change_carrier")
    carrier = bool(kstrtoul(text))
    if not device.running:
        raise OSError(errno.EINVAL, f"{device.name} is down")
    change(device, carrier)


def _name_assign_type(device: NetDevice) -> int:
    if not device.name_assign_type:
        raise OSError(errno.EINVAL, f"{device.name}: it is not known where its name is from")
    return int(device.name_assign_type)


def _store_group(device: NetDevice, text: str) -> None:
    device.group = _int32(kstrtoul(text))


def _store_mtu(device: NetDevice, text: str) -> None:
    device.mtu = _int32(kstrtoul(text))


def _store_threaded(device: NetDevice, text: str) -> None:
    """modify_napi_threaded."""
    value = kstrtoul(text)
    if not device.napi_list or value > 1:
        raise OSError(errno.EOPNOTSUPP, f"{device.name}: threaded is 0 or 1, of a device that has NAPIs")
    device.threaded = bool(value)


def _store_gro_flush_timeout(device: NetDevice, text: str) -> None:
    device.gro_flush_timeout = kstrtoul(text)


def _store_defer_hard_irqs(device: NetDevice, text: str) -> None:
    device.napi_defer_hard_irqs = kstrtoul(text)


ATTRIBUTES = {
    "addr_assign_type": Attribute(lambda device: int(device.addr_assign_type)),
    "addr_len": Attribute(lambda device: device.addr_len),
    "address": Attribute(lambda device: device.dev_addr.hex(":")),
    "broadcast": Attribute(lambda device: device.broadcast.hex(":")),
    "carrier": Attribute(_running(lambda device: int(device.carrier_ok)), _store_carrier),
    "carrier_changes": Attribute(lambda device: device.carrier_changes),
    "carrier_down_count": Attribute(lambda device: device.carrier_down_count),
    "carrier_up_count": Attribute(lambda device: device.carrier_up_count),
    "dormant": Attribute(_running(lambda device: int(device.dormant))),
    "duplex": Attribute(_running(lambda device: _link_setting(device, "duplex"))),
    "flags": Attribute(
        lambda device: f"{device.flags & ~SETTABLE_VOLATILE:#x}", lambda device, text: device.change_flags(kstrtoul(text) & 0xFFFFFFFF)
    ),
    "gro_flush_timeout": Attribute(lambda device: device.gro_flush_timeout, _store_gro_flush_timeout),
    "ifalias": Attribute(lambda device: device.ifalias, lambda device, text: device.set_alias(text.removesuffix("\n"))),
    "ifindex": Attribute(lambda device: device.ifindex),
    "iflink": Attribute(lambda device: device.ifindex),
    "link_mode": Attribute(lambda device: int(device.link_mode)),
    "mtu": Attribute(lambda device: device.mtu, _store_mtu),
    "name_assign_type": Attribute(_name_assign_type),
    "napi_defer_hard_irqs": Attribute(lambda device: device.napi_defer_hard_irqs, _store_defer_hard_irqs),
    "netdev_group": Attribute(lambda device: device.group, _store_group),
    "operstate": Attribute(lambda device: device.operstate.value),
    "speed": Attribute(_running(lambda device: _link_setting(device, "speed"))),
    "testing": Attribute(_running(lambda device: int(device.testing))),
    "threaded": Attribute(lambda device: int(device.threaded), _store_threaded),
    "tx_queue_len": Attribute(
        lambda device: device.tx_queue_len, lambda device, text: device.change_tx_queue_len(kstrtoul(text))
    ),
    "type": Attribute(lambda device: device.type),
    "uevent": Attribute(lambda device: f"INTERFACE={device.name}\nIFINDEX={device.ifindex}"),
}


def _statistic(name: str) -> Attribute:
    return Attribute(lambda device: getattr(device.stats64, name))


def _attributes(device: NetDevice) -> dict[str, Attribute]:
    """Every file of a device, by its path."""
    attributes = dict(ATTRIBUTES)
    attributes |= {f"statistics/{name}": _statistic(name) for name in STATISTICS}
    for queue in device.tx:
        attributes |= {f"queues/tx-{queue.index}/{name}": attribute for name, attribute in _queue_attributes(queue).items()}
    return dict(sorted(attributes.items()))


def _queue_attributes(queue: NetdevQueue) -> dict[str, Attribute]:
    attributes = {"tx_timeout": Attribute(lambda device: queue.trans_timeout)}
    if queue.txq.bql:
        attributes |= {f"byte_queue_limits/{name}": attribute for name, attribute in _bql_attributes(queue).items()}
    return attributes


def _bql_attributes(queue: NetdevQueue) -> dict[str, Attribute]:
    """CONFIG_BQL. What is written to `limit` counts from the next completion on, and may then move."""
    txq = queue.txq

    def store_limit(name: str) -> Store:
        def store(device: NetDevice, text: str) -> None:
            """bql_set."""
            value = DQL_MAX_LIMIT if text.removesuffix("\n") == "max" else kstrtouint10(text)
            if value > DQL_MAX_LIMIT:
                raise OSError(errno.EINVAL, f"{device.name}: {name} is at most {DQL_MAX_LIMIT}, not {value}")
            setattr(txq, name, value)

        return store

    def store_hold_time(device: NetDevice, text: str) -> None:
        txq.hold_time = kstrtouint10(text) * 1_000_000

    return {
        "hold_time": Attribute(lambda device: txq.hold_time // 1_000_000, store_hold_time),
        "inflight": Attribute(lambda device: txq.inflight),
        "limit": Attribute(lambda device: txq.limit, store_limit("limit")),
        "limit_max": Attribute(lambda device: txq.limit_max, store_limit("limit_max")),
        "limit_min": Attribute(lambda device: txq.limit_min, store_limit("limit_min")),
    }
