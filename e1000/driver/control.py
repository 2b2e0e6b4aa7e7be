"""The driver's control plane: net_device_ops (the kernel's e1000_main.c); registers only through the bus."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from e1000 import regs
from e1000.bus.base import Bus
from e1000.driver.ethtool import Ethtool
from e1000.driver.flow import FlowControl, by_name
from e1000.driver.hw import CAUSES, Hw, Link
from e1000.driver.mii import mii_ioctl
from e1000.driver.napi import IMS_ENABLE_MASK, E1000Napi
from e1000.driver.offload import Offloads
from e1000.driver.param import Options, buffer_size, interrupt_rate
from e1000.driver.phy import Copper
from e1000.driver.power import Power
from e1000.driver.rx_mode import RxFilter
from e1000.driver.rxring import RxRing
from e1000.driver.stats import HardwareStats, count_rx, count_tx
from e1000.driver.txring import TxRing
from e1000.driver.watchdog import WatchdogTask
from fastring.clock import TimerHandle
from softnet.ethernet import ETH_FCS_LEN, ETH_HLEN, VLAN_HLEN, is_valid_ether_addr
from softnet.netdev import NetDevice
from softnet.netdev_features import Feature
from softnet.stack import Stack
from softnet.stats import Stats64

PBA_STANDARD, PBA_JUMBO = 48, 40  # KiB of the packet buffer for reception; the rest is the transmitter's, and holds a jumbo frame

log = logging.getLogger("e1000")


class E1000Adapter(Offloads):
    """net_device_ops for one 82540EM on `bus`. Made by `pci.probe`; `stack` polls it. `flow_control`: see flow.by_name."""

    def __init__(self, bus: Bus, stack: Stack, options: Options, *, flow_control: str = "default") -> None:
        super().__init__()
        self.bus = bus
        self.stack = stack
        self.options = options
        self.tx_descriptors = options.tx_descriptors
        self.rx_descriptors = options.rx_descriptors
        self.hw = Hw(bus)
        self.copper = Copper(self.hw)
        self.flow = FlowControl(self.hw)
        self.flow_parameter = by_name(flow_control)
        self.flow.wanted = self.flow_parameter or self.flow.wanted
        self.power = Power(self)
        self.napi = E1000Napi(bus, weight=options.weight)
        self.napi.itr_setting, self.napi.itr = interrupt_rate(options.rx_usecs)
        self.rx_filter = RxFilter(bus)
        self.hw_stats = HardwareStats(bus)
        self.ethtool = Ethtool(self)
        self.watchdog = WatchdogTask(self)
        self.napi.link_changed = self.watchdog.soon
        self.tx: TxRing | None = None
        self.rx: RxRing | None = None
        self.mtu = 0  # what the rings are made for
        self.tx_timeout_count = 0
        self._alloc_failed = 0  # by receive rings that are gone
        self.pci_command: int | None = None
        self.dma_bits = 64  # that the card may drive
        self._undo = ExitStack()
        self._running = ExitStack()
        self._closed = Stats64()
        self._reset_timer: TimerHandle | None = None

    # --- open and stop ---

    def open(self, device: NetDevice) -> TxRing:
        """ndo_open: PHY, interrupt, and then all that a reset undoes too. Unwinds itself on any error."""
        if self.power.suspended:
            raise OSError(errno.ENODEV, f"{device.name} is suspended: resume it first")
        self.mtu = device.mtu
        with ExitStack() as undo:
            self.hw.power_up_phy()
            undo.callback(self.hw.if_present, self.power_down_phy)
            self.napi.request_irq()
            undo.callback(self.napi.free_irq)
            self.stack.softirq.add_irq(self.bus.irq)
            undo.callback(self.stack.softirq.remove_irq, self.bus.irq)
            undo.callback(self._forget_tx)
            self._up(device)
            undo.callback(lambda: self._running.close())
            self._undo = undo.pop_all()
        assert self.tx is not None
        return self.tx

    def stop(self, device: NetDevice) -> None:
        """ndo_stop: units off, interrupts off, polling off, card reset, rings freed: open, undone backwards.

        Raises TimeoutError, with the device still open, when a poll on another thread does not end: nothing may be freed under it.
        After any other error it is closed all the same; that its card is gone is none, and logged.
        """
        self._stop_polling()
        if self._reset_timer is not None:
            self._reset_timer.cancel()
        with self._undo:
            if not self.power.suspended and not self.hw.present:
                log.error("%s: the card is gone", device.name)

    def _up(self, device: NetDevice) -> None:
        """e1000_up: rings, filters, and only then the units (§14.4, §14.5). Unwinds itself on any error."""
        with ExitStack() as undo:
            undo.callback(self._close_rings)
            self.reset_hw()
            undo.callback(self.hw.if_present, self.hw.reset)
            self.rx_filter.forget()
            self._setup_transmit(device)
            self._setup_receive(device)
            self.set_itr(self.napi.itr if self.napi.itr_setting else 0)
            self.napi.enable()
            undo.callback(self._stop_polling)
            undo.callback(self.hw_stats.update)
            undo.callback(self._quiesce)
            self._start()
            undo.callback(self.watchdog.down)
            self.watchdog.up(device)
            self._running = undo.pop_all()

    def _down(self) -> None:
        """e1000_down: the interrupt stays requested, and who holds the transmit ring may keep it. Raises TimeoutError as `stop` does."""
        self._stop_polling()
        if self.tx is not None:
            self.tx.resetting = True
        self._running.close()

    def reinit(self, device: NetDevice) -> None:
        """e1000_reinit_locked: down and up again. rtnl. Raises as `offline` does."""
        with self.offline(device):
            pass

    @contextmanager
    def offline(self, device: NetDevice) -> Iterator[None]:
        """Down, and up again at the end. rtnl. If up fails the device has no rings, and takes nothing until it is stopped.

        Raises TimeoutError as `stop` does.
        """
        assert self.stack.rtnl.held
        self._go_down(device)
        try:
            try:
                yield
            finally:
                self._up(device)
        finally:
            if self.tx is not None:
                self.tx.resetting = False
            if not self.napi.disabled:
                device.txq.wake()

    def _go_down(self, device: NetDevice) -> None:
        """Stop the queue, and `_down`; what fails on the way is logged, as the reset on the way up undoes it. Raises TimeoutError."""
        device.txq.stop()
        try:
            self._down()
        except TimeoutError:
            device.txq.wake()
            raise
        except OSError as error:
            log.warning("%s: going down: %s", device.name, error.strerror)

    def suspend_rings(self, device: NetDevice) -> None:
        """Of an open device, for as long as it sleeps: no rings, no interrupt. Raises TimeoutError as `stop` does."""
        self._go_down(device)
        if self.tx is not None:
            self.tx.resetting = False  # who sends is told: it is no matter of a moment
        self.napi.free_irq()

    def resume_rings(self, device: NetDevice) -> None:
        """Undo `suspend_rings`. Raises OSError, with no rings."""
        self.hw.power_up_phy()
        self.napi.request_irq()
        self._up(device)
        device.txq.wake()

    def schedule_reset(self, device: NetDevice) -> None:
        """schedule_work(reset_task): reset it as soon as timers fire and nobody is inside the softirq or the ring."""
        if self._reset_timer is None or not self._reset_timer.armed:
            self._reset_timer = self.stack.clock.call_later(0, lambda: self._reset_task(device))

    def _reset_task(self, device: NetDevice) -> None:
        if self.stack.softirq.in_softirq or (self.tx is not None and self.tx.transmitting):
            self.schedule_reset(device)
            return
        with self.stack.rtnl:
            if device.up:
                log.error("%s: Reset adapter", device.name)
                self.reinit(device)

    # --- other net_device_ops ---

    def tx_timeout(self, device: NetDevice, queue: int) -> None:
        """ndo_tx_timeout: have it reset, outside of this context."""
        self.tx_timeout_count += 1
        self.schedule_reset(device)

    def get_stats64(self, device: NetDevice, stats: Stats64) -> None:
        """ndo_get_stats64: what rings counted, and what the card did."""
        if not self.napi.disabled:
            self.hw_stats.update()
        self.fill_ring_stats(stats)
        self.hw_stats.fill(stats)

    def set_rx_mode(self, device: NetDevice) -> None:
        """ndo_set_rx_mode."""
        self.rx_filter.apply(
            promiscuous=device.promiscuous,
            allmulti=device.allmulti > 0,
            vlans=self.filters_vlans,
            unicast=device.uc,
            multicast=device.mc,
        )

    def set_mac_address(self, device: NetDevice, address: bytes) -> None:
        """ndo_set_mac_address (e1000_set_mac): at once if it is up; open does it anyhow."""
        if not self.napi.disabled:
            self.rx_filter.set_station(address)

    def validate_addr(self, device: NetDevice) -> None:
        """ndo_validate_addr (eth_validate_addr)."""
        if not is_valid_ether_addr(device.dev_addr):
            raise OSError(errno.EADDRNOTAVAIL, f"{device.name}: {device.dev_addr.hex(':')} is no valid station address")

    def change_mtu(self, device: NetDevice, mtu: int) -> None:
        """ndo_change_mtu: down and up with buffers of the new size, and with the old ones if there is no memory. Raises OSError."""
        self.reconfigure(device, mtu=mtu)

    def eth_ioctl(self, device: NetDevice, command: int, argument: object) -> None:
        """ndo_eth_ioctl (e1000_ioctl): see mii.mii_ioctl."""
        mii_ioctl(self, device, command, argument)

    # --- changes that need new rings ---

    def reconfigure(self, device: NetDevice, **change: int) -> None:
        """Set attributes such as `tx_descriptors`, with rings made anew if it is up. An error leaves what was before. rtnl."""
        before = {name: getattr(self, name) for name in change}
        for name, value in change.items():
            setattr(self, name, value)
        if not device.up:
            return
        try:
            self.reinit(device)
        except BaseException:
            for name, value in before.items():
                setattr(self, name, value)
            if self.napi.disabled:
                self.reinit(device)
            raise

    def set_itr(self, rate: int) -> None:
        """ITR: at most so many interrupts a second; 0: any number (§13.4.18)."""
        self.bus.write(regs.ITR, 1_000_000_000 // (rate * 256) if rate else 0)

    # --- steps ---

    def reset_hw(self) -> None:
        """e1000_reset: the packet buffer split, reset, flow control and the link set up."""
        frame = self.mtu + ETH_HLEN + ETH_FCS_LEN
        fifo = PBA_JUMBO if frame > 8192 else PBA_STANDARD
        self.bus.write(regs.PBA, fifo)  # counts from the reset on
        self.hw.reset()
        self.bus.write(regs.WUC, 0)
        self.copper.setup(self.flow.wanted.advertised)
        self.flow.setup(fifo << 10, frame)

    def _setup_transmit(self, device: NetDevice) -> None:
        """§14.5: ring and gaps for 1000BASE-T."""
        options, packet_size = self.options, self.mtu + ETH_HLEN + VLAN_HLEN
        if self.tx is None:
            self.tx = TxRing(
                self.bus,
                device.txq,
                self.stack.clock,
                count=self.tx_descriptors,
                packet_size=packet_size,
                rs_every=options.rs_every,
                doorbell_every=options.doorbell_every,
                wake_at=options.tx_wake,
            )
        else:
            self.tx.allocate(self.tx_descriptors, packet_size)
        self._program_ring(regs.TDBAL, regs.TDBAH, regs.TDLEN, regs.TDH, regs.TDT, self.tx)
        self.bus.write(regs.TIPG, 10 | 8 << 10 | 6 << 20)
        self._set_thresholds(regs.TIDV, regs.TADV, regs.TXDCTL, options.tx_int_delay, options.tx_abs_int_delay, options.tx_wthresh)

    def _setup_receive(self, device: NetDevice) -> None:
        """§14.4: address, filters, ring, buffers of the right size."""
        self.rx_filter.set_station(device.dev_addr)
        self.set_rx_mode(device)
        keep_bad, keep_fcs = bool(self.features & Feature.RXALL), bool(self.features & Feature.RXFCS)
        size, control = buffer_size(self.mtu, fcs=keep_fcs)
        options, sink = self.options, self.rx_sink(device)
        self.rx = RxRing(
            self.bus,
            self.stack.clock,
            sink,
            count=self.rx_descriptors,
            buffer_size=size,
            copybreak=options.copybreak,
            keep_bad=keep_bad,
            keep_fcs=keep_fcs,
        )
        self._program_ring(regs.RDBAL, regs.RDBAH, regs.RDLEN, regs.RDH, regs.RDT, self.rx)
        self._set_thresholds(regs.RDTR, regs.RADV, regs.RXDCTL, options.rx_int_delay, options.rx_abs_int_delay, options.rx_wthresh)
        self.napi.tx, self.napi.rx = self.tx, self.rx
        self.napi.reset_itr()
        self.bus.write(regs.RCTL, control | self.set_up_receive(sink) | self.rx_filter.mode | regs.RCTL_BAM)

    def _start(self) -> None:
        """Set up the transmitter, which the watchdog enables when there is a link; enable the receiver, give it its buffers, unmask."""
        assert self.rx is not None
        collision = 0x0F << regs.TCTL_CT_SHIFT | 0x3F << regs.TCTL_COLD_SHIFT
        self.bus.write(regs.TCTL, regs.TCTL_PSP | regs.TCTL_RTLC | collision)
        self.bus.write(regs.RCTL, self.bus.read(regs.RCTL) | regs.RCTL_EN)
        self.rx.fill()
        self.bus.write(regs.IMS, IMS_ENABLE_MASK)

    def link_is_up(self, link: Link) -> None:
        """What waits for a link (e1000_watchdog): flow control as agreed, and the transmitter enabled."""
        self.flow.link_is_up(link, negotiated=self.copper.forced is None)
        self.bus.write(regs.TCTL, self.hw.read(regs.TCTL) | regs.TCTL_EN)

    def _stop_polling(self) -> None:
        if not self.napi.disabled:
            self.napi.disable()

    def power_down_phy(self) -> None:
        """e1000_power_down_phy: not that of a card which is to wake up its host."""
        if not self.power.wake:
            self.hw.power_down_phy()

    def _quiesce(self) -> None:
        """Both units off, every interrupt masked."""
        self.bus.write(regs.RCTL, self.bus.read(regs.RCTL) & ~regs.RCTL_EN)
        self.bus.write(regs.TCTL, self.bus.read(regs.TCTL) & ~regs.TCTL_EN)
        self.bus.write(regs.IMC, CAUSES)

    def _program_ring(self, low: int, high: int, length: int, head: int, tail: int, ring: TxRing | RxRing) -> None:
        self.bus.write(low, ring.iova & 0xFFFFFFFF)
        self.bus.write(high, ring.iova >> 32)
        self.bus.write(length, 16 * ring.count)
        self.bus.write(head, 0)
        self.bus.write(tail, 0)

    def _set_thresholds(self, delay: int, absolute: int, control: int, *values: int) -> None:
        """Interrupt delays and the write-back threshold, which a reset has cleared (§13.4.30, §13.4.41, §13.4.43, §13.4.46)."""
        wait, longest, wthresh = values
        self.bus.write(delay, wait)
        self.bus.write(absolute, longest)
        if wthresh:
            self.bus.write(control, regs.DCTL_GRAN | wthresh << regs.DCTL_WTHRESH_SHIFT)

    # --- what rings counted ---

    @property
    def alloc_rx_buff_failed(self) -> int:
        """How often there was no buffer for a receive descriptor."""
        return self._alloc_failed + (0 if self.rx is None else self.rx.alloc_failed)

    def fill_ring_stats(self, stats: Stats64) -> None:
        """Add what rings counted since probe."""
        for name in ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped"):
            setattr(stats, name, getattr(stats, name) + getattr(self._closed, name))
        stats.rx_dropped += self.rx_skbs.failed
        count_tx(self.tx, stats)
        count_rx(self.rx, stats)

    def _close_rings(self) -> None:
        """Give the rings' memory back, keeping what they counted."""
        self.napi.tx = self.napi.rx = None
        if self.tx is not None:
            self.tx.close()
        if self.rx is not None:
            self.rx.close()
        self._alloc_failed = self.alloc_rx_buff_failed
        count_rx(self.rx, self._closed)
        self.rx = None

    def _forget_tx(self) -> None:
        count_tx(self.tx, self._closed)
        self.tx = None

    def __repr__(self) -> str:
        return f"<E1000Adapter on {self.bus!r}: {self.tx!r}, {self.rx!r}>"
