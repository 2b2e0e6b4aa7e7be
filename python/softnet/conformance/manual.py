"""What the card, in strict mode, found of the driver under test against its manual."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from e1000.strict import Breach
from softnet.conformance.places import driver_frame

LOOKED_UP = 20  # breaches of a rule whose place in the driver is looked for; the others are but counted
DOCUMENT = "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual"


@dataclass(frozen=True)
class Access:
    """A breach, and where the driver did it: file:line, "" if in no Python code, and function."""

    breach: Breach
    where: str
    function: str

    @property
    def rule(self) -> str:
        return f"strict {self.breach.rule.id}"

    @property
    def topic(self) -> str:
        return f"section {self.breach.section}"

    @property
    def operation(self) -> str:
        """In what function which register was accessed."""
        access = f"{'write' if self.breach.write else 'read'} of {self.breach.register}"
        return f"{self.function}, {access}" if self.function else access

    @property
    def detail(self) -> str:
        return f"{self.breach.rule.severity}: {self.breach.text}"


class Manual:
    """`E1000Device(strict=manual)`: the accesses against its rules, one for each rule and place; `counts` has all, by rule."""

    def __init__(self) -> None:
        self.accesses: list[Access] = []
        self.counts: dict[str, int] = {}
        self._seen: set[tuple[str, str]] = set()

    def __call__(self, breach: Breach) -> None:
        """The card tells of one, in the access itself."""
        rule = f"strict {breach.rule.id}"
        self.counts[rule] = self.counts.get(rule, 0) + 1
        if self.counts[rule] > LOOKED_UP:
            return
        # without this call, and e1000.strict's
        where, function = driver_frame(traceback.extract_stack()[:-2]) or ("", "")
        if (rule, where) not in self._seen:
            self._seen.add((rule, where))
            self.accesses.append(Access(breach, where, function))
