"""`fastring serve` as a user types it; what a client then gets is tests/e1000/test_vfio_user_server.py's, and tests/guest's."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "softnet.cli", "serve"]


def fastring(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def serving(tmp_path):
    """Start it; once it is ready, the process."""
    started = []

    def start(*arguments, sockets=("card",)):
        paths = [word for name in sockets for word in ("--socket", tmp_path / name)]
        process = subprocess.Popen([*COMMAND, *map(str, (*paths, *arguments))], stdout=-1, stderr=-1, text=True)
        started.append(process)
        assert "ready at" in process.stderr.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def version(path):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(str(path))
    client.sendall(struct.pack("=HHIIIHH", 1, 1, 20, 0, 0, 0, 0))
    assert struct.unpack("=HHIII", client.recv(16))[3:] == (1, 0)
    return client


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_serves_until_it_is_interrupted(serving, tmp_path, number):
    process = serving("--wire", "loopback", "--json")
    client = version(tmp_path / "card")
    assert "a client came" in process.stderr.readline()
    client.close()
    assert "the client is gone" in process.stderr.readline()
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    card = {"socket": str(tmp_path / "card"), "mac": "52:54:00:12:34:56", "clients": 1, "accesses": 0, "refused": 0}
    assert json.loads(said) == {"cards": [card | {"drops": {}, "breaches": None}], "trace_lost": 0}
    assert not os.path.exists(tmp_path / "card")


def test_several_cards_share_a_wire(serving, tmp_path):
    process = serving("--wire", "loopback", "--mac", "52:54:00:00:00:fe", "--trace", tmp_path / "trace", sockets=("a", "b"))
    clients = [version(tmp_path / name) for name in "ab"]
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert [line.split(", ")[1] for line in said.splitlines()] == ["52:54:00:00:00:fe: 1 clients", "52:54:00:00:00:ff: 1 clients"]
    assert all(client.recv(1) in (b"", b"\0") for client in clients)
    assert (tmp_path / "trace").stat().st_size > 0


def test_the_eeprom_is_kept_in_a_file(serving, tmp_path):
    for mac in (("--mac", "52:54:00:00:00:07"), ()):
        process = serving("--wire", "loopback", "--eeprom", tmp_path / "eeprom", "--json", *mac)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        assert json.loads(said)["cards"][0]["mac"] == "52:54:00:00:00:07"
    assert (tmp_path / "eeprom").stat().st_size == 128


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--socket", "{}/card", "--wire", "pair"), "nobody is at its other end"),
        (("--socket", "{}/" + "x" * 120, "--wire", "loopback"), "at most 107 bytes"),
        (("--socket", "{}/no/card", "--wire", "loopback"), "No such file or directory"),
        (("--socket", "{}", "--wire", "loopback"), "no socket"),
        (("--socket", "{}/a", "--socket", "{}/b", "--eeprom", "{}/e", "--wire", "loopback"), "one EEPROM is for one card"),
        (("--socket", "{}/card", "--wire", "loopback", "--mac", "01:00:00:00:00:00"), "station address"),
        (("--socket", "{}/card", "--wire", "rope"), "rope"),
        (("--wire", "loopback"), "--socket"),
        (("--socket", "{}/card", "--wire", "loopback", "--map-doorbells", "--strict"), "are not seen as they are rung"),
        (("--socket", "{}/card", "--wire", "loopback", "--map-doorbells", "--trace", "{}/t"), "are not seen as they are rung"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_line(tmp_path, arguments, problem):
    result = fastring(*(word.format(tmp_path) for word in arguments))
    assert (result.returncode, result.stdout) == (2, "")
    assert problem in result.stderr
    assert "Traceback" not in result.stderr


def test_a_socket_that_is_served_is_not_taken(serving, tmp_path):
    serving("--wire", "loopback")
    result = fastring("--socket", tmp_path / "card", "--wire", "loopback")
    assert result.returncode == 2
    assert "somebody listens" in result.stderr


def test_a_socket_that_was_left_behind_is_replaced(serving, tmp_path):
    process = serving("--wire", "loopback")
    process.kill()
    process.wait(60)
    assert (tmp_path / "card").exists()
    serving("--wire", "loopback")
    version(tmp_path / "card").close()


def only_line(done):
    """What was said: one line, and nothing was done."""
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_sockets_that_cannot_be_are_named(tmp_path):
    os.symlink(tmp_path / "none", tmp_path / "link")
    (tmp_path / "folder").mkdir()
    reasons = {"none/card": "No such file", "link": "link to nothing", "folder": "no socket", "a" * 120: "at most 107 bytes"}
    for path, why in reasons.items():
        said = only_line(fastring("--socket", tmp_path / path, "--wire", "loopback"))
        assert str(tmp_path / path) in said
        assert why in said


@pytest.mark.parametrize("option", ["--wire", "--mac", "--eeprom", "--trace"])
def test_what_can_be_given_once_is_not_given_twice(tmp_path, option):
    twice = ["--socket", tmp_path / "card", "--wire", "loopback", option, "x", option, "y"]
    assert f"argument {option}: it is given once" in only_line(fastring(*twice))


def test_an_eeprom_that_could_not_be_kept_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "short").write_bytes(bytes(50))
    for name, why in (("fifo", "no file"), ("folder", "no file"), ("short", "128 bytes"), ("none/eeprom", "No such file")):
        said = only_line(fastring("--socket", tmp_path / "card", "--wire", "loopback", "--eeprom", tmp_path / name))
        assert str(tmp_path / name) in said
        assert why in said
        assert not os.path.exists(tmp_path / "card")


def test_an_eeprom_that_cannot_be_saved_takes_no_card_from_its_guest(serving, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    process = serving("--wire", "loopback", "--eeprom", folder / "eeprom")
    assert (folder / "eeprom").stat().st_size == 128
    folder.rename(tmp_path / "moved")
    for _ in range(2):
        version(tmp_path / "card").close()
        said = [process.stderr.readline() for _ in range(3)]
        assert "the EEPROM is not saved" in said[2]
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the EEPROM is not saved" in said


def test_a_trace_that_found_no_room_is_no_bad_usage(serving, tmp_path):
    process = serving("--wire", "loopback", "--trace", "/dev/full")
    version(tmp_path / "card").close()
    assert "came" in process.stderr.readline()
    assert "gone" in process.stderr.readline()
    process.terminate()
    result, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "fastring serve: /dev/full: No space left on device\n")
    assert "1 clients" in result


def test_nobody_need_read_what_it_says(serving, tmp_path):
    process = serving("--wire", "loopback")
    process.stderr.close()
    for _ in range(2):
        version(tmp_path / "card").close()
    client = version(tmp_path / "card")
    process.terminate()
    assert process.wait(60) == 0
    assert "3 clients" in process.stdout.read()
    client.close()
    process.stderr = None
