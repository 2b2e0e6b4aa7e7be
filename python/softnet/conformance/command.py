"""`fastring check`, once its command line is read."""

from __future__ import annotations

import argparse
import json
import signal

from softnet.conformance.report import as_dict, as_text, is_clean, write_junit
from softnet.conformance.runner import Result, check_loads, run
from softnet.conformance.scenarios import Options, chosen, listing

OK, FOUND, INTERRUPTED = 0, 1, 128 + signal.SIGINT


def check(arguments: argparse.Namespace) -> tuple[int, str]:
    """Exit status, and what to print. Raises ValueError for what cannot be run, OSError for a report that cannot be written."""
    if arguments.list:
        return OK, listing()
    if arguments.driver is None:
        raise ValueError(f"which driver? MODULE:DRIVER is missing; see `{arguments.prog} --help`")
    names = chosen(arguments.only)
    check_loads(arguments.driver, arguments.timeout)
    results: list[Result] = []
    status = OK
    try:
        for result in run(arguments.driver, names, Options(packets=arguments.packets), arguments.timeout):
            results.append(result)
        status = OK if is_clean(results) else FOUND
    except KeyboardInterrupt:
        status = INTERRUPTED
        results += [Result(name, "not run", "interrupted") for name in names[len(results) :]]
    if arguments.junit:
        write_junit(arguments.junit, arguments.driver, results)
    return status, json.dumps(as_dict(arguments.driver, results)) if arguments.json else as_text(arguments.driver, results)
