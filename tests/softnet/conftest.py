"""What the tests of softnet share: the command in this process and in one of its own, captures made by hand, a stack and a device."""

import json
import resource
import struct
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from scapy.utils import RawPcapReader

from fastring.capture_writer import CaptureWriter
from fastring.clock import VirtualClock
from softnet import Stack
from softnet.cli import main

sys.path.insert(0, str(Path(__file__).parent))

from drivers import RingDriver, make_device

Outcome = namedtuple("Outcome", "status out err")


def bounded():
    """In the child: a run that should end but does not fills no disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 32, 1 << 32))


@pytest.fixture(scope="session")
def data():
    """The folder of captures of real traffic."""
    return Path(__file__).resolve().parents[1] / "data"


@pytest.fixture
def fastring(capsys):
    """Run the command in this process: fastring("replay", path, ...) -> Outcome(status, out, err)."""

    def run(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def replayed(fastring):
    """Replay and return (status, the result as a dict), having checked that its account is right and nothing was said."""

    def run(*arguments, silent=True):
        outcome = fastring("replay", "--json", *arguments)
        assert outcome.out, outcome.err
        assert not (silent and outcome.err)
        result = json.loads(outcome.out)
        assert result["sent"] + result["duplicated"] == result["received"] + result["lost"]
        assert result["lost"] == sum(result["drops"].values())
        assert all(count > 0 for count in result["drops"].values())
        return outcome.status, result

    return run


@pytest.fixture
def process():
    """Run the command in a process of its own, `before` it being the start of the command line."""

    def run(*arguments, before=(), **options):
        command = [*before, sys.executable, "-m", "softnet.cli", *map(str, arguments)]
        options.setdefault("preexec_fn", bounded)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def capture(tmp_path):
    """Make a capture of `frames`, which are bytes or (time in ns, bytes): capture([b"..."], "name.pcap") -> its path."""

    def make(frames, name="in.pcap"):
        path = tmp_path / name
        with CaptureWriter(path) as writer:
            for number, frame in enumerate(frames):
                time, packet = frame if isinstance(frame, tuple) else (10**18 + number * 1000, frame)
                writer.write(packet, time)
        return path

    return make


@pytest.fixture(scope="session")
def pcap():
    """The bytes of a pcap file made by hand: pcap(record(b"..."), ...)."""

    def make(*records, magic=0xA1B2C3D4, snaplen=262144, linktype=1):
        return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, snaplen, linktype) + b"".join(records)

    return make


@pytest.fixture(scope="session")
def record():
    """The bytes of one of its records."""

    def make(packet, *, caplen=None, seconds=1, fraction=0, wirelen=None):
        caplen = len(packet) if caplen is None else caplen
        return struct.pack("<IIII", seconds, fraction, caplen, caplen if wirelen is None else wirelen) + packet

    return make


@pytest.fixture(scope="session")
def frame():
    """A frame of so many bytes: broadcast, its bytes depending on its number."""

    def make(length, number=0):
        body = bytes((number * 7 + i) & 0xFF for i in range(256)) * (length // 256 + 1)
        return (b"\xff" * 6 + b"\x52\x54\0\0\0\x09\x88\xb5" + body)[:length]

    return make


@pytest.fixture(scope="session")
def frames_of():
    """Read a capture with scapy: [(time in ns, bytes)]."""

    def read(path):
        with RawPcapReader(str(path)) as reader:
            return [(_nanoseconds(reader, metadata), packet) for packet, metadata in reader]

    return read


def _nanoseconds(reader, metadata):
    if hasattr(metadata, "tsresol"):
        return ((metadata.tshigh << 32) + metadata.tslow) * 10**9 // metadata.tsresol
    return metadata.sec * 10**9 + metadata.usec * (1 if reader.nano else 1000)


@pytest.fixture(scope="session")
def padded():
    """Frames as a card sends them: those under 60 bytes filled up with zeroes."""

    def pad(frames):
        return [(time, packet.ljust(60, b"\0")) for time, packet in frames]

    return pad


@pytest.fixture
def stack():
    """A Stack on a virtual clock."""
    with Stack(clock=VirtualClock(start=10**9)) as stack:
        yield stack


@pytest.fixture
def driver():
    """A RingDriver; tests of other drivers have their own."""
    return RingDriver()


@pytest.fixture
def device(stack, driver):
    """A device over `driver`, open, without a byte limit."""
    device = make_device(stack, driver, bql=False)
    yield device
    device.unregister()
