"""Where the control socket is: its directory, who may talk, and what is left of a process that died."""

import errno
import os
import signal
import stat
import subprocess
import sys

import pytest
from control_socket import DIES, background, refusal

from softnet import Stack
from softnet.control import ControlClient, ControlServer, find, running

pytestmark = pytest.mark.usefixtures("runtime")


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
