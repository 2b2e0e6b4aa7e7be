"""What a driver in Python needs beside net_device_ops: interrupts, NAPI with GRO, work, receive buffers; under the kernel's names.

The rest is where it belongs: rings and packets in softnet.dma, stop, wake and byte limits in `device.tx[i].txq` (txq_maybe_stop,
txq_completed_wake, tx_sent, tx_reset), timers in `stack.clock` (call_later), packets in softnet.skbuff. docs/writing-a-driver.md
builds a driver of all this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from fastring.clock import TimerHandle
from fastring.napi import Napi
from softnet.gro import Gro, GroResult
from softnet.skbuff import NET_SKB_PAD, SkBuff, alloc_skb

if TYPE_CHECKING:
    from fastring.irq import IrqLine
    from softnet.dma import DmaMemory
    from softnet.netdev import NetDevice
    from softnet.stack import Stack

JIFFY = 1_000_000  # ns: HZ is 1000


class PciBus(Protocol):
    """A card on its bus, as probe gets it (e1000.bus.Bus): registers by BAR0 offset, DMA memory, one interrupt line."""

    @property
    def memory(self) -> DmaMemory:
        """Where the card does DMA: DmaDevice(bus.memory)."""

    @property
    def irq(self) -> IrqLine:
        """Its interrupt line, for request_irq."""

    def read(self, offset: int, size: int = 4) -> int:
        """readl."""

    def write(self, offset: int, value: int, size: int = 4) -> None:
        """writel."""

    def config_read(self, offset: int, size: int = 4) -> int:
        """pci_read_config_*."""

    def config_write(self, offset: int, value: int, size: int = 4) -> None:
        """pci_write_config_*."""


# --- interrupts ---


def request_irq(stack: Stack, line: IrqLine, handler: Callable[[], object]) -> None:
    """Have `handler()` run by the stack's softirq whenever the line is up. Raises OSError EBUSY while it has a handler.

    The line stays up, and the handler is called again, until it quiets its card. What it raises, Stack.run raises.
    """
    line.request_irq(handler)
    try:
        stack.softirq.add_irq(line)
    except BaseException:
        line.free_irq()
        raise


def free_irq(stack: Stack, line: IrqLine) -> None:
    """On return the handler is not running, and is not called any more (synchronize_irq included)."""
    stack.softirq.remove_irq(line)
    line.free_irq()


# --- NAPI ---


class NapiStruct(Napi):
    """A NAPI context whose `poll(napi, budget)` is Python, with the GRO state that the kernel keeps in it. Made by netif_napi_add.

    `enable`, `disable` and `napi_schedule` are Napi's. Softirq, except for those.
    """

    def __init__(self, device: NetDevice, poll: Callable[[NapiStruct, int], int], weight: int = 64) -> None:
        super().__init__(weight)
        self.device = device
        self._poll = poll

    def on_poll(self, budget: int) -> int:
        work = self._poll(self, budget)
        if not isinstance(work, int):
            raise TypeError(f"{self.device.name}: poll returned {work!r}; it returns how many packets it received, 0 to {budget}")
        return work

    def napi_gro_receive(self, skb: SkBuff) -> GroResult:
        """A received packet, after eth_type_trans, up the stack, merged with others of its flow. It is not the driver's any more."""
        gro = self.gro
        assert isinstance(gro, Gro)
        return gro.receive(skb)


def netif_napi_add(device: NetDevice, poll: Callable[[NapiStruct, int], int], *, weight: int = 64) -> NapiStruct:
    """A NAPI context of a device, disabled: `enable` it in ndo_open, before interrupts are unmasked."""
    napi = NapiStruct(device, poll, weight)
    device.napi_add(napi)
    return napi


def netif_napi_del(napi: NapiStruct) -> None:
    """It goes, after `disable`; what GRO held is dropped. Raises RuntimeError if it is enabled."""
    napi.device.napi_del(napi)


# --- work ---


class Work:
    """A work_struct: `function()` in process context, where it may sleep, take rtnl and stop its card. From any context of its clock."""

    def __init__(self, stack: Stack, function: Callable[[], object]) -> None:
        self._stack = stack
        self._function = function
        self._timer: TimerHandle | None = None

    @property
    def pending(self) -> bool:
        """work_pending."""
        return self._timer is not None and self._timer.armed

    def schedule(self) -> bool:
        """schedule_work: have it run by the next Stack.run, once; False if it is pending already."""
        return self.schedule_delayed(0)

    def schedule_delayed(self, delay: int) -> bool:
        """schedule_delayed_work, `delay` in ns."""
        if self.pending:
            return False
        self._timer = self._stack.clock.call_later(delay, self._run)
        return True

    def cancel(self) -> bool:
        """cancel_work_sync: it does not run any more; whether it was pending."""
        pending = self.pending
        if self._timer is not None:
            self._timer.cancel()
        return pending

    def _run(self) -> None:
        if self._stack.softirq.in_softirq:  # time was moved from in there: no context to sleep in
            self.schedule_delayed(JIFFY)
        else:
            self._function()


# --- receive buffers ---


def netdev_alloc_skb(device: NetDevice, size: int) -> SkBuff:
    """An empty packet with room for `size` bytes, for a card to receive into: map `skb_room`, and `put` what came."""
    skb = alloc_skb(size, headroom=NET_SKB_PAD)
    skb.dev = device
    return skb


def skb_room(skb: SkBuff) -> memoryview:
    """The room behind the data, where a card receives."""
    return memoryview(skb.head)[skb.tail_offset :]
