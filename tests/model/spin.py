"""Runs SPIN over a model: every state that it can get into, the shortest way to an error first."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
MONITORS = {"at_rest", "closed"}    # only there to find an error, so never run to their end


class Unavailable(Exception):
    """SPIN or a C compiler is missing; the message says which."""


@dataclass(frozen=True)
class Verdict:
    """`error`: what went wrong, or None; `states`: how many were looked at, and whether that was all (`complete`).

    `unreached`: statements that no run came to.
    """

    error: str | None
    states: int
    complete: bool
    unreached: list[str]
    log: str


def check(model: str, defines: str, folder: Path, *, for_ever: bool = False) -> Verdict:
    """Check a model of this folder with these names defined; what is made of it goes into `folder`.

    `for_ever` looks for ways to run on without ever coming to a label `progress`, though every process that can go on does in the end.
    """
    for program, package in (("spin", "spin"), ("gcc", "gcc")):
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is not installed (Debian: {package})")
    for source in HERE.glob("*.pml"):
        shutil.copy(source, folder)
    run(folder, "spin", *(f"-D{name}" for name in defines.split()), "-a", model)
    search = ["-DNP", "-DNFAIR=3"] if for_ever else ["-DSAFETY", "-DBFS"]
    run(folder, "gcc", "-O1", "-w", *search, "-o", "pan", "pan.c")
    log = run(folder, "./pan", *(["-m1000000", "-l", "-f"] if for_ever else []))
    errors, states = (int(re.search(pattern, log)[1]) for pattern in (r"errors: (\d+)", r"(\d+) states, stored"))
    error = re.search(r"^pan:1: (.*) \(at depth", log, re.MULTILINE)
    assert bool(errors) == bool(error), log
    return Verdict(error and error[1], states, "not completed" not in log, list(unreached(log)), log)


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
    return done.stdout


def unreached(log: str):
    """Statements that no run comes to: a model that cannot do what it should finds no error either."""
    for process, lines in re.findall(r"^unreached in proctype (\w+)\n((?:\t.*\n)*)", log, re.MULTILINE):
        if process not in MONITORS:
            yield from (line for line in re.findall(r"\t(\S+, state \d+, .*)", lines) if "-end-" not in line)
