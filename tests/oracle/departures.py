"""Where QEMU is known to depart from the manual, and what is left of a comparison when that is taken away."""

import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

FILE = Path(__file__).with_name("departures.toml")
NOTHING = "nothing"                     # one card has no such step
FIELDS = {"steps", "qemu", "manual", "section", "mask", "bytes", "reads", "expect"}


@dataclass
class Departure:
    """One way in which QEMU is not what the manual says. See README.md for the fields."""

    steps: list[str]
    qemu: str
    manual: str
    section: str
    mask: int | None = None
    bytes: tuple[int, int] | None = None
    reads: int | bool | str | None = None
    expect: int | bool | str | None = None
    used: set[str] = field(default_factory=set)

    def allows(self, name, ours, theirs):
        """The bits in which the two may differ at this step (-1: all), 0 if this departure is none of it. Notes its use."""
        found = [pattern for pattern in self.steps if fnmatchcase(name, pattern)]
        if not found or not self.is_met(ours, theirs):
            return 0
        self.used.update(found)
        return -1 if self.mask is None else self.mask

    def is_met(self, ours, theirs):
        """Whether what the two show is what this departure says."""
        for value, shown in ((self.reads, theirs), (self.expect, ours)):
            if value is not None and plain(shown) != value:
                return False
        if self.mask is not None:
            return isinstance(ours, int) and isinstance(theirs, int) and (ours ^ theirs) & self.mask != 0
        if self.bytes is not None:
            begin, end = self.bytes
            return type(ours) is type(theirs) and cut(ours, begin, end) == cut(theirs, begin, end)
        return True


def cut(content, begin, end):
    return content[:begin], content[end:]


def plain(value):
    """A step's value as the file writes it: bytes in hexadecimal."""
    return value.hex() if isinstance(value, bytes) else value


def load():
    """All departures of the file. Raises ValueError for one that lacks something."""
    out = []
    for entry in tomllib.loads(FILE.read_text())["departure"]:
        if unknown := set(entry) - FIELDS:
            raise ValueError(f"departure {entry.get('steps')}: unknown {', '.join(sorted(unknown))}")
        for needed in ("steps", "qemu", "manual", "section"):
            if not entry.get(needed):
                raise ValueError(f"departure {entry.get('steps')}: no {needed}")
        out.append(Departure(**entry))
    return out


def compare(scenario, ours, theirs, departures):
    """Every difference between two records of a scenario's steps that no departure explains, one line each.

    Steps are matched by label: where one card shows a frame more, the other has nothing at that step.
    """
    ours, theirs = dict(ours), dict(theirs)
    out = []
    for label in ours | theirs:
        mine, other = ours.get(label, NOTHING), theirs.get(label, NOTHING)
        if mine == other:
            continue
        allowed = 0
        for departure in departures:
            allowed |= departure.allows(f"{scenario}: {label}", mine, other)
        differs = (mine ^ other) & ~allowed if isinstance(mine, int) and isinstance(other, int) else not allowed
        if differs:
            out.append(f"{scenario}: {label}: ours {show(mine)}, QEMU {show(other)}" + (f", differ in {differs:#x}" if allowed else ""))
    return out


def show(value):
    if isinstance(value, bool) or not isinstance(value, int | bytes):
        return str(value)
    if isinstance(value, int):
        return f"{value:#x}"
    return f"{len(value)} bytes {value[:80].hex()}{'...' if len(value) > 80 else ''}"
