"""The `fastring` command.

Exit status: 0 all went well, 1 something was lost or differs, 2 bad usage or bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress

from fastring.capture_error import printable
from softnet.cli_parser import BAD
from softnet.cli_parser import Help as _Help
from softnet.cli_parser import Parser as _Parser

OK, LOST, INTERRUPTED = 0, 1, 128 + signal.SIGINT
LIVE_INTERVAL = 0.1  # seconds
MOST = (1 << 63) - 1  # a count on the command line


def _count(text: str) -> int:
    shown = repr(text if len(text) <= 20 else text[:19] + "…")
    if text.isdecimal() and (len(text) > 4000 or int(text) > MOST):  # int() refuses more digits than that
        raise argparse.ArgumentTypeError(f"{shown} is too much: it is a whole number of 0 to {MOST}")
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= MOST:
        raise argparse.ArgumentTypeError(f"{shown} is not a whole number of 0 or more")
    return value


# Commands that ask a running card, with a grammar of their own: softnet.tools.
TOOLS = {
    "ip": "show and set the interfaces of a running card, as `ip link` does",
    "ethtool": "show and set what a running card's driver has, as `ethtool` does",
    "tc": "show the queueing disciplines of a running card, as `tc qdisc` does",
    "cat": "print files of a running card's /sys/class/net and /proc/net/dev",
}


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *args: object) -> None:
        from importlib.metadata import version  # only now: it is slow to import

        print(f"fastring {version('fastring')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastring",
        description="A network card you can import: tools over both halves of an e1000.",
        epilog="`fastring COMMAND --help` tells what a command takes.",
        formatter_class=_Help,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_replay(commands)
    _add_diff(commands)
    _add_trace(commands)
    _add_check(commands)
    for name, tool in TOOLS.items():
        commands.add_parser(name, help=tool, add_help=False)
    return parser


def _add_replay(commands: argparse._SubParsersAction[_Parser]) -> None:
    from softnet.wire import KINDS

    wires = "\n".join(f"  {kind.syntax:<21} {kind.help}" for kind in KINDS.values())
    replay = commands.add_parser(
        "replay",
        help="send the frames of captures through a card",
        usage="fastring replay CAPTURE... [options]",
        description="Send the frames of captures, in order, through driver, rings and card, over a wire to a second card.",
        epilog=f"wires:\n{wires}\n\n"
        "exit status:\n"
        "  0    every frame arrived\n"
        "  1    frames were lost, or a capture breaks off\n"
        "  2    bad usage or bad input\n"
        "  130  interrupted (Ctrl-C); the result so far is printed",
        formatter_class=_Help,
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
    replay.add_argument("--loop", type=_count, default=1, metavar="N", help="replay the captures N times, 0 for ever (default: 1)")
    replay.add_argument("--limit", type=_count, metavar="N", help="send N frames at most")
    replay.add_argument("--mtu", type=_count, metavar="N", help="MTU of both cards, 46 to 16110 (default: what the longest frame needs)")
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
    replay.add_argument("--hold", type=_count, default=0, metavar="SECONDS", help="keep the cards up so long afterwards, or until Ctrl-C")
    replay.add_argument("--json", action="store_true", help="print the result as one JSON object")
    replay.set_defaults(run=_replay, prog=replay.prog)


def _add_diff(commands: argparse._SubParsersAction[_Parser]) -> None:
    diff = commands.add_parser(
        "diff",
        help="compare two captures frame by frame",
        usage="fastring diff A B [options]",
        description="Compare the frames of two captures, in order, byte for byte, and tell the first difference.\n"
        "File formats and file headers do not matter.",
        epilog="exit status:\n  0    they are the same\n  1    they differ\n  2    bad usage or bad input",
        formatter_class=_Help,
    )
    diff.add_argument("first", metavar="A", help="pcap or pcapng file, also gzipped; - is standard input")
    diff.add_argument("second", metavar="B", help="the one to compare it with")
    diff.add_argument("--times", action="store_true", help="compare time stamps, too, to the nanosecond")
    diff.add_argument("--padding", action="store_true", help="take a frame padded with zeroes to 60 bytes for the same")
    diff.set_defaults(run=_diff, prog=diff.prog)


def _names(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _registers(text: str) -> list[str]:
    """Names of registers in either case; 0x00034 is what one without a name is called."""
    return _names(text.upper().replace("0X", "0x"))


def _add_trace(commands: argparse._SubParsersAction[_Parser]) -> None:
    trace = commands.add_parser(
        "trace",
        help="print what a trace recorded, or convert it",
        usage="fastring trace FILE [options]",
        description="Print the events of a trace, one a line: time in µs, card, category and event, with the names of\n"
        "registers and bits. `fastring replay --trace FILE` and e1000.trace.Trace record one.",
        epilog="categories: mmio, io, config, desc, dma, irq, frame, timer\n\n"
        "exit status:\n  0    all went well\n  1    the trace breaks off, or events were lost\n  2    bad usage or bad input",
        formatter_class=_Help,
    )
    trace.add_argument("file", metavar="FILE", help="trace in JSON lines; - is standard input")
    trace.add_argument("--only", type=_names, metavar="LIST", help="events of these categories alone: --only mmio,irq")
    trace.add_argument("--register", type=_registers, metavar="LIST", help="accesses to these registers alone: --register TDT,MTA")
    trace.add_argument("--card", type=_count, metavar="N", help="events of this card alone, counted from 0")
    trace.add_argument("--head", type=_count, metavar="N", help="the first N of these")
    trace.add_argument("--tail", type=_count, metavar="N", help="the last N of these")
    trace.add_argument("--to", choices=("jsonl", "perfetto"), help="write them in this format instead")
    trace.add_argument("--out", metavar="FILE", help="write them to FILE, not to standard output")
    trace.set_defaults(run=_trace, prog=trace.prog)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        value = float(text)
        if 0 < value <= 1e6:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0, to 1e6 at most")


def _option(text: str) -> tuple[str, object]:
    """A Python literal, or else a string."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    with suppress(ValueError, SyntaxError):
        return name, ast.literal_eval(value)
    return name, value


def _scenarios(text: str) -> list[str]:
    if not _names(text):
        raise argparse.ArgumentTypeError(f"{text!r} names no scenario")
    return _names(text)


def _add_check(commands: argparse._SubParsersAction[_Parser]) -> None:
    check = commands.add_parser(
        "check",
        help="run a network driver of yours on the card, and tell what it does wrong",
        usage="fastring check MODULE:DRIVER [options]",
        description="Run a driver on an 82540EM through what a kernel does to a driver, with the kernel's rules checked meanwhile.\n"
        "DRIVER is probe(bus, stack), or a class with probe and remove; MODULE is a module or a .py file. To write one:\n"
        "docs/writing-a-driver.md. Each scenario runs in a process of its own, on a virtual clock.",
        epilog="exit status:\n  0    nothing found\n  1    something is wrong with the driver\n"
        "  2    bad usage, or no such driver, or it cannot be imported\n  130  interrupted (Ctrl-C); the report so far is printed",
        formatter_class=_Help,
    )
    check.add_argument("driver", nargs="?", metavar="MODULE:DRIVER", help="such as e1000.driver:probe or my_driver.py:Driver")
    check.add_argument("--list", action="store_true", help="list the scenarios and exit")
    check.add_argument("--only", type=_scenarios, metavar="LIST", help="these scenarios alone: --only full-ring,hang")
    check.add_argument("--packets", type=_count, default=1_000_000, metavar="N", help="packets each way in `traffic` (default: 1 million)")
    check.add_argument("--timeout", type=_seconds, default=60.0, metavar="SECONDS", help="time for each scenario (default: 60)")
    check.add_argument(
        "--option", type=_option, action="append", default=[], metavar="NAME=VALUE", help="give probe this: --option rs_every=1"
    )
    check.add_argument("--json", action="store_true", help="print the report as one JSON object")
    check.add_argument("--junit", metavar="FILE", help="write the report to FILE, too, for a CI system")
    check.set_defaults(run=_check, prog=check.prog)


def _complain(prog: str, problem: object) -> None:
    print(f"{prog}: {printable(str(problem))}", file=sys.stderr)


@contextmanager
def _live_line(total: int | None) -> Iterator[Callable[[int], None] | None]:
    """A progress line on a terminal, if rich is installed; elsewhere nothing."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        yield None
        return
    from softnet.report import scaled

    goal = "" if total is None else f" of {total:,}"
    columns = (TextColumn("replaying"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replay", total=total, text=f"0{goal} frames")
        began = shown = time.monotonic()

        def show(sent: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= LIVE_INTERVAL or sent == total:
                shown = now
                bar.update(task, completed=sent, text=f"{sent:,}{goal} frames, {scaled(sent / (now - began), 'pps')}")

        yield show


def _is_stdout(path: str | None) -> bool:
    """Whether what is written to `path` goes where results are printed: /dev/stdout, or what it was redirected to."""
    with suppress(OSError, ValueError):  # no such file, or no descriptor
        if path:
            there, stdout = os.stat(path), os.fstat(sys.stdout.fileno())
            return os.path.samestat(there, stdout) and not os.path.samestat(there, os.stat(os.devnull))
    return False


def _replay(arguments: argparse.Namespace) -> tuple[int, str]:
    from softnet.replay import Replay
    from softnet.report import replay_text

    beside = _is_stdout(arguments.out) or _is_stdout(arguments.wire.partition(":")[2]) or _is_stdout(arguments.trace)
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
        _complain(arguments.prog, broken)
    with _live_line(replay.total) as progress:
        result = replay.run(progress)
    for problem in result.problems:
        _complain(arguments.prog, problem)
    text = json.dumps(result.as_dict()) if arguments.json else replay_text(result)
    if beside:  # the capture has standard output for itself
        print(text, file=sys.stderr)
        text = ""
    if result.interrupted:
        return INTERRUPTED, text
    return LOST if result.lost or not result.complete or replay.broken_off else OK, text


def _diff(arguments: argparse.Namespace) -> tuple[int, str]:
    from softnet.diff import diff

    difference = diff(arguments.first, arguments.second, times=arguments.times, padding=arguments.padding)
    return OK if difference.same else LOST, printable(difference.text)


def _trace(arguments: argparse.Namespace) -> tuple[int, str]:
    from e1000.trace import Selection, convert, open_trace

    wanted = Selection(only=arguments.only, registers=arguments.register, card=arguments.card, head=arguments.head, tail=arguments.tail)
    with open_trace(arguments.file) as reader:
        convert(reader, wanted, to=arguments.to or "text", out=arguments.out)
    if reader.problem:
        _complain(arguments.prog, reader.problem)
    return LOST if reader.problem else OK, ""


def _check(arguments: argparse.Namespace) -> tuple[int, str]:
    from softnet.conformance.command import check

    return check(arguments)


def _reason(error: Exception) -> str:
    """One line that says what, where and why."""
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{os.fsdecode(error.filename) or repr('')}: "
        return place + error.strerror
    return str(error) or "out of memory"


def _run(argv: Sequence[str] | None) -> tuple[int, str]:
    """Run the command line; return the exit status and what to print."""
    prog = "fastring"
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        if words and words[0] in TOOLS:
            from softnet.tools import run_tool

            prog = f"fastring {words[0]}"
            return run_tool(words[0], words[1:])
        with redirect_stdout(io.StringIO()) as said:  # help, which is printed as a result is
            arguments = _parser().parse_args(words)
        prog = arguments.prog
        status, text = arguments.run(arguments)
    except SystemExit as stop:
        return int(stop.code or OK), said.getvalue()
    except KeyboardInterrupt:
        _complain(prog, "interrupted")
        return INTERRUPTED, ""
    except BrokenPipeError:  # whoever reads what is printed as it comes has gone
        return OK, ""
    except (OSError, ValueError, MemoryError) as error:
        _complain(prog, _reason(error))
        return BAD, ""
    return status, text and text + "\n"


def _print(text: str) -> bool:
    """Print and flush; return whether standard output took it. A reader that has gone does not mind."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter fails at it again
        if not isinstance(error, BrokenPipeError):
            _complain("fastring", f"standard output: {error.strerror}")
            return False
    return True


def _open_standard_streams() -> None:
    """Give a closed one /dev/null, so that no capture gets its descriptor and with it what is printed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for the life of the process


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """End a run at SIGTERM as at Ctrl-C: `timeout 10 fastring replay --loop 0` prints its result."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    _open_standard_streams()
    with _sigterm_interrupts():
        status, text = _run(argv)
    return status if _print(text) else BAD


if __name__ == "__main__":
    sys.exit(main())
