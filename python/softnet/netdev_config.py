"""What is configured of a device while it exists: MTU, address, flags, address lists, features; all under rtnl."""

from __future__ import annotations

import errno
import logging

from softnet.addr_list import AddrList
from softnet.ethernet import ETH_DATA_LEN, ETH_HLEN, VLAN_HLEN, is_valid_ether_addr
from softnet.netdev_features import ALWAYS_ON, Feature, Flag, OperState, fix_features
from softnet.netdev_link import LinkState
from softnet.rtnl import NetdevEvent

log = logging.getLogger("softnet")


class DeviceConfig(LinkState):
    """NetDevice's part that `ip link set` and `ethtool -K` change."""

    dev_addr: bytes
    min_mtu = 0
    max_mtu = 0
    promiscuity = 0
    allmulti = 0
    flags_set = Flag.BROADCAST | Flag.MULTICAST  # what is not worked out from the device's state

    def __init__(self) -> None:
        self._mtu = ETH_DATA_LEN
        self.uc = AddrList(self.set_rx_mode)
        self.mc = AddrList(self.set_rx_mode)
        self.features = ALWAYS_ON
        self.hw_features = Feature.NONE  # those that a user may switch
        self.wanted_features = ALWAYS_ON
        self.vlan_features = Feature.NONE
        self.vlans: dict[tuple[int, int], int] = {}

    # --- MTU ---

    @property
    def mtu(self) -> int:
        """Largest payload, without the Ethernet header. Setting asks the driver. Raises OSError EINVAL, EBUSY, or the driver's."""
        return self._mtu

    @mtu.setter
    def mtu(self, value: int) -> None:
        if not self.min_mtu <= value <= self.max_mtu:
            raise OSError(errno.EINVAL, f"{self.name}: MTU {value} is outside {self.min_mtu} to {self.max_mtu}")
        if value == self._mtu:
            return
        with self.stack.rtnl:
            change = getattr(self.netdev_ops, "change_mtu", None)
            if change is not None:
                change(self, value)
            elif self.up:
                raise OSError(errno.EBUSY, f"{self.name} is up: stop it before its MTU changes")
            self._mtu = value
            self.tell(NetdevEvent.CHANGEMTU)

    @property
    def max_frame(self) -> int:
        """Longest frame the stack may hand over: MTU, header and one VLAN tag (the kernel's is_skb_forwardable)."""
        return self._mtu + ETH_HLEN + VLAN_HLEN

    # --- addresses ---

    def set_mac_address(self, address: bytes) -> None:
        """dev_set_mac_address. Raises OSError EADDRNOTAVAIL, EOPNOTSUPP without the driver's operation, or the driver's."""
        if not is_valid_ether_addr(address):
            raise OSError(errno.EADDRNOTAVAIL, f"{self.name}: {bytes(address).hex(':')} is no valid station address")
        with self.stack.rtnl:
            change = getattr(self.netdev_ops, "set_mac_address", None)
            if change is None:
                raise OSError(errno.EOPNOTSUPP, f"{self.name}: its driver has no set_mac_address")
            change(self, bytes(address))
            self.dev_addr = bytes(address)
            self.tell(NetdevEvent.CHANGEADDR)

    def set_rx_mode(self) -> None:
        """Have the driver program the flags and address lists anew, if it is up (dev_set_rx_mode)."""
        if self.up:
            change = getattr(self.netdev_ops, "set_rx_mode", None)
            if change is not None:
                change(self)

    # --- flags ---

    @property
    def flags(self) -> Flag:
        """IFF_*, as `ip link` shows them (dev_get_flags)."""
        flags = self.flags_set
        if self.promiscuity:
            flags |= Flag.PROMISC
        if self.allmulti:
            flags |= Flag.ALLMULTI
        if self.up:
            flags |= Flag.UP
            if self.operstate is OperState.UP or self.operstate is OperState.UNKNOWN:
                flags |= Flag.RUNNING
            if self.carrier_ok:
                flags |= Flag.LOWER_UP
            if self._dormant:
                flags |= Flag.DORMANT
        return flags

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
        """dev_set_promiscuity: one reader more or less that wants all packets. Raises OSError EINVAL below none."""
        self.promiscuity = self._count("promiscuity", self.promiscuity, change)
        self._mode_changed("promiscuous", self.promiscuity, change)

    def set_allmulti(self, change: int) -> None:
        """dev_set_allmulti: one more or less that wants all multicast packets. Raises OSError EINVAL below none."""
        self.allmulti = self._count("allmulti", self.allmulti, change)
        self._mode_changed("allmulticast", self.allmulti, change)

    def _count(self, what: str, count: int, change: int) -> int:
        if count + change < 0:
            raise OSError(errno.EINVAL, f"{self.name}: {what} would be {count + change}")
        return count + change

    def _mode_changed(self, what: str, count: int, change: int) -> None:
        if bool(count) != bool(count - change):
            log.info("%s: %s %s mode", self.name, "entered" if count else "left", what)
            self.set_rx_mode()
            if self.registered:
                self.tell(NetdevEvent.CHANGE)

    # --- features ---

    def set_features(self, *, on: Feature = Feature.NONE, off: Feature = Feature.NONE) -> Feature:
        """`ethtool -K`: returns what could not be as wanted. Raises OSError EOPNOTSUPP for what no user may switch, or the driver's."""
        changeable = self.hw_features | ALWAYS_ON
        fixed = (on & ~self.features | off & self.features) & ~changeable
        if fixed:
            raise OSError(errno.EOPNOTSUPP, f"{self.name}: cannot change {', '.join(fixed.names)}: fixed")
        with self.stack.rtnl:
            self.wanted_features = (self.wanted_features | on) & ~off
            self.update_features()
        return (on & ~self.features) | (off & self.features)

    def update_features(self) -> None:
        """__netdev_update_features: work out what goes together and have the driver switch it."""
        features = self.features & ~(self.hw_features | ALWAYS_ON) | self.wanted_features & (self.hw_features | ALWAYS_ON)
        fix = getattr(self.netdev_ops, "fix_features", None)
        if fix is not None:
            features = fix(self, features)
        features, why = fix_features(features)
        for reason in why:
            log.info("%s: %s", self.name, reason)
        if features == self.features:
            return
        switch = getattr(self.netdev_ops, "set_features", None)
        if switch is not None:
            switch(self, features)
        self.features = features
        self.tell(NetdevEvent.FEAT_CHANGE)

    # --- VLANs ---

    def vlan_add_vid(self, vid: int, *, proto: int = 0x8100) -> None:
        """vlan_vid_add: let a VLAN in, counted. Raises OSError EINVAL, or the driver's."""
        if not 0 <= vid < 4096:
            raise OSError(errno.EINVAL, f"{self.name}: a VLAN is 0 to 4095, not {vid}")
        with self.stack.rtnl:
            if not self.vlans.get((proto, vid)) and self.features & Feature.HW_VLAN_CTAG_FILTER:
                self.netdev_ops.vlan_rx_add_vid(self, proto, vid)
            self.vlans[proto, vid] = self.vlans.get((proto, vid), 0) + 1

    def vlan_del_vid(self, vid: int, *, proto: int = 0x8100) -> None:
        """vlan_vid_del. Raises OSError ENOENT if it is not in."""
        if (proto, vid) not in self.vlans:
            raise OSError(errno.ENOENT, f"{self.name}: VLAN {vid} was not added")
        with self.stack.rtnl:
            self.vlans[proto, vid] -= 1
            if not self.vlans[proto, vid]:
                del self.vlans[proto, vid]
                if self.features & Feature.HW_VLAN_CTAG_FILTER:
                    self.netdev_ops.vlan_rx_kill_vid(self, proto, vid)
