"""`fastring forward`."""

from __future__ import annotations

import argparse
import json

from softnet.cli_parser import Help, Parser, count, seconds
from softnet.commands.common import LOST, OK, complain
from softnet.commands.observing import add_observation_options, observation_of, screen_of
from softnet.wire import wires_help

PROG = "fastring forward"


def _address(text: str) -> bytes:
    """Six bytes in hex."""
    try:
        address = bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        address = b""
    if len(address) != 6:
        raise argparse.ArgumentTypeError(f"{text!r} is no Ethernet address such as 02:00:00:00:00:01")
    return address


def _tag(text: str) -> int:
    """A VLAN, or VLAN:PRIORITY, as a TCI."""
    vlan, _, priority = text.partition(":")
    if vlan.isdecimal() and (priority or "0").isdecimal() and len(text) < 9 and int(vlan) < 4095 and int(priority or 0) < 8:
        return int(priority or 0) << 13 | int(vlan)
    raise argparse.ArgumentTypeError(f"{text!r} is no VLAN of 0 to 4094, or VLAN:PRIORITY of 0 to 7")


def parser() -> Parser:
    """The command line."""
    from softnet.forwarding import MODES

    modes = "\n".join(f"  {mode:<9} {what}" for mode, what in MODES.items())
    forward = Parser(
        prog=PROG,
        usage=f"{PROG} [--in SPEC] [--out SPEC] [options]",
        description="Forward packets from one wire to another, through a card and its driver at either, as DPDK's testpmd does.",
        epilog=f"modes, in which packets are sent on:\n{modes}\n\nwires:\n{wires_help()}\n\n"
        "exit status:\n  0    all went well; Ctrl-C is how it ends\n"
        "  1    packets were lost at a card or a wire, or a wire failed\n  2    bad usage",
        formatter_class=Help,
    )
    forward.add_argument("--in", dest="into", metavar="SPEC", help="the wire that packets come from, see below; or an interface's name")
    forward.add_argument("--out", metavar="SPEC", help="the wire that they leave by")
    forward.add_argument("--mode", choices=MODES, default="io", metavar="MODE", help="what becomes of them, see below (default: io)")
    forward.add_argument("--both", action="store_true", help="forward back from --out to --in, too")
    forward.add_argument(
        "--peer", type=_address, default=_address("02:00:00:00:00:00"), metavar="MAC", help="whom mac and those that make packets send to"
    )
    forward.add_argument("--vlan-pop", action="store_true", help="take the outermost VLAN tag off")
    forward.add_argument("--vlan-push", type=_tag, metavar="VLAN", help="put a VLAN tag on, after --vlan-pop; or VLAN:PRIORITY")
    forward.add_argument("-c", "--count", type=count, metavar="N", help="stop after N packets received, or with txonly and flowgen sent")
    forward.add_argument("--duration", type=seconds, metavar="SECONDS", help="stop after so long")
    forward.add_argument("--length", type=count, default=64, metavar="N", help="bytes of packets that are made (default: 64)")
    forward.add_argument("--flows", type=count, default=1024, metavar="N", help="flows of flowgen (default: 1024)")
    forward.add_argument("--mtu", type=count, default=1500, metavar="N", help="MTU of both cards, 46 to 16110 (default: 1500)")
    forward.add_argument("--json", action="store_true", help="print the result as one JSON object")
    add_observation_options(forward)
    return forward


def run(arguments: argparse.Namespace) -> tuple[int, str]:
    """Do it; returns the exit status and what to print."""
    from softnet.forwarding import Forwarding
    from softnet.report_forward import FORWARD_WHERE, forward_text

    with observation_of(arguments) as observation:
        forwarding = Forwarding(
            arguments.into,
            arguments.out,
            mode=arguments.mode,
            both=arguments.both,
            peer=arguments.peer,
            vlan_push=arguments.vlan_push,
            vlan_pop=arguments.vlan_pop,
            count=arguments.count,
            duration=arguments.duration,
            length=arguments.length,
            flows=arguments.flows,
            mtu=arguments.mtu,
            observation=observation,
        )
        observation.screen = screen_of(arguments, "forwarding", "packets", arguments.count)
        result = forwarding.run()
        result.problem = result.problem or observation.problem()
        observation.report(f"{PROG} --mode {arguments.mode}", result.as_dict(), forwarding.histograms(), where=FORWARD_WHERE)
    if result.problem is not None:
        complain(PROG, result.problem)
    text = json.dumps(result.as_dict()) if arguments.json else forward_text(result)
    lost = "tx_full" in result.drops or any(port.drops for port in result.ports)
    return LOST if lost or result.problem is not None else OK, text
