"""`python -m softnet.checks FILE`: write the table of rules into a document, between its marks."""

from __future__ import annotations

import sys
from pathlib import Path

from softnet.checks.rules import RULES

BEGIN, END = "<!-- rules: begin -->\n", "<!-- rules: end -->\n"


def table() -> str:
    """The rules in Markdown."""
    lines = ["| | rule | operation | broken by | instead | document: topic |", "|---|---|---|---|---|---|"]
    for rule in RULES.values():
        lines.append(
            f"| {rule.number} | {rule.name} | `{rule.operation}` | {rule.wrong} | {rule.instead} | {rule.document}: {rule.topic} |"
        )
    return "\n".join(lines) + "\n"


def with_table(document: str) -> str:
    """The document with the table as it is now. Raises ValueError if it has no marks for it."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no lines {BEGIN!r} and {END!r} for the table to stand between")
    return before + begin + table() + end + after


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m softnet.checks FILE")
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text()))
