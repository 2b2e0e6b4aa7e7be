"""Rules 5 to 7: whose a packet is, that it is freed in the end, and that nobody writes to what clones share."""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass
from weakref import WeakKeyDictionary, ref

from softnet.checks.calls import Call
from softnet.checks.checker import Checker
from softnet.checks.group import RuleGroup
from softnet.checks.tx import TxRules
from softnet.netdev import NetDevice
from softnet.netdev_ops import NETDEV_TX_BUSY, NETDEV_TX_OK
from softnet.skbuff import DropReason, SharedInfo, SkBuff
from softnet.stack import Stack
from softnet.watchdog import XOFF

FINITE = 5_000_000_000  # ns: how long a packet may be in a ring that is awake


@dataclass(eq=False)
class _Taken:
    """A packet that a driver has."""

    skb: ref[SkBuff]
    length: int
    since: int  # ns, on the stack's clock
    where: str
    told: bool = False  # that it is not freed


class _Shared:
    """The shared part of a cloned packet, as it is now."""

    def __init__(self, skb: SkBuff) -> None:
        self.head = skb.head
        self.info: SharedInfo = skb.shared
        self.data_offset, self.tail_offset = skb.data_offset, skb.tail_offset
        self.bytes = bytes(skb.head)
        self.frags = [bytes(frag) for frag in self.info.frags]
        self.gso = self.info.gso_size, self.info.gso_segs, self.info.gso_type

    def change(self) -> str:
        """What has changed since; "" for nothing."""
        now = bytes(self.head)
        if now != self.bytes:
            changed = [i for i, (old, new) in enumerate(zip(self.bytes, now, strict=False)) if old != new]
            if not changed:
                return f"its head was {len(self.bytes)} bytes and is {len(now)}"
            return f"{len(changed)} bytes of its head, {self._place(changed[0])} first"
        if [bytes(frag) for frag in self.info.frags] != self.frags:
            return "its pieces"
        if (self.info.gso_size, self.info.gso_segs, self.info.gso_type) != self.gso:
            return "its segmentation fields"
        return ""

    def _place(self, offset: int) -> str:
        if offset < self.data_offset:
            return f"the one {self.data_offset - offset} before the data"
        if offset >= self.tail_offset:
            return f"the one {offset - self.tail_offset} behind the tail"
        return f"byte {offset - self.data_offset} of the packet"


class SkbRules(RuleGroup):
    """What a driver does with the packets it is given, one by one. `finite`: the time, in ns, in which it frees them when none follows."""

    def __init__(self, checker: Checker) -> None:
        super().__init__(checker)
        self.finite = FINITE
        self._lost: deque[tuple[str, _Taken]] = deque()
        self._taken: WeakKeyDictionary[NetDevice, dict[int, _Taken]] = WeakKeyDictionary()
        self._last: WeakKeyDictionary[NetDevice, int] = WeakKeyDictionary()  # when it was last given a packet, or time to recover

    def taken(self, device: NetDevice) -> int:
        """How many packets the driver has that are not freed."""
        return len(self._taken.get(device, ()))

    def idle(self, device: NetDevice) -> int:
        """For how long (ns) it has been given no packet, and had the time to recover from whatever it was."""
        now = device.stack.clock.monotonic_ns()
        return now - self._last.get(device, now)

    def op_begins(self, call: Call) -> None:
        if call.name != "start_xmit":
            return
        skb: SkBuff = call.args[0]
        # References to it: who keeps it has one more afterwards.
        call.notes["refs"] = sys.getrefcount(skb)
        call.notes["users"] = skb.users
        if skb.cloned:
            call.notes["shared"] = _Shared(skb)

    def op_ends(self, call: Call) -> None:
        if call.name in ("tx_timeout", "open"):
            self._last[call.device] = call.device.stack.clock.monotonic_ns()
        elif call.name == "stop":
            self._taken.pop(call.device, None)
        elif call.name == "start_xmit":
            shared: _Shared | None = call.notes.pop("shared", None)
            if shared is not None and (change := shared.change()):
                detail = f"a packet of {len(call.args[0])} bytes has clones, and the driver changed {change}"
                self.checker.report(7, call.device, call.operation, detail, call.where)
            if call.error is None and call.result == NETDEV_TX_BUSY:
                self._refused(call)
            elif call.error is None and call.result == NETDEV_TX_OK:
                self._accepted(call)

    def _refused(self, call: Call) -> None:
        """Rule 5."""
        skb: SkBuff = call.args[0]
        references = sys.getrefcount(skb)
        queue = call.device.tx[skb.queue_mapping]
        before, free = call.notes.get("free"), self.checker.group(TxRules).queue(queue).free()
        done = ""
        if skb.freed:
            done = "it was freed"
        elif before is not None and free is not None and free < before:
            done = f"it was put in the ring, which had {before} free slots and has {free}"
        elif skb.users > call.notes["users"] or references > call.notes["refs"]:
            done = "a reference to it was kept"
        if done:
            detail = f"answered BUSY to a packet of {len(skb)} bytes, and {done}"
            self.checker.report(5, call.device, call.operation, detail, call.where)

    # --- rule 6 ---

    def _accepted(self, call: Call) -> None:
        skb: SkBuff = call.args[0]
        device = call.device
        now = device.stack.clock.monotonic_ns()
        self._last[device] = now
        if skb.freed:
            return
        taken = self._taken.setdefault(device, {})
        key = id(skb)
        device_ref = ref(device)

        def lost(_: ref[SkBuff]) -> None:
            each = taken.pop(key, None)
            if each is not None and (owner := device_ref()) is not None:
                self._lost.append((owner.name, each))  # told of by the next hook: what a weakref's callback raises goes nowhere

        taken[key] = _Taken(ref(skb, lost), len(skb), now, call.where)
        if skb.freed:  # meanwhile, by a completion on another thread
            taken.pop(key, None)

    def _tell_lost(self) -> None:
        while self._lost:
            name, each = self._lost.popleft()
            detail = f"the last reference to a packet of {each.length} bytes went, and nobody had freed it"
            self.checker.report(6, name, "ndo_start_xmit", detail, each.where)

    def finished(self) -> None:
        self._tell_lost()

    def skb_freed(self, skb: SkBuff, how: DropReason | bool) -> None:
        if skb.freed:
            for taken in self._taken.values():
                taken.pop(id(skb), None)

    def carrier_changed(self, device: NetDevice, on: bool) -> None:
        self._last[device] = device.stack.clock.monotonic_ns()

    def stack_ran(self, stack: Stack) -> None:
        self._tell_lost()
        now = stack.clock.monotonic_ns()
        for device, taken in list(self._taken.items()):
            # A stopped queue is the watchdog's, and without a carrier nothing can leave.
            if device.stack is not stack or not taken or not device.running or not device.carrier_ok:
                continue
            if self.idle(device) <= self.finite or _watched(device):
                continue
            late = [each for each in list(taken.values()) if now - each.since > self.finite and not each.told]
            if late:
                detail = (
                    f"{len(late)} taken and not freed, the first of {late[0].length} bytes {(now - late[0].since) / 1e9:.1f} s ago, "
                    "while no other followed"
                )
                for each in late:
                    each.told = True
                self.checker.report(6, device, "ndo_start_xmit", detail, late[0].where)


def _watched(device: NetDevice) -> bool:
    """Whether the transmit watchdog sees to it, or would if there were one, which is rule 19's."""
    return any(queue.txq.state & XOFF for queue in device.tx)
