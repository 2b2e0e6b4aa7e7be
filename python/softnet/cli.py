"""The `fastring` command.

Exit status: 0 all went well, 1 something was lost or differs, 2 bad usage or bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

from softnet.cli_parser import BAD, Help, Parser
from softnet.commands import COMMANDS
from softnet.commands.common import INTERRUPTED, OK, complain

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


def _parser() -> Parser:
    parser = Parser(
        prog="fastring",
        description="A network card you can import: tools over both halves of an e1000.",
        epilog="`fastring COMMAND --help` tells what a command takes.",
        formatter_class=Help,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in (COMMANDS | TOOLS).items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser


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
            if not words or words[0] not in COMMANDS:
                _parser().parse_args(words)  # which is --help, --version, or no command
            prog = f"fastring {words[0]}"
            command = importlib.import_module(f"softnet.commands.{words[0]}")
            arguments = command.parser().parse_args(words[1:])
        status, text = command.run(arguments)
    except SystemExit as stop:
        return int(stop.code or OK), said.getvalue()
    except KeyboardInterrupt:
        complain(prog, "interrupted")
        return INTERRUPTED, ""
    except BrokenPipeError as error:
        if error.filename is None:  # whoever reads what is printed as it comes has gone
            return OK, ""
        complain(prog, _reason(error))
        return BAD, ""
    except (OSError, ValueError, MemoryError) as error:
        complain(prog, _reason(error))
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
            complain("fastring", f"standard output: {error.strerror}")
            return False
    return True


def _open_standard_streams() -> None:
    """Give a closed one /dev/null, so that no capture gets its descriptor and with it what is printed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for the life of the process


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """End a run at SIGTERM, and when its terminal is closed, as at Ctrl-C: `timeout 10 fastring replay --loop 0` prints its result."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGTERM, *([] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP])]  # nohup's is kept
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    _open_standard_streams()
    with _signals_interrupt():
        status, text = _run(argv)
    return status if _print(text) else BAD


if __name__ == "__main__":
    sys.exit(main())
