"""Captures read burst by burst."""

import pytest

import softnet
from fastring.capture import CaptureError
from fastring.capture_writer import CaptureWriter

PACKETS = [bytes([i]) * (20 + i) for i in range(10)]


@pytest.fixture
def path(tmp_path):
    with CaptureWriter(tmp_path / "c.pcap") as writer:
        for i, packet in enumerate(PACKETS):
            writer.write(packet, time=i)
    return tmp_path / "c.pcap"


def test_bursts_can_all_be_kept(path):
    with softnet.open_capture(path, burst_size=4) as capture:
        bursts = list(capture)
        assert next(iter(capture))[0] == PACKETS[0], "it can be read again"
    assert [len(burst) for burst in bursts] == [4, 4, 2]
    assert [packet for burst in bursts for packet in burst] == PACKETS


def test_only_so_many(path):
    assert [len(burst) for burst in softnet.open_capture(path, limit=3)] == [3]


def test_a_file_that_breaks_off_says_so_after_its_last_packet(path):
    path.write_bytes(path.read_bytes()[:-1])
    bursts = iter(softnet.open_capture(path))
    assert list(next(bursts)) == PACKETS[:-1]
    with pytest.raises(CaptureError, match="ends inside a record"):
        next(bursts)


def test_what_makes_no_sense_is_refused(path):
    with pytest.raises(ValueError, match="1 to"):
        softnet.open_capture(path, burst_size=0)
    with pytest.raises(FileNotFoundError):
        softnet.open_capture(path.with_name("nothing"))
