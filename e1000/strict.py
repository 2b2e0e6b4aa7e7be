"""Strict mode: what a driver does against the manual, by rule. `E1000Device(strict=True)` collects it in `device.breaches`.

The rules are a table here; device/strict.pyx looks at each access, and tells of a breach by the rule's place in the table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from e1000.regmap import name_of, section_of

KEPT = 1000  # breaches
LOGGED = 5  # of each rule

_log = logging.getLogger("e1000.strict")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `severity`: "error" for what hangs the card or loses or corrupts data, "warning" for what the manual forbids or leaves
    undefined, "note" for what works on this card though the manual would have it otherwise."""

    id: str
    severity: str
    section: str  # "-": the register's own
    text: str  # with {name} of the register, {value} written, and the numbers {a} and {b}


def _rules(table: str) -> tuple[Rule, ...]:
    return tuple(Rule(*(part.strip() for part in line.split("|"))) for line in table.strip().splitlines())


RULES = _rules("""
    access-size          | note    | 13.2.1  | {a} bytes of {name}: registers are accessed by 32 bits
    no-register          | note    | 13.3    | {name} is no register of this card
    read-only-written    | warning | -          | {name}={value:#x}: the register is read-only
    write-only-read      | warning | -          | {name} is read: the register is write-only
    reserved-bits        | warning | -          | {name}={value:#x} sets reserved bits {a:#x}
    reserved-value       | warning | -          | {name}={value:#x} has a reserved value in bits {a}:{b}
    io-size              | error   | 13.2.2  | {a} bytes are written to the I/O BAR, which takes 32 bits, and are ignored
    io-undefined         | error   | 13.2.2.1 | IODATA is accessed while IOADDR={a:#x} leads nowhere
    statistic-order      | warning | 13.7.1  | {name} is read before its low half, and clears that
    eerd-busy            | warning | 13.4.4  | {name}={value:#x} asks for a word before DONE was read for the one before
    eerd-undone          | warning | 13.4.4  | {name} is written while the pins of EECD are held: the word waits until they are let go
    eecd-no-grant        | error   | 13.4.3  | {name}={value:#x} moves the EEPROM's pins without a grant that was asked for and read
    mdic-busy            | warning | 13.4.7  | {name}={value:#x} starts an access before READY was read for the one before
    pba-size             | error   | 13.4.16 | {name}={value:#x} gives the receive FIFO {a} KiB of the 64 there are
    flow-thresholds      | warning | 13.4.24 | {name}={value:#x}: the high threshold {a:#x} is not above the low one {b:#x}
    ring-unaligned       | error   | -       | {name}={value:#x}: a ring begins at a multiple of 16
    ring-length          | error   | -       | {name}={value} is no multiple of 128 bytes
    ring-moved           | error   | 14.4    | {name}={value:#x} is written while the unit is enabled
    head-written         | error   | -       | {name}={value} is written while the unit is enabled
    tail-outside         | error   | -       | {name}={value} is outside the ring of {a} descriptors
    enabled-without-ring | error   | 14.4    | {name}={value:#x} enables the unit with a ring of {a} descriptors and head or tail at {b}
    doorbell-no-master   | error   | 4.1     | {name}={value} while the card may not do DMA: bus master is off
    ring-full            | error   | -         | {name}={value} gives the whole ring: with head and tail the same it is an empty one
    tail-passes-head     | error   | -         | {name}={value} is past the head at {a}: descriptors the card still has are given again
    ring-outside-memory  | error   | 3.2.6   | {name}={value}: the ring is not in memory that the card reaches
    rx-buffer-size       | warning | 13.4.22 | {name}={value:#x} changes the buffers' size from {a} to {b} while the unit is enabled
    rx-status            | error   | 3.2.3   | descriptor {a} is given with the status {b:#x}: it must be 0, or looks done
    rx-buffer-outside    | error   | 3.2.3   | descriptor {a} has a buffer whose {b} bytes are not memory the card may write
    rx-buffers-overlap   | error   | 3.2.3   | descriptor {a} has a buffer that overlaps the one before: by RCTL it gets up to {b} bytes
    tx-done              | error   | 3.3.3   | descriptor {a} is given with the status {b:#x}: it must be 0, or looks done
    tx-no-eop            | error   | 3.3.3   | {b} descriptors from {a} on are a packet without an end (EOP)
    tx-no-ifcs           | note    | 3.3.3   | the packet that ends in descriptor {a} has no IFCS: the card appends no CRC
    tx-length            | error   | 3.3.3   | descriptor {a} has {b} bytes: a legacy one has 16288 at most
    tx-type              | error   | 3.3.5   | descriptor {a} has the reserved type {b}
    tx-mixed             | error   | 3.3.5   | descriptor {a} is of another kind than those of the same packet before it
    tx-context-inside    | error   | 3.3.6   | descriptor {a} is a context descriptor within a packet
    tx-context-range     | warning | 3.3.6   | context descriptor {a} has a checksum that ends at {b}, before it starts
    tx-checksum-offset   | error   | 3.3.3   | descriptor {a} inserts a checksum at or from byte {b}, behind the packet's end
    tx-no-context        | error   | 3.3.7   | descriptor {a} asks for segmentation, and no context descriptor for it was given
    tx-no-mss            | error   | 3.3.6   | descriptor {a} asks for segmentation, and the context's MSS is {b}
    tx-header            | error   | 3.3.6   | the packet up to descriptor {a} is shorter than its header of {b} bytes, or has none
    tx-payload           | warning | 3.3.6   | the packet up to descriptor {a} has {b} bytes, not HDRLEN + PAYLEN
""")

BY_ID = {rule.id: rule for rule in RULES}


@dataclass(frozen=True, slots=True)
class Breach:
    """One access against the rules. `time` is ns on the card's clock."""

    rule: Rule
    offset: int
    value: int
    write: bool
    time: int
    text: str

    @property
    def register(self) -> str:
        return name_of(self.offset)

    @property
    def section(self) -> str:
        """Where the manual says so."""
        return section_of(self.offset) if self.rule.section == "-" else self.rule.section

    def __str__(self) -> str:
        how = f"{'written' if self.write else 'read'} at {self.time / 1e9:.6f} s"
        by = "" if self.text.startswith(self.register) else f"{self.register}={self.value:#x} "
        return f"{self.rule.severity}: {self.text} (8254x SDM §{self.section}), {by}{how} [{self.rule.id}]"


class Breaches(Sequence[Breach]):
    """What strict mode found, oldest first: 1000 at most; `counts` has all, by rule. `tell` is called with each."""

    def __init__(self, tell: Callable[[Breach], object] | None = None) -> None:
        self.tell = tell
        self.counts: dict[str, int] = {}
        self._kept: list[Breach] = []

    def add(self, number: int, write: bool, offset: int, value: int, a: int, b: int, time: int) -> None:
        """Used by the card."""
        rule = RULES[number]
        text = rule.text.format(name=name_of(offset), value=value, a=a, b=b)
        breach = Breach(rule, offset, value, write, time, text)
        seen = self.counts.get(rule.id, 0)
        self.counts[rule.id] = seen + 1
        if len(self._kept) < KEPT:
            self._kept.append(breach)
        if seen < LOGGED:
            _log.warning("%s%s", breach, "; more of these are only counted" if seen == LOGGED - 1 else "")
        if self.tell is not None:
            self.tell(breach)

    def clear(self) -> None:
        """Forget all."""
        self.counts.clear()
        self._kept.clear()

    @overload
    def __getitem__(self, index: int) -> Breach: ...
    @overload
    def __getitem__(self, index: slice) -> list[Breach]: ...
    def __getitem__(self, index: int | slice) -> Breach | list[Breach]:
        return self._kept[index]

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Breach]:
        return iter(list(self._kept))

    def __str__(self) -> str:
        more = sum(self.counts.values()) - len(self._kept)
        return "\n".join([*map(str, self._kept), *([f"and {more:,} more"] if more else [])])
