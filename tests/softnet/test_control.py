"""The control socket: who is answered when, what a hostile client can do (nothing), and what is left of a process that died."""

import errno
import inspect
import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress

import pytest
from control import QuietDriver, new_device
from ethtool_driver import Ops
from hypothesis import given, settings
from hypothesis import strategies as st

from fastring.clock import VirtualClock
from softnet import Stack, ethtool
from softnet.control import ControlClient, ControlServer, find, running, sockets
from softnet.control import client as client_module
from softnet.control import server as server_module
from softnet.control.link import set_link
from softnet.control.methods import Methods, encode


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    """A runtime directory of its own for each test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def stack():
    with Stack() as stack:
        new_device(stack, QuietDriver()).register()
        yield stack


@pytest.fixture
def served(stack):
    with ControlServer(stack) as server, background(server):
        yield server


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


# --- where it is ---


def test_its_socket_is_in_the_runtime_directory_and_for_its_user_alone(served, runtime):
    assert served.path == f"{runtime}/fastring/{os.getpid()}-stack.sock"
    assert stat.S_IMODE(os.stat(served.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(runtime / "fastring").st_mode) == 0o700
    assert os.listdir(runtime / "fastring") == [os.path.basename(served.path)]
    assert running() == [(os.getpid(), "stack", served.path)]


def test_it_is_gone_when_it_is_closed(stack, runtime):
    with ControlServer(stack) as server:
        pass
    server.close()
    assert os.listdir(runtime / "fastring") == []
    assert running() == []
    assert stack.work == []
    assert refusal(find) == errno.ENOENT


def test_two_stacks_of_a_process_are_told_apart(stack):
    with Stack() as other, ControlServer(stack, name="a") as one, ControlServer(other, name="b") as two:
        assert refusal(find) == errno.EINVAL
        assert refusal(find, pid=1) == errno.ENOENT
        with background(two), find(path=two.path) as client:
            assert (client.pid, client.name, client.call("devices")) == (os.getpid(), "b", [])
        assert refusal(ControlServer, other, name="a") == errno.EADDRINUSE
        assert os.path.exists(one.path)


@pytest.mark.parametrize(("name", "refused"), [("a b", errno.EINVAL), ("../x", errno.EINVAL), ("", errno.EINVAL), ("x" * 33, errno.EINVAL)])
def test_a_name_that_would_be_another_path_is_refused(stack, name, refused):
    assert refusal(ControlServer, stack, name=name) == refused


def test_a_path_that_no_socket_can_have_is_refused(stack, tmp_path):
    assert refusal(ControlServer, stack, tmp_path / ("x" * 100)) == errno.ENAMETOOLONG
    assert refusal(ControlServer, stack, tmp_path / "no" / "such") == errno.ENOENT
    assert refusal(ControlClient, tmp_path / ("x" * 100)) == errno.ENAMETOOLONG
    assert refusal(ControlClient, tmp_path / "nothing") == errno.ENOENT


def test_a_file_in_its_place_stays(stack, tmp_path):
    (tmp_path / "file").write_text("precious")
    assert refusal(ControlServer, stack, tmp_path / "file") == errno.EADDRINUSE
    assert (tmp_path / "file").read_text() == "precious"
    assert os.listdir(tmp_path) == ["file"]


def test_a_directory_that_others_may_write_is_not_trusted(stack, runtime):
    (runtime / "fastring").mkdir()
    os.chmod(runtime / "fastring", 0o777)
    assert refusal(ControlServer, stack) == errno.EPERM


def test_without_a_runtime_directory_it_says_what_to_do(stack, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/no/such/place")
    with pytest.raises(FileNotFoundError, match="set XDG_RUNTIME_DIR"):
        ControlServer(stack)


DIES = """
import os, signal, sys
from softnet import Stack
from softnet.control import ControlServer
server = ControlServer(Stack(), *sys.argv[1:])
print(server.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(*arguments):
    """The socket of a process that was killed."""
    done = subprocess.run([sys.executable, "-c", DIES, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    path = done.stdout.strip()
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    return path


def test_the_socket_of_a_dead_process_is_recognised_and_removed(served):
    path = killed()
    assert refusal(ControlClient, path) == errno.ECONNREFUSED
    assert [found for _, _, found in running()] == [served.path]
    assert not os.path.exists(path)


def test_a_dead_socket_at_the_same_path_is_taken_over(stack, tmp_path):
    path = killed(tmp_path / "mine")
    with ControlServer(stack, path) as server, background(server), ControlClient(path) as client:
        assert client.call("devices") == ["eth0"]


def test_other_files_in_the_directory_are_left_alone(served, runtime):
    for name in ("notes.txt", f"{os.getpid()}-file.sock"):
        (runtime / "fastring" / name).write_text("")
    assert len(running()) == 1
    assert len(os.listdir(runtime / "fastring")) == 3


# --- when it answers ---


def test_it_is_answered_by_the_thread_that_runs_the_stack(stack):
    answered = []
    with ControlServer(stack) as server:
        server._methods._table["who"] = lambda: answered.append((threading.get_ident(), stack.softirq.in_softirq))
        with ControlClient(server.path) as client:
            asking = threading.Thread(target=client.call, args=("who",))
            asking.start()
            until(lambda: (stack.run(), answered)[1])
            asking.join()
    assert answered == [(threading.get_ident(), False)]


def test_a_timer_answers_where_nobody_calls_stack_run(stack):
    with ControlServer(stack) as server, ControlClient(server.path) as client:
        told = []
        asking = threading.Thread(target=lambda: told.append(client.call("devices")))
        asking.start()
        until(lambda: (stack.clock.fire_due(), told)[1] or not asking.is_alive())  # what a sender's loop does
        asking.join()
        assert told == [["eth0"]]


def test_on_a_virtual_clock_it_arms_no_timer():
    with Stack(clock=VirtualClock()) as stack, ControlServer(stack):
        assert stack.clock.next_deadline is None


def test_while_the_stack_is_busy_it_waits(stack):
    with ControlServer(stack) as server, raw(server) as connection:
        connection.send(b'{"method": "devices"}')
        until(lambda: server._waiting)
        with stack.rtnl:
            assert server.poll() == 0
        queue = stack.devices["eth0"].tx[0]
        queue.lock()
        assert server.poll() == 0
        queue.unlock()
        assert server.poll() == 1
        assert json.loads(connection.recv(65536)) == {"result": ["eth0"]}


def test_a_stack_that_nobody_runs_is_told_after_a_while(stack):
    with ControlServer(stack, patience=0.1) as server, ControlClient(server.path) as client:
        with pytest.raises(OSError, match=r"the stack was not run for 0\.1 s") as refused:
            client.call("link.set", dev="eth0", mtu=1400)
        assert refused.value.errno == errno.ETIMEDOUT
        stack.run()
        assert stack.devices["eth0"].mtu == 1500  # what was given up is not done later
        server.patience = 20
        with background(server):
            assert client.call("devices") == ["eth0"]


def test_who_waits_when_it_closes_is_told(stack):
    with ControlServer(stack) as server:
        connection = raw(server)
        connection.send(b'{"method": "devices"}')
        until(lambda: server._waiting)
    with connection:
        assert json.loads(connection.recv(65536))["error"]["errno"] == errno.ESHUTDOWN
        assert connection.recv(65536) == b""


def test_the_link_is_shown_as_it_is_although_nobody_ran_the_stack(stack):
    stack.devices["eth0"].open()
    with ControlServer(stack) as server, ControlClient(server.path) as client:
        stack.devices["eth0"].carrier_off()
        text = []
        asking = threading.Thread(target=lambda: text.append(client.call("link.show")))
        asking.start()
        until(lambda: server.poll() or text)
        asking.join()
        assert "<NO-CARRIER,BROADCAST,MULTICAST,UP>" in text[0]
        assert " state DOWN " in text[0]


# --- what can be asked ---


@pytest.mark.parametrize(
    ("method", "parameters", "number"),
    [
        ("nope", {}, errno.ENOSYS),
        ("__class__", {}, errno.ENOSYS),
        ("ethtool.operation", {"dev": "eth0"}, errno.ENOSYS),
        ("link.set", {}, errno.EINVAL),
        ("link.set", {"dev": "eth9"}, errno.ENODEV),
        ("link.set", {"dev": None}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "mtu": "1400"}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "mtu": True}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "mtu": 1400.0}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "mtu": 10**30}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "unknown": 1}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "address": "52:54"}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "address": "x"}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "group": -1}, errno.ERANGE),
        ("link.set", {"dev": "eth0", "state": "sideways"}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "mode": "sideways"}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "carrier": True}, errno.EOPNOTSUPP),
        ("link.show", {"dev": "eth9"}, errno.ENODEV),
        ("link.show", {"stats": "2"}, errno.EINVAL),
        ("qdisc.show", {"dev": "eth9"}, errno.ENODEV),
        ("ethtool.get_ringparam", {"dev": "eth0"}, errno.EOPNOTSUPP),
        ("ethtool.set_features", {"dev": "eth0", "wanted": 1}, errno.EINVAL),
        ("ethtool.set_features", {"dev": "eth0", "wanted": {"nope": True}}, errno.EOPNOTSUPP),
        ("file.read", {"path": "/etc/passwd"}, errno.ENOENT),
        ("file.read", {"path": "/sys/class/net/../../../etc/passwd"}, errno.ENOENT),
        ("file.read", {"path": "/sys/class/net/eth0/nope"}, errno.ENOENT),
        ("file.read", {"path": "/sys/class/net/eth9/mtu"}, errno.ENOENT),
        ("file.write", {"path": "/sys/class/net/eth0/address", "text": "x"}, errno.EACCES),
        ("file.write", {"path": "/sys/class/net", "text": "x"}, errno.EISDIR),
    ],
)
def test_what_cannot_be_done_is_an_errno_and_a_line(served, method, parameters, number):
    with ControlClient(served.path) as client:
        assert refusal(client.call, method, **parameters) == number
        assert client.call("devices") == ["eth0"]


def test_link_set_changes_all_that_ip_does(served, stack):
    device = stack.devices["eth0"]
    device.max_mtu, device.netdev_ops.set_mac_address = 9000, lambda device, address: None
    with ControlClient(served.path) as client:
        change = {"address": "02:00:00:00:00:07", "mtu": 2000, "group": 3, "alias": "uplink", "txqueuelen": 5, "mode": "dormant"}
        client.call("link.set", dev="eth0", up=True, promisc=True, allmulticast=True, multicast=False, arp=False, name="ring0", **change)
        shown = client.call("link.show", dev="ring0")
    assert shown == (
        "1: ring0: <BROADCAST,NOARP,ALLMULTI,PROMISC,UP,LOWER_UP> mtu 2000 qdisc pfifo_fast state UNKNOWN mode DORMANT group 3 qlen 5\n"
        "    link/ether 02:00:00:00:00:07 brd ff:ff:ff:ff:ff:ff permaddr 52:54:00:00:00:01\n    alias uplink\n"
    )


def test_the_kernels_words_for_an_mtu_come_with_the_error(served):
    with ControlClient(served.path) as client:
        for mtu, words in ((1, "mtu less than device minimum"), (9999, "mtu greater than device maximum")):
            with pytest.raises(OSError, match=f"not {mtu}") as refused:
                client.call("link.set", dev="eth0", mtu=mtu)
            assert (refused.value.errno, refused.value.extack) == (errno.EINVAL, words)


def test_files_are_read_and_written_by_their_paths(served, stack):
    with ControlClient(served.path) as client:
        assert client.call("file.read", path="/sys/class/net") == ["eth0"]
        assert {"statistics", "queues", "mtu"} <= set(client.call("file.read", path="/sys/class/net/eth0/"))
        assert client.call("file.read", path="/sys/class/net/eth0/queues") == ["tx-0"]
        assert client.call("file.read", path="/proc/net/dev").count("\n") == 3
        client.call("file.write", path="/sys/class/net/eth0/mtu", text="1400\n")
        assert client.call("file.read", path="/sys/class/net/eth0/mtu") == "1400\n"
    assert stack.devices["eth0"].mtu == 1400


def test_an_error_of_a_drivers_own_is_an_error_for_the_client_alone(served, stack, caplog):
    def broken(device, stats):
        raise RuntimeError("a driver's mistake")

    stack.devices["eth0"].netdev_ops.get_stats64 = broken
    with ControlClient(served.path) as client:
        with pytest.raises(OSError, match="a driver's mistake"):
            client.call("link.show", stats=1)
        assert client.call("devices") == ["eth0"]
    assert "a control request failed" in caplog.text


# --- hostile clients ---

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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_is_not_talked_to(stack, tmp_path):
    with ControlServer(stack, tmp_path / "open") as server:
        for path in (server.path, *tmp_path.parents[:2], tmp_path):
            os.chmod(path, os.stat(path).st_mode | 0o777)
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
