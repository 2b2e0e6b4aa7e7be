"""What the tests of running cards share: a stack that is served by this process, and cards under traffic in another."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from control import QuietDriver, new_device
from control_socket import background

from softnet import Stack
from softnet.control import ControlServer, running

COMMAND = [sys.executable, "-m", "softnet.cli"]


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """A runtime directory for one test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def stack():
    with Stack() as stack:
        new_device(stack, QuietDriver()).register()
        yield stack


@pytest.fixture
def served(stack, runtime):
    with ControlServer(stack) as server, background(server):
        yield server


@pytest.fixture(scope="module")
def runtime_of_module(tmp_path_factory):
    """A runtime directory for the processes of this file."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("runtime")
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def replay(runtime_of_module, data):
    """Start a replay with a control socket: replay(options) -> the process, once its socket is there."""
    processes = []

    def start(*options, control=()):
        command = [*COMMAND, "replay", data / "mixed.pcap", "--json", "--control", *control, *options]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        deadline = time.monotonic() + 60
        while not (os.path.exists(control[0]) if control else running(process.pid)):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def card(replay):
    """Two cards under traffic: eth0 receives what eth1 sends."""
    process = replay("--loop", 0)
    yield process
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    result = json.loads(out)
    assert (process.returncode, err) == (130, "fastring replay: interrupted\n")
    assert result["sent"] == result["received"] + result["lost"]


@pytest.fixture
def ok(card, fastring):
    """Run a command that goes well: what it printed."""

    def run(*words):
        outcome = fastring(*" ".join(map(str, words)).split())
        assert (outcome.status, outcome.err) == (0, "")
        return outcome.out

    return run


@pytest.fixture
def refused(card, fastring):
    """Run a command that does not: (status, what it said on standard error)."""

    def run(*words):
        outcome = fastring(*" ".join(map(str, words)).split())
        assert outcome.status
        return outcome.status, outcome.err

    return run
