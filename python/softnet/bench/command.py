"""What `fastring bench` does: ask, show and advise."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from io import StringIO
from typing import Any

from softnet.bench.advice import advise, sentences
from softnet.bench.machine import describe
from softnet.bench.partner import PartnerError
from softnet.bench.rings import cpus
from softnet.bench.series import Comparison
from softnet.bench.suite import SCALED_FROM, Interrupts, Suite
from softnet.commands.common import INTERRUPTED, OK, complain

PROG = "fastring bench"
ONE_CPU = "one CPU may be used here: two sides at once are not measured"


def bench(seconds: float, *, as_json: bool = False) -> tuple[int, str]:
    """Measure for about so long; returns the exit status and what to print. Raises OSError for what cannot be measured."""
    may_use, interrupts = cpus(), Interrupts()
    if len(may_use) == 1:
        complain(PROG, ONE_CPU)
    with interrupts.kept(), Suite(may_use, scale=min(1.0, max(0.02, seconds / SCALED_FROM))) as suite:
        found = _measure(suite, seconds, interrupts)
        told = _Result(found, suite.noise.reasons(), suite.noise.verdict(), interrupts.came, len(may_use))
    if interrupts.came:
        complain(PROG, f"interrupted: {len(found)} of the questions were answered" if found else "interrupted")
    return INTERRUPTED if interrupts.came else OK, told.json() if as_json else told.text() if found else ""


def _measure(suite: Suite, seconds: float, interrupts: Interrupts) -> dict[str, Comparison]:
    """All questions, by their keys, each with its share of the time that is left; those until it is interrupted."""
    found: dict[str, Comparison] = {}
    asked, end = suite.questions(), time.monotonic() + seconds
    try:
        for number, one in enumerate(asked):
            _show(f"{number + 1} of {len(asked)}: {one.title}")
            share = max(0.0, end - time.monotonic()) / (len(asked) - number)
            found[one.key] = suite.answer(one, seconds=share, check=interrupts.check)
    except KeyboardInterrupt:
        interrupts.came = True
    except (PartnerError, RuntimeError) as error:
        raise OSError(str(error)) from error
    finally:
        _show("")
    return found


def _show(line: str) -> None:
    """What is being measured, on one line of a terminal that is written over."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


class _Result:
    """All there is to tell. `found`: by key."""

    def __init__(self, found: Mapping[str, Comparison], reasons: list[str], verdict: str, interrupted: bool, may_use: int) -> None:
        self.found, self.reasons, self.verdict, self.interrupted = found, reasons, verdict, interrupted
        self.machine, self.may_use = describe(), may_use
        self.advice = advise(found, cpus=may_use)

    def text(self) -> str:
        lines = [f"{name + ':':<27}{what}" for name, what in self.machine.items()]
        for one in self.found.values():
            lines += ["", _table(one)]
        lines += ["", self.verdict, "", "Recommended on this machine:"]
        lines += [f"  {line}" for line in sentences(self.advice, noisy=bool(self.reasons))]
        return "\n".join(lines)

    def json(self) -> str:
        questions = {key: _numbers(one) for key, one in self.found.items()}
        advice = [{"about": one.about, "choose": one.choose, "text": one.text} for one in self.advice]
        return json.dumps({
            "machine": self.machine, "cpus": self.may_use, "noise": self.reasons, "interrupted": self.interrupted,
            "questions": questions, "recommendation": advice,
        })


def _numbers(found: Comparison) -> dict[str, Any]:
    rival = found.rivals()[0]
    series = [
        {"name": one.name, "median": one.median, "least": one.least, "most": one.most, "ratio": found.ratio(one, rival)}
        | dict(zip(("p99", "p99_9"), one.tails(), strict=False))
        for one in found.series
    ]
    return {"title": found.title, "unit": found.unit, "rounds": found.rounds, "against": rival.name, "series": series}


def _table(found: Comparison) -> str:
    """As text, or on a terminal by rich, which is an extra."""
    if sys.stdout.isatty():
        with suppress(ImportError):
            return _rich_table(found)
    return str(found)


def _rich_table(found: Comparison) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text  # as it is: a title may look like markup

    console = Console(file=StringIO(), force_terminal=True)
    heads, rows = found.table()
    table = Table(title=Text(f"{found.title}, {found.rounds} rounds"), title_justify="left")
    for number, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if number else "left")
    for number, row in enumerate(rows):
        table.add_row(*map(Text, row), style="bold" if number == 0 else "")
    with console.capture() as said:
        console.print(table)
    return said.get().rstrip("\n")
