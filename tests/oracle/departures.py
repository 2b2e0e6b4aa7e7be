"""Where QEMU is known to depart from the manual, and what is left of a comparison when that is taken away."""

import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

FILE = Path(__file__).with_name("departures.toml")
FIELDS = {"steps", "qemu", "manual", "section", "mask", "reads", "expect"}


@dataclass
class Departure:
    """One way in which QEMU is not what the manual says. See README.md for the fields."""

    steps: list[str]
    qemu: str
    manual: str
    section: str
    mask: int | None = None
    reads: int | bool | str | None = None
    expect: int | bool | str | None = None
    used: set[str] = field(default_factory=set)

    def allows(self, name, ours, theirs):
        """The bits in which the two may differ at this step (-1: all), 0 if this departure is none of it. Notes its use."""
        found = [pattern for pattern in self.steps if fnmatchcase(name, pattern)]
        wrong = (self.reads is not None and plain(theirs) != self.reads) or (self.expect is not None and plain(ours) != self.expect)
        if not found or wrong:
            return 0
        if self.mask is not None and not (isinstance(ours, int) and isinstance(theirs, int) and (ours ^ theirs) & self.mask):
            return 0
        self.used.update(found)
        return -1 if self.mask is None else self.mask


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
    """Every difference between two records of a scenario's steps that no departure explains, one line each."""
    out = []
    for i in range(max(len(ours), len(theirs))):
        label, mine = ours[i] if i < len(ours) else (theirs[i][0], "nothing")
        other_label, other = theirs[i] if i < len(theirs) else (label, "nothing")
        if label != other_label:
            out.append(f"{scenario}: {label}: here the card went on, and QEMU with {other_label}")
            break
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
