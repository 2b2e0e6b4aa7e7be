"""`fastring diff`."""

from __future__ import annotations

import argparse

from fastring.capture_error import printable
from softnet.cli_parser import Help, Parser
from softnet.commands.common import LOST, OK
from softnet.diff import diff


def parser() -> Parser:
    """The command line."""
    diff = Parser(
        prog="fastring diff",
        usage="fastring diff A B [options]",
        description="Compare the frames of two captures, in order, byte for byte, and tell the first difference.\n"
        "File formats and file headers do not matter.",
        epilog="exit status:\n  0    they are the same\n  1    they differ\n  2    bad usage or bad input",
        formatter_class=Help,
    )
    diff.add_argument("first", metavar="A", help="pcap or pcapng file, also gzipped; - is standard input")
    diff.add_argument("second", metavar="B", help="the one to compare it with")
    diff.add_argument("--times", action="store_true", help="compare time stamps, too, to the nanosecond")
    diff.add_argument("--padding", action="store_true", help="take a frame padded with zeroes to 60 bytes for the same")
    return diff


def run(arguments: argparse.Namespace) -> tuple[int, str]:
    """Do it; returns the exit status and what to print."""
    difference = diff(arguments.first, arguments.second, times=arguments.times, padding=arguments.padding)
    return OK if difference.same else LOST, printable(difference.text)
