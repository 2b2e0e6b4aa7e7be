"""How `fastring` reads a command line: argparse, with bad usage told in one line, and help in one column."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from fastring.capture_error import printable

BAD = 2  # exit status: bad usage or bad input


class Parser(argparse.ArgumentParser):
    """argparse, with bad usage told in one line and options spelled in full."""

    bad_usage = BAD

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but what a command does not take is told by that command."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.prog = parsed.prog
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed

    def error(self, message: str) -> NoReturn:
        self.exit(self.bad_usage, f"{self.prog}: {printable(message)}; see `{self.prog} --help`\n")


class Help(argparse.RawDescriptionHelpFormatter):
    """Help with the options' texts in one column, wide enough that few of them wrap."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=120)
