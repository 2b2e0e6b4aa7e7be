"""`fastring rewrite`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from softnet.cli_parser import Help, Parser
from softnet.commands.common import INTERRUPTED, LOST, OK, beside, complain, is_stdout
from softnet.commands.edits import add_edit_options, editing_of

if TYPE_CHECKING:
    from softnet.rewrite import RewriteResult

PROG = "fastring rewrite"
TOLD = {
    "unselected": "left out: the cache file says they are not sent",
    "filtered": "left out: they do not match the filter",
    "deleted": "left out: captured short (--fixlen=del)",
    "malformed": "have headers cut short or wrong: edited as far as these can be believed",
    "unchecked": "have a checksum to make anew whose bytes are not all there: left as it was",
    "failed": "could not be written",
}


def parser() -> Parser:
    """The command line."""
    rewrite = Parser(
        prog=PROG,
        usage="fastring rewrite IN OUT [options]",
        description="Write the packets of a capture to another, filtered and edited, with their times and original lengths.",
        epilog="exit status:\n  0    all went well\n  1    the capture breaks off, or packets could not be written\n"
        "  2    bad usage or bad input\n  130  interrupted (Ctrl-C); what was written so far is whole",
        formatter_class=Help,
    )
    rewrite.add_argument("input", metavar="IN", help="pcap or pcapng file, also gzipped; - is standard input")
    rewrite.add_argument("output", metavar="OUT", help="pcapng if it ends in .pcapng, else pcap; - is standard output")
    rewrite.add_argument("-c", "--cachefile", metavar="FILE", help="a cache file of tcpprep's says which packets are clients' and servers'")
    add_edit_options(rewrite)
    rewrite.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return rewrite


def run(arguments: argparse.Namespace) -> tuple[int, str]:
    """Do it; returns the exit status and what to print."""
    from softnet.rewrite import Editing, rewrite

    captures = is_stdout(arguments.output)
    result = rewrite(arguments.input, arguments.output, editing_of(arguments) or Editing(), cachefile=arguments.cachefile)
    for problem in result.problems:
        complain(PROG, problem)
    text = json.dumps(result.as_dict()) if arguments.json else rewrite_text(result)
    text = beside(text, captures)
    if result.interrupted:
        return INTERRUPTED, text
    return OK if result.complete and not result.failed else LOST, text


def rewrite_text(result: RewriteResult) -> str:
    """A few lines for a person."""
    lines = [f"{result.written:,} of {result.read:,} packets written, {result.edited:,} of them edited"]
    lines += [f"  {getattr(result, name):,} {what}" for name, what in TOLD.items() if getattr(result, name)]
    return "\n".join(lines)
