"""Checker: looks at Stacks from outside and writes down which of the kernel's rules a driver breaks."""

from __future__ import annotations

import errno
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar
from weakref import WeakSet

from softnet.checks import probes
from softnet.checks.group import RuleGroup
from softnet.checks.rules import RULES, Rule
from softnet.checks.where import driver_line
from softnet.netdev import NetDevice
from softnet.stack import Stack

KEEP = 20  # findings of each rule that are kept; the others are counted

G = TypeVar("G", bound=RuleGroup)
Mode = Literal["collect", "raise"]


@dataclass(frozen=True)
class Finding:
    """One breach of a rule: `device` by name, the `operation` it happened in, what happened with its figures, and where in the driver."""

    rule: Rule
    device: str
    operation: str
    detail: str
    where: str = ""  # file:line, or "" where it cannot be had

    def __str__(self) -> str:
        rule = self.rule
        place = f" ({self.where})" if self.where else ""
        return f"{rule}: {self.device}: {self.operation}{place}: {self.detail}. Instead: {rule.instead}. [{rule.document}: {rule.topic}]"


class RuleBroken(AssertionError):
    """What a Checker in mode "raise" raises where the rule is broken. `finding` says which."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


class Checker:
    """`with Checker() as checker:` and `checker.watch(stack)`, or `checks.enable(stack)`, before the stack has devices.

    `mode`: "collect" findings, or "raise" a RuleBroken at the first. `findings` keeps at most `keep` of each rule, `counts` has them all.
    Any thread.
    """

    def __init__(self, *, mode: Mode = "collect", keep: int = KEEP) -> None:
        if mode not in ("collect", "raise"):
            raise ValueError(f'mode is "collect" or "raise", not {mode!r}')
        self.mode = mode
        self.keep = keep
        self.findings: list[Finding] = []
        self.counts: Counter[int] = Counter()  # by rule number
        self.active = True
        self.stacks: WeakSet[Stack] = WeakSet()
        self._lock = threading.RLock()
        self.groups = [group(self) for group in RuleGroup.all]
        self._hooks: dict[str, list[Callable[..., None]]] = {}
        for hook in vars(RuleGroup):
            if not hook.startswith("_"):
                self._hooks[hook] = [getattr(g, hook) for g in self.groups if getattr(type(g), hook) is not getattr(RuleGroup, hook)]
        probes.install(self)

    # --- what it looks at ---

    def watch(self, stack: Stack) -> None:
        """Look at this stack's devices, instead of the checker it had. Raises OSError EBUSY if it has a device already."""
        if stack.devices:
            raise OSError(errno.EBUSY, f"{stack!r}: checks are enabled before a stack has devices")
        if stack.checker is not None:
            stack.checker.stacks.discard(stack)
        stack.checker = self
        self.stacks.add(stack)
        self.tell("stack_watched", stack)

    def tell(self, hook: str, *args: Any) -> None:
        """Call a hook of every rule group that has it."""
        for call in self._hooks[hook]:
            call(*args)

    def group(self, kind: type[G]) -> G:
        """Its rule group of this class."""
        return next(group for group in self.groups if isinstance(group, kind))

    # --- what it found ---

    def report(self, number: int, device: NetDevice | str, operation: str, detail: str, where: str | None = None) -> None:
        """Rule `number` was broken; `where`, unless given, is the driver's line on this stack. Raises RuleBroken in mode "raise"."""
        name = device if isinstance(device, str) else device.name
        with self._lock:
            self.counts[number] += 1
            kept = self.counts[number] <= self.keep
            if not kept and self.mode == "collect":
                return
            finding = Finding(RULES[number], name, operation, detail, driver_line() if where is None else where)
            if kept:
                self.findings.append(finding)
        if self.mode == "raise":
            raise RuleBroken(finding)

    def summary(self) -> str:
        """The findings, a line for each, and how many more there were; "" if there was none."""
        lines = [str(finding) for finding in sorted(self.findings, key=lambda finding: finding.rule.number)]
        lines += [f"{RULES[number]}: {count - self.keep} more" for number, count in sorted(self.counts.items()) if count > self.keep]
        return "\n".join(lines)

    # --- its end ---

    def close(self) -> None:
        """Have a last look, and look no more; again is harmless."""
        if not self.active:
            return
        try:
            self.tell("finished")
        finally:
            self.active = False
            for stack in self.stacks:
                stack.checker = None
            self.stacks.clear()
            probes.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Checker: {sum(self.counts.values())} findings in {len(self.stacks)} stacks>"
