"""What a hostile client of the control socket can do: nothing."""

import errno
import inspect
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, suppress

import pytest
from control import QuietDriver, new_device
from control_socket import DIES, background, raw, refusal, send_for_ever, until
from ethtool_driver import Ops
from hypothesis import given, settings
from hypothesis import strategies as st

from fastring.clock import VirtualClock
from softnet import Stack, ethtool
from softnet.control import ControlClient, ControlServer, sockets
from softnet.control import client as client_module
from softnet.control import server as server_module
from softnet.control.link import set_link
from softnet.control.methods import Methods, encode

pytestmark = pytest.mark.usefixtures("runtime")


GARBAGE = [
    b"\0",
    b"\xff" * 100,
    b"{",
    b"[]",
    b"null",
    b"1e999",
    b'"devices"',
    b'{"method": 1}',
    b'{"method": ["devices"]}',
    b"[" * 60000,
    b'{"method": "devices", "x": ' + b"9" * 60000 + b"}",
    b'{"method": "' + b"x" * 60000 + b'"}',
    b'{"method": "link.show", "dev": "' + b"x" * 60000 + b'"}',
    b'{"method": "link.show", "dev": "\\ud800\\u0000\\n"}',
    b'{"method": "file.read", "path": "/sys/class/net/\\ud800"}',
    b'{"method": "devices", "self": 1, "call": 2}',
]


@pytest.mark.parametrize("message", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_answered_with_an_error_and_the_connection_stays(served, message):
    with raw(served) as connection:
        connection.send(message)
        answer = connection.recv(1 << 20)
        assert len(answer) < 2000
        error = json.loads(answer)["error"]
        assert error["errno"] > 0
        assert "\n" not in error["text"]
        connection.send(b'{"method": "devices"}')
        assert json.loads(connection.recv(65536)) == {"result": ["eth0"]}


WORDS = st.sampled_from(["eth0", "mtu", "dev", "up", "", "/sys/class/net/eth0/mtu", "/proc/net/dev", "rx-gro", "00", "\ud800", "%d", "d"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)


METHODS = Methods(Stack())._table


@st.composite
def calls(draw):
    """A request for a method that there is, with parameters of its names or others, and of any type."""
    method = draw(st.sampled_from(sorted(METHODS)))
    function = getattr(ethtool, method.removeprefix("ethtool."), set_link if method == "link.set" else METHODS[method])
    names = st.sampled_from([*inspect.signature(function).parameters, "dev", "rx_pending", "speed", "autoneg", "wolopts"])
    return {"method": method, **draw(st.dictionaries(names, VALUES, max_size=3)), **draw(st.sampled_from([{}, {"dev": "eth0"}]))}


@settings(max_examples=50)
@given(st.lists(calls(), max_size=5))
def test_whatever_is_asked_is_answered(requests):
    with Stack(clock=VirtualClock()) as stack:
        device = new_device(stack, QuietDriver())
        device.ethtool_ops = Ops()
        device.register()
        methods = Methods(stack)
        for request in requests:
            answer = methods.answer(request)
            assert (list(answer) == ["result"]) != (list(answer) == ["error"])
            assert answer.get("error", {}).get("errno", 1) > 0
            assert "result" in json.loads(encode(answer)) or answer["error"]["errno"] != errno.EIO
            assert not stack.rtnl.held


def test_a_request_that_is_too_long_is_refused_whole(served):
    with raw(served) as connection:
        connection.send(b'{"method": "devices", "x": "' + b"x" * sockets.MAX_MESSAGE + b'"}')
        assert json.loads(connection.recv(65536))["error"]["errno"] == errno.EMSGSIZE
    with ControlClient(served.path) as client:
        assert refusal(client.call, "devices", x="x" * sockets.MAX_MESSAGE) == errno.EMSGSIZE


def test_an_answer_that_is_too_long_is_an_error(served, stack):
    for number in range(300):
        new_device(stack, name=f"eth{number + 1}").register()
    with ControlClient(served.path) as client:
        assert refusal(client.call, "link.show", stats=2) == errno.EMSGSIZE
        assert client.call("link.show", dev="eth7", stats=2).startswith("8: eth7: ")


def test_random_bytes_harm_nothing(served):
    dice = random.Random(1)
    for _ in range(30):
        with raw(served) as connection, suppress(OSError):
            for _ in range(dice.randrange(1, 4)):
                connection.send(dice.randbytes(dice.randrange(1, 3000)))
    with ControlClient(served.path) as client:
        assert client.call("devices") == ["eth0"]


def test_who_asks_on_without_waiting_for_the_answer_is_disconnected(stack):
    with ControlServer(stack) as server, raw(server) as connection:
        connection.send(b'{"method": "devices"}')
        connection.send(b'{"method": "devices"}')
        assert connection.recv(65536) == b""
        assert server.poll() == 0  # and what it asked is forgotten


def test_who_does_not_read_is_disconnected(served):
    with raw(served) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        assert refusal(send_for_ever, connection) in (errno.EPIPE, errno.ECONNRESET)
        with ControlClient(served.path) as client:
            assert client.call("devices") == ["eth0"]


def test_who_says_nothing_is_disconnected_at_last(stack, monkeypatch):
    monkeypatch.setattr(server_module, "IDLE", 0.2)
    with ControlServer(stack) as server, raw(server) as connection:
        assert connection.recv(65536) == b""


def test_idle_connections_make_room_for_new_ones(served):
    with ExitStack() as idle:
        first = idle.enter_context(raw(served))
        for _ in range(200):
            idle.enter_context(raw(served))
        assert first.recv(65536) == b""
        assert len(served._clients) <= server_module.MAX_CLIENTS
        with ControlClient(served.path) as client:
            assert client.call("devices") == ["eth0"]


def test_when_all_are_waiting_for_an_answer_a_new_one_is_refused(stack):
    with ControlServer(stack) as server, ExitStack() as waiting:
        for number in range(server_module.MAX_CLIENTS):
            waiting.enter_context(raw(server)).send(b'{"method": "devices"}')
            until(lambda: len(server._waiting) > number)  # noqa: B023 - at once
        assert refusal(ControlClient, server.path) == errno.EBUSY
        assert server.poll() == server_module.MAX_CLIENTS
        until(lambda: not server._answered)
        with background(server), ControlClient(server.path) as client:
            assert client.call("devices") == ["eth0"]


def test_what_was_asked_by_one_who_left_is_not_done(stack):
    with ControlServer(stack) as server:
        with raw(server) as connection:
            connection.send(b'{"method": "link.set", "dev": "eth0", "mtu": 1400}')
            until(lambda: server._waiting)
        until(lambda: not server._clients)
        assert server.poll() == 0
    assert stack.devices["eth0"].mtu == 1500


def test_files_that_are_passed_along_do_not_stay_open(served):
    before = len(os.listdir("/proc/self/fd"))
    with raw(served) as connection, open("/dev/null") as file:
        for _ in range(20):
            socket.send_fds(connection, [b'{"method": "devices"}'], [file.fileno()] * 10)
            assert json.loads(connection.recv(65536)) == {"result": ["eth0"]}
        assert len(os.listdir("/proc/self/fd")) <= before + 3


def test_a_server_that_is_none_is_told_from_a_card(tmp_path):
    for said in (b"", b"hello", b'{"fastring": 2}', b"[]"):
        path = str(tmp_path / "other")
        with suppress(FileNotFoundError):
            os.unlink(path)
        with sockets.new_socket() as other:
            other.bind(path)
            other.listen()
            connecting = threading.Thread(target=lambda: other.accept()[0].send(said))  # noqa: B023 - joined below
            connecting.start()
            assert refusal(ControlClient, path) in (errno.EPROTO, errno.ECONNRESET)
            connecting.join()


def test_a_process_that_dies_meanwhile_is_told(tmp_path):
    script = DIES.replace("os.kill", "input(); os.kill")
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        client = ControlClient(process.stdout.readline().strip())
        process.stdin.write("\n")
        process.stdin.flush()
        process.wait()
        with client, pytest.raises(ConnectionResetError, match="its process has gone"):
            client.call("devices")


def test_a_server_that_is_stopped_does_not_hold_who_asks(stack, monkeypatch):
    monkeypatch.setattr(client_module, "GREETING", 0.05)
    with ControlServer(stack) as server, sockets.new_socket() as other:
        other.bind(server.path + "2")
        other.listen()
        with pytest.raises(TimeoutError, match="no answer"):
            ControlClient(server.path + "2")


@pytest.fixture
def full(tmp_path):
    """A listening socket whose backlog is full."""
    with ExitStack() as those:
        listening = those.enter_context(sockets.new_socket())
        listening.bind(f"{tmp_path}/full")
        listening.listen(0)
        with suppress(BlockingIOError):
            while True:
                waiting = those.enter_context(sockets.new_socket())
                waiting.setblocking(False)
                waiting.connect(listening.getsockname())
        yield listening


def test_one_waits_for_its_turn_to_connect(full, monkeypatch):
    monkeypatch.setattr(client_module, "GREETING", 0.05)
    monkeypatch.setattr(client_module.time, "sleep", lambda seconds: full.accept()[0].close())
    with pytest.raises(TimeoutError, match="no answer"):  # it is connected, and nobody reads
        ControlClient(full.getsockname())


def test_one_does_not_wait_for_ever_to_connect(full, monkeypatch):
    monkeypatch.setattr(client_module, "GREETING", 0.05)
    with pytest.raises(BlockingIOError, match="too many others wait to be served"):
        ControlClient(full.getsockname())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_is_not_talked_to(stack):
    with tempfile.TemporaryDirectory() as folder, ControlServer(stack, f"{folder}/open") as server:
        os.chmod(folder, 0o711)
        os.chmod(server.path, 0o666)
        child = os.fork()
        if child == 0:
            status = 9
            with suppress(BaseException):
                os.setuid(65534)
                with sockets.new_socket() as connection:
                    connection.connect(server.path)
                    status = 0 if connection.recv(4096) == b"" else 1
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
