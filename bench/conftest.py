"""The benches import each other and their peers by name; pytest's importlib mode does not put their folders on the path."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]


def pytest_terminal_summary(terminalreporter, config):
    for table in getattr(config, "tables", ()):
        terminalreporter.write_line("")
        for line in table.splitlines():
            terminalreporter.write_line(line)
