"""How `fastring` reads a command line: argparse, with bad usage told in one line, and help in one column."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import Any, NoReturn

from fastring.capture_error import printable

BAD = 2  # exit status: bad usage or bad input
MOST = (1 << 63) - 1  # a count on the command line


class Parser(argparse.ArgumentParser):
    """argparse, with bad usage told in one line and options spelled in full."""

    bad_usage = BAD

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(self.bad_usage, f"{self.prog}: {printable(message)}; see `{self.prog} --help`\n")


class Once(argparse.Action):
    """An option that is given once, or not at all: with argparse's own the last one wins, and the others are lost without a word."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        if getattr(namespace, self.dest) is not self.default:
            parser.error(f"argument {option}: it is given once")
        setattr(namespace, self.dest, values)


class Help(argparse.RawDescriptionHelpFormatter):
    """Help with the options' texts in one column, wide enough that few of them wrap."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=120)


def count(text: str) -> int:
    """A whole number of 0 or more."""
    shown = repr(text if len(text) <= 20 else text[:19] + "…")
    if text.isdecimal() and (len(text) > 4000 or int(text) > MOST):  # int() refuses more digits than that
        raise argparse.ArgumentTypeError(f"{shown} is too much: it is a whole number of 0 to {MOST}")
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= MOST:
        raise argparse.ArgumentTypeError(f"{shown} is not a whole number of 0 or more")
    return value


def names(text: str) -> list[str]:
    """What is between commas or spaces."""
    return text.replace(",", " ").split()


def seconds(text: str) -> float:
    """A time above 0."""
    with suppress(ValueError):
        value = float(text)
        if 0 < value <= 1e6:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0, to 1e6 at most")
