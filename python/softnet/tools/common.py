"""What the tools share: their options, the C library's words for an errno, and JSON as iproute2 and ethtool lay it out."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from typing import Any

from softnet.cli_parser import Help, Parser
from softnet.control import ControlClient

Task = Callable[[ControlClient], int]  # what a command line asks for; returns the exit status


class ToolError(Exception):
    """Ends a command: `lines` on standard error, and the exit status."""

    def __init__(self, status: int, *lines: str) -> None:
        super().__init__(*lines)
        self.status = status
        self.lines = lines


def new_parser(name: str, usage: str, description: str, epilog: str) -> Parser:
    """A parser of options, which may stand anywhere, and words."""
    parser = Parser(prog=f"fastring {name}", usage=usage, description=description, epilog=epilog, formatter_class=Help)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    which = parser.add_argument_group("which running card, if there are several")
    which.add_argument("--pid", type=int, metavar="PID", help="the one of this process")
    which.add_argument("--socket", metavar="PATH", help="the one that is served on this socket")
    return parser


def words_for(error: OSError) -> str:
    """strerror."""
    return os.strerror(error.errno or 0)


def pretty(value: list[Any]) -> str:
    """JSON as json_writer.c lays it out."""
    return _pretty(value, 0) + "\n"


def _pretty(value: Any, depth: int) -> str:
    pad = " " * 4 * (depth + 1)
    if isinstance(value, dict):
        inside = ",\n".join(f"{pad}{json.dumps(key)}: {_pretty(item, depth + 1)}" for key, item in value.items())
        return f"{{\n{inside}\n{pad[4:]}}}" if value else "{ }"
    if isinstance(value, list):
        inside = ",".join(_pretty(item, depth + 1) for item in value)
        return f"[ {inside} ]" if value else "[ ]"
    return json.dumps(value)
