"""`fastring cat`: files of a running card, by the paths they have in Linux."""

from __future__ import annotations

import argparse

from softnet.cli_parser import Parser
from softnet.control import ControlClient
from softnet.control.client import ControlError
from softnet.tools.common import Task, ToolError, new_parser, words_for

USAGE = "fastring cat PATH... [--write VALUE]"
EPILOG = """for instance:
  fastring cat /proc/net/dev
  fastring cat /sys/class/net/eth0/statistics/rx_packets
  fastring cat /sys/class/net/eth0/mtu --write 9000

exit status: 0, 1 if a file could not be read or written"""


def parser() -> Parser:
    """Its command line."""
    parser = new_parser(
        "cat", USAGE, "Print files of a running card's /sys/class/net and /proc/net/dev; of a directory, what is in it.", EPILOG
    )
    parser.add_argument("--write", metavar="VALUE", help="write this to the file instead, as `echo VALUE > PATH` would")
    return parser


def read(arguments: argparse.Namespace) -> Task:
    """What a command line asks for. Raises ToolError."""
    if not arguments.words:
        raise ToolError(2, f"fastring cat: which file? Usage: {USAGE}")
    return lambda client: _cat(client, arguments.words, arguments.write)


def _cat(client: ControlClient, paths: list[str], value: str | None) -> int:
    problems = []
    for path in paths:
        try:
            if value is not None:
                client.call("file.write", path=path, text=f"{value}\n")
            else:
                held = client.call("file.read", path=path)
                print(held if isinstance(held, str) else "".join(f"{name}\n" for name in held), end="")
        except ControlError as error:
            problems.append(f"fastring cat: {path}: {words_for(error)}")
    if problems:
        raise ToolError(1, *problems)
    return 0
