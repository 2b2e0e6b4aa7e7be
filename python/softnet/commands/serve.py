"""`fastring serve`."""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import TYPE_CHECKING

from softnet.cli_parser import Help, Parser
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
        "  1    the wire failed, or events of the trace were lost\n  2    bad usage",
        formatter_class=Help,
    )
    serve.add_argument(
        "--socket", action="append", required=True, metavar="PATH", help="where the client connects; again: a card more, on the same wire"
    )
    serve.add_argument("--wire", required=True, metavar="SPEC", help="what the card is plugged into, see below")
    serve.add_argument("--mac", metavar="MAC", help="the card's station address (default: 52:54:00:12:34:56, or the EEPROM's)")
    serve.add_argument("--eeprom", metavar="FILE", help="keep the card's EEPROM in FILE, 128 bytes: it is made if it is not there")
    serve.add_argument("--strict", action="store_true", help="tell of each thing that the guest's driver does against the manual")
    serve.add_argument(
        "--trace", metavar="FILE", help="write all that happens on the cards: for Perfetto if FILE ends in .json, else for `fastring trace`"
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

    tell = partial(_say_nothing if arguments.quiet else complain, PROG)
    with Serving(
        arguments.socket,
        arguments.wire,
        mac=arguments.mac,
        eeprom=arguments.eeprom,
        strict=arguments.strict,
        trace=arguments.trace,
        map_doorbells=arguments.map_doorbells,
        tell=tell,
    ) as serving:
        status = OK
        try:
            result = serving.run()
        except OSError as error:
            complain(PROG, error)
            result, status = serving.result(), LOST
    if result.trace_lost:
        status = LOST
    return status, json.dumps(result.as_dict()) if arguments.json else served_text(result)


def _say_nothing(prog: str, problem: object) -> None:
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
