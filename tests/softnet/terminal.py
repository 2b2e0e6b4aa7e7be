"""The command on a pseudo terminal, as a person sees it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

COMMAND = [sys.executable, "-m", "softnet.cli"]
LONG = 60


def on_terminal(*arguments, columns=100, environ=(), until=None, then=b"\x03", prepare=(), output=None):
    """Run on a terminal so wide; return (status, all it showed).

    `until`: the pattern after which `then` is done: these keys are typed (Ctrl-C), or this signal is sent. `prepare`: Python to run first
    in that process. `output`: where its standard output goes instead.
    """
    command = COMMAND if not prepare else [sys.executable, "-c", f"{prepare}; import sys; from softnet.cli import main; sys.exit(main())"]
    child, terminal = pty.fork()
    if child == 0:
        if output is not None:
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT, 0o600), 1)
        started, word = time.monotonic(), struct.pack("HHHH", 24, columns, 0, 0)
        while termios.tcgetwinsize(2)[1] != columns and time.monotonic() - started < LONG:
            fcntl.ioctl(2, termios.TIOCSWINSZ, word)
        usual = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        os.execve(sys.executable, [*command, *map(str, arguments)], {**usual, "TERM": "xterm-256color", **dict(environ)})
    shown, deadline = b"", time.monotonic() + LONG
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the terminal's end
            break
        shown += piece
        if until is not None and re.search(until, shown.decode(errors="replace")):
            until = None
            if isinstance(then, bytes):
                os.write(terminal, then)
            else:
                os.kill(child, then)
    else:
        os.kill(child, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode(errors="replace")


def left_on(shown):
    """The lines that are there at the end, for what rich and this project write: carriage returns, lines up and erased, no colours."""
    lines, row, column = [[]], 0, 0
    for code, letter, character in re.findall(r"\x1b\[(\??[\d;]*)([A-Za-z])|(.)", shown.replace("\r\r\n", "\r\n"), re.DOTALL):
        if character == "\r":
            column = 0
        elif character == "\n":
            row += 1
            lines += [[]] * (row + 1 - len(lines))
            lines[row] = list(lines[row])
        elif letter == "A":
            row -= int(code or 1)
            assert row >= 0
        elif letter == "K":
            assert code == "2"
            lines[row] = []
        elif letter in ("h", "l", "m"):
            assert letter == "m" or code == "?25"
        else:
            assert not letter, f"an escape sequence this terminal does not know: {code}{letter}"
            line = lines[row]
            line += " " * (column + 1 - len(line))
            line[column] = character
            column += 1
    return ["".join(line).rstrip() for line in lines]
