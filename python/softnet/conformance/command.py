"""`fastring check`, once its command line is read."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import nullcontext, suppress

from softnet.conformance.contract import CannotRun, check_options
from softnet.conformance.report import as_dict, as_text, is_clean, write_junit
from softnet.conformance.runner import Result, check_loads, given_up, in_process, run
from softnet.conformance.scenarios import Options, chosen, listing

OK, FOUND, INTERRUPTED = 0, 1, 128 + signal.SIGINT


def check(arguments: argparse.Namespace) -> tuple[int, str]:
    """Exit status, and what to print. Raises ValueError for what cannot be run, OSError for a report that cannot be written."""
    if arguments.list:
        return OK, listing()
    if arguments.driver is None:
        raise ValueError("which driver? MODULE:DRIVER is missing; see `fastring check --help`")
    names = chosen(arguments.only)
    check_loads(arguments.driver, arguments.timeout)
    if arguments.option:
        check_probe_takes(arguments.driver, [name for name, _ in arguments.option], arguments.timeout)
    with open(arguments.junit, "wb") if arguments.junit else nullcontext() as junit:  # before the run: it may take long
        results, interrupted = _run_all(arguments, names)
        text = json.dumps(as_dict(arguments.driver, results)) if arguments.json else as_text(arguments.driver, results)
        if junit is not None:
            try:
                write_junit(junit, arguments.driver, results)
                junit.flush()
            except OSError as error:
                print(text, flush=True)  # it took long, and is lost if this is
                with suppress(OSError):
                    junit.close()  # which tries it once more
                raise OSError(error.errno, error.strerror, arguments.junit) from None
    return INTERRUPTED if interrupted else OK if is_clean(results) else FOUND, text


def check_probe_takes(spec: str, names: list[str], timeout: float) -> None:
    """See whether the driver's probe takes such options, in a process of its own. Raises CannotRun."""

    def look() -> dict[str, str]:
        try:
            check_options(spec, names)
        except CannotRun as error:
            return {"error": str(error)}
        return {"error": ""}

    answer = in_process(lambda alive: look(), timeout, timeout)
    if answer.get("error"):
        raise CannotRun(answer["error"])


def _run_all(arguments: argparse.Namespace, names: list[str]) -> tuple[list[Result], bool]:
    """The results, and whether Ctrl-C ended it."""
    results: list[Result] = []
    options = Options(packets=arguments.packets, probe=dict(arguments.option))
    try:
        for name in names:
            _show(f"{len(results)} of {len(names)} done, now {name}")
            why = given_up(results)
            results.append(Result(name, "not run", why) if why else run(arguments.driver, name, options, arguments.timeout))
    except KeyboardInterrupt:
        return results + [Result(name, "not run", "interrupted") for name in names[len(results) :]], True
    finally:
        _show("")
    return results, False


def _show(text: str) -> None:
    """What it is at, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
