"""Captures on standard output, `-`: written to the descriptor as it is, be it a pipe, a socket or a file that is appended to."""

import os
import pty
import socket
import subprocess
import sys
import threading

import pytest

from fastring.capture_writer import CaptureWriter

COMMAND = [sys.executable, "-m", "softnet.cli"]
WAYS = {
    "rewrite": ["rewrite", "{}", "-"],
    "out": ["replay", "{}", "--out", "-", "--clock", "virtual", "--mtu", "1500"],
    "wire": ["replay", "{}", "--wire", "pcapng:-", "--clock", "virtual", "--mtu", "1500"],
}


@pytest.fixture(params=WAYS)
def command(request, data):
    return [*COMMAND, *(word.replace("{}", str(data / "arp.pcap")) for word in WAYS[request.param])]


def run(command, stdout):
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False)


def everything(read):
    """What a function returns until it returns nothing."""
    return b"".join(iter(lambda: read(1 << 16), b""))


@pytest.fixture
def whole(command):
    """What it writes into a pipe."""
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert len(done.stdout) > 1000
    return done.stdout


def test_a_file_is_appended_to_or_written_from_where_it_stands(command, whole, tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"before\n")
    with path.open("ab") as target:
        done = run(command, target)
    assert (done.returncode, path.read_bytes()) == (0, b"before\n" + whole)
    with path.open("r+b", buffering=0) as target:
        target.seek(3)
        done = run(command, target)
        CaptureWriter(path).close()  # the lock is not left on our descriptor
    assert done.returncode == 0


def test_a_socket(command, whole):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = run(command, theirs)
        theirs.close()
        assert (done.returncode, everything(ours.recv)) == (0, whole)


def test_a_pipe_that_is_full_and_does_not_block_is_waited_for(data):
    read, write = os.pipe()
    os.set_blocking(write, False)
    got = []
    reader = threading.Thread(target=lambda: got.append(everything(lambda most: os.read(read, most))))
    command = [*COMMAND, "rewrite", str(data / "mixed.pcap"), "-"]
    with subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, text=True) as child:
        os.close(write)
        reader.start()
        _, said = child.communicate(timeout=60)
        reader.join(60)
    os.close(read)
    assert (child.returncode, said) == (0, "11,017 of 11,017 packets written, 0 of them edited\n")
    assert len(got[0]) == (data / "mixed.pcap").stat().st_size


@pytest.mark.parametrize("read_first", [0, 100])
def test_a_reader_that_goes_is_told_in_a_line(data, read_first):
    for words in (["rewrite", "mixed.pcap", "-"], ["replay", "mixed.pcap", "--out=-"], ["replay", "mixed.pcap", "--wire=pcap:-"]):
        read, write = os.pipe()
        with subprocess.Popen([*COMMAND, *words], stdout=write, stderr=subprocess.PIPE, text=True, cwd=data) as child:
            os.close(write)
            if read_first:
                assert len(os.read(read, read_first)) > 0
            os.close(read)
            _, said = child.communicate(timeout=60)
        assert child.returncode in (1, 2)
        assert said.splitlines()[0].startswith(f"fastring {words[0]}: ")
        assert said.count("standard output: Broken pipe") == 1, said
        assert "Traceback" not in said


def test_a_terminal_is_refused(command):
    ours, theirs = pty.openpty()
    try:
        done = run(command, theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    told = "standard output is a terminal: pipe the capture on, or name a file\n"
    assert (done.returncode, done.stderr) == (2, f"fastring {command[3]}: {told}")


def test_a_file_that_is_being_read_is_refused(data, tmp_path):
    path = tmp_path / "both.pcap"
    path.write_bytes((data / "arp.pcap").read_bytes())
    with path.open("ab") as target:
        done = run([*COMMAND, "rewrite", str(path), "-"], target)
    assert (done.returncode, done.stderr) == (
        2, "fastring rewrite: standard output: a capture being read or written cannot be overwritten\n")
    assert path.read_bytes() == (data / "arp.pcap").read_bytes()
