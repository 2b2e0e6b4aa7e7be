"""Checks for every Stack that is made from now on: for test sessions."""

from __future__ import annotations

from typing import Any

from softnet.checks.checker import KEEP, Checker, Mode
from softnet.checks.probes import Wrapper, probe
from softnet.stack import Stack

_checkers: list[Checker] = []


def enable_everywhere(*, mode: Mode = "collect", keep: int = KEEP) -> Checker:
    """A Checker that watches every Stack made until it is closed; the latest of several does."""
    checker = Checker(mode=mode, keep=keep)
    _checkers.append(checker)
    return checker


@probe(Stack, "__init__")
def _stack_made(original: Wrapper, stack: Stack, **kwargs: Any) -> None:
    original(stack, **kwargs)
    while _checkers and not _checkers[-1].active:
        _checkers.pop()
    if _checkers:
        _checkers[-1].watch(stack)
