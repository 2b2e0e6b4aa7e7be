"""Dump: all registers of a card, for programs a dict, for people a table."""

from __future__ import annotations

from e1000.fields import decode
from e1000.regmap import Access, expand

STATISTICS = (Access.STAT, Access.STAT64_LOW, Access.STAT64_HIGH)


class Dump(dict[str, int]):
    """Every register by name. As text a table with bits by name; equal neighbours of an array share a line, statistics of 0 are counted."""

    def __str__(self) -> str:
        rows: list[tuple[int, str, str, int]] = []  # offset, name, last index of an array's part, value
        zeros = 0
        for offset, (name, register) in sorted(expand().items()):
            value = self.get(name)
            if value is None:
                continue
            if register.access in STATISTICS and value == 0:
                zeros += 1
                continue
            stem, _, index = name.rstrip("]").partition("[")
            if index and rows and rows[-1][1].partition("[")[0] == stem and rows[-1][3] == value:
                rows[-1] = (*rows[-1][:2], index, value)
            else:
                rows.append((offset, name, "", value))
        lines = [f"{offset:05x}  {_range(name, last):<13} {value:08x}  {decode(name, value)}" for offset, name, last, value in rows]
        lines = [line.rstrip() for line in lines]
        return "\n".join([*lines, f"{zeros} statistics are 0"] if zeros else lines)


def _range(name: str, last: str) -> str:
    return f"{name.rstrip(']')}..{last}]" if last else name
