"""The same capture sent over a veth pair by `fastring replay` and by Debian's tcpreplay: the same frames at the far side."""

import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from fractions import Fraction

import pytest
from namespaces import deleting, namespace, veth

from softnet.replay import Replay
from softnet.replay_timing import Timing

FASTRING = [sys.executable, "-m", "softnet.cli", "replay"]


@pytest.fixture
def ends():
    """Two namespaces with two veth pairs between them, a0 and b0 in the first, a1 and b1 in the second."""
    if not shutil.which("tcpdump") or not shutil.which("tcpreplay"):
        pytest.skip("needs tcpdump and tcpreplay")
    with namespace() as near, namespace() as far:
        veth(near, "a0", far, "a1")
        veth(near, "b0", far, "b1")
        yield near, far


@pytest.fixture
def received(ends, frames_of, tmp_path):
    """Run a command at one side and give the frames that tcpdump saw at the other: received(command, a1=frames, b1=frames)."""
    near, far = ends

    def run(command, **expected):
        with ExitStack() as undo:
            dumps = {name: undo.enter_context(_dump(far, name, count, tmp_path / name)) for name, count in expected.items() if count}
            near.run(*command, timeout=120)
            for name, dump in dumps.items():
                assert dump.wait(60) == 0, name
        return {name: [packet.ljust(60, b"\0") for _time, packet in frames_of(tmp_path / name)] for name in dumps}

    return run


def _dump(far, name, count, path):
    """A tcpdump that ends after so many frames, once it listens."""
    with open(path, "wb") as file:
        command = ("tcpdump", "-i", name, "-Q", "in", "-B", "16384", "-c", str(count), "-U", "-w", "-")
        dump = far.popen(*command, stdout=file, stderr=subprocess.PIPE)
    line = b""
    while b"listening on" not in line:
        line = dump.stderr.readline()
        assert line, "tcpdump ended"
    return dump


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--topspeed"], 944),
        (["--topspeed", "--preload-pcap", "--limit=100"], 100),
        (["--pps=20000", "--pps-multi=4"], 944),
        (["--topspeed", "--unique-ip", "--unique-ip-loops=1", "--loop=3", "--preload-pcap"], 3 * 944),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_same_frames_arrive_as_from_tcpreplay(options, count, data, received):
    path = data / "http.pcap"
    ours = received([*FASTRING, path, "--intf1=a0", *options], a1=count)
    theirs = received(["tcpreplay", "--intf1=a0", *options, path], a1=count)
    assert len(ours["a1"]) == count
    assert ours == theirs


def test_the_same_frames_leave_by_each_of_two_interfaces(data, received, tmp_path):
    path, cache = data / "http.pcap", tmp_path / "http.cache"
    subprocess.run(["tcpprep", "--auto=bridge", f"--pcap={path}", f"--cachefile={cache}"], check=True, capture_output=True)
    told = subprocess.run(["tcpprep", f"--print-info={cache}"], check=True, capture_output=True, text=True).stdout
    clients = len(re.findall(r"-> Primary", told))
    options = ["--intf1=a0", "--intf2=b0", f"--cachefile={cache}", "--pps=50000"]
    expected = {"a1": clients, "b1": 944 - clients}
    ours = received([*FASTRING, path, *options], **expected)
    theirs = received(["tcpreplay", *options, path], **expected)
    assert ours == theirs
    assert [len(frames) for frames in ours.values()] == list(expected.values())


@pytest.mark.parametrize("timing", [Timing(mode="pps", rate=Fraction(2000)), Timing()], ids=lambda timing: timing.mode)
def test_an_interface_that_is_deleted_ends_the_replay_with_what_was_sent_so_far(timing, data):
    with namespace() as here, here.inside():
        veth(here, "left", here, "right")
        result = Replay([data / "http.pcap"], wire="packet:left", timing=timing, loop=0, limit=100_000_000).run(
            deleting(here, "right", after=50)
        )
    assert len(result.problems) == 1
    assert result.problems[0].startswith("<PacketWire left> has failed: No such device")
    assert not result.complete
    assert not result.interrupted
    assert result.sent == result.received + result.lost
    assert 50 < result.sent < 100_000_000
