"""NetDevice: the kernel's net_device: allocation, registration, up and down, its queues, its end.

Its configuration is in netdev_config, its link in netdev_link, its transmit path in dev_xmit, its receive path in receive.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from fastring.burst import Burst, BurstSink
from fastring.pacer import Pacer
from fastring.transmitter import Transmitter
from fastring.txq import TxQueue, XmitTarget
from softnet.dev_xmit import tap_burst
from softnet.ethernet import ARPHRD_ETHER, BROADCAST, ETH_DATA_LEN, ETH_HLEN, ETH_MIN_MTU, is_valid_ether_addr
from softnet.netdev_config import DeviceConfig, check_whole_mtu
from softnet.netdev_features import ALWAYS_ON, Feature, RegState
from softnet.netdev_napi import DeviceNapis
from softnet.netdev_ops import NetDeviceOps, NetdevTx
from softnet.netdev_queue import NetdevQueue
from softnet.netdev_refs import DeviceRefs
from softnet.netdev_rx_mode import AddrAssign
from softnet.netdev_tx import count_tx_dropped
from softnet.receive import Handler, RxHandler
from softnet.rtnl import NetdevEvent
from softnet.sch_generic import DEFAULT_TX_QUEUE_LEN, Qdisc, default_qdisc
from softnet.skbuff import SkBuff
from softnet.stack import Stack, check_name
from softnet.stats import Stats64
from softnet.views.sysfs import SysfsFolder
from softnet.watchdog import Watchdog


class NetDevice(DeviceConfig, DeviceNapis, DeviceRefs):
    """One network interface. `ops` drives it; `register` makes it visible in `stack`, `open` brings it up.

    `priv`: what the driver keeps for it (netdev_priv); gone with the last reference after `free`. Control thread only, except for
    what says otherwise.
    """

    type: int = ARPHRD_ETHER
    addr_len = 6
    hard_header_len = ETH_HLEN
    broadcast: bytes = BROADCAST

    def __init__(
        self,
        stack: Stack,
        ops: NetDeviceOps | None = None,
        *,
        dev_addr: bytes = bytes(6),
        name: str = "eth%d",
        mtu: int = ETH_DATA_LEN,
        min_mtu: int = ETH_MIN_MTU,
        max_mtu: int = ETH_DATA_LEN,
        bql: bool = True,
        num_tx_queues: int = 1,
        num_rx_queues: int = 1,
        priv: Any = None,
    ) -> None:
        if num_tx_queues < 1 or num_rx_queues < 1:
            raise OSError(errno.EINVAL, f"{name}: Unable to allocate device with zero queues")
        self.stack = stack
        self.name = name
        self.ifindex: int = 0
        self.dev_addr = dev_addr
        self.up = False  # IFF_UP
        self.running = False  # netif_running: also while ndo_open is at work, and not while ndo_stop is
        self._xmit: XmitTarget | None = None
        self._senders: list[Transmitter] = []  # that `xmit` made, and nobody uses now
        DeviceRefs.__init__(self, priv)
        DeviceConfig.__init__(self)
        DeviceNapis.__init__(self, stack)
        if ops is not None:
            self.netdev_ops = ops
        self.min_mtu = min_mtu
        self.max_mtu = max_mtu
        check_whole_mtu(name, mtu)
        if not min_mtu <= mtu <= max_mtu:
            raise OSError(errno.EINVAL, f"{name}: MTU {mtu} is outside {min_mtu} to {max_mtu}")
        self._mtu = mtu
        self.tx = [NetdevQueue(self, i, bql=bql) for i in range(num_tx_queues)]
        self.num_rx_queues = num_rx_queues
        self.real_num_tx_queues = num_tx_queues  # those in use: netif_set_real_num_tx_queues
        self.xps: dict[int, tuple[int, ...]] = {}  # from threads to queues: netif_set_xps_queue
        self.tx_queue_len = DEFAULT_TX_QUEUE_LEN
        self.qdisc_class: Callable[[NetdevQueue], Qdisc] | None = None  # None: pfifo_fast, or noqueue if tx_queue_len is 0
        self.watchdog = Watchdog(self)
        self.sysfs = SysfsFolder(self)
        self.taps: list[Handler] = []
        self.protocols: dict[int, list[Handler]] = {}
        self.rx_handler: RxHandler | None = None
        self.sink: BurstSink | None = None
        self.tx_oversize = self.tx_dropped = self.rx_dropped = self.rx_nohandler = self.rx_otherhost_dropped = 0

    # --- what it is made of ---

    @property
    def netdev_ops(self) -> Any:
        """Its driver (net_device_ops)."""
        return self._ops

    @netdev_ops.setter
    def netdev_ops(self, ops: NetDeviceOps) -> None:
        self._ops = ops
        self._start_xmit: Callable[[SkBuff, NetDevice], NetdevTx] | None = getattr(ops, "start_xmit", None)
        self.select_queue: Callable[[NetDevice, SkBuff], int] | None = getattr(ops, "select_queue", None)

    @property
    def txq(self) -> TxQueue:
        """Stop and wake of its first transmit queue."""
        return self.tx[0].txq

    @property
    def takes_bursts(self) -> bool:
        """Whether its driver, which is up, gave something that takes bursts."""
        return self._xmit is not None

    @property
    def takes_packets(self) -> bool:
        """Whether its driver has a start_xmit."""
        return self._start_xmit is not None

    @property
    def num_tx_queues(self) -> int:
        return len(self.tx)

    # --- registration ---

    def register(self) -> None:
        """register_netdev: check the address, take a name and an index. Undone whole on any error.

        Raises OSError EADDRNOTAVAIL, EEXIST, EINVAL, EBUSY, the driver's from ndo_init, or that of a notifier which refuses it.
        """
        with self.stack.rtnl:
            if self.registered:
                raise OSError(errno.EBUSY, f"{self.name} is registered already")
            if self.reg_state is RegState.RELEASED:
                raise OSError(errno.EINVAL, f"{self.name} was freed: it cannot be registered")
            if self.addr_len != 6 or not is_valid_ether_addr(self.dev_addr):
                raise OSError(errno.EADDRNOTAVAIL, f"{self.name}: {self.dev_addr.hex(':')} is no valid station address")
            template, self.name = self.name, self.stack.allocate_name(self.name)
            with ExitStack() as undo:
                undo.callback(setattr, self, "name", template)
                self._call_op("init")
                undo.callback(self._call_op, "uninit")
                self._check_features()
                self.ifindex = self.stack.new_ifindex()
                self.wanted_features = self.features & (self.hw_features | ALWAYS_ON)
                self.notify(NetdevEvent.POST_INIT)
                undo.pop_all()
            self._list(template)

    def _list(self, template: str) -> None:
        """The rest of register_netdevice, from where others see it: what fails now is undone as it is unregistered."""
        self.reg_state = RegState.REGISTERED
        self._update_features()
        self._linkwatch_init()
        self.stack.devices[self.name] = self
        if self.addr_assign_type == AddrAssign.PERM:
            self.perm_addr = bytes(self.dev_addr)
        try:
            self.notify(NetdevEvent.REGISTER)
        except BaseException:
            self._unlist()
            self.name = template
            raise

    def _check_features(self) -> None:
        ops = self.netdev_ops
        if self.features & Feature.HW_VLAN_CTAG_FILTER and not (hasattr(ops, "vlan_rx_add_vid") and hasattr(ops, "vlan_rx_kill_vid")):
            raise OSError(errno.EINVAL, f"{self.name}: Buggy VLAN acceleration in driver! It filters, without vlan_rx_add_vid and kill_vid")

    def _call_op(self, name: str) -> None:
        operation = getattr(self.netdev_ops, name, None)
        if operation is not None:
            operation(self)

    def unregister(self) -> None:
        """unregister_netdev: stop it if it is up, and forget it; again is harmless. Who still uses it afterwards is logged.

        Raises what stopping it does, if it is down anyway.
        """
        with self.stack.rtnl:
            try:
                self.stop()
            finally:
                if self.registered and not self.up:
                    self._unlist()

    def _unlist(self) -> None:
        """unregister_netdevice_many, once it is down."""
        self.reg_state = RegState.UNREGISTERED
        del self.stack.devices[self.name]
        self.stack.linkwatch.forget(self)
        for queue in self.tx:  # dev_shutdown
            queue.qdisc_sleeping = None
        self.tell(NetdevEvent.UNREGISTER)
        self.uc.flush()
        self.mc.flush()
        self.tell(NetdevEvent.PRE_UNINIT)
        self._call_op("uninit")
        self._wait_allrefs()

    def free(self) -> None:
        """free_netdev: the driver is done with it. Raises OSError EBUSY while it is registered."""
        if self.registered:
            raise OSError(errno.EBUSY, f"{self.name} is registered: unregister it before it is freed")
        for napi in tuple(self.napi_list):
            self.napi_del(napi)
        self.put()

    # --- up and down ---

    def open(self) -> None:
        """Bring it up (dev_open); again is harmless.

        Raises OSError ENODEV if not registered, the driver's, or that of a notifier which refuses.
        """
        if not self.registered:
            raise OSError(errno.ENODEV, f"{self.name} is not registered")
        self._check_context("opened")
        with self.stack.rtnl:
            if self.up:
                return
            self.notify(NetdevEvent.PRE_UP)
            self._set_running(True)
            self.name_napi_threads()
            try:
                self._call_op("validate_addr")
                self._xmit = self._open_driver()
                self._senders = []
            except BaseException:
                self._set_running(False)
                raise
            self.up = True
            for queue in self.tx:
                queue.txq.start()
            self.set_rx_mode()
            self.activate()
            self.tell(NetdevEvent.UP)

    def _open_driver(self) -> XmitTarget | None:
        """ndo_open. Raises OSError EOPNOTSUPP for a driver without one, or without ndo_stop.

        TypeError for what it may not return; a driver that does not mean an error by it is stopped.
        """
        for name in ("open", "stop"):
            if self._op(name) is None:
                raise OSError(errno.EOPNOTSUPP, f"{self.name}: the driver has no {name}")
        target = self.netdev_ops.open(self)
        if target is None or isinstance(target, XmitTarget):
            return target
        if not (isinstance(target, int) and target < 0):
            with suppress(Exception):
                self.netdev_ops.stop(self)
        raise TypeError(f"{self.name}: ndo_open returned {target!r}; it returns None or an XmitTarget, and raises OSError if it fails")

    def stop(self) -> None:
        """Take it down (dev_close): nothing is transmitted, delivered or polled after it returns; again is harmless."""
        if not self.up:
            return
        self._check_context("stopped")
        with self.stack.rtnl:
            self.tell(NetdevEvent.GOING_DOWN)
            self._set_running(False)
            self.deactivate()
            for queue in self.tx:
                queue.txq.stop()
            try:
                self.netdev_ops.stop(self)
            except TimeoutError:
                raise  # still up: a poll did not end
            except BaseException:
                self._is_down()
                raise
            self._is_down()

    def _is_down(self) -> None:
        self.up = False
        self._xmit = None
        self._senders = []
        self.close_gro()
        self.tell(NetdevEvent.DOWN)

    def _set_running(self, running: bool) -> None:
        """__LINK_STATE_START: a queue of what does not run is not woken."""
        self.running = running
        for queue in self.tx:
            queue.txq.down = not running

    def activate(self) -> None:
        """dev_activate: every queue its qdisc, and the watchdog, if there is a carrier; else with the carrier's coming. rtnl."""
        make = self.qdisc_class or default_qdisc(self)
        for queue in self.tx:
            queue.attach(make)
        if not self.carrier_ok:
            return
        for queue in self.tx:
            queue.activate()
        self.watchdog_up()

    def watchdog_up(self) -> None:
        """netif_tx watchdog on, from now."""
        now = self.stack.clock.monotonic_ns()
        for queue in self.tx:
            queue.txq.trans_update(now)
        self.watchdog.up()

    def deactivate(self) -> None:
        """dev_deactivate: what waits in the queues is dropped, nothing more is taken, the watchdog rests; the qdiscs are kept. rtnl."""
        self.watchdog.down()
        for queue in self.tx:
            count_tx_dropped(self, queue.deactivate())

    # --- transmitting ---

    @property
    def xmit_target(self) -> XmitTarget:
        """What takes bursts while it is up. Raises OSError ENETDOWN, or EOPNOTSUPP for a driver that takes only packets."""
        if not self.up:
            raise OSError(errno.ENETDOWN, f"{self.name} is down")
        if self._xmit is None:
            raise OSError(errno.EOPNOTSUPP, f"{self.name}: its driver takes packets, not bursts")
        return self._xmit

    def start_xmit(self, skb: SkBuff, device: NetDevice) -> NetdevTx:
        """ndo_start_xmit: see dev_xmit for what must be held. A driver that takes only bursts gets one of one packet."""
        if self._start_xmit is not None:
            return self._start_xmit(skb, device)
        if self._xmit is None:
            raise OSError(errno.EOPNOTSUPP, f"{self.name}: the driver has no start_xmit, and ndo_open returned no XmitTarget")
        if self._xmit.xmit(Burst.from_packets([bytes(skb)])):
            skb.consume()
            return NetdevTx.OK
        return NetdevTx.BUSY

    def _set_mtu(self, value: int) -> None:
        super()._set_mtu(value)
        self._senders = []  # they know the longest frame

    def transmitter(
        self, *, burst_size: int = 128, replays: bool = False, pacer: Pacer | None = None, second: Transmitter | None = None
    ) -> Transmitter:
        """A new sender on this device's queue, good until it is stopped. Raises OSError ENETDOWN."""
        return Transmitter(
            self.xmit_target,
            self.txq,
            self.stack.softirq,
            self.stack.clock,
            max_frame=self.max_frame,
            burst_size=burst_size,
            replays=replays,
            taps=(self.stack.taps, self.taps),
            tap=partial(tap_burst, self),
            pacer=pacer,
            second=second,
        )

    def xmit(self, burst: Burst) -> int:
        """Transmit the packets of a burst; return how many were accepted. Those too long for the MTU are dropped and counted.

        While the queue is stopped the softirq runs. Raises OSError ENETDOWN, OSError EDEADLK from inside this very device's
        transmission (a wire's callback), or TimeoutError when nothing moves for 5 s.
        """
        senders = self._senders
        sender = senders.pop() if senders else self.transmitter(burst_size=1)  # whoever calls from a sink gets another
        oversize = sender.oversize
        try:
            accepted = sender.send(burst)
        finally:
            self.tx_oversize += sender.oversize - oversize
        senders.append(sender)
        return accepted

    # --- statistics ---

    @property
    def stats64(self) -> Stats64:
        """Its statistics now (dev_get_stats); kept while it is down."""
        stats = Stats64()
        fill = getattr(self.netdev_ops, "get_stats64", None)
        if fill is not None:
            fill(self, stats)
        stats.tx_dropped += self.tx_oversize + self.tx_dropped
        stats.rx_dropped += self.rx_dropped
        stats.rx_nohandler += self.rx_nohandler
        stats.rx_otherhost_dropped += self.rx_otherhost_dropped
        return stats

    def _check_context(self, what: str) -> None:
        """ndo_open and ndo_stop sleep: not from a sink, a poll, a handler or a tap, for whose return they would wait."""
        if self.stack.softirq.in_softirq:
            raise OSError(errno.EDEADLK, f"{self.name} cannot be {what} from inside the softirq: do it after Stack.run or xmit returns")
        if any(queue.runs_here for queue in self.tx):
            raise OSError(errno.EDEADLK, f"{self.name} cannot be {what} from inside its own transmission: do it after that returns")

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


def alloc_netdev_mqs(
    stack: Stack,
    priv: Any = None,
    *,
    name: str = "eth%d",
    setup: Callable[[NetDevice], object] | None = None,
    txqs: int = 1,
    rxqs: int = 1,
) -> NetDevice:
    """A device of so many queues, not registered; `setup(device)` fills it in. The driver sets `netdev_ops` and `dev_addr`.

    Raises OSError EINVAL for no queues or no name; what `setup` raises, with the device freed.
    """
    check_name(name)
    device = NetDevice(stack, name=name, num_tx_queues=txqs, num_rx_queues=rxqs, priv=priv)
    if setup is not None:
        try:
            setup(device)
        except BaseException:
            device.free()
            raise
    return device


def alloc_etherdev(stack: Stack, priv: Any = None, *, txqs: int = 1, rxqs: int = 1) -> NetDevice:
    """An Ethernet device, "eth%d", MTU 1500, not registered (alloc_etherdev_mqs)."""
    return alloc_netdev_mqs(stack, priv, txqs=txqs, rxqs=rxqs)
