"""All scenarios, one module a group; importing them fills SCENARIOS."""

import importlib
import pkgutil

from script import SCENARIOS

__all__ = ["SCENARIOS"]

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")
