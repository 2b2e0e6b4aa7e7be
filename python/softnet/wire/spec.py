"""What the text of a wire spec says: KIND:NAME,OPTION=VALUE…, with wrappers before it: fault:loss=0.01@tap:tap0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

WRAPPED = "@"  # between a wrapper and the wire it wraps


def parse_argument(kind: str, argument: str, options: Mapping[str, Callable[[str], Any]], *, name: str = "") -> tuple[str, dict[str, Any]]:
    """Split NAME,OPTION=VALUE… into the name and its options, each converted by what `options` has for it.

    `name`: what the first word is called in messages; empty if there is none, and all are options. An option without a value is "on".
    Raises ValueError, one line, for a name that is missing, an option that is not there or twice, and a value its converter refuses.
    """
    words = argument.split(",") if argument else []
    own = ""
    if name:
        own = words.pop(0) if words else ""
        if not own:
            raise ValueError(f"the wire '{kind}' needs {'an' if name[0] in 'aeiou' else 'a'} {name}: {kind}:{name.upper()}")
    found: dict[str, Any] = {}
    for word in words:
        option, _, value = word.partition("=")
        if option not in options:
            known = ", ".join(options) or "none"
            raise ValueError(f"the wire '{kind}' has no option {option!r}: it has {known}")
        if option in found:
            raise ValueError(f"the wire '{kind}' is told {option!r} twice")
        try:
            found[option] = options[option](value if "=" in word else "on")
        except ValueError as error:
            raise ValueError(f"the wire '{kind}': {option}: {error}") from None
    return own, found


def switch(text: str) -> bool:
    """on or off."""
    if text not in ("on", "off"):
        raise ValueError(f"it is 'on' or 'off', not {text!r}")
    return text == "on"


def whole(least: int, most: int) -> Callable[[str], int]:
    """A converter for a whole number from `least` to `most`."""

    def convert(text: str) -> int:
        value = int(text) if text.isascii() and text.lstrip("-").isdecimal() and len(text) < 20 else None
        if value is None or not least <= value <= most:
            raise ValueError(f"it is a whole number of {least} to {most}, not {text!r}")
        return value

    return convert


def one_of(*words: str) -> Callable[[str], str]:
    """A converter for one of several words."""

    def convert(text: str) -> str:
        if text not in words:
            raise ValueError(f"it is {', '.join(words[:-1])} or {words[-1]}, not {text!r}")
        return text

    return convert


def chance(text: str) -> float:
    """0 to 1, or a percentage: 0.01 or 1%."""
    value = _number(text.removesuffix("%"))
    if value is not None and text.endswith("%"):
        value /= 100
    if value is None or not 0 <= value <= 1:
        raise ValueError(f"it is a chance from 0 to 1, or a percentage, not {text!r}")
    return value


def duration(text: str) -> int:
    """Nanoseconds of a time as tc takes it: 10ms, 250us, 1.5s, 800ns; without a unit it is microseconds."""
    value = _with_unit(text, {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9, "": 1e3})
    if value is None or value > 3600e9:
        raise ValueError(f"it is a time of at most an hour, such as 10ms or 250us, not {text!r}")
    return value


def bit_rate(text: str) -> int:
    """Bits a second as tc takes them: 10mbit, 1.5gbit, 64kbit; without a unit it is bits."""
    value = _with_unit(text, {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12, "bit": 1, "": 1})
    if value is None or not 1 <= value <= 1e15:
        raise ValueError(f"it is a rate such as 10mbit or 1gbit, not {text!r}")
    return value


def _with_unit(text: str, units: Mapping[str, float]) -> int | None:
    for unit, times in units.items():
        if text.lower().endswith(unit):
            value = _number(text[: len(text) - len(unit)])
            return None if value is None else round(value * times)
    return None


def _number(text: str) -> float | None:
    """A number in digits, with a point if need be; None for anything else."""
    whole_part, _, fraction = text.partition(".")
    digits = whole_part + fraction
    return float(text) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None
