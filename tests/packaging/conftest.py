"""Wheels and environments for the packaging tests: each is made once a session and shared.

Nothing is downloaded: builds run without isolation, with this Python's setuptools and Cython, and the new environments see
this one's packages behind their own. A compiler that never optimises makes them quick; what is tested is the packaging.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT = ("*.so", "*.c", "*.pyc", "*.egg-info", "__pycache__")


class Environment:
    """A virtual environment of its own, with fastring in it or not; everything it runs, runs outside the repository."""

    def __init__(self, folder, compiler):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        self.python, self.outside = folder / "venv" / "bin" / "python", folder / "outside"
        self.outside.mkdir()
        self.variables = {name: value for name, value in os.environ.items() if not name.startswith(("FASTRING_", "PYTHON"))}
        self.variables["CC"] = str(compiler)
        self.packages = Path(self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        # Listed by a .pth, the outer environment's packages come after this one's; its own .pth files, and with them an
        # editable fastring, are not read.
        (self.packages / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run(self, *arguments, cwd=None):
        """Run this environment's Python; what it printed, or a failure that shows it."""
        command = [str(self.python), "-P", *map(str, arguments)]
        told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(command, cwd=cwd or self.outside, env=self.variables, check=False, **told)
        assert done.returncode == 0, f"{' '.join(command)} said:\n{done.stdout}"
        return done.stdout

    def install(self, *what):
        self.run("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", *what)


@pytest.fixture(scope="session")
def compiler(tmp_path_factory):
    """The compiler Python would take, with its last words changed to "do not optimise"."""
    path = tmp_path_factory.mktemp("compiler") / "cc"
    command = os.environ.get("CC") or sysconfig.get_config_var("CC")
    found = shutil.which(shlex.split(command)[0])
    assert found, f"no C compiler ({command}): apt-get install gcc"
    path.write_text(f'#!/bin/sh\nexec {command} "$@" -O0 -g0\n')
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def new_environment(tmp_path_factory, compiler):
    def make(name):
        return Environment(tmp_path_factory.mktemp(name), compiler)

    return make


@pytest.fixture(scope="session")
def builder(new_environment):
    """An environment that only builds."""
    return new_environment("builder")


def copy_of_the_sources(folder):
    """The repository as a clone has it: nothing that was built, so that no object of another build is taken."""
    for name in ("fastring", "e1000", "python"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*BUILT))
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    return copy_of_the_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="session")
def sdist(builder, sources, tmp_path_factory):
    """The source distribution, a .tar.gz."""
    target = tmp_path_factory.mktemp("sdist")
    builder.run("-m", "build", "--sdist", "--no-isolation", "--outdir", target, sources)
    return next(target.glob("*.tar.gz"))


@pytest.fixture(scope="session")
def wheel(builder, sdist, tmp_path_factory):
    """The wheel, built from the sdist as pip would."""
    target = tmp_path_factory.mktemp("wheel")
    builder.run("-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", target, sdist)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(new_environment, wheel):
    """An environment with the wheel installed."""
    environment = new_environment("installed")
    environment.install(wheel)
    return environment
