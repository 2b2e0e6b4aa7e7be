"""Runs Relacy over the rings' headers: as they are, with one operation weakened, or with lines of them replaced."""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADERS = HERE.parents[1] / "fastring"
FLAGS = ["-std=c++11", "-O1", "-w", "-DFASTRING_MODEL"]


class Unavailable(Exception):
    """A C++ compiler or Relacy is missing; the message says which."""


@dataclass(frozen=True)
class Verdict:
    """`error`: what Relacy found, or None; `failure`: which check of rings.cpp, if one; `places`: operations and their order."""

    error: str | None
    failure: str | None
    iterations: int
    places: dict[str, str] = field(repr=False)
    log: str = field(repr=False)


class Checker:
    """The compiled checker in `folder`. Relacy takes a while to compile, and is only once; the rings are, anew for each set of patches."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("g++") is None:
            raise Unavailable("g++ is not installed (Debian: g++)")
        if not Path("/usr/include/relacy/relacy.hpp").exists():
            raise Unavailable("Relacy is not installed (Debian: relacy-dev)")
        self.folder = folder
        self.built: dict[tuple, Path] = {}
        compile_ = ["g++", *FLAGS, f"-I{HERE / 'relacy'}"]
        run(*compile_, "-c", HERE / "relacy/checker.cpp", "-o", folder / "checker.o")

    def program(self, patches: tuple[tuple[str, str, str], ...] = ()) -> Path:
        """The checker with these patches: header, text that is there once, and what to have instead."""
        if patches not in self.built:
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            shutil.copytree(HEADERS, folder / "fastring", ignore=lambda _, names: [n for n in names if not n.endswith(".h")])
            for header, old, new in patches:
                file = folder / "fastring" / header
                text = file.read_text()
                assert text.count(old) == 1, f"{header} has {text.count(old)} times: {old}"
                file.write_text(text.replace(old, new))
            include = [f"-I{folder}", f"-I{HERE / 'relacy'}"]
            run("g++", *FLAGS, *include, HERE / "relacy/rings.cpp", self.folder / "checker.o", "-o", folder / "checker")
            self.built[patches] = folder / "checker"
        return self.built[patches]

    def check(self, *patches: tuple[str, str, str], **scenario) -> Verdict:
        """Play a scenario; `scenario`: what checker.cpp takes."""
        log = run(self.program(patches), *(f"{name}={value}" for name, value in scenario.items()))
        error, failure = (re.search(rf"^{name}: (.*)$", log, re.MULTILINE) for name in ("verdict", "failure"))
        assert error, log
        assert error[1] != "NEVER WEAKENED", f"{scenario} never comes to what it weakens"
        places = {place: order for order, place in re.findall(r"^place: (\w+) (.*)$", log, re.MULTILINE)}
        iterations = int(re.search(r"^iterations: (\d+)$", log, re.MULTILINE)[1])
        return Verdict(None if error[1] == "SUCCESS" else error[1], failure and failure[1], iterations, places, log)


def run(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}"
    return done.stdout
