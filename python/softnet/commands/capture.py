"""`fastring capture`."""

from __future__ import annotations

import argparse
import json
import sys

from softnet.cli_parser import Help, Parser, count, seconds
from softnet.commands.common import LOST, OK, beside, complain, is_stdout
from softnet.commands.observing import add_observation_options, observation_of, screen_of
from softnet.wire import wires_help

PROG = "fastring capture"


def _some(text: str) -> int:
    """A whole number of 1 or more."""
    value = count(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return value


def _limit(text: str) -> int:
    """Of files: what fits into 63 bits in bytes or nanoseconds."""
    value = _some(text)
    if value > 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is too much: it is 1 to 1000000000")
    return value


def parser() -> Parser:
    """The command line."""
    capture = Parser(
        prog=PROG,
        usage=f"{PROG} -i SPEC -w FILE [options] [EXPRESSION]",
        description="Write what arrives on a wire to a capture, until Ctrl-C: the options are tcpdump's and dumpcap's.",
        epilog=f"wires:\n{wires_help(outside=True)}\n\n"
        "exit status:\n"
        "  0    what arrived was captured; Ctrl-C is how it ends\n"
        "  1    packets were dropped, or the wire or a file failed: it is told which\n"
        "  2    bad usage, or nothing could be captured",
        formatter_class=Help,
    )
    capture.add_argument("expression", nargs="*", metavar="EXPRESSION", help="capture what this matches, as tcpdump's: port 53 and udp")
    capture.add_argument(
        "-i", "--interface", "--wire", dest="wire", required=True, metavar="SPEC", help="the wire, see below; or an interface's name"
    )
    capture.add_argument(
        "-w", "--write", dest="file", required=True, metavar="FILE", help="pcapng if it ends so, else pcap; - is standard output"
    )
    capture.add_argument(
        "-s", "--snaplen", "--snapshot-length", type=count, default=0, metavar="N", help="bytes kept of a packet (default, and 0: 262144)"
    )
    capture.add_argument("-c", "--count", type=_some, metavar="N", help="stop after N packets")
    capture.add_argument("--duration", type=seconds, metavar="SECONDS", help="stop after so long")
    capture.add_argument("-f", "--filter", metavar="EXPRESSION", help="the same as the EXPRESSION at the end")
    capture.add_argument("-C", "--file-size", type=_limit, metavar="MB", help="begin the next file, FILE1 and so on, after so much")
    capture.add_argument(
        "-G",
        "--rotate-seconds",
        type=_limit,
        metavar="SECONDS",
        help="begin the next file after so long; FILE may have strftime's %% in it",
    )
    capture.add_argument("-W", "--files", type=_some, metavar="N", help="with -C: N files in a ring; with -G alone: stop after N files")
    capture.add_argument("--format", choices=("pcap", "pcapng"), help="whatever the file's name says")
    capture.add_argument("--json", action="store_true", help="print the result as one JSON object")
    add_observation_options(capture)
    return capture


def run(arguments: argparse.Namespace) -> tuple[int, str]:
    """Do it; returns the exit status and what to print."""
    from softnet.capturing import MEGABYTE, Capturing
    from softnet.report_capture import capture_text

    expressions = [text for text in (arguments.filter, " ".join(arguments.expression)) if text]
    if len(expressions) == 2:
        raise ValueError("an expression is given by --filter or at the end, not both")
    captures = is_stdout(arguments.file)
    with observation_of(arguments) as observation:
        capturing = Capturing(
            arguments.wire,
            arguments.file,
            snaplen=arguments.snaplen,
            count=arguments.count,
            duration=arguments.duration,
            filter=expressions[0] if expressions else None,
            file_size=arguments.file_size and arguments.file_size * MEGABYTE,
            file_seconds=arguments.rotate_seconds,
            files=arguments.files,
            format=arguments.format,
            observation=observation,
        )
        print(f"{PROG}: capturing on {arguments.wire}", file=sys.stderr)
        if not captures:  # else whoever reads that writes there
            observation.screen = screen_of(arguments, "capturing", "packets", arguments.count)
        result = capturing.run()
        result.problem = result.problem or observation.problem()
        observation.report(f"{PROG} {arguments.wire}", result.as_dict(), capturing.histograms())
    if result.problem is not None:
        complain(PROG, result.problem)
    text = json.dumps(result.as_dict()) if arguments.json else capture_text(result)
    text = beside(text, captures)
    return LOST if result.problem is not None or result.drops else OK, text
