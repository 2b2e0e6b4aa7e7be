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
