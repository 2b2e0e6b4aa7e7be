"""`fastring tc qdisc`: the queueing disciplines of a running card (iproute2's tc/tc_qdisc.c)."""

from __future__ import annotations

import argparse

from softnet.cli_parser import Parser
from softnet.control import ControlClient
from softnet.control.client import ControlError
from softnet.tools.common import Task, ToolError, new_parser

USAGE = "fastring tc [-s] qdisc [show [dev DEV]]"
SYNTAX, USAGE_STATUS = 1, 255


def parser() -> Parser:
    """Its command line."""
    parser = new_parser("tc", USAGE, "Show the queueing disciplines of a running card, with tc's words.", "exit status: tc's")
    parser.bad_usage = USAGE_STATUS
    parser.add_argument("-s", "-stats", "-statistics", action="store_true", dest="stats", help="show statistics, too")
    return parser


def read(arguments: argparse.Namespace) -> Task:
    """What a command line asks for. Raises ToolError."""
    words = list(arguments.words)
    if not words or words in (["help"], ["qdisc", "help"]):
        raise ToolError(USAGE_STATUS, f"Usage: {USAGE}", "See `fastring tc --help`.")
    if not "qdisc".startswith(words[0]):
        raise ToolError(USAGE_STATUS, f'Object "{words[0]}" is unknown, try "tc help".')
    command = words[1] if len(words) > 1 else "show"
    if not any(whole.startswith(command) for whole in ("show", "list", "lst")):
        raise ToolError(USAGE_STATUS, f'Command "{command}" is unknown, try "tc qdisc help".')
    rest = words[2:]
    if rest and rest[0] != "dev":
        raise ToolError(USAGE_STATUS, f'What is "{rest[0]}"? Try "tc qdisc help".')
    if len(rest) == 1:
        raise ToolError(USAGE_STATUS, 'Command line is not complete. Try option "help"')
    if len(rest) > 2:
        raise ToolError(USAGE_STATUS, f'What is "{rest[2]}"? Try "tc qdisc help".')
    dev = rest[1] if rest else None
    return lambda client: _show(client, dev, arguments.stats)


def _show(client: ControlClient, dev: str | None, stats: bool) -> int:
    try:
        print(client.call("qdisc.show", dev=dev, statistics=stats), end="")
    except ControlError:
        raise ToolError(SYNTAX, f'Cannot find device "{dev}"') from None
    return 0
