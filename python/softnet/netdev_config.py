"""What is configured of a device while it exists: name, MTU, queue length, features, VLANs; ioctls. All under rtnl, which these take."""

from __future__ import annotations

import enum
import errno
import logging
from typing import Any

from softnet.ethernet import ETH_DATA_LEN, ETH_HLEN, ETH_P_8021Q, VLAN_HLEN
from softnet.netdev_features import ALWAYS_ON, Feature, fix_features
from softnet.netdev_rx_mode import ReceiveMode
from softnet.rtnl import NetdevEvent

log = logging.getLogger("softnet")

IFALIASZ = 256  # with the NUL at the end


class NameAssign(enum.IntEnum):
    """NET_NAME_*: where a device's name is from."""

    UNKNOWN = 0
    ENUM = 1
    PREDICTABLE = 2
    USER = 3
    RENAMED = 4


def check_whole_mtu(name: str, mtu: object) -> None:
    """Raises TypeError for what is no whole number."""
    if not hasattr(mtu, "__index__"):
        raise TypeError(f"{name}: an MTU is a whole number of bytes, not {mtu!r}")


class DeviceConfig(ReceiveMode):
    """NetDevice's part that `ip link set` and `ethtool -K` change."""

    ethtool_ops: Any = None
    name_assign_type: NameAssign = NameAssign.UNKNOWN
    ifalias = ""
    group = 0
    min_mtu = 0
    max_mtu = 0
    tx_queue_len: int

    def __init__(self) -> None:
        ReceiveMode.__init__(self)
        self._mtu = ETH_DATA_LEN
        self.features = ALWAYS_ON
        self.hw_features = Feature.NONE  # those that a user may switch
        self.wanted_features = ALWAYS_ON
        self.vlan_features = Feature.NONE
        self.vlans: dict[tuple[int, int], int] = {}

    @property
    def takes_bursts(self) -> bool:
        """Whether its driver has rings made for bursts."""
        raise NotImplementedError

    # --- name ---

    def rename(self, name: str) -> None:
        """dev_change_name, also while it is up. Raises OSError EINVAL, EEXIST, or that of a notifier which refuses it."""
        with self.stack.rtnl:
            if name == self.name:
                return
            if not self.registered:
                raise OSError(errno.ENODEV, f"{self.name} is not registered")
            old, assigned = self.name, self.name_assign_type
            name = self.stack.allocate_name(name)
            log.info("%s: renamed from %s%s", name, old, " (while UP)" if self.up else "")
            self._set_name(name, NameAssign.RENAMED)
            try:
                self.notify(NetdevEvent.CHANGENAME)
            except BaseException:
                self._set_name(old, assigned)
                self.tell(NetdevEvent.CHANGENAME)
                raise

    def _set_name(self, name: str, assigned: NameAssign) -> None:
        # The others keep their places: dev_change_name leaves the list alone, which is in the order of registering.
        devices = {name if device is self else key: device for key, device in self.stack.devices.items()}
        self.stack.devices.clear()
        self.stack.devices.update(devices)
        self.name = name
        self.name_assign_type = assigned

    def set_alias(self, alias: str) -> None:
        """dev_set_alias: `ip link set ... alias`. Raises OSError EINVAL for more than 255 bytes, for a NUL and for what is no UTF-8."""
        if not isinstance(alias, str):
            raise TypeError(f"{self.name}: an alias is a text, not {alias!r}")
        try:
            size = len(alias.encode())
        except UnicodeEncodeError:
            size = -1
        if size < 0 or "\0" in alias:
            raise OSError(errno.EINVAL, f"{self.name}: an alias is UTF-8 without a NUL, not {alias[:IFALIASZ]!r}")
        if size >= IFALIASZ:
            raise OSError(errno.EINVAL, f"{self.name}: an alias has at most {IFALIASZ - 1} bytes")
        self.ifalias = alias

    # --- MTU ---

    @property
    def mtu(self) -> int:
        """Largest payload, without the Ethernet header. Setting asks notifiers and the driver.

        Raises OSError EINVAL out of range, EBUSY while up if the driver's rings are for the old one, a notifier's or the driver's.
        """
        return self._mtu

    @mtu.setter
    def mtu(self, value: int) -> None:
        with self.stack.rtnl:
            old = self._mtu
            if value == old:
                return
            check_whole_mtu(self.name, value)
            if value < max(self.min_mtu, 0) or 0 < self.max_mtu < value:
                raise OSError(errno.EINVAL, f"{self.name}: MTU {value} is outside {self.min_mtu} to {self.max_mtu}")
            self.notify(NetdevEvent.PRECHANGEMTU)
            self._set_mtu(value)
            try:
                self.notify(NetdevEvent.CHANGEMTU)
            except BaseException:
                # Back, and everyone is told again, so that those who agreed can go back too.
                self._set_mtu(old)
                self.tell(NetdevEvent.CHANGEMTU)
                raise

    def _set_mtu(self, value: int) -> None:
        """__dev_set_mtu."""
        change = self._op("change_mtu")
        if change is not None:
            change(self, value)
        elif self.up and self.takes_bursts:
            raise OSError(errno.EBUSY, f"{self.name} is up: stop it before its MTU changes, for which its rings were made")
        self._mtu = value

    @property
    def max_frame(self) -> int:
        """Longest frame the stack may hand over: MTU, header and one VLAN tag (the kernel's is_skb_forwardable)."""
        return self._mtu + ETH_HLEN + VLAN_HLEN

    # --- transmit queue length ---

    def change_tx_queue_len(self, length: int) -> None:
        """dev_change_tx_queue_len: `ip link set ... txqueuelen`; what waits in the queues is dropped.

        0 is noqueue from then on; the kernel chooses that only when it makes the first qdisc. Raises OSError ERANGE, or that of a notifier
        which refuses it.
        """
        if not 0 <= length <= 0xFFFFFFFF:
            raise OSError(errno.ERANGE, f"{self.name}: a queue length is 0 to {0xFFFFFFFF}, not {length}")
        with self.stack.rtnl:
            old = self.tx_queue_len
            if length == old:
                return
            self.tx_queue_len = length
            try:
                self.notify(NetdevEvent.CHANGE_TX_QUEUE_LEN)
            except BaseException:
                log.error("%s: refused to change device tx_queue_len", self.name)
                self.tx_queue_len = old
                raise
            if self.up:
                self.deactivate()
                self.activate()

    # --- features ---

    def set_features(self, *, on: Feature = Feature.NONE, off: Feature = Feature.NONE) -> Feature:
        """`ethtool -K`: returns what is not as wanted, be it that it needs something else or that the driver failed, which is logged.

        Raises OSError EOPNOTSUPP for what no user may switch.
        """
        changeable = self.hw_features | ALWAYS_ON
        fixed = (on & ~self.features | off & self.features) & ~changeable
        if fixed:
            raise OSError(errno.EOPNOTSUPP, f"{self.name}: cannot change {', '.join(fixed.names)}: fixed")
        with self.stack.rtnl:
            self.wanted_features = (self.wanted_features | on) & ~off
            self.update_features()
        return (on & ~self.features) | (off & self.features)

    def update_features(self) -> None:
        """netdev_update_features: what may have changed what goes together, such as an MTU, calls it. rtnl."""
        if self._update_features():
            self.tell(NetdevEvent.FEAT_CHANGE)

    def _update_features(self) -> bool:
        """__netdev_update_features: whether something changed or may have. A driver that fails leaves `features` as they were."""
        changeable = self.hw_features | ALWAYS_ON
        features = self.features & ~changeable | self.wanted_features & changeable
        fix = self._op("fix_features")
        if fix is not None:
            features = fix(self, features)
        features, why = fix_features(features)
        for reason in why:
            log.debug("%s: %s", self.name, reason)
        if features == self.features:
            return False
        switch = self._op("set_features")
        if switch is not None:
            try:
                switch(self, features)
            except OSError as error:
                log.error(
                    "%s: set_features() failed (-%d); wanted %#018x, left %#018x", self.name, error.errno or 0, features, self.features
                )
                return True
        before, self.features = self.features, features
        if (before ^ features) & Feature.HW_VLAN_CTAG_FILTER:
            self._refilter_vlans(on=bool(features & Feature.HW_VLAN_CTAG_FILTER))
        return True

    # --- ioctl ---

    def eth_ioctl(self, command: int, argument: object) -> object:
        """dev_eth_ioctl: SIOCGMIIREG and so on, up or down, with what the command takes: see softnet.mii. Returns what the driver does.

        Raises OSError ENODEV if it is not registered, EOPNOTSUPP if its driver has no ioctls, or that of the driver.
        """
        with self.stack.rtnl:
            if not self.registered:
                raise OSError(errno.ENODEV, f"{self.name} is not registered")
            ioctl = self._op("eth_ioctl")
            if ioctl is None:
                raise OSError(errno.EOPNOTSUPP, f"{self.name}: its driver has no eth_ioctl")
            return ioctl(self, command, argument)

    # --- VLANs ---

    def vlan_add_vid(self, vid: int, *, proto: int = ETH_P_8021Q) -> None:
        """vlan_vid_add: let a VLAN in, counted. Raises OSError EINVAL, or the driver's, with nothing added."""
        if not 0 <= vid < 4096:
            raise OSError(errno.EINVAL, f"{self.name}: a VLAN is 0 to 4095, not {vid}")
        with self.stack.rtnl:
            if (proto, vid) not in self.vlans and self._filters(proto):
                self.netdev_ops.vlan_rx_add_vid(self, proto, vid)
            self.vlans[proto, vid] = self.vlans.get((proto, vid), 0) + 1

    def vlan_del_vid(self, vid: int, *, proto: int = ETH_P_8021Q) -> None:
        """vlan_vid_del: gone with the last, whatever the driver says, which is logged. Raises OSError ENOENT if it is not in."""
        with self.stack.rtnl:
            if (proto, vid) not in self.vlans:
                raise OSError(errno.ENOENT, f"{self.name}: VLAN {vid} was not added")
            self.vlans[proto, vid] -= 1
            if not self.vlans[proto, vid]:
                del self.vlans[proto, vid]
                if self._filters(proto):
                    self._kill_vid(proto, vid)

    def _filters(self, proto: int) -> bool:
        """vlan_hw_filter_capable."""
        return proto == ETH_P_8021Q and bool(self.features & Feature.HW_VLAN_CTAG_FILTER)

    def _kill_vid(self, proto: int, vid: int) -> None:
        try:
            self.netdev_ops.vlan_rx_kill_vid(self, proto, vid)
        except OSError:
            log.warning("%s: failed to kill vid %04x/%d", self.name, proto, vid)

    def _refilter_vlans(self, *, on: bool) -> None:
        """vlan_filter_push_vids, vlan_filter_drop_vids: the filter was switched, and is to know those added before."""
        for proto, vid in self.vlans:
            if proto != ETH_P_8021Q:
                continue
            if on:
                try:
                    self.netdev_ops.vlan_rx_add_vid(self, proto, vid)
                except OSError:
                    log.warning("%s: failed to add vid %04x/%d", self.name, proto, vid)
            else:
                self._kill_vid(proto, vid)
