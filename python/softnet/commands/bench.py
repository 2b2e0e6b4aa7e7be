"""`fastring bench`."""

from __future__ import annotations

import argparse

from softnet.cli_parser import Help, Parser, seconds

SECONDS, QUICK = 120.0, 20.0


def parser() -> Parser:
    """The command line."""
    bench = Parser(
        prog="fastring bench",
        usage="fastring bench [options]",
        description="Measure fastring's rings, pools and driver on this machine, and recommend what to choose on it: which ring for\n"
        "bulk, for latency and for several producers, which batch, capacity and pool, poll or park. Needs no compiler. All that are\n"
        "compared take turns; a machine that was noisy meanwhile is called so. Two CPUs of those it may use are kept busy: `taskset`\n"
        "says which.",
        epilog="exit status:\n  0    done\n  2    bad usage, or it could not be measured\n"
        "  130  interrupted (Ctrl-C); what was measured so far is printed",
        formatter_class=Help,
    )
    length = bench.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=seconds, default=SECONDS, metavar="N", help=f"about how long (default: {SECONDS:g})")
    length.add_argument("--quick", dest="seconds", action="store_const", const=QUICK, help=f"{QUICK:g} seconds: medians of fewer rounds")
    bench.add_argument("--json", action="store_true", help="print all figures and the recommendation as one JSON object")
    return bench


def run(arguments: argparse.Namespace) -> tuple[int, str]:
    """Do it; returns the exit status and what to print."""
    from softnet.bench.command import bench  # only now: NumPy and all that is measured are slow to import

    return bench(arguments.seconds, as_json=arguments.json)
