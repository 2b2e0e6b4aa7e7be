"""Running scenarios, each in a process of its own: a driver that hangs, crashes or exits takes nothing down but its scenario."""

from __future__ import annotations

import faulthandler
import json
import logging
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import IO, Any

from softnet.conformance.bench import Bench, Failed
from softnet.conformance.contract import CannotRun, describe, load_driver
from softnet.conformance.manual import DOCUMENT
from softnet.conformance.places import OURS, driver_frame, short
from softnet.conformance.scenarios import Options, run_scenario

PACKETS_PER_SECOND = 500  # each way, in Python and with every rule checked: what a time limit allows for
MOST_TIMEOUTS = 2  # scenarios: then the others are not run
GRACE = 2.0  # seconds after its time limit until a process that does not end is killed


@dataclass(frozen=True)
class Found:
    """One thing that is wrong with the driver. `rule`, `document`: of softnet.checks, or "" for what a scenario found by itself."""

    rule: str
    document: str
    topic: str
    operation: str
    where: str
    detail: str
    instead: str


@dataclass
class Result:
    """What became of a scenario: "ok", "failed" or "not run", and why in one line."""

    name: str
    status: str
    why: str
    seconds: float = 0.0
    found: list[Found] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)  # by rule: how often it was broken


class TimedOut(Result):
    """Of a scenario that did not come to an end."""


def check_loads(spec: str, timeout: float) -> None:
    """See whether there is such a driver, in a process of its own. Raises CannotRun."""
    answer = in_process(lambda alive: _try_load(spec), timeout, timeout)
    if "died" in answer:
        raise CannotRun(f"importing {spec.rpartition(':')[0]!r} {answer['died']}")
    if answer["error"]:
        raise CannotRun(answer["error"])


def _try_load(spec: str) -> dict[str, Any]:
    try:
        load_driver(spec)
    except CannotRun as error:
        return {"error": str(error)}
    return {"error": ""}


def run(spec: str, name: str, options: Options, timeout: float) -> Result:
    """Run one scenario of a driver, which has `timeout` seconds, in `traffic` for every few packets."""
    most = timeout + (options.packets / PACKETS_PER_SECOND if name == "traffic" else 0)
    began = time.monotonic()
    answer = in_process(lambda alive: asdict(_run_here(spec, name, replace(options, alive=alive))), timeout, most)
    if "died" in answer:
        why = f"the driver {answer['died']}"
        found = Found("", "", name, "", answer["where"], why, answer["instead"])
        result = (TimedOut if answer["timed_out"] else Result)(name, "failed", why, found=[found])
    else:
        answer["found"] = [Found(**found) for found in answer["found"]]
        result = Result(**answer)
    result.seconds = time.monotonic() - began
    return result


def given_up(results: Sequence[Result]) -> str:
    """Why no further scenario is worth its time, or ""."""
    endless = [result.name for result in results if isinstance(result, TimedOut)]
    return f"{' and '.join(endless)} did not come to an end" if len(endless) >= MOST_TIMEOUTS else ""


# --- in the process of a scenario ---


def _run_here(spec: str, name: str, options: Options) -> Result:
    driver = load_driver(spec)
    result = Result(name, "ok", "")
    benches: list[Bench] = []
    try:
        result.why = run_scenario(name, driver, options, benches.append)
    except Failed as error:
        result.status, result.why = "failed", str(error)
        result.found.append(Found("", "", name, "", "", str(error), error.instead))
    except BaseException as error:  # the driver's: SystemExit, too
        where = driver_frame(traceback.extract_tb(error.__traceback__))
        operation = f"in {where[1]} " if where else ""
        result.status, result.why = "failed", f"{operation}{describe(error)}".strip()
        place = where[0] if where else ""
        result.found.append(Found("", "", name, where[1] if where else "", place, f"it raised {describe(error)}", "find out why"))
    for bench in benches:
        with suppress(Exception):
            bench.checker.close()
        _add_findings(result, bench)
    return result


def _add_findings(result: Result, bench: Bench) -> None:
    seen = set()
    for finding in bench.checker.findings:
        rule = finding.rule
        found = Found(str(rule), rule.document, rule.topic, finding.operation, finding.where, finding.detail, rule.instead)
        if (found.rule, found.where, found.operation) not in seen:
            seen.add((found.rule, found.where, found.operation))
            result.found.append(found)
        result.counts[found.rule] = bench.checker.counts[rule.number]
    for access in bench.manual.accesses:
        instead = f"see what section {access.breach.section} asks of this access"
        result.found.append(Found(access.rule, DOCUMENT, access.topic, access.operation, access.where, access.detail, instead))
    result.counts |= bench.manual.counts
    if result.counts and result.status == "ok":
        result.status, result.why = "failed", f"{', '.join(result.counts)} broken"


# --- processes ---


Alive = Callable[[], object]  # called by work that is at something new: its time limit starts anew


def in_process(work: Callable[[Alive], dict[str, Any]], limit: float, most: float) -> dict[str, Any]:
    """What `work` returns, called in a child; or {"died": how, "where": file:line} if it did not live to tell.

    It has `limit` seconds, from its start and from each sign of life, and `most` in all. Nothing that it forks outlives it.
    """
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryFile("w+") as traces:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(work, theirs, traces, limit), daemon=True)
        child.start()
        theirs.close()
        assert child.pid is not None
        ended = os.pidfd_open(child.pid)  # what it forked holds the pipes open, and would be waited for
        timed_out = False
        try:
            timed_out = not wait([ours, ended], most + GRACE)
            answer: dict[str, Any] = json.loads(ours.recv()) if ours.poll() else {}
        except EOFError:
            answer = {}
        finally:
            wait([ended], GRACE if sys.exc_info()[0] is None and not timed_out else 0)
            _kill(child)
            os.close(ended)
            ours.close()
        if answer:
            return answer
        traces.seek(0)
        return _death(child.exitcode, traces.read(), most if timed_out else limit, timed_out)


def _kill(child: BaseProcess) -> None:
    """End a child, and all that it started; until it is reaped, no other process group can have its number."""
    assert child.pid is not None
    with suppress(ProcessLookupError):  # it did not come to its setsid
        os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.join()


def _child(work: Callable[[Alive], dict[str, Any]], answer: Connection, traces: IO[str], limit: float) -> None:
    os.setsid()  # a group of its own, to be ended with all that it starts
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's, who ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(2, 1)  # what a driver prints is not the report
    sys.stdout = sys.stderr
    logging.getLogger().addHandler(logging.NullHandler())
    faulthandler.enable(traces)

    def alive() -> None:
        faulthandler.dump_traceback_later(limit, file=traces, exit=True)

    alive()
    said = json.dumps(work(alive))
    faulthandler.cancel_dump_traceback_later()
    answer.send(said)
    answer.close()
    sys.stderr.flush()
    os._exit(0)  # no thread or atexit of a driver's may hold it up


def _death(code: int | None, trace: str, limit: float, timed_out: bool) -> dict[str, Any]:
    frames = re.findall(r'File "([^"]+)", line (\d+)', trace.partition(__file__)[0])  # the innermost first, up to this module's
    drivers = [f"{short(path)}:{line}" for path, line in frames if not path.startswith(OURS)]
    where = drivers[0] if drivers else ""
    at = f" (at {where})" if where else ""
    timed_out = timed_out or trace.startswith("Timeout")
    if timed_out:
        how = f"did not come to an end in {limit:g} s{at}"
        instead = "look for a loop that waits for the card, or a poll that never completes"
    elif code is not None and code < 0:
        how, instead = f"crashed with signal {-code}{at}", "write nowhere but to memory that is yours"
    else:
        how, instead = f"ended the process with status {code}{at}", "raise OSError instead: a driver does not end its kernel"
    return {"died": how, "where": where, "instead": instead, "timed_out": timed_out}
