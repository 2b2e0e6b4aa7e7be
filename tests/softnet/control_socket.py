"""For tests of the control socket: clients of all kinds, and a thread that runs a stack as its program would."""

import json
import os
import threading
import time

import pytest

from softnet.control import sockets

# A program that is killed while it serves a stack.
DIES = """
import os, signal, sys
from softnet import Stack
from softnet.control import ControlServer
server = ControlServer(Stack(), *sys.argv[1:])
print(server.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


class background:
    """Run the stack in a thread, as its program would."""

    def __init__(self, server):
        self.server, self.stop = server, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.is_set():
            self.server.serve(0.02)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *exc):
        self.stop.set()
        self.thread.join()


def refusal(call, *arguments, **parameters):
    with pytest.raises(OSError, match=r"\w") as raised:
        call(*arguments, **parameters)
    assert "\n" not in str(raised.value)
    return raised.value.errno


def send_for_ever(connection):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        connection.send(b"x" * 1000)


def until(condition):
    """Wait for the server's thread."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def raw(server):
    """A connection that has read the greeting."""
    connection = sockets.new_socket()
    connection.settimeout(20)
    connection.connect(server.path)
    assert json.loads(connection.recv(65536))["pid"] == os.getpid()
    return connection
