"""`fastring check`: its command line; softnet.conformance.command does the rest."""

from __future__ import annotations

import argparse
import ast
from contextlib import suppress

from softnet.cli_parser import Help, Parser, count, names, seconds


def _option(text: str) -> tuple[str, object]:
    """A Python literal, or else a string."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    with suppress(ValueError, SyntaxError):
        return name, ast.literal_eval(value)
    return name, value


def _scenarios(text: str) -> list[str]:
    if not names(text):
        raise argparse.ArgumentTypeError(f"{text!r} names no scenario")
    return names(text)


def parser() -> Parser:
    """The command line."""
    check = Parser(
        prog="fastring check",
        usage="fastring check MODULE:DRIVER [options]",
        description="Run a driver on an 82540EM through what a kernel does to a driver, with the kernel's rules checked meanwhile.\n"
        "DRIVER is probe(bus, stack), or a class with probe and remove; MODULE is a module or a .py file. To write one:\n"
        "docs/writing-a-driver.md. Each scenario runs in a process of its own, on a virtual clock.",
        epilog="exit status:\n  0    nothing found\n  1    something is wrong with the driver\n"
        "  2    bad usage, or no such driver, or it cannot be imported\n  130  interrupted (Ctrl-C); the report so far is printed",
        formatter_class=Help,
    )
    check.add_argument("driver", nargs="?", metavar="MODULE:DRIVER", help="such as e1000.driver:probe or my_driver.py:Driver")
    check.add_argument("--list", action="store_true", help="list the scenarios and exit")
    check.add_argument("--only", type=_scenarios, metavar="LIST", help="these scenarios alone: --only full-ring,hang")
    check.add_argument("--packets", type=count, default=1_000_000, metavar="N", help="packets each way in `traffic` (default: 1 million)")
    check.add_argument("--timeout", type=seconds, default=60.0, metavar="SECONDS", help="time for each scenario (default: 60)")
    check.add_argument(
        "--option", type=_option, action="append", default=[], metavar="NAME=VALUE", help="give probe this: --option rs_every=1"
    )
    check.add_argument("--json", action="store_true", help="print the report as one JSON object")
    check.add_argument("--junit", metavar="FILE", help="write the report to FILE, too, for a CI system")
    return check


def run(arguments: argparse.Namespace) -> tuple[int, str]:
    """Do it; returns the exit status and what to print."""
    from softnet.conformance.command import check

    return check(arguments)
