"""What is checked: MODULE:DRIVER, a driver that somebody wrote.

DRIVER is one of
  a callable `probe(bus, stack, **options) -> NetDevice`; `remove(device)` of the same module takes the device away, or without one
  `device.unregister()` and `device.free()`;
  a class or object with both, as a struct pci_driver has them. A class whose probe is no class or static method is made an object of.
`bus` is a softnet.driver.PciBus, `stack` a Stack, and `options` are those of --option. The device may be registered by probe, or not yet.
MODULE is a module, looked for in the working directory too, or a .py file.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from softnet.netdev import NetDevice


class CannotRun(ValueError):
    """There is no such driver, or none that can be run: one line."""


class UserDriver(NamedTuple):
    """The driver under test."""

    probe: Callable[..., NetDevice]  # (bus: PciBus, stack: Stack, **options)
    remove: Callable[[NetDevice], object]


def load_driver(spec: str) -> UserDriver:
    """Import what `spec` names. Raises CannotRun."""
    module_name, colon, attribute = spec.rpartition(":")
    if not colon or not module_name or not attribute:
        raise CannotRun(f"{spec!r} names no driver: it is MODULE:DRIVER, such as e1000.driver:probe")
    module = _import(module_name)
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise CannotRun(f"{spec}: {found.__name__ if found is module else attribute} has no {name!r}")
        found = getattr(found, name)
    return _driver(spec, found, module)


def check_options(spec: str, names: Iterable[str]) -> None:
    """Raises CannotRun if the driver's probe takes no option of one of these names, with those that it takes."""
    driver = load_driver(spec)
    try:
        parameters = list(inspect.signature(driver.probe).parameters.values())
    except ValueError:
        return  # one in C, which does not tell
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return
    given = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)][:2]  # bus and stack
    taken = [each.name for each in parameters if each not in given and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    for name in names:
        if name not in taken:
            known = f"they are {', '.join(taken)}" if taken else "it takes none"
            raise CannotRun(f"{spec} has no option {name!r}: {known}")


def _import(name: str) -> Any:
    path = Path(name)
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise CannotRun(f"there is no file {name!r}")
    folder = str(path.resolve().parent) if is_file else os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return _import_file(path) if is_file else importlib.import_module(name)
    except BaseException as error:  # whatever the module does, sys.exit too
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise CannotRun(f"there is no module {name!r}") from None
        raise CannotRun(f"importing {(path.stem if is_file else name)!r} raises {describe(error)}{_place(error)}") from None


def _import_file(path: Path) -> Any:
    """That very file, also if a module of its name is there already: it may be called random.py."""
    name = path.stem
    while name in sys.modules or name in sys.stdlib_module_names:
        name = f"_{name}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename and f.filename != __file__]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def describe(error: BaseException) -> str:
    """An exception's type and what it says, in one line."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _driver(spec: str, found: Any, module: Any) -> UserDriver:
    if hasattr(found, "probe"):
        if inspect.isclass(found) and not isinstance(inspect.getattr_static(found, "probe"), classmethod | staticmethod):
            try:
                found = found()
            except BaseException as error:
                raise CannotRun(f"{spec}: making one of it raises {describe(error)}{_place(error)}") from None
        probe, remove = found.probe, getattr(found, "remove", None)
    elif callable(found):
        probe, remove = found, getattr(module, "remove", None)
    else:
        probe = remove = None
    if not callable(probe):
        raise CannotRun(f"{spec} is no driver: it is neither callable as probe(bus, stack) nor has a probe")
    return UserDriver(probe, remove if callable(remove) else _unregister_and_free)


def _unregister_and_free(device: NetDevice) -> None:
    device.unregister()
    device.free()
