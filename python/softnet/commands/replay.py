"""`fastring replay`."""

from __future__ import annotations

import argparse
import json
import sys

from softnet.cli_parser import Help, Parser, count
from softnet.commands.common import INTERRUPTED, LOST, OK, complain, is_stdout, live_line
from softnet.wire import KINDS

PROG = "fastring replay"


def parser() -> Parser:
    """The command line."""
    wires = "\n".join(f"  {kind.syntax:<21} {kind.help}" for kind in KINDS.values())
    replay = Parser(
        prog="fastring replay",
        usage="fastring replay CAPTURE... [options]",
        description="Send the frames of captures, in order, through driver, rings and card, over a wire to a second card.",
        epilog=f"wires:\n{wires}\n\n"
        "exit status:\n"
        "  0    every frame arrived\n"
        "  1    frames were lost, or a capture breaks off\n"
        "  2    bad usage or bad input\n"
        "  130  interrupted (Ctrl-C); the result so far is printed",
        formatter_class=Help,
    )
    replay.add_argument("captures", nargs="+", metavar="CAPTURE", help="pcap or pcapng file, also gzipped; - is standard input")
    replay.add_argument("--wire", default="pair", metavar="SPEC", help="what the card is plugged into, see below (default: %(default)s)")
    replay.add_argument("--out", metavar="FILE", help="write what arrives to a capture: pcapng if FILE ends in .pcapng, else pcap")
    replay.add_argument(
        "--clock",
        choices=("real", "virtual"),
        default="real",
        help="real: as fast as the ring takes, stamped on arrival (default);\n"
        "virtual: each frame at its own time stamp, and the same result every time",
    )
    replay.add_argument("--loop", type=count, default=1, metavar="N", help="replay the captures N times, 0 for ever (default: 1)")
    replay.add_argument("--limit", type=count, metavar="N", help="send N frames at most")
    replay.add_argument("--mtu", type=count, metavar="N", help="MTU of both cards, 46 to 16110 (default: what the longest frame needs)")
    replay.add_argument(
        "--trace", metavar="FILE", help="write all that happens on the cards: for Perfetto if FILE ends in .json, else for `fastring trace`"
    )
    replay.add_argument(
        "--control",
        nargs="?",
        const="",
        metavar="SOCKET",
        help="let `fastring ip`, `ethtool`, `tc` and `cat` reach the cards meanwhile (default: a socket that they find)",
    )
    replay.add_argument("--hold", type=count, default=0, metavar="SECONDS", help="keep the cards up so long afterwards, or until Ctrl-C")
    replay.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return replay


def run(arguments: argparse.Namespace) -> tuple[int, str]:
    """Do it; returns the exit status and what to print."""
    from softnet.replay import Replay
    from softnet.report import replay_text

    beside = is_stdout(arguments.out) or is_stdout(arguments.wire.partition(":")[2]) or is_stdout(arguments.trace)
    replay = Replay(
        arguments.captures,
        wire=arguments.wire,
        out=arguments.out,
        clock=arguments.clock,
        loop=arguments.loop,
        limit=arguments.limit,
        mtu=arguments.mtu,
        trace=arguments.trace,
        control=arguments.control,
        hold=arguments.hold,
    )
    for broken in replay.broken_off:
        complain(PROG, broken)
    with live_line(replay.total) as progress:
        result = replay.run(progress)
    for problem in result.problems:
        complain(PROG, problem)
    text = json.dumps(result.as_dict()) if arguments.json else replay_text(result)
    if beside:  # the capture has standard output for itself
        print(text, file=sys.stderr)
        text = ""
    if result.interrupted:
        return INTERRUPTED, text
    return LOST if result.lost or not result.complete or replay.broken_off else OK, text
