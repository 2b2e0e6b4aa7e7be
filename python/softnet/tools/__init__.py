"""The commands that ask a running card: ip, ethtool, tc and cat, with the words, columns and exit statuses of the tools people know.

Each module has `parser()`, and `read(arguments)`, which gives the task to be run on a client, which prints. What goes wrong is a ToolError:
what is printed on standard error, and the exit status.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from softnet.control import find
from softnet.tools.common import ToolError


def run_tool(name: str, words: Sequence[str]) -> tuple[int, str]:
    """Run one; returns the exit status and what to print. Errors of the connection itself are OSErrors."""
    tool = importlib.import_module(f"softnet.tools.{name}")
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            arguments = tool.parser().parse_intermixed_args(words)
            task = tool.read(arguments)
            with find(pid=arguments.pid, path=arguments.socket) as client:
                status = task(client)
    except SystemExit as stop:
        return int(stop.code or 0), said.getvalue()
    except ToolError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        status = error.status
    return status, said.getvalue()
