"""`fastring replay`."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, TextIO

from softnet.cli_parser import Help, Parser, count
from softnet.commands.common import INTERRUPTED, LOST, OK, beside, complain, is_stdout
from softnet.commands.edits import add_edit_options, editing_of
from softnet.commands.observing import add_observation_options, observation_of, screen_of
from softnet.wire import KINDS, wires_help

if TYPE_CHECKING:
    from softnet.replay import Replay
    from softnet.replay_input import Choice
    from softnet.replay_result import ReplayResult
    from softnet.replay_timing import Timing

PROG = "fastring replay"
TIMERS = ("nano", "select", "gtod", "ioport")  # softnet.replay_timing, which is slow to import


def parser() -> Parser:
    """The command line."""
    replay = Parser(
        prog="fastring replay",
        usage="fastring replay CAPTURE... [options]",
        description="Send the frames of captures, in order, through driver, rings and card, over a wire to a second card.",
        epilog=f"wires:\n{wires_help()}\n\n"
        "exit status:\n"
        "  0    every frame arrived\n"
        "  1    frames were lost, or a capture breaks off\n"
        "  2    bad usage or bad input\n"
        "  130  interrupted (Ctrl-C); the result so far is printed",
        formatter_class=Help,
    )
    replay.add_argument("captures", nargs="+", metavar="CAPTURE", help="pcap or pcapng file, also gzipped; - is standard input")
    near = replay.add_mutually_exclusive_group()
    near.add_argument("--wire", metavar="SPEC", help="what the card is plugged into, see below (default: pair)")
    near.add_argument("-i", "--intf1", metavar="SPEC", help="the same, or an interface, as packet:NAME; timed as captured by default")
    replay.add_argument(
        "--out", metavar="FILE", help="write what arrives to a capture: pcapng if FILE ends so, else pcap; - is standard output"
    )
    replay.add_argument(
        "--clock",
        choices=("real", "virtual"),
        default="real",
        help="real: as fast as the ring takes, stamped on arrival (default);\n"
        "virtual: each frame at its own time stamp, and the same result every time",
    )
    replay.add_argument("-l", "--loop", type=count, default=1, metavar="N", help="replay the captures N times, 0 for ever (default: 1)")
    replay.add_argument("-L", "--limit", type=count, metavar="N", help="send N frames at most")
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
    replay.add_argument("--stats", type=count, metavar="SECONDS", help="print a line of statistics so often, 0: after each pass")
    _add_timing(replay)
    _add_choice(replay)
    add_observation_options(replay)
    add_edit_options(replay, mtu=False)
    return replay


def _add_timing(replay: Parser) -> None:
    timing = replay.add_argument_group("timing, with tcpreplay's names", "docs/replay.md has examples, and what differs from tcpreplay.")
    mode = timing.add_mutually_exclusive_group()
    mode.add_argument("-t", "--topspeed", action="store_true", help="as fast as it goes (the default without --intf1)")
    mode.add_argument(
        "-x", "--multiplier", type=decimal, metavar="X", help="at X times the captures' own speed (with --intf1 the default: 1)"
    )
    mode.add_argument("-p", "--pps", type=decimal, metavar="N", help="N frames a second, 0.25 is one in 4 s")
    mode.add_argument("-M", "--mbps", type=decimal, metavar="N", help="N million bits a second, of frames without CRC, preamble and gap")
    mode.add_argument("--gbps", type=decimal, metavar="N", help="N thousand times as many")
    mode.add_argument("-o", "--oneatatime", action="store_true", help="one frame, or as many as one says, at each line of standard input")
    timing.add_argument("--pps-multi", type=count, metavar="N", help="with --pps: N frames at once, the rate staying the same")
    timing.add_argument("--maxsleep", type=decimal, metavar="MS", help="shorten longer gaps between frames to this")
    timing.add_argument("--loopdelay-ms", type=decimal, metavar="MS", help="wait so long between two passes")
    timing.add_argument("--duration", type=decimal, metavar="SECONDS", help="send nothing after so long")
    timing.add_argument("-T", "--timer", choices=TIMERS, help="nano, select: sleep, then spin (default);\ngtod, ioport: spin all the time")


def _add_choice(replay: Parser) -> None:
    choice = replay.add_argument_group("what is sent and where, with tcpreplay's names")
    choice.add_argument("-I", "--intf2", metavar="SPEC", help="what a second card is plugged into, for servers' frames")
    split = choice.add_mutually_exclusive_group()
    split.add_argument("-c", "--cachefile", metavar="FILE", help="a cache file of tcpprep's says which frames are clients' and servers'")
    split.add_argument("--dualfile", action="store_true", help="captures two by two: a client's, a server's; merged by time")
    listed = choice.add_mutually_exclusive_group()
    listed.add_argument("--include", metavar="LIST", help="send these frames alone: --include 1-5,9,15-")
    listed.add_argument("--exclude", metavar="LIST", help="send all but these")
    choice.add_argument("-K", "--preload-pcap", action="store_true", help="read the captures into memory first")
    choice.add_argument("--unique-ip", action="store_true", help="change the IP addresses from pass to pass, and no checksum")
    choice.add_argument("--unique-ip-loops", type=decimal, metavar="N", help="with --unique-ip: after each N passes (default: 1)")


def decimal(text: str) -> Fraction:
    """A number of 0 or more, with 6 decimals at most, exactly."""
    if not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{0,6})?|\.[0-9]{1,6}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 0 or more, with at most 6 decimals")
    return Fraction(text if text[-1] != "." else text + "0")


def timing_of(arguments: argparse.Namespace) -> Timing:
    """What the timing options say. Raises ValueError."""
    from softnet.replay_timing import Timing

    megabits = arguments.mbps if arguments.gbps is None else arguments.gbps * 1000
    rates = {"multiplier": arguments.multiplier, "pps": arguments.pps, "mbps": megabits}
    mode, rate = next(((mode, rate) for mode, rate in rates.items() if rate is not None), ("topspeed", Fraction(1)))
    if arguments.oneatatime:
        mode = "oneatatime"
    elif mode == "mbps" and rate == 0:
        mode = "topspeed"  # as tcpreplay has it
    elif mode == "topspeed" and not arguments.topspeed:
        timed = arguments.intf1 if arguments.clock == "real" else arguments.maxsleep
        mode = "topspeed" if timed is None else "multiplier"
    if rate == 0 and mode != "topspeed":
        raise ValueError(f"--{mode} 0 would send nothing, ever: it is above 0")
    if arguments.clock == "virtual" and arguments.topspeed:
        raise ValueError("--topspeed needs the real clock: on a virtual one no time passes by itself")
    return Timing(
        mode,  # type: ignore[arg-type]
        rate,
        pps_multi=1 if arguments.pps_multi is None else arguments.pps_multi,
        maxsleep=arguments.maxsleep or None,
        loopdelay=(arguments.loopdelay_ms or Fraction(0)) / 1000,
        duration=arguments.duration,
        timer=arguments.timer or "nano",
    )


def choice_of(arguments: argparse.Namespace) -> Choice:
    """Which frames are sent. Raises ValueError."""
    from softnet.replay_input import Choice

    if arguments.unique_ip_loops is not None and not arguments.unique_ip:
        raise ValueError("--unique-ip-loops goes with --unique-ip")
    return Choice(
        include=arguments.include,
        exclude=arguments.exclude,
        cachefile=arguments.cachefile,
        dualfile=arguments.dualfile,
        unique_ip=(Fraction(1) if arguments.unique_ip_loops is None else arguments.unique_ip_loops) if arguments.unique_ip else None,
        preload=arguments.preload_pcap,
        editing=editing_of(arguments),
    )


def interface(spec: str | None) -> str | None:
    """A wire from what --intf1 and --intf2 take: the name of an interface is one on a packet socket."""
    if spec is None or ":" in spec or spec in KINDS or "@" in spec:
        return spec
    return f"packet:{spec}"


def ask(number: int) -> int:
    """How many frames to send next, by a line of standard input: an empty one means 1. Raises EOFError at its end."""
    while True:
        print(f"next is frame {number}: how many? ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise EOFError(f"standard input ended before frame {number}")
        text = line.strip() or "1"
        if re.fullmatch(r"[1-9][0-9]{0,8}", text, re.ASCII):
            return int(text)
        print(f"{PROG}: it is a number of frames, not {text!r}", file=sys.stderr)


class Statistics:
    """Prints a line every so many seconds, or after each pass."""

    def __init__(self, replay: Replay, seconds: int, print_line: Callable[[str], None]) -> None:
        self.replay = replay
        self.seconds = seconds
        self.print_line = print_line
        self.began = self.told = time.monotonic()
        self.passes = 0

    def __call__(self) -> None:
        """Print, if it is time to."""
        now = time.monotonic()
        if now - self.told < self.seconds if self.seconds else self.replay.passes_done == self.passes:
            return
        from softnet.report import statistics_line

        self.told, self.passes = now, self.replay.passes_done
        self.print_line(statistics_line(now - self.began, *self.replay.sent))


def run(arguments: argparse.Namespace) -> tuple[int, str]:
    """Do it; returns the exit status and what to print."""
    from softnet.replay import Replay
    from softnet.report import replay_text

    named = interface(arguments.intf1) if arguments.wire is None else arguments.wire
    wire, wire2 = "pair" if named is None else named, interface(arguments.intf2)
    if arguments.oneatatime and "-" in arguments.captures:
        raise ValueError("--oneatatime reads standard input, and the capture - would, too")
    written = (arguments.out, wire.partition(":")[2], (wire2 or "").partition(":")[2], arguments.trace)
    captures = any(is_stdout(path) for path in written)
    with observation_of(arguments) as observation:
        replay = Replay(
            arguments.captures,
            wire=wire,
            wire2=wire2,
            out=arguments.out,
            clock=arguments.clock,
            timing=timing_of(arguments),
            choice=choice_of(arguments),
            loop=arguments.loop,
            limit=arguments.limit,
            mtu=arguments.mtu,
            trace=arguments.trace,
            control=arguments.control,
            hold=arguments.hold,
            ask=ask if arguments.oneatatime else None,
            observation=observation,
        )
        result = _play(arguments, replay, sys.stderr if captures or arguments.json else sys.stdout)
        problem = observation.problem()
        if problem is not None:
            result.fail(problem)
        observation.report(f"fastring replay {' '.join(arguments.captures)}", result.as_dict(), replay.histograms())
    for problem in result.problems:
        complain(PROG, problem)
    text = json.dumps(result.as_dict()) if arguments.json else replay_text(result)
    text = beside(text, captures)
    if result.interrupted:
        return INTERRUPTED, text
    return LOST if result.lost or not result.complete or replay.broken_off else OK, text


def _play(arguments: argparse.Namespace, replay: Replay, aside: TextIO) -> ReplayResult:
    """Run it, and tell how it goes: statistics on `aside`, on a terminal above what is shown there."""
    for broken in replay.broken_off:
        complain(PROG, broken)
    statistics = None
    screen = None if arguments.oneatatime else screen_of(arguments, "replaying", "frames", replay.total)
    replay.observation.screen = screen
    if arguments.stats is not None:
        over = screen if screen is not None and aside.isatty() else None
        print_line = over.message if over is not None else lambda line: print(line, file=aside, flush=True)
        statistics = Statistics(replay, arguments.stats, print_line)
    return replay.run(_both(None if screen is None else screen.progress, statistics))


def _both(show: Callable[[int], None] | None, statistics: Statistics | None) -> Callable[[int], None] | None:
    """What a replay is to call as it goes on."""
    if statistics is None:
        return show

    def progress(sent: int) -> None:
        if show is not None:
            show(sent)
        statistics()

    return progress
