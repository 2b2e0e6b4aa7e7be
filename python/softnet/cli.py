"""The `fastring` command. Exit status: 0 all went well, 1 something was lost or differs, 2 bad usage or bad input."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

OK, LOST, BAD = 0, 1, 2


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastring", description="A network card you can import: tools over both halves of an e1000.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_replay(commands)
    _add_diff(commands)
    return parser


def _add_replay(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from softnet.wire import KINDS

    wires = "\n".join(f"  {text}" for _, text in KINDS.values())
    replay = commands.add_parser(
        "replay",
        help="send the frames of captures through a card",
        description="Send the frames of captures, in order, through driver, rings and card, over a wire to a second card.",
        epilog=f"wires:\n{wires}\n\n"
        "exit status: 0 every frame arrived; 1 frames were lost, or a capture breaks off; 2 bad usage or bad input",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    replay.add_argument("captures", nargs="+", metavar="CAPTURE", help="pcap or pcapng, also gzipped")
    replay.add_argument("--wire", default="pair", metavar="SPEC", help="what the card is plugged into (default: %(default)s)")
    replay.add_argument("--out", metavar="FILE", help="write what arrives to a capture, pcapng if so named, else pcap")
    replay.add_argument(
        "--clock",
        choices=("real", "virtual"),
        default="real",
        help="real: as fast as the ring takes, stamped on arrival; virtual: each frame at its own time, the same every run (default: real)",
    )
    replay.add_argument("--loop", type=_count, default=1, metavar="N", help="pass over the captures N times, 0 for ever (default: 1)")
    replay.add_argument("--limit", type=_count, metavar="N", help="send N frames at most")
    replay.add_argument("--mtu", type=_count, metavar="N", help="by default what the longest frame needs, up to 16110")
    replay.add_argument("--json", action="store_true", help="print the result as one JSON object")
    replay.set_defaults(run=_replay)


def _add_diff(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    diff = commands.add_parser(
        "diff",
        help="compare two captures frame by frame",
        description="Compare the frames of two captures, in order, byte for byte; formats and file headers do not matter.",
        epilog="exit status: 0 they are the same; 1 they differ; 2 bad usage or bad input",
    )
    diff.add_argument("first", metavar="A")
    diff.add_argument("second", metavar="B")
    diff.add_argument("--times", action="store_true", help="compare time stamps, too, to the nanosecond")
    diff.add_argument("--padding", action="store_true", help="take a frame padded with zeroes to 60 bytes for the same")
    diff.set_defaults(run=_diff)


@contextmanager
def _live_line(total: int | None) -> Iterator[Callable[[int], None] | None]:
    """A progress line on a terminal, if rich is installed; elsewhere nothing."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        yield None
        return
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TextColumn("frames"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replay", total=total)
        yield lambda sent: bar.update(task, completed=sent)


def _replay(arguments: argparse.Namespace) -> int:
    from softnet.replay import Replay
    from softnet.report import replay_text

    replay = Replay(
        arguments.captures,
        wire=arguments.wire,
        out=arguments.out,
        clock=arguments.clock,
        loop=arguments.loop,
        limit=arguments.limit,
        mtu=arguments.mtu,
    )
    for broken in replay.broken_off:
        print(f"fastring replay: {broken}", file=sys.stderr)
    with _live_line(replay.total) as progress:
        result = replay.run(progress)
    for problem in result.problems:
        print(f"fastring replay: {problem}", file=sys.stderr)
    print(json.dumps(result.as_dict()) if arguments.json else replay_text(result))
    return LOST if result.lost or not result.complete or replay.broken_off else OK


def _diff(arguments: argparse.Namespace) -> int:
    from softnet.diff import diff

    difference = diff(arguments.first, arguments.second, times=arguments.times, padding=arguments.padding)
    print(difference)
    return OK if difference.same else LOST


def _reason(error: Exception) -> str:
    """One line that says what, where and why."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return place + error.strerror
    return str(error)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    arguments = _parser().parse_args(argv)
    command = arguments.run.__name__.removeprefix("_")
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read us has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return LOST
    except (OSError, ValueError) as error:
        print(f"fastring {command}: {_reason(error)}", file=sys.stderr)
        return BAD
    return status


if __name__ == "__main__":
    sys.exit(main())
