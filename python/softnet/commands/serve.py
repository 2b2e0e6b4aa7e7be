"""`fastring serve`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from softnet.cli_parser import Help, Once, Parser
from softnet.commands.common import LOST, OK, complain
from softnet.wire import wires_help

if TYPE_CHECKING:
    from softnet.serving import ServingResult

PROG = "fastring serve"


def parser() -> Parser:
    """The command line."""
    serve = Parser(
        prog=PROG,
        usage=f"{PROG} --socket PATH --wire SPEC [options]",
        description="Serve a card to a virtual machine over vfio-user, until Ctrl-C: QEMU >= 10.1 takes it as\n"
        '-device \'{"driver": "vfio-user-pci", "socket": {"type": "unix", "path": "PATH"}}\', see docs/vm.md.',
        epilog=f"wires:\n{wires_help(outside=True)}\n\n"
        "exit status:\n  0    all went well; Ctrl-C is how it ends\n"
        "  1    the wire failed, events of the trace were lost, or the EEPROM could not be saved\n  2    bad usage",
        formatter_class=Help,
    )
    serve.add_argument(
        "--socket", action="append", required=True, metavar="PATH", help="where the client connects; again: a card more, on the same wire"
    )
    serve.add_argument("--wire", action=Once, required=True, metavar="SPEC", help="what the card is plugged into, see below")
    serve.add_argument("--mac", action=Once, metavar="MAC", help="the card's station address (default: 52:54:00:12:34:56, or the EEPROM's)")
    serve.add_argument(
        "--eeprom", action=Once, metavar="FILE", help="keep the card's EEPROM in FILE, 128 bytes: it is made if it is not there"
    )
    serve.add_argument("--strict", action="store_true", help="tell of each thing that the guest's driver does against the manual")
    serve.add_argument(
        "--trace",
        action=Once,
        metavar="FILE",
        help="write all that happens on the cards: for Perfetto if FILE ends in .json, else for `fastring trace`",
    )
    serve.add_argument(
        "--map-doorbells",
        action="store_true",
        help="let clients map the rings' registers and ring doorbells without a message: for drivers of ours, see docs/vm.md",
    )
    serve.add_argument("--quiet", action="store_true", help="do not tell of clients that come and go")
    serve.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return serve


def run(arguments: argparse.Namespace) -> tuple[int, str]:
    """Do it; returns the exit status and what to print."""
    from softnet.serving import Serving

    with Serving(
        arguments.socket,
        arguments.wire,
        mac=arguments.mac,
        eeprom=arguments.eeprom,
        strict=arguments.strict,
        trace=arguments.trace,
        map_doorbells=arguments.map_doorbells,
        tell=_say_nothing if arguments.quiet else _say,
    ) as serving:
        failed = _failed(serving.run)
        result = serving.result()
        failed |= _failed(serving.close)
    if serving.trace is not None:
        result.trace_lost = serving.trace.lost
    status = LOST if failed or result.trace_lost or serving.unsaved is not None else OK
    return status, json.dumps(result.as_dict()) if arguments.json else served_text(result)


def _failed(part: Callable[[], object]) -> bool:
    """Do it; whether that failed, which is told."""
    try:
        part()
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or error)
        return True
    return False


def _say(problem: object) -> None:
    with suppress(OSError):  # who reads standard error may be gone, which is no reason to take a card from its guest
        complain(PROG, problem)


def _say_nothing(problem: object) -> None:
    pass


def served_text(result: ServingResult) -> str:
    """What became of each card, a line each."""
    lines = []
    for card in result.cards:
        words = [f"{card.clients} clients", f"{card.accesses:,} register accesses"]
        if card.refused:
            words.append(f"{card.refused} messages refused")
        if card.breaches is not None:
            words.append(f"{card.breaches} breaches of the manual")
        words += [f"{count} dropped: {reason}" for reason, count in card.drops.items()]
        lines.append(f"{card.socket}, {card.mac}: {', '.join(words)}")
    return "\n".join(lines)
