"""`fastring rfc2544`."""

from __future__ import annotations

import argparse
import json
import sys

from softnet.cli_parser import BAD, Help, Parser, count
from softnet.commands.common import LOST, OK, complain, udp_template

PROG = "fastring rfc2544"
SOURCE, DESTINATION = "198.18.0.1:1024", "198.19.0.1:7"  # RFC 2544 §C.2.2, the echo port


def _sizes(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isdecimal() and len(word) < 6 for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of sizes such as 64,1518")
    return [int(word) for word in words]


def parser() -> Parser:
    """The command line."""
    command = Parser(
        prog=PROG,
        usage="fastring rfc2544 [options]",
        description="Search for the highest rate at which no frame is lost, for each frame size, and measure latency at that rate.",
        epilog="exit status:\n"
        "  0    for each size there is a rate at which nothing is lost\n"
        "  1    there is none for some\n"
        "  2    bad usage or bad input\n"
        "  130  interrupted (Ctrl-C)",
        formatter_class=Help,
    )
    command.add_argument("--sizes", type=_sizes, metavar="LIST", help="with CRC (default: 64,128,256,512,1024,1280,1518)")
    command.add_argument("--duration", type=float, default=60.0, metavar="SECONDS", help="of a trial (default: 60, the RFC's least)")
    command.add_argument("--latency-duration", type=float, metavar="SECONDS", help="of the run that measures latency (default: a trial's)")
    command.add_argument(
        "--line-rate", default="1gbps", metavar="RATE", help="where the search begins, preambles included (default: 1gbps)"
    )
    command.add_argument("--resolution", type=float, default=0.5, metavar="PERCENT", help="of it, where the search ends (default: 0.5)")
    command.add_argument("--udp", default=f"{SOURCE},{DESTINATION}", metavar="SRC,DST", help="ADDRESS:PORT each (default: %(default)s)")
    command.add_argument("--wire", default="pair", metavar="SPEC", help="what the card is plugged into (default: %(default)s)")
    command.add_argument("--receive", metavar="SPEC", help="receive from this wire, not at the other end; 'same': by the card that sends")
    command.add_argument("--clock", choices=("real", "virtual"), default="real", help="virtual: the same result each time")
    command.add_argument("--seed", type=count, default=0, metavar="N", help="what is drawn follows from it")
    command.add_argument("--json", action="store_true", help="print the reports as one JSON list")
    return command


def run(arguments: argparse.Namespace) -> tuple[int, str]:
    """Do it; returns the exit status and what to print."""
    from softnet.rfc2544 import SIZES, Rfc2544, SizeReport, rfc2544_text
    from softnet.streams import StreamError

    try:
        search = Rfc2544(
            udp_template(arguments.udp),
            sizes=arguments.sizes or SIZES,
            line_rate=arguments.line_rate,
            resolution=arguments.resolution / 100,
            duration=arguments.duration,
            latency_duration=arguments.latency_duration,
            wire=arguments.wire,
            receive_wire="" if arguments.receive == "same" else arguments.receive,
            clock=arguments.clock,
            seed=arguments.seed,
        )
    except StreamError as error:
        for mistake in error.mistakes:
            complain(PROG, mistake)
        return BAD, ""

    def show(report: SizeReport) -> None:
        trial = report.trials[-1]
        verdict = "passed" if trial.passed else "not sent in time" if not trial.sustained else f"{trial.lost:,} lost"
        print(f"{report.size} bytes, {trial.pps:,.0f} pps: {verdict}", file=sys.stderr)

    reports = search.run(show if sys.stderr.isatty() else None)
    text = json.dumps([report.as_dict() for report in reports]) if arguments.json else rfc2544_text(reports)
    return OK if all(report.pps for report in reports) else LOST, text
