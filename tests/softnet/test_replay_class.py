"""Replay, from Python: what it checks when made, and what it gives back."""

import errno
import os

import pytest

from fastring.capture_error import CaptureError
from softnet.replay import Replay


def open_files():
    return len(os.listdir("/proc/self/fd"))


def test_it_tells_how_many_frames_there_are_to_send(data):
    for options, total in (
        ({}, 200),
        ({"loop": 3}, 600),
        ({"loop": 3, "limit": 7}, 7),
        ({"loop": 0}, None),
        ({"loop": 0, "limit": 900}, 900),
    ):
        replay = Replay([data / "arp.pcap"], **options)
        assert replay.total == total
        replay.close()


def test_progress_grows_to_the_number_of_frames_sent(data):
    told = []
    Replay([data / "arp.pcap"], loop=50).run(told.append)
    assert told == sorted(told)
    assert told[-1] == 50 * 200


@pytest.mark.parametrize("options", [{"clock": "water"}, {"loop": -1}, {"limit": -1}, {"mtu": 45}, {"mtu": -1}, {"wire": "x"}])
def test_options_that_make_no_sense_are_refused_and_nothing_stays_open(options, data, tmp_path):
    before = open_files()
    with pytest.raises(ValueError, match=r"\w"):
        Replay([data / "dns-ns.pcap.gz"], out=tmp_path / "out.pcap", **options)
    assert open_files() == before
    assert not (tmp_path / "out.pcap").exists()


def test_a_bad_capture_or_output_is_refused_and_nothing_stays_open(data, tmp_path):
    before = open_files()
    (tmp_path / "bad.pcap").write_bytes(b"bad")
    with pytest.raises(CaptureError):
        Replay([data / "dns-ns.pcap.gz", tmp_path / "bad.pcap"])
    with pytest.raises(IsADirectoryError):
        Replay([data / "dns-ns.pcap.gz"], out=tmp_path)
    with pytest.raises(OSError, match="cannot be overwritten") as refused:
        Replay([data / "arp.pcap"], wire=f"pcap:{data / 'arp.pcap'}")
    assert refused.value.errno == errno.EBUSY
    assert open_files() == before


@pytest.mark.parametrize("wire", ["pair", "null", "pcap:{}", "pcapng:{}"])
def test_a_run_leaves_nothing_open(wire, data, tmp_path):
    Replay([data / "arp.pcap"]).run()
    before = open_files()
    Replay([data / "dns-ns.pcap.gz", data / "arp.pcap"], wire=wire.format(tmp_path / "wire")).run()
    assert open_files() == before


def test_closing_it_again_or_after_a_run_is_harmless(data):
    replay = Replay([data / "arp.pcap"])
    assert replay.run().received == 200
    replay.close()
    replay.close()


def test_an_interrupt_ends_a_run_with_the_result_so_far(data):
    def interrupt(sent):
        if sent > 1000:
            raise KeyboardInterrupt

    result = Replay([data / "arp.pcap"], loop=0).run(interrupt)
    assert (result.interrupted, result.complete, result.problems) == (True, False, ["interrupted"])
    assert result.sent == result.received == 1200
