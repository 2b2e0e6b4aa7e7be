"""What an sdist and a wheel hold: all that a build, a type checker and a third-party .pyx need, and nothing built."""

import subprocess
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("fastring", "e1000", "softnet")
TYPED = {".pxd", ".pyi", ".h", ".py"}


@pytest.fixture(scope="module")
def in_sdist(sdist):
    with tarfile.open(sdist) as archive:
        return {str(PurePosixPath(*PurePosixPath(member.name).parts[1:])) for member in archive if member.isfile()}


@pytest.fixture(scope="module")
def in_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def source_files(sources, suffixes):
    """Paths under the three packages, as the sdist names them."""
    roots = [sources / "fastring", sources / "e1000", sources / "python"]
    found = (path for root in roots for path in root.rglob("*") if path.suffix in suffixes or path.name == "py.typed")
    return {path.relative_to(sources).as_posix() for path in found if not any(part.endswith(".egg-info") for part in path.parts)}


def test_sdist_has_every_source(in_sdist, sources):
    assert source_files(sources, TYPED | {".pyx"}) - in_sdist == set()
    assert {"pyproject.toml", "setup.py", "LICENSE", "README.md"} <= in_sdist


def test_sdist_has_nothing_built(in_sdist):
    assert {name for name in in_sdist if name.endswith((".c", ".so", ".o", ".pyc"))} == set()


def test_wheel_has_what_compilers_and_type_checkers_read(in_wheel, sources):
    assert {name.removeprefix("python/") for name in source_files(sources, TYPED)} - in_wheel == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_says_that_it_is_typed(in_wheel, package):
    assert f"{package}/py.typed" in in_wheel


def test_wheel_has_a_compiled_module_for_every_pyx(in_wheel, sources):
    compiled = {name.split(".")[0] for name in in_wheel if name.endswith(".so")}
    assert compiled == {name.removesuffix(".pyx") for name in source_files(sources, {".pyx"}) if name.endswith(".pyx")}


def test_wheel_has_no_generated_c(in_wheel):
    assert {name for name in in_wheel if name.endswith((".c", ".o"))} == set()


def test_wheel_installs_nothing_beside_the_three_packages(in_wheel):
    assert {name.split("/")[0] for name in in_wheel if ".dist-info/" not in name} == set(PACKAGES)


def test_no_built_file_is_under_version_control():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in tracked if name.endswith((".so", ".o", ".pyc")) or name.startswith(("build/", "dist/"))} == set()
