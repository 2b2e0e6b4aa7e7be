"""The driver's control plane: probe, open, stop, statistics, in the manual's order; registers only through the bus."""

from __future__ import annotations

import errno
import time
from contextlib import ExitStack

from e1000 import regs
from e1000.bus.base import Bus
from e1000.driver.napi import IMS_ENABLE_MASK, E1000Napi
from e1000.driver.rxring import RxRing
from e1000.driver.txring import TxRing
from softnet.ethernet import ETH_HLEN, VLAN_HLEN
from softnet.netdev import NetDevice
from softnet.stack import Stack
from softnet.stats import Stats64

MIN_DESCRIPTORS, MAX_DESCRIPTORS = 80, 4096  # E1000_MIN_TXD, E1000_MAX_82544_TXD
MIN_MTU = 46  # ETH_ZLEN - ETH_HLEN
MAX_MTU = 16110  # MAX_JUMBO_FRAME_SIZE - (ETH_HLEN + ETH_FCS_LEN)
RESET_TIMEOUT = 0.1  # seconds; the manual promises 1 µs (§13.4.1)
CAUSES = 0xFFFFFFFF


class E1000Adapter:
    """net_device_ops for one 82540EM on `bus`. Made by `probe`; `stack` polls it.

    `tx_descriptors`, `rx_descriptors`: 80 to 4096, multiples of 8. `rs_every`: packets from one status report to the next.
    """

    def __init__(
        self, bus: Bus, stack: Stack, *, tx_descriptors: int = 256, rx_descriptors: int = 256, rs_every: int = 32, weight: int = 64
    ) -> None:
        for what, count in (("tx_descriptors", tx_descriptors), ("rx_descriptors", rx_descriptors)):
            if not MIN_DESCRIPTORS <= count <= MAX_DESCRIPTORS or count % 8:
                raise OSError(errno.EINVAL, f"{what} is a multiple of 8 from {MIN_DESCRIPTORS} to {MAX_DESCRIPTORS}, not {count}")
        if rs_every < 1:
            raise OSError(errno.EINVAL, f"rs_every is at least 1 packet, not {rs_every}")
        self.bus = bus
        self.stack = stack
        self.tx_descriptors = tx_descriptors
        self.rx_descriptors = rx_descriptors
        self.rs_every = rs_every
        self.napi = E1000Napi(bus, weight=weight)
        self.tx: TxRing | None = None
        self.rx: RxRing | None = None
        self._undo = ExitStack()
        self._closed = Stats64()

    # --- probe ---

    def reset(self) -> None:
        """Global reset (CTRL.RST, §13.4.1), interrupts masked before and after. Raises OSError EIO if the card does not come back."""
        self.bus.write(regs.IMC, CAUSES)
        self.bus.write(regs.RCTL, 0)
        self.bus.write(regs.TCTL, regs.TCTL_PSP)
        self.bus.write(regs.CTRL, self.bus.read(regs.CTRL) | regs.CTRL_RST)
        deadline = time.monotonic() + RESET_TIMEOUT
        while self.bus.read(regs.CTRL) & regs.CTRL_RST:
            if time.monotonic() > deadline:
                raise OSError(errno.EIO, f"{self.bus!r}: the card does not come out of reset")
        self.bus.write(regs.IMC, CAUSES)
        self.bus.read(regs.ICR)

    def read_mac(self) -> bytes:
        """The station address that the reset loaded from the EEPROM into RAL0 and RAH0 (§13.5.2)."""
        low, high = self.bus.read(regs.RAL0), self.bus.read(regs.RAH0)
        return low.to_bytes(4, "little") + (high & 0xFFFF).to_bytes(2, "little")

    # --- net_device_ops ---

    def open(self, device: NetDevice) -> TxRing:
        """ndo_open: rings, filters, interrupt, and only then the units (§14.4, §14.5). Unwinds itself on any error."""
        with ExitStack() as undo:
            undo.callback(self._close_rings)
            self.reset()
            undo.callback(self.reset)
            self._setup_link()
            self._setup_transmit(device)
            self._setup_receive(device)
            self.napi.request_irq()
            undo.callback(self.napi.free_irq)
            self.stack.softirq.add(self.napi)
            undo.callback(self.stack.softirq.remove, self.napi)
            self.stack.softirq.add_irq(self.bus.irq)
            undo.callback(self.stack.softirq.remove_irq, self.bus.irq)
            self.napi.enable()
            undo.callback(self._stop_polling)
            undo.callback(self._quiesce)
            self._start(device)
            self._undo = undo.pop_all()
        assert self.tx is not None
        return self.tx

    def stop(self, device: NetDevice) -> None:
        """ndo_stop: units off, interrupts off, polling off, card reset, rings freed: open, undone backwards.

        Raises TimeoutError, with the device still open, when a poll on another thread does not end: nothing may be freed under it.
        After any other error it is closed all the same.
        """
        self._stop_polling()
        self._undo.close()

    def get_stats64(self, device: NetDevice, stats: Stats64) -> None:
        """ndo_get_stats64: what earlier rings counted, and what these do."""
        self._count_rings(stats)
        for name in ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped"):
            setattr(stats, name, getattr(stats, name) + getattr(self._closed, name))
        stats.rx_missed_errors = self._closed.rx_missed_errors

    # --- steps ---

    def _setup_link(self) -> None:
        """Set link up, speed and duplex by the PHY (§14.3)."""
        self.bus.write(regs.CTRL, self.bus.read(regs.CTRL) | regs.CTRL_SLU | regs.CTRL_ASDE)

    def _setup_transmit(self, device: NetDevice) -> None:
        """§14.5: ring and gaps for 1000BASE-T."""
        self.tx = TxRing(
            self.bus,
            device.txq,
            self.stack.clock,
            count=self.tx_descriptors,
            packet_size=device.max_frame,
            rs_every=self.rs_every,
        )
        self._program_ring(regs.TDBAL, regs.TDBAH, regs.TDLEN, regs.TDH, regs.TDT, self.tx)
        self.bus.write(regs.TIPG, 10 | 8 << 10 | 6 << 20)
        self.bus.write(regs.TIDV, 0)
        self.bus.write(regs.TADV, 0)

    def _setup_receive(self, device: NetDevice) -> None:
        """§14.4: address, multicast table, ring, buffers of the right size."""
        self.bus.write(regs.RAL0, int.from_bytes(device.dev_addr[:4], "little"))
        self.bus.write(regs.RAH0, int.from_bytes(device.dev_addr[4:], "little") | regs.RAH_AV)
        for i in range(128):
            self.bus.write(regs.MTA + 4 * i, 0)
        size, control = buffer_size(device.mtu)
        self.rx = RxRing(self.bus, self.stack.clock, device.sink, count=self.rx_descriptors, buffer_size=size)
        self._program_ring(regs.RDBAL, regs.RDBAH, regs.RDLEN, regs.RDH, regs.RDT, self.rx)
        self.bus.write(regs.RDTR, 0)
        self.bus.write(regs.RADV, 0)
        self.napi.tx, self.napi.rx = self.tx, self.rx
        if device.promiscuous:
            control |= regs.RCTL_UPE | regs.RCTL_MPE
        self.bus.write(regs.RCTL, control | regs.RCTL_BAM | regs.RCTL_SECRC)

    def _start(self, device: NetDevice) -> None:
        """Enable both units, give the card its buffers, unmask."""
        assert self.rx is not None
        collision = 0x0F << regs.TCTL_CT_SHIFT | 0x3F << regs.TCTL_COLD_SHIFT
        self.bus.write(regs.TCTL, regs.TCTL_EN | regs.TCTL_PSP | regs.TCTL_RTLC | collision)
        self.bus.write(regs.RCTL, self.bus.read(regs.RCTL) | regs.RCTL_EN)
        self.rx.fill()
        self.bus.write(regs.IMS, IMS_ENABLE_MASK)

    def _stop_polling(self) -> None:
        if not self.napi.disabled:
            self.napi.disable()

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

    def _count_rings(self, stats: Stats64) -> None:
        if self.tx is not None:
            stats.tx_packets += self.tx.packets
            stats.tx_bytes += self.tx.bytes
            stats.tx_dropped += self.tx.dropped
            stats.tx_errors += self.tx.aborted
        if self.rx is not None:
            stats.rx_packets += self.rx.packets
            stats.rx_bytes += self.rx.bytes
            stats.rx_errors += self.rx.errors
            stats.rx_dropped += self.rx.sink_failed + self.rx.abandoned

    def _close_rings(self) -> None:
        """Give the rings' memory back, keeping what they counted."""
        self.napi.tx = self.napi.rx = None
        for ring in (self.tx, self.rx):
            if ring is not None:
                ring.close()
        self._count_rings(self._closed)
        self.tx = self.rx = None

    def __repr__(self) -> str:
        return f"<E1000Adapter on {self.bus!r}: {self.tx!r}, {self.rx!r}>"


def buffer_size(mtu: int) -> tuple[int, int]:
    """Receive buffer for an MTU: its bytes, and RCTL's BSIZE, BSEX and LPE for it (§13.4.22)."""
    longest = mtu + ETH_HLEN + VLAN_HLEN
    long_packets = regs.RCTL_LPE if mtu > 1500 else 0
    for code, size in ((3, 4096), (2, 8192), (1, 16384)):
        if longest <= 2048:
            return 2048, long_packets
        if longest <= size:
            return size, long_packets | regs.RCTL_BSEX | code << regs.RCTL_BSIZE_SHIFT
    raise OSError(errno.EINVAL, f"no receive buffer is large enough for an MTU of {mtu}")


def probe(
    bus: Bus,
    stack: Stack,
    *,
    name: str = "eth%d",
    mtu: int = 1500,
    bql: bool = True,
    tx_descriptors: int = 256,
    rx_descriptors: int = 256,
    rs_every: int = 32,
    weight: int = 64,
) -> NetDevice:
    """Find the card on `bus` and make its net_device, not yet registered.

    Raises OSError: EIO if there is no working card, EBUSY if a driver has it open, EINVAL for a ring size or an MTU it does not have.
    """
    if bus.irq.requested:
        raise OSError(errno.EBUSY, f"{bus!r}: a driver has this card open")
    adapter = E1000Adapter(
        bus, stack, tx_descriptors=tx_descriptors, rx_descriptors=rx_descriptors, rs_every=rs_every, weight=weight
    )
    adapter.reset()
    return NetDevice(stack, adapter, dev_addr=adapter.read_mac(), name=name, mtu=mtu, min_mtu=MIN_MTU, max_mtu=MAX_MTU, bql=bql)
