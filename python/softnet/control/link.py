"""`ip link set` of a running stack (do_setlink in net/core/rtnetlink.c): in the kernel's order, and up to the first that is refused."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from softnet.ethtool import Refused
from softnet.netdev_features import Flag, LinkMode, OperState

if TYPE_CHECKING:
    from softnet.netdev import NetDevice

S32_MAX, U32_MAX = 0x7FFFFFFF, 0xFFFFFFFF


def set_link(
    device: NetDevice,
    *,
    address: str | None = None,
    mtu: int | None = None,
    group: int | None = None,
    name: str | None = None,
    alias: str | None = None,
    up: bool | None = None,
    promisc: bool | None = None,
    allmulticast: bool | None = None,
    multicast: bool | None = None,
    arp: bool | None = None,
    carrier: bool | None = None,
    txqueuelen: int | None = None,
    state: str | None = None,
    mode: str | None = None,
) -> None:
    """Change what is given. Raises OSError of the device, or of `Refused`, with the kernel's words."""
    with device.stack.rtnl:
        if address is not None:
            _set_address(device, address)
        if mtu is not None:
            _set_mtu(device, mtu)
        if group is not None:
            if not 0 <= group <= U32_MAX:
                raise OSError(errno.ERANGE, f"{device.name}: a group is 0 to {U32_MAX}, not {group}")
            device.group = group
        if name is not None:
            device.rename(name)
        if alias is not None:
            device.set_alias(alias)
        flags: dict[Flag, bool | None] = {
            Flag.UP: up, Flag.PROMISC: promisc, Flag.ALLMULTI: allmulticast, Flag.MULTICAST: multicast,
            Flag.NOARP: None if arp is None else not arp,
        }  # fmt: skip
        if any(value is not None for value in flags.values()):
            _set_flags(device, flags)
        if carrier is not None:
            _set_carrier(device, carrier)
        if txqueuelen is not None:
            device.change_tx_queue_len(txqueuelen)
        if state is not None:
            device.set_operstate(OperState(state))
        if mode is not None:
            device.link_mode = LinkMode[mode.upper()]


def _set_address(device: NetDevice, address: str) -> None:
    try:
        raw = bytes.fromhex(address.replace(":", ""))
    except ValueError:
        raw = b""
    if len(raw) != device.addr_len:
        raise OSError(errno.EINVAL, f"{address[:40]!r} is no address of {device.addr_len} bytes")
    device.set_mac_address(raw)


def _set_mtu(device: NetDevice, mtu: int) -> None:
    """dev_validate_mtu has words for these."""
    if mtu != device.mtu:
        if mtu > S32_MAX or mtu < device.min_mtu:
            raise Refused(errno.EINVAL, "mtu less than device minimum", f"{device.name}: the MTU is at least {device.min_mtu}, not {mtu}")
        if 0 < device.max_mtu < mtu:
            raise Refused(errno.EINVAL, "mtu greater than device maximum", f"{device.name}: the MTU is at most {device.max_mtu}, not {mtu}")
        device.mtu = mtu


def _set_flags(device: NetDevice, change: dict[Flag, bool | None]) -> None:
    flags = device.get_flags()
    for flag, value in change.items():
        if value is not None:
            flags = flags | flag if value else flags & ~flag
    device.change_flags(flags)


def _set_carrier(device: NetDevice, carrier: bool) -> None:
    """dev_change_carrier."""
    change: Any = getattr(device.netdev_ops, "change_carrier", None)
    if change is None:
        raise OSError(errno.EOPNOTSUPP, f"{device.name}: its driver has no change_carrier")
    change(device, carrier)
