"""The options of commands that filter and edit packets: tcpdump's expressions, tcprewrite's names."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from softnet.cli_parser import count

if TYPE_CHECKING:
    from softnet.rewrite import Editing


def _as(name: str) -> Callable[[str], Any]:
    """A parser of softnet.rewrite, imported when an option asks for it, whose ValueError is told as it is."""

    def parse(text: str) -> Any:
        import softnet.rewrite

        try:
            return getattr(softnet.rewrite, name)(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def _within(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = count(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not {least} to {most}")
        return value

    return parse


def add_edit_options(parser: argparse.ArgumentParser, *, mtu: bool = True) -> None:
    """Add --filter and all edits. Without `mtu`, --mtu is another option of the command's, which then holds for --mtu-trunc, too."""
    parser.add_argument("--filter", metavar="EXPRESSION", help="take the packets alone that match, as tcpdump: --filter 'tcp port 80'")
    edits = parser.add_argument_group("edits, with tcprewrite's names", "docs/rewrite.md has examples, and what differs from tcprewrite.")
    macs, maps, ports = _as("parse_macs"), _as("parse_ipmap"), _as("parse_portmap")
    edits.add_argument("--enet-dmac", type=macs, metavar="MAC[,MAC]", help="destination MAC address; a second one: of servers' packets")
    edits.add_argument("--enet-smac", type=macs, metavar="MAC[,MAC]", help="source MAC address")
    edits.add_argument("--enet-vlan", choices=("add", "del"), help="put a VLAN tag in front of all others, or take the first away")
    edits.add_argument("--enet-vlan-tag", type=_within(0, 4095), metavar="N", help="its VLAN, 0 to 4095")
    edits.add_argument("--enet-vlan-pri", type=_within(0, 7), metavar="N", help="its priority, 0 to 7 (default: the next tag's, or 0)")
    edits.add_argument("--enet-vlan-cfi", type=_within(0, 1), metavar="N", help="its CFI (DEI) bit (default: the next tag's, or 0)")
    edits.add_argument("--enet-vlan-proto", type=_as("parse_vlan_protocol"), metavar="PROTO", help="802.1q (default) or 802.1ad")
    edits.add_argument("--skipl2broadcast", action="store_true", help="leave broadcast and multicast MAC addresses alone")
    edits.add_argument("-S", "--srcipmap", type=maps, metavar="MAPS", help="source addresses: FROM:TO[,FROM:TO...], IPv6 in brackets")
    edits.add_argument("-D", "--dstipmap", type=maps, metavar="MAPS", help="destination addresses")
    edits.add_argument(
        "-N", "--pnat", type=maps, action="append", metavar="MAPS", help="both, and ARP's; given twice: clients' addresses, and servers'"
    )
    edits.add_argument("-s", "--seed", type=_within(0, 2**31 - 1), metavar="N", help="other IP addresses, the same for the same N")
    edits.add_argument("-b", "--skipbroadcast", action="store_true", help="leave broadcast and multicast IP addresses alone")
    edits.add_argument(
        "-r", "--portmap", type=ports, action="append", metavar="MAPS", help="ports of TCP and UDP: 80:8080, 8000-8999:80, 53+5353:53"
    )
    edits.add_argument("--ttl", type=_as("parse_ttl"), metavar="[+-]N", help="set TTL or hop limit, or change it: --ttl=-1")
    edits.add_argument("--tos", type=_within(0, 255), metavar="N", help="set the TOS byte of IPv4")
    edits.add_argument("--tclass", type=_within(0, 255), metavar="N", help="set the traffic class of IPv6")
    edits.add_argument("--flowlabel", type=_within(0, 0xFFFFF), metavar="N", help="set the flow label of IPv6")
    if mtu:
        edits.add_argument("-m", "--mtu", type=_within(68, 262144), metavar="N", help="what --mtu-trunc cuts to (default: 1500)")
    edits.add_argument("--mtu-trunc", action="store_true", help="cut packets longer than --mtu behind the Ethernet header")
    edits.add_argument("-F", "--fixlen", choices=("pad", "trunc", "del"), help="packets captured short: pad, shorten their headers, delete")
    edits.add_argument("--fixhdrlen", action="store_true", help="let IP's length say what the packet's is")
    edits.add_argument("-C", "--fixcsum", action="store_true", help="make all checksums anew, where they were wrong, too")


def editing_of(arguments: argparse.Namespace) -> Editing | None:
    """What these options ask for, or None. Raises ValueError where they contradict each other, and for a bad filter."""
    options = {name: value for name, value in vars(arguments).items() if name in NAMES}
    if arguments.filter is None and not any(value is not None and value is not False for name, value in options.items() if name != "mtu"):
        return None
    from softnet.rewrite import Editing, make_edits

    return Editing(edits=make_edits(options), filter=arguments.filter)


def _names() -> frozenset[str]:
    parser = argparse.ArgumentParser()
    add_edit_options(parser)
    return frozenset(vars(parser.parse_args([]))) - {"filter"}


NAMES = _names()
