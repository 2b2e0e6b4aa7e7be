"""However fastring is installed, every module imports, from that installation, outside the repository."""

import shutil

import pytest

IMPORT_ALL = """
import importlib, pkgutil, sys
sys.modules["typing_extensions"] = None     # the outer environment has it, for mypy; a user may not
for name in ("fastring", "e1000", "softnet"):
    package = importlib.import_module(name)
    names = [name, *(module.name for module in pkgutil.walk_packages(package.__path__, name + "."))]
    for each in names:
        if not each.endswith("__main__"):
            print(each, importlib.import_module(each).__file__)
"""

USE = """
from fastring.burst import Burst
from fastring.memory import AddressSpace, Arena
from fastring.pool import BufferPool
assert list(Burst.from_packets([b"abc", b"de"])) == [b"abc", b"de"]
arena, space = Arena(1 << 20), AddressSpace()
iova = space.map(arena)
space.write(iova, b"over the bus")
assert space.read(iova, 12) == b"over the bus"
pool = BufferPool(arena, count=64, buffer_size=256)
assert pool.available == 64
"""


def modules_of(sources):
    """The name of every module there should be, read off the source files."""
    names = set()
    for root, top in ((sources, "fastring"), (sources, "e1000"), (sources / "python", "softnet")):
        for path in [*(root / top).rglob("*.py"), *(root / top).rglob("*.pyx")]:
            parts = path.relative_to(root).with_suffix("").parts
            names.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return {name for name in names if not name.endswith("__main__")}


def check(environment, sources, *, where):
    imported = dict(line.split(" ", 1) for line in environment.run("-c", IMPORT_ALL).splitlines())
    assert set(imported) == modules_of(sources)
    assert {name: file for name, file in imported.items() if not file.startswith(str(where))} == {}
    environment.run("-c", USE)


def test_wheel_built_from_the_sdist_works(installed, sources):
    check(installed, sources, where=installed.packages)


def test_the_fastring_command_answers(installed):
    installed.run(installed.python.parent / "fastring", "--help")


def test_editable_install_works(new_environment, sources, tmp_path):
    clone = shutil.copytree(sources, tmp_path / "clone")
    environment = new_environment("editable")
    environment.install("--editable", clone)
    check(environment, clone, where=clone)


def test_pip_install_of_the_folder_works(new_environment, sources, tmp_path):
    clone = shutil.copytree(sources, tmp_path / "clone")
    environment = new_environment("folder")
    environment.install(clone)
    shutil.rmtree(clone)
    check(environment, sources, where=environment.packages)


@pytest.mark.parametrize("name", ["pip", "setuptools"])
def test_new_environments_borrow_their_tools(installed, name):
    """The premise of the tests above: only fastring is the environment's own."""
    file = installed.run("-c", f"import {name}; print({name}.__file__)")
    assert not file.startswith(str(installed.packages))
