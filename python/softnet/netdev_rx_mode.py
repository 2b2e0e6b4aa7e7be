"""What a device receives, and what its flags say: address, address lists, promiscuous and all-multicast counts, IFF_* (net/core/dev.c).

Under rtnl, which these operations take; the address lists and set_rx_mode under `addr_lock` (netif_addr_lock), which a driver's set_rx_mode
therefore holds: it must not sleep, nor add or delete addresses of its own device. Who takes both takes rtnl first.
"""

from __future__ import annotations

import enum
import errno
import logging
from typing import Any

from softnet.addr_list import AddrList, AddrLock
from softnet.ethernet import is_valid_ether_addr
from softnet.netdev_features import Flag
from softnet.netdev_link import LinkState
from softnet.rtnl import NetdevEvent

log = logging.getLogger("softnet")

COUNT_MAX = 0xFFFFFFFF  # promiscuity and allmulti are u32
SETTABLE = Flag.NOARP | Flag.MULTICAST  # what dev_change_flags takes as it is given; UP, PROMISC, ALLMULTI are steps of their own


class AddrAssign(enum.IntEnum):
    """NET_ADDR_*: where a device's address is from."""

    PERM = 0
    RANDOM = 1
    STOLEN = 2
    SET = 3


class ReceiveMode(LinkState):
    """NetDevice's part that decides which packets it receives."""

    dev_addr: bytes
    perm_addr = b""  # what it was registered with
    addr_assign_type: AddrAssign = AddrAssign.PERM
    unicast_flt = False  # IFF_UNICAST_FLT: the card filters by `uc`; without, any address there makes it promiscuous
    _uc_promisc = False
    promiscuity = 0
    allmulti = 0
    flags_set = Flag.BROADCAST | Flag.MULTICAST  # what is not worked out from the device's state; PROMISC, ALLMULTI: the user's (gflags)

    def __init__(self) -> None:
        LinkState.__init__(self)
        self.addr_lock = AddrLock(self.name)
        self.uc = AddrList(self._set_rx_mode, self.addr_lock)
        self.mc = AddrList(self._set_rx_mode, self.addr_lock)

    # What NetDevice has for its parts.

    def open(self) -> None:
        """Bring it up."""
        raise NotImplementedError

    def stop(self) -> None:
        """Take it down."""
        raise NotImplementedError

    def _op(self, name: str) -> Any:
        """An operation of its driver, or None."""
        return getattr(self.netdev_ops, name, None)

    # --- addresses ---

    def set_mac_address(self, address: bytes) -> None:
        """dev_set_mac_address, also while up if the driver can.

        Raises OSError EOPNOTSUPP without the driver's operation, EADDRNOTAVAIL, a notifier's, or the driver's.
        """
        if not isinstance(address, bytes | bytearray | memoryview):
            raise TypeError(f"{self.name}: an address is six bytes, not {address!r}")  # bytes(1 << 31) would make as many
        address = bytes(address)
        with self.stack.rtnl:
            change = self._op("set_mac_address")
            if change is None:
                raise OSError(errno.EOPNOTSUPP, f"{self.name}: its driver has no set_mac_address")
            if not is_valid_ether_addr(address):
                raise OSError(errno.EADDRNOTAVAIL, f"{self.name}: {address.hex(':')} is no valid station address")
            self.notify(NetdevEvent.PRE_CHANGEADDR)
            if address != self.dev_addr:
                change(self, address)
                self.dev_addr = address
            self.addr_assign_type = AddrAssign.SET
            self.tell(NetdevEvent.CHANGEADDR)

    def set_rx_mode(self) -> None:
        """dev_set_rx_mode: have the driver program the flags and address lists anew, if it is up."""
        with self.addr_lock:
            self._set_rx_mode()

    def _set_rx_mode(self) -> None:
        """__dev_set_rx_mode: address lock. While it is down nothing is done: its opening does it."""
        if not self.up:
            return
        if not self.unicast_flt and self._uc_promisc != bool(self.uc):
            self._uc_promisc = bool(self.uc)
            self._set_promiscuity(1 if self._uc_promisc else -1)
        change = self._op("set_rx_mode")
        if change is not None:
            change(self)

    # --- flags ---

    @property
    def flags(self) -> Flag:
        """IFF_* as drivers see them (dev->flags): PROMISC and ALLMULTI whoever wants it; with the link's."""
        flags = self.get_flags() & ~(Flag.PROMISC | Flag.ALLMULTI)
        if self.promiscuity:
            flags |= Flag.PROMISC
        if self.allmulti:
            flags |= Flag.ALLMULTI
        return flags

    def get_flags(self) -> Flag:
        """dev_get_flags: IFF_* as `ip link` shows them: PROMISC and ALLMULTI only if a user set them, not for a packet socket's."""
        flags = self.flags_set
        if self.up:
            flags |= Flag.UP
        if self.running:
            if self.oper_up:
                flags |= Flag.RUNNING
            if self.carrier_ok:
                flags |= Flag.LOWER_UP
            if self.dormant:
                flags |= Flag.DORMANT
        return flags

    def change_flags(self, flags: int) -> None:
        """dev_change_flags: what a user sets, `ip link set up` among it. Raises OSError of `open`."""
        with self.stack.rtnl:
            wanted = Flag(flags & (SETTABLE | Flag.UP | Flag.PROMISC | Flag.ALLMULTI))
            before = self.flags_set
            self.flags_set = before & ~SETTABLE | wanted & SETTABLE
            if (before ^ self.flags_set) & Flag.MULTICAST:
                self.set_rx_mode()
            was_up = self.up
            if wanted & Flag.UP:
                self.open()
            else:
                self.stop()
            self.promiscuous = bool(wanted & Flag.PROMISC)
            if (self.flags_set ^ wanted) & Flag.ALLMULTI:
                self.flags_set ^= Flag.ALLMULTI
                self.set_allmulti(1 if wanted & Flag.ALLMULTI else -1)
            if was_up and self.up and (before ^ self.flags_set) & SETTABLE:
                self.tell(NetdevEvent.CHANGE)

    @property
    def promiscuous(self) -> bool:
        """IFF_PROMISC: whether anybody wants all packets. Setting it is `ip link set promisc on`, which counts once."""
        return self.promiscuity > 0

    @promiscuous.setter
    def promiscuous(self, value: bool) -> None:
        if value != bool(self.flags_set & Flag.PROMISC):
            self.flags_set ^= Flag.PROMISC
            self.set_promiscuity(1 if value else -1)

    def set_promiscuity(self, change: int) -> None:
        """dev_set_promiscuity: so many readers more or less that want all packets. Raises OSError EINVAL below none, EOVERFLOW."""
        with self.stack.rtnl:
            if self._set_promiscuity(change):
                self.set_rx_mode()

    def set_allmulti(self, change: int) -> None:
        """dev_set_allmulti: so many more or less that want all multicast packets. Raises OSError EINVAL below none, EOVERFLOW."""
        with self.stack.rtnl:
            self.allmulti, changed = self._count("allmulti", self.allmulti, change)
            if changed:
                log.info("%s: %s allmulticast mode", self.name, "entered" if self.allmulti else "left")
                self.set_rx_mode()

    def _set_promiscuity(self, change: int) -> bool:
        self.promiscuity, changed = self._count("promiscuity", self.promiscuity, change)
        if changed:
            log.info("%s: %s promiscuous mode", self.name, "entered" if self.promiscuity else "left")
        return changed

    def _count(self, what: str, count: int, change: int) -> tuple[int, bool]:
        """The new count, and whether it begins or ends. A count that would be over is left as it is."""
        new = count + change
        if new < 0:
            raise OSError(errno.EINVAL, f"{self.name}: {what} would be {new}")
        if new > COUNT_MAX:
            log.warning(
                "%s: %s touches roof, set %s failed. %s feature of device might be broken.", self.name, what, what, what
            )
            raise OSError(errno.EOVERFLOW, f"{self.name}: {what} touches roof at {COUNT_MAX}")
        return new, bool(new) != bool(count)
