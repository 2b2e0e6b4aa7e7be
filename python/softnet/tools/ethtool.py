"""`fastring ethtool`: what a running card's driver has and does (ethtool.c): its command line, and what is asked for it.

What is printed is made by ethtool_text. Errors and exit statuses are ethtool's own, which differ from option to option.
"""

from __future__ import annotations

import argparse
import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from softnet.cli_parser import Parser
from softnet.control import ControlClient
from softnet.control.client import ControlError
from softnet.ethtool_features import features_named
from softnet.ethtool_ops import wake_letters
from softnet.tools import ethtool_text as text
from softnet.tools.common import Task, ToolError, new_parser, pretty, words_for

USAGE = "fastring ethtool [--json] [OPTION] DEV [SETTING VALUE]..."
EPILOG = """settings:
  -G  rx N  tx N                             -A  autoneg on|off  rx on|off  tx on|off
  -C  rx-usecs N  ... as -c shows them       -K  FEATURE on|off, as -k shows them, or rx tx sg tso gso gro rxvlan txvlan
  -s  speed N  duplex half|full  autoneg on|off  wol p|u|m|b|a|g|s|f|d...  msglvl N
  -t  online|offline                         -p  SECONDS
  -e  offset N  length N                     -E  magic N  offset N  value N
  -d  hex on|off

exit status: 0, or ethtool's own for what went wrong"""
BAD_USAGE = 1
LEASE = 2  # seconds for which a light blinks unless it is told again


@dataclass(frozen=True)
class Mode:
    """One option: what it runs, whether words may follow the device, whether it prints JSON."""

    letter: str
    long: str
    help: str
    run: Callable[[Call], int]
    words: bool = False
    json: bool = False


@dataclass(frozen=True)
class Call:
    """One run of the tool."""

    client: ControlClient
    device: str
    words: list[str]
    json: bool

    def ask(self, method: str, **parameters: Any) -> Any:
        """One of softnet.ethtool's functions. Raises ControlError."""
        return self.client.call(f"ethtool.{method}", dev=self.device, **parameters)

    def ask_netlink(self, method: str, status: int, **parameters: Any) -> Any:
        """The same for what ethtool asks by netlink, whose errors all look alike. Raises ToolError."""
        try:
            return self.ask(method, **parameters)
        except ControlError as error:
            raise ToolError(status, *netlink_error(error)) from None

    def ask_ioctl(self, method: str, what: str, status: int, **parameters: Any) -> Any:
        """And for what it asks by ioctl: `what` cannot be done."""
        try:
            return self.ask(method, **parameters)
        except ControlError as error:
            raise ToolError(status, f"{what}: {words_for(error)}") from None

    def has_device(self) -> bool:
        """Whether there is such a device: some options ask for something else first, and fail with other words."""
        return self.device in self.client.call("devices")


def netlink_error(error: ControlError) -> list[str]:
    """The kernel's own words, if it has some, and the errno's."""
    words = "no device matches name" if error.errno == errno.ENODEV else error.extack
    return [f"netlink error: {line}" for line in (words, words_for(error)) if line]


# --- the command line ---


def parser() -> Parser:
    """Its command line."""
    parser = new_parser("ethtool", USAGE, "Show and set what a running card's driver has, with ethtool's words and columns.", EPILOG)
    parser.bad_usage = BAD_USAGE
    which = " ".join(f"-{mode.letter}" for mode in MODES if mode.json)
    parser.add_argument("--json", action="store_true", help=f"print JSON, where ethtool does: {which}")
    options = parser.add_mutually_exclusive_group()
    for mode in MODES:
        if mode.letter:
            options.add_argument(f"-{mode.letter}", f"--{mode.long}", action="store_const", const=mode, dest="mode", help=mode.help)
    return parser


def read(arguments: argparse.Namespace) -> Task:
    """What a command line asks for. Raises ToolError."""
    mode: Mode = arguments.mode or MODES[0]
    words = list(arguments.words)
    if not words or (arguments.json and not mode.json):
        raise ToolError(BAD_USAGE, "ethtool: bad command line argument(s)", "For more information run fastring ethtool -h")
    device = words.pop(0)
    if words and not mode.words:
        raise ToolError(BAD_USAGE, f"ethtool: unexpected parameter '{words[0]}'")
    return lambda client: mode.run(Call(client, device, words, arguments.json))


Reader = Callable[[str], Any]  # of a value; raises ValueError


def settings(letter: str, words: list[str], readers: dict[str, Reader]) -> dict[str, Any]:
    """Pairs of a name and a value (nl_parser). Raises ToolError."""
    found = {}
    left = list(words)
    while left:
        name = left.pop(0)
        if name not in readers:
            raise ToolError(BAD_USAGE, f"ethtool (-{letter}): unknown parameter '{name}'")
        if not left:
            raise ToolError(BAD_USAGE, f"ethtool (-{letter}): no value for parameter '{name}'")
        value = left.pop(0)
        try:
            found[name] = readers[name](value)
        except ValueError:
            raise ToolError(BAD_USAGE, f"ethtool (-{letter}): invalid value '{value}' for parameter '{name}'") from None
    return found


def u32(word: str) -> int:
    """A number, also in hexadecimal."""
    value = int(word, 0)
    if not 0 <= value <= 0xFFFFFFFF:
        raise ValueError(word)
    return value


def on_off(word: str) -> bool:
    """A switch."""
    return ("off", "on").index(word) == 1


def u8bool(word: str) -> int:
    """A switch, as the kernel has it among numbers."""
    return int(on_off(word))


def one_of(*words: str) -> Reader:
    """One of some words."""
    return lambda word: words[words.index(word)]


# --- what each does ---


def _show_settings(call: Call) -> int:
    found = call.ask_netlink("get_settings", 75)
    if not found:
        print("No data available")
        return 75
    print(text.settings(call.device, found), end="")
    return 0


def _set_settings(call: Call) -> int:
    readers: dict[str, Reader] = {
        "speed": u32, "duplex": one_of("half", "full"), "autoneg": on_off, "wol": wake_letters, "msglvl": u32,
    }  # fmt: skip
    change = settings("s", call.words, readers)
    if "wol" in change:
        change["wolopts"] = change.pop("wol")
    if change or not call.has_device():
        call.ask_netlink("set_settings", 75, **change)
    return 0


def _show_stats(call: Call) -> int:
    try:
        stats = call.ask("get_ethtool_stats")
    except ControlError as error:
        if error.errno == errno.ENODEV:
            raise ToolError(96, f"Cannot get stats strings information: {words_for(error)}") from None
        if error.errno == errno.EOPNOTSUPP:
            stats = {}
        else:
            raise ToolError(97, f"Cannot get stats information: {words_for(error)}") from None
    if not stats:
        raise ToolError(94, "no stats available")
    print(text.stats(stats), end="")
    return 0


def _shower(method: str, show: Callable[[str, Any], str], as_json: Callable[[str, Any], dict[str, Any]]) -> Callable[[Call], int]:
    """An option that shows what one method gives."""

    def run(call: Call) -> int:
        found = call.ask_netlink(method, 1)
        print(pretty([as_json(call.device, found)]) if call.json else show(call.device, found), end="")
        return 0

    return run


def _setter(letter: str, method: str, status: int, names: dict[str, tuple[str, Reader]]) -> Callable[[Call], int]:
    """An option that sets what one method takes; `names`: ethtool's, with the method's and how it is read."""

    def run(call: Call) -> int:
        change = settings(letter, call.words, {name: reader for name, (_, reader) in names.items()})
        call.ask_netlink(method, status, **{names[name][0]: value for name, value in change.items()})
        return 0

    return run


def _set_features(call: Call) -> int:
    wanted: dict[str, bool] = {}
    left = list(call.words)
    while left:
        name = left.pop(0)
        value = left.pop(0) if left else "(null)"
        if value not in ("on", "off"):
            raise ToolError(1, f"ethtool (-K): flag '{value}' for parameter '{name}' is not followed by 'on' or 'off'")
        wanted |= dict.fromkeys(features_named(name), value == "on")
    answer = call.ask_netlink("set_features", 92, wanted=wanted)
    print(text.feature_changes(wanted, answer["unmet"], answer["changed"]), end="")
    if wanted and answer["unmet"].keys() == wanted.keys():
        raise ToolError(1, "Could not change any device features")
    return 0


def _show_drvinfo(call: Call) -> int:
    print(text.drvinfo(call.ask_ioctl("get_drvinfo", "Cannot get driver information", 71)), end="")
    return 0


def _show_regs(call: Call) -> int:
    in_hex = settings("d", call.words, {"hex": on_off}).get("hex", False)
    if not call.has_device():
        raise ToolError(72, "Cannot get driver information: No such device")
    print(text.regs(call.ask_ioctl("get_regs", "Cannot get register dump", 74), in_hex=in_hex), end="")
    return 0


def _test(call: Call) -> int:
    if not call.has_device():
        raise ToolError(74, "Cannot get strings: No such device")
    if call.words not in ([], ["offline"], ["online"]):
        raise ToolError(BAD_USAGE, "ethtool: bad command line argument(s)", "For more information run fastring ethtool -h")
    results = call.ask_ioctl("self_test", "Cannot test", 74, offline=call.words != ["online"])
    print(text.test_results(results), end="")
    return int(any(results.values()))


def _nway_reset(call: Call) -> int:
    call.ask_ioctl("nway_reset", "Cannot restart autonegotiation", 255)
    return 0


def _identify(call: Call) -> int:
    """Blink for so long, or until Ctrl-C; told again every second, so that the light goes out if this process does."""
    try:
        left = u32(call.words[0]) if call.words else 0
        if len(call.words) > 1:
            raise ValueError
    except ValueError:
        raise ToolError(BAD_USAGE, "ethtool: bad command line argument(s)", "For more information run fastring ethtool -h") from None
    end = time.monotonic() + left if left else float("inf")
    while (now := time.monotonic()) < end:
        call.ask_ioctl("set_phys_id", "Cannot identify NIC", 255, seconds=LEASE if end - now > LEASE else max(1, round(end - now)))
        time.sleep(min(1.0, end - now))
    return 0


def _show_permaddr(call: Call) -> int:
    try:
        address = call.ask("get_permaddr")
    except ControlError as error:
        raise ToolError(1, f"netlink error: {words_for(error)}") from None
    print(f"Permanent address: {address or 'not set'}")
    return 0


def _show_eeprom(call: Call) -> int:
    wanted = settings("e", call.words, {"offset": u32, "length": u32})
    if not call.has_device():
        raise ToolError(74, "Cannot get driver information: No such device")
    size = call.ask_ioctl("get_drvinfo", "Cannot get driver information", 74)["eedump_len"]
    offset = wanted.get("offset", 0)
    length = min(wanted.get("length", size), max(0, size - offset))
    found = call.ask_ioctl("get_eeprom", "Cannot get EEPROM data", 74, offset=offset, length=length)
    print(text.hex_dump(bytes.fromhex(found["data"]), offset), end="")
    return 0


def _set_eeprom(call: Call) -> int:
    """One byte, as `ethtool -E DEV magic N offset N value N` writes it."""
    wanted = settings("E", call.words, {"magic": u32, "offset": u32, "value": u32, "length": u32})
    if wanted.get("length", 1) != 1 or wanted.get("value", 256) > 255:
        raise ToolError(BAD_USAGE, "ethtool: bad command line argument(s)", "For more information run fastring ethtool -h")
    if not call.has_device():
        raise ToolError(74, "Cannot get driver information: No such device")
    offset, data = wanted.get("offset", 0), bytes([wanted["value"]]).hex()
    call.ask_ioctl("set_eeprom", "Cannot set EEPROM data", 87, magic=wanted.get("magic", 0), offset=offset, data=data)
    return 0


RINGS: dict[str, tuple[str, Reader]] = {
    "rx": ("rx_pending", u32), "rx-mini": ("rx_mini_pending", u32), "rx-jumbo": ("rx_jumbo_pending", u32), "tx": ("tx_pending", u32),
}  # fmt: skip
PAUSE: dict[str, tuple[str, Reader]] = {"autoneg": ("autoneg", on_off), "rx": ("rx_pause", on_off), "tx": ("tx_pause", on_off)}
COALESCE: dict[str, tuple[str, Reader]] = {
    name: (field, u8bool if name.startswith("adaptive") else u32) for name, field in text.COALESCE_FIELDS.items()
}

MODES = (
    Mode("", "", "", _show_settings),
    Mode("s", "change", "change link, wake-up and message level", _set_settings, words=True),
    Mode("a", "show-pause", "show pause parameters", _shower("get_pauseparam", text.pause, text.pause_json), json=True),
    Mode("A", "pause", "set them", _setter("A", "set_pauseparam", 76, PAUSE), words=True),
    Mode("c", "show-coalesce", "show interrupt coalescing", _shower("get_coalesce", text.coalesce, text.coalesce_json), json=True),
    Mode("C", "coalesce", "set it", _setter("C", "set_coalesce", 1, COALESCE), words=True),
    Mode("g", "show-ring", "show the sizes of the rings", _shower("get_ringparam", text.rings, text.rings_json), json=True),
    Mode("G", "set-ring", "set them", _setter("G", "set_ringparam", 81, RINGS), words=True),
    Mode("k", "show-features", "show offloads and other features", _shower("get_features", text.features, text.features_json), json=True),
    Mode("K", "features", "set them", _set_features, words=True),
    Mode("i", "driver", "show the driver", _show_drvinfo),
    Mode("d", "register-dump", "show registers", _show_regs, words=True),
    Mode("e", "eeprom-dump", "show the EEPROM", _show_eeprom, words=True),
    Mode("E", "change-eeprom", "change a byte of it", _set_eeprom, words=True),
    Mode("r", "negotiate", "negotiate the link anew", _nway_reset),
    Mode("p", "identify", "blink", _identify, words=True),
    Mode("t", "test", "test the card", _test, words=True),
    Mode("S", "statistics", "show the driver's statistics", _show_stats),
    Mode("P", "show-permaddr", "show the permanent address", _show_permaddr),
)
