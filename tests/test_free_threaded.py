"""What holds where Python has no GIL, and is as true where it has one."""

import os
import subprocess
import sys
import sysconfig

IMPORT_ALL = """
import importlib, pkgutil, sys
for package in ("fastring", "e1000", "softnet"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if module.name.rpartition(".")[2] != "__main__":
            importlib.import_module(module.name)
print(getattr(sys, "_is_gil_enabled", lambda: True)())
"""


def test_no_module_of_ours_turns_the_gil_on():
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    told = subprocess.run([sys.executable, "-W", "error", "-c", IMPORT_ALL], env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == [str(not sysconfig.get_config_var("Py_GIL_DISABLED"))]
