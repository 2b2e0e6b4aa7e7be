"""`fastring ip link`: show and set the interfaces of a running card (iproute2's ip/iplink.c)."""

from __future__ import annotations

import argparse
import errno
import json
import re
from collections.abc import Callable
from typing import Any

from softnet.cli_parser import Parser
from softnet.control import ControlClient
from softnet.control.client import ControlError
from softnet.ethernet import ETH_ALEN
from softnet.stack import IFNAMSIZ
from softnet.tools.common import Task, ToolError, new_parser, pretty, words_for

USAGE = "fastring ip [-s] [-s] [-d] [-br] [-o] [-j [-p]] link [show [[dev] DEV] [up] | set [dev] DEV CHANGE...]"
EPILOG = """changes, for `set`:
  up | down               promisc { on | off }       mtu MTU
  name NAME               allmulticast { on | off }  txqueuelen PACKETS
  address LLADDR          multicast { on | off }     alias TEXT
  carrier { on | off }    arp { on | off }           group NUMBER
  mode { default | dormant }                         state { up | dormant | ... }

Words may be abbreviated as with ip: `fastring ip -s l`.

exit status: 0, 1 for what ip itself refuses, 2 for what the card's stack refuses, 255 for bad usage, as ip's"""
SYNTAX, REFUSED, USAGE_STATUS = 1, 2, 255
ON_OFF = ("promisc", "allmulticast", "multicast", "arp", "carrier")
NUMBERS = ("mtu", "txqueuelen")  # int
SAME = {"qlen": "txqueuelen", "txqlen": "txqueuelen"}
STATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")


def parser() -> Parser:
    """Its command line."""
    parser = new_parser("ip", USAGE, "Show and set the interfaces of a running card, with ip's words and columns.", EPILOG)
    parser.bad_usage = USAGE_STATUS
    parser.add_argument("-s", "-stats", "-statistics", action="count", default=0, dest="stats", help="statistics; twice: by kind of error")
    parser.add_argument("-d", "-details", action="store_true", dest="details", help="limits, numbers of queues and the like")
    parser.add_argument("-br", "-brief", action="store_true", dest="brief", help="a line for each: name, state, address, flags")
    parser.add_argument("-o", "-oneline", action="store_true", dest="oneline", help="a line for each, with all there is")
    parser.add_argument("-j", "-json", action="store_true", dest="json", help="print JSON")
    parser.add_argument("-p", "-pretty", action="store_true", dest="pretty", help="lay the JSON out for people")
    return parser


def read(arguments: argparse.Namespace) -> Task:
    """What a command line asks for. Raises ToolError."""
    words = list(arguments.words)
    if not words or words in (["help"], ["link", "help"]):
        raise ToolError(USAGE_STATUS, f"Usage: {USAGE}", "See `fastring ip --help`.")
    if not _matches(words[0], "link"):
        raise ToolError(SYNTAX, f'Object "{words[0]}" is unknown, try "ip help".')
    command = words[1] if len(words) > 1 else "show"
    if _matches(command, "set") or _matches(command, "change"):
        dev, change = read_set(words[2:])
        return lambda client: _set(client, dev, change)
    if _matches(command, "show") or _matches(command, "lst") or _matches(command, "list"):
        shown = _read_show(words[2:])
        return lambda client: _show(client, arguments, shown)
    raise ToolError(USAGE_STATUS, f'Command "{command}" is unknown, try "ip link help".')


def _matches(word: str, whole: str) -> bool:
    """matches(): whether it is an abbreviation."""
    return word != "" and whole.startswith(word)


# --- show ---


def _read_show(words: list[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "up":
            shown["up"] = True
            continue
        word = _next(left) if word == "dev" else word
        if "dev" in shown:
            raise _garbage(word)
        shown["dev"] = word
    return shown


def _show(client: ControlClient, arguments: argparse.Namespace, shown: dict[str, Any]) -> int:
    try:
        as_json = arguments.json or arguments.brief
        text = client.call("link.show", stats=arguments.stats, details=arguments.details, json=as_json, **shown)
    except ControlError as error:
        raise ToolError(SYNTAX, error.strerror or "") from None  # 'Device "eth9" does not exist.'
    if arguments.brief:
        entries = [{key: entry[key] for key in BRIEF} if entry else {} for entry in json.loads(text)]
        text = json.dumps(entries, separators=(",", ":")) + "\n" if arguments.json else brief(entries)
    elif arguments.oneline and not arguments.json:
        text = oneline(text)
    print(pretty(json.loads(text)) if arguments.json and arguments.pretty else text, end="")
    return 0


BRIEF = ("ifname", "operstate", "address", "flags")


def brief(entries: list[dict[str, Any]]) -> str:
    """`ip -br link`, of what `ip -j link` has (print_linkinfo_brief)."""
    return "".join(f"{e['ifname']:<16} {e['operstate']:<14} {e['address']} <{','.join(e['flags'])}> \n" for e in entries if e)


def oneline(text: str) -> str:
    """`ip -o link`: a backslash where a line of a device would end."""
    return text.replace("\n ", "\\ ")


# --- set ---


def read_set(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The device and the changes of `ip link set` (iplink_parse). Raises ToolError."""
    dev: str | None = None
    change: dict[str, Any] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        key = SAME.get(word, word)
        if key in ("up", "down"):
            change["up"] = key == "up"
        elif key in ON_OFF:
            change[key] = _on_off(key, _next(left))
        elif key in NUMBERS or key in READERS:
            value = _next(left)
            if key in change and key != "alias":
                raise ToolError(USAGE_STATUS, f'Error: duplicate "{key}": "{value}" is the second value.')
            change[key] = _number(key, value) if key in NUMBERS else READERS[key](value)
        else:
            word = _next(left) if key == "dev" else word
            if dev is not None:
                raise _garbage(word)
            dev = word
    if dev is None:
        raise ToolError(USAGE_STATUS, 'Not enough information: "dev" argument is required.')
    return dev, change


def _next(left: list[str]) -> str:
    if not left:
        raise ToolError(USAGE_STATUS, 'Command line is not complete. Try option "help"')
    return left.pop(0)


def _garbage(word: str) -> ToolError:
    return ToolError(USAGE_STATUS, f'Error: either "dev" is duplicate, or "{word}" is a garbage.')


def _wrong(word: str, why: str) -> ToolError:
    return ToolError(USAGE_STATUS, f'Error: argument "{word}" is wrong: {why}')


def _on_off(key: str, value: str) -> bool:
    if value not in ("on", "off"):
        if key == "carrier":  # it is read by another function of ip's
            raise ToolError(errno.EINVAL, f'Error: argument of "{key}" must be one of "off", "on", not "{value}"')
        raise ToolError(SYNTAX, f'Error: argument of "{key}" must be "on" or "off", not "{value}"')
    return value == "on"


def _integer(text: str) -> int | None:
    """A number as C's strtol has it, of 0x and 0 too."""
    match = re.fullmatch(r"([+-]?)(?:0[xX]([0-9a-fA-F]{1,16})|0([0-7]{0,20})|([1-9][0-9]{0,19}))", text)
    if match is None:
        return None
    sign, hexadecimal, octal, decimal = match.groups()
    value = int(hexadecimal, 16) if hexadecimal else int(decimal) if decimal else int(octal or "0", 8)
    return -value if sign == "-" else value


def _number(key: str, text: str) -> int:
    value = _integer(text)
    if value is None or not -(2**31) <= value < 2**31:
        raise _wrong(text, f'Invalid "{key}" value\n')
    return value & 0xFFFFFFFF


def _name(text: str) -> str:
    if not 0 < len(text.encode(errors="surrogateescape")) < IFNAMSIZ or "/" in text or any(c.isspace() for c in text):
        raise _wrong(text, '"name" not a valid ifname')
    return text


def _address(text: str) -> str:
    """ll_addr_a2n."""
    parts = text.split(":")
    for part in parts:
        if not re.fullmatch("[0-9a-fA-F]{1,2}", part):
            raise ToolError(SYNTAX, f'"{part}" is invalid lladdr.')
    if len(parts) != ETH_ALEN:
        raise ToolError(SYNTAX, f"Invalid address length {len(parts)} - must be {ETH_ALEN} bytes")
    return ":".join(f"{int(part, 16):02x}" for part in parts)


def _group(text: str) -> int:
    value = 0 if text == "default" else _integer(text)
    if value is None or not 0 <= value <= 0xFFFFFFFF:
        raise _wrong(text, 'Invalid "group" value\n')
    return value


def _state(text: str) -> str:
    if text.lower() not in STATES:
        raise _wrong(text, "Invalid operstate\n")
    return text.lower()


def _mode(text: str) -> str:
    if text.lower() not in ("default", "dormant"):
        raise _wrong(text, "Invalid link mode\n")
    return text.lower()


READERS: dict[str, Callable[[str], Any]] = {
    "name": _name, "address": _address, "alias": str, "group": _group, "state": _state, "mode": _mode,
}  # fmt: skip


def _set(client: ControlClient, dev: str, change: dict[str, Any]) -> int:
    if dev not in client.call("devices"):
        raise ToolError(SYNTAX, f'Cannot find device "{dev}"')
    try:
        client.call("link.set", dev=dev, **change)
    except ControlError as error:
        raise ToolError(REFUSED, f"Error: {error.extack}." if error.extack else f"RTNETLINK answers: {words_for(error)}") from None
    return 0
