"""`fastring trace`."""

from __future__ import annotations

import argparse

from e1000.trace import Selection, convert, open_trace
from softnet.cli_parser import Help, Parser, count, names
from softnet.commands.common import LOST, OK, complain

PROG = "fastring trace"


def _registers(text: str) -> list[str]:
    """Names of registers in either case; 0x00034 is what one without a name is called."""
    return names(text.upper().replace("0X", "0x"))


def parser() -> Parser:
    """The command line."""
    trace = Parser(
        prog="fastring trace",
        usage="fastring trace FILE [options]",
        description="Print the events of a trace, one a line: time in µs, card, category and event, with the names of\n"
        "registers and bits. `fastring replay --trace FILE` and e1000.trace.Trace record one.",
        epilog="categories: mmio, io, config, desc, dma, irq, frame, timer\n\n"
        "exit status:\n  0    all went well\n  1    the trace breaks off, or events were lost\n  2    bad usage or bad input",
        formatter_class=Help,
    )
    trace.add_argument("file", metavar="FILE", help="trace in JSON lines; - is standard input")
    trace.add_argument("--only", type=names, metavar="LIST", help="events of these categories alone: --only mmio,irq")
    trace.add_argument("--register", type=_registers, metavar="LIST", help="accesses to these registers alone: --register TDT,MTA")
    trace.add_argument("--card", type=count, metavar="N", help="events of this card alone, counted from 0")
    trace.add_argument("--head", type=count, metavar="N", help="the first N of these")
    trace.add_argument("--tail", type=count, metavar="N", help="the last N of these")
    trace.add_argument("--to", choices=("jsonl", "perfetto"), help="write them in this format instead")
    trace.add_argument("--out", metavar="FILE", help="write them to FILE, not to standard output")
    return trace


def run(arguments: argparse.Namespace) -> tuple[int, str]:
    """Do it; returns the exit status and what to print."""
    wanted = Selection(only=arguments.only, registers=arguments.register, card=arguments.card, head=arguments.head, tail=arguments.tail)
    with open_trace(arguments.file) as reader:
        try:
            convert(reader, wanted, to=arguments.to or "text", out=arguments.out)
        except BrokenPipeError:
            if arguments.out is not None:
                raise
            return OK, ""  # whoever reads it has seen enough
    if reader.problem:
        complain(PROG, reader.problem)
    return LOST if reader.problem else OK, ""
