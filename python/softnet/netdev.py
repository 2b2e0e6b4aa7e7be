"""NetDevice: the kernel's net_device: registration, up and down, its transmit queue, its statistics."""

from __future__ import annotations

import errno
from dataclasses import dataclass, fields
from typing import Protocol

from fastring.burst import Burst, BurstSink
from fastring.transmitter import Transmitter
from fastring.txq import TxQueue, XmitTarget
from softnet.stack import Stack

ETH_HLEN = 14
VLAN_HLEN = 4
ETH_MIN_MTU = 68
ETH_DATA_LEN = 1500


@dataclass
class Stats64:
    """rtnl_link_stats64: what `ip -s link` shows."""

    rx_packets: int = 0
    tx_packets: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_errors: int = 0
    tx_errors: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0
    multicast: int = 0
    collisions: int = 0
    rx_length_errors: int = 0
    rx_over_errors: int = 0
    rx_crc_errors: int = 0
    rx_frame_errors: int = 0
    rx_fifo_errors: int = 0
    rx_missed_errors: int = 0
    tx_aborted_errors: int = 0
    tx_carrier_errors: int = 0
    tx_fifo_errors: int = 0
    tx_heartbeat_errors: int = 0
    tx_window_errors: int = 0
    rx_compressed: int = 0
    tx_compressed: int = 0
    rx_nohandler: int = 0
    rx_otherhost_dropped: int = 0

    def __repr__(self) -> str:
        counted = [f"{f.name}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name)]
        return f"Stats64({', '.join(counted)})"


class NetDeviceOps(Protocol):
    """net_device_ops: what a driver gives softnet. All but xmit are called by one control thread (the kernel's rtnl)."""

    def open(self, device: NetDevice) -> XmitTarget:
        """ndo_open: bring the card up; return what packets are transmitted to. Raises OSError, leaving nothing behind."""

    def stop(self, device: NetDevice) -> None:
        """ndo_stop: no DMA, delivery or interrupt after it returns; packets in flight are given up and counted."""

    def get_stats64(self, device: NetDevice, stats: Stats64) -> None:
        """ndo_get_stats64: fill in, at any time, also while down."""


class NetDevice:
    """One network interface. `ops` drives it; `register` makes it visible in `stack`, `open` brings it up.

    Control thread only, except `xmit`, which belongs to the thread that holds the queue.
    """

    def __init__(
        self,
        stack: Stack,
        ops: NetDeviceOps,
        *,
        dev_addr: bytes,
        name: str = "eth%d",
        mtu: int = ETH_DATA_LEN,
        min_mtu: int = ETH_MIN_MTU,
        max_mtu: int = ETH_DATA_LEN,
        bql: bool = True,
    ) -> None:
        self.stack = stack
        self.ops = ops
        self.name = name
        self.ifindex = 0
        self.dev_addr = dev_addr
        self.min_mtu = min_mtu
        self.max_mtu = max_mtu
        self.txq = TxQueue(bql=bql)
        self.promiscuous = False
        self.sink: BurstSink | None = None
        self.registered = False
        self.tx_oversize = 0
        self._xmit: XmitTarget | None = None
        self._mtu = ETH_DATA_LEN
        self.mtu = mtu

    @property
    def up(self) -> bool:
        """IFF_UP: whether it is open."""
        return self._xmit is not None

    @property
    def mtu(self) -> int:
        """Largest payload, without the Ethernet header. Set only while down, here. Raises OSError EINVAL, EBUSY."""
        return self._mtu

    @mtu.setter
    def mtu(self, value: int) -> None:
        if not self.min_mtu <= value <= self.max_mtu:
            raise OSError(errno.EINVAL, f"{self.name}: MTU {value} is outside {self.min_mtu} to {self.max_mtu}")
        if self.up:
            raise OSError(errno.EBUSY, f"{self.name} is up: stop it before its MTU changes")
        self._mtu = value

    @property
    def max_frame(self) -> int:
        """Longest frame the stack may hand over: MTU, header and one VLAN tag (the kernel's is_skb_forwardable)."""
        return self._mtu + ETH_HLEN + VLAN_HLEN

    @property
    def xmit_target(self) -> XmitTarget:
        """What takes bursts while it is up. Raises OSError ENETDOWN."""
        if self._xmit is None:
            raise OSError(errno.ENETDOWN, f"{self.name} is down")
        return self._xmit

    def register(self) -> None:
        """register_netdev: check the address, take a name and an index. Raises OSError EADDRNOTAVAIL, EEXIST, EINVAL, EBUSY."""
        if self.registered:
            raise OSError(errno.EBUSY, f"{self.name} is registered already")
        if len(self.dev_addr) != 6 or self.dev_addr[0] & 1 or not any(self.dev_addr):
            raise OSError(errno.EADDRNOTAVAIL, f"{self.name}: {self.dev_addr.hex(':')} is no valid station address")
        self.name = self.stack.allocate_name(self.name)
        self.ifindex = self.stack.new_ifindex()
        self.stack.devices[self.name] = self
        self.registered = True

    def open(self) -> None:
        """Bring it up (dev_open); again is harmless. Raises OSError ENODEV if not registered, or the driver's error."""
        if not self.registered:
            raise OSError(errno.ENODEV, f"{self.name} is not registered")
        self._check_context("opened")
        if not self.up:
            self.txq.down = False
            try:
                self._xmit = self.ops.open(self)
            except BaseException:
                self.txq.down = True
                raise
            self.txq.start()

    def stop(self) -> None:
        """Take it down (dev_close): nothing is transmitted, delivered or polled after it returns; again is harmless."""
        if self.up:
            self._check_context("stopped")
            self.txq.down = True
            self.txq.stop()
            target, self._xmit = self._xmit, None
            try:
                self.ops.stop(self)
            except TimeoutError:
                self._xmit = target  # still up: a poll did not end
                raise

    def unregister(self) -> None:
        """unregister_netdev: stop it if it is up, and forget it; again is harmless."""
        self.stop()
        if self.registered:
            del self.stack.devices[self.name]
            self.registered = False

    def transmitter(self, *, burst_size: int = 128, replays: bool = False) -> Transmitter:
        """A new sender on this device's queue, good until it is stopped. Raises OSError ENETDOWN."""
        return Transmitter(
            self.xmit_target,
            self.txq,
            self.stack.softirq,
            self.stack.clock,
            max_frame=self.max_frame,
            burst_size=burst_size,
            replays=replays,
        )

    def xmit(self, burst: Burst) -> int:
        """Transmit the packets of a burst; return how many were accepted. Those too long for the MTU are dropped and counted.

        While the queue is stopped the softirq runs. Raises OSError ENETDOWN, OSError EDEADLK from inside this very device's
        transmission (a wire's callback), or TimeoutError when nothing moves for 5 s.
        """
        sender = self.transmitter(burst_size=1)
        accepted = sender.send(burst)
        self.tx_oversize += sender.oversize
        return accepted

    @property
    def stats64(self) -> Stats64:
        """Its statistics now; kept while it is down."""
        stats = Stats64(tx_dropped=self.tx_oversize)
        self.ops.get_stats64(self, stats)
        return stats

    def _check_context(self, what: str) -> None:
        """ndo_open and ndo_stop sleep: not from a sink, a poll or a handler, whose softirq they would wait for."""
        if self.stack.softirq.in_softirq:
            raise OSError(errno.EDEADLK, f"{self.name} cannot be {what} from inside the softirq: do it after Stack.run or xmit returns")

    def __enter__(self) -> NetDevice:
        known = self.registered
        if not known:
            self.register()
        try:
            self.open()
        except BaseException:
            if not known:
                self.unregister()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.unregister()

    def __repr__(self) -> str:
        state = "UP" if self.up else "DOWN"
        return f"<NetDevice {self.name}: {state}, mtu {self.mtu}, {self.dev_addr.hex(':')}, {self.txq!r}>"
