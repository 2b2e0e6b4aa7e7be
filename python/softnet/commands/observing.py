"""Options of commands that run for a while: who watches, and what a terminal shows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from softnet.cli_parser import Parser, seconds
from softnet.metrics import DEFAULT_ADDRESS
from softnet.observe import Observation
from softnet.sampling import Sample
from softnet.screen import Screen


def add_observation_options(parser: Parser) -> None:
    """--quiet, --stats-file, --metrics, --report, --interval."""
    group = parser.add_argument_group("watching it")
    group.add_argument("-q", "--quiet", action="store_true", help="no table on a terminal meanwhile, only the result")
    group.add_argument("--stats-file", metavar="FILE", help="write the interfaces' counters to FILE now and then, a line of JSON each time")
    group.add_argument(
        "--metrics",
        nargs="?",
        const=DEFAULT_ADDRESS,
        metavar="[HOST:]PORT",
        help=f"serve the counters to Prometheus meanwhile (default: {DEFAULT_ADDRESS})",
    )
    group.add_argument("--report", metavar="FILE", help="write a page of charts to FILE.html at the end, or a picture to FILE.png")
    group.add_argument("--interval", type=seconds, metavar="SECONDS", help="time between two samples (default: 1, for --report alone 0.1)")


def screen_of(arguments: argparse.Namespace, doing: str, things: str, total: int | None = None) -> Screen | None:
    """What a terminal shows, if standard error is one."""
    return Screen(doing, things, total) if sys.stderr.isatty() and not arguments.quiet else None


def observation_of(arguments: argparse.Namespace, listeners: Sequence[Callable[[Sample], object]] = ()) -> Observation:
    """What they ask for. Raises OSError, ValueError."""
    return Observation(
        stats_file=arguments.stats_file,
        metrics=arguments.metrics,
        report_file=arguments.report,
        interval=arguments.interval,
        listeners=listeners,
    )
