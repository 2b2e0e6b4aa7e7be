"""What softnet.checks cannot see, as it knows no register: rule 18, and of rules 10 and 15 what the card's registers show.

    bus = WatchedBus(card); stack = Stack(); checker = checks.enable(stack)
    watch(bus)    # then probe a driver on it

Descriptors are looked at when the tail is written, and again when the operation or poll ends in which that was: what the card has not
written itself must be the same. On a LocalBus the card takes them at once, so a driver that completes one later sends rubbish.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakSet

from e1000 import regs
from e1000.bus.watched import WatchedBus
from softnet.checks.calls import Call
from softnet.checks.contexts import Context, SoftirqEvent, contexts, poll_line, whose
from softnet.checks.group import RuleGroup
from softnet.checks.where import pass_over

if TYPE_CHECKING:
    from softnet.netdev import NetDevice

DESCRIPTOR = struct.Struct("<QQ")
TX_WRITTEN_BACK = 0xF << 32  # STA: all that the card changes of a transmit descriptor (§3.3.3)
WHOLE = (1 << 64) - 1

_watched: WeakSet[Watch] = WeakSet()
pass_over(__file__)


@dataclass(frozen=True)
class Ring:
    """A ring's registers, and which bits of a descriptor's second word the card leaves alone."""

    name: str
    base: int
    length: int
    head: int
    tail: int
    kept: int


TX = Ring("transmit", regs.TDBAL, regs.TDLEN, regs.TDH, regs.TDT, WHOLE & ~TX_WRITTEN_BACK)
RX = Ring("receive", regs.RDBAL, regs.RDLEN, regs.RDH, regs.RDT, 0)
QUIET = {"RCTL.EN": (regs.RCTL, regs.RCTL_EN), "TCTL.EN": (regs.TCTL, regs.TCTL_EN), "IMS": (regs.IMS, WHOLE)}
RINGS = {ring.tail: ring for ring in (TX, RX)}


@dataclass(eq=False)
class Published:
    """Descriptors of one ring that the card was told of in the operation or poll at work, by index, as they were then."""

    device: NetDevice
    words: dict[int, tuple[int, int]] = field(default_factory=dict)


class Watch:
    """One bus. Whoever writes its registers is the driver of the device whose operation, poll or handler the thread is in."""

    def __init__(self, bus: WatchedBus) -> None:
        self.bus = bus
        self.device: NetDevice | None = None
        self.published: dict[int, Published] = {}
        bus.watch = self.written

    def written(self, offset: int, value: int, done: bool) -> None:
        """Before a register write (`done` False), and after."""
        self.device = whose() or self.device
        if self.device is None or self.device.stack.checker is None or done:
            return
        if offset in RINGS:
            self._publishing(RINGS[offset], value, self.device)
        elif offset == regs.IMS and value:
            self._unmasking(self.device)

    def _descriptor(self, ring: Ring, index: int) -> tuple[int, int] | None:
        base = self.bus.device.peek(ring.base + 4) << 32 | self.bus.device.peek(ring.base)
        try:
            first, second = DESCRIPTOR.unpack(self.bus.memory.addresses.read(base + DESCRIPTOR.size * index, DESCRIPTOR.size))
        except OSError:
            return None  # strict mode's
        return first, second & ring.kept

    def _publishing(self, ring: Ring, tail: int, device: NetDevice) -> None:
        count = self.bus.device.peek(ring.length) // DESCRIPTOR.size
        index = self.bus.device.peek(ring.tail)
        if not (tail < count and index < count):
            return
        published = self.published.setdefault(ring.tail, Published(device))
        while index != tail:
            words = self._descriptor(ring, index)
            if words is not None:
                published.words[index] = words
            index = index + 1 if index + 1 < count else 0

    def settle(self, device: NetDevice, operation: str, where: str) -> None:
        """The operation or poll ends: what was published in it is as it was, or the card, which has it, has it half."""
        for tail, published in list(self.published.items()):
            if published.device is not device:
                continue
            del self.published[tail]
            ring, changed = RINGS[tail], []
            for index, words in published.words.items():
                if ring is RX and not self._is_given(ring, index):
                    continue  # it was received into, and may have been given a new buffer
                if self._descriptor(ring, index) not in (None, words):
                    changed.append(index)
            checker = device.stack.checker
            if changed and checker is not None:
                detail = f"{len(changed)} {ring.name} descriptors, the first {changed[0]}, were written to after the tail had told of them"
                checker.report(18, device, operation, detail, where)

    def _is_given(self, ring: Ring, index: int) -> bool:
        """Whether the card has it still: from head to tail."""
        head, tail = self.bus.device.peek(ring.head), self.bus.device.peek(ring.tail)
        return head <= index < tail if head <= tail else index >= head or index < tail

    def _unmasking(self, device: NetDevice) -> None:
        context = next(reversed(contexts()), None)
        checker = device.stack.checker
        if isinstance(context, Context) and context.kind == "poll" and context.source.scheduled and checker is not None:
            checker.report(15, device, "napi poll", f"IMS was written, and {context.source!r}: unmasked before napi_complete_done")

    def stopped(self, device: NetDevice, where: str) -> None:
        """Nothing of the card runs after ndo_stop."""
        checker, card = device.stack.checker, self.bus.device
        if checker is None or device is not self.device:
            return
        on = [name for name, (register, bits) in QUIET.items() if card.peek(register) & bits]
        if on:
            checker.report(10, device, "ndo_stop", f"the card still has {' and '.join(on)} set", where)


def watch(bus: WatchedBus) -> None:
    """Check whoever drives this card, for the checker of its device's stack, as long as the bus is there."""
    _watched.add(Watch(bus))


class CardRules(RuleGroup):
    """Tells each Watch when an operation or a poll ends."""

    def op_ends(self, call: Call) -> None:
        for each in list(_watched):
            each.settle(call.device, call.operation, call.where)
            if call.name == "stop" and not isinstance(call.error, TimeoutError):
                each.stopped(call.device, call.where)

    def softirq_event(self, event: SoftirqEvent) -> None:
        if event.event == "napi_polled" and event.device is not None:
            for each in list(_watched):
                each.settle(event.device, "napi poll", poll_line(event.source))
