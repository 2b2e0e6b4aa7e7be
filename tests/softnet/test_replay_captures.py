"""Every capture of real traffic arrives whole, in order and byte for byte, whatever the clock, the wire and the format."""

import os
import re
import threading
import time
from pathlib import Path

import pytest
from scapy.utils import rdpcap

CAPTURES = sorted(path for path in (Path(__file__).resolve().parents[1] / "data").iterdir() if ".pcap" in path.name)
each_capture = pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)


def contents(frames):
    return [packet for _time, packet in frames]


@each_capture
@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_every_frame_arrives_in_order_and_byte_for_byte(path, clock, replayed, frames_of, padded, tmp_path):
    status, result = replayed(path, "--clock", clock, "--out", tmp_path / "out.pcap")
    offered, arrived = frames_of(path), frames_of(tmp_path / "out.pcap")
    assert status == 0
    assert contents(arrived) == contents(padded(offered))
    assert result["sent"] == result["received"] == len(offered)
    assert result["bytes"] == sum(map(len, contents(offered)))
    assert result["received_bytes"] == sum(map(len, contents(arrived)))
    assert result["padded"] == sum(len(packet) < 60 for packet in contents(offered))
    assert result["pad_bytes"] == result["received_bytes"] - result["bytes"]


@each_capture
@pytest.mark.parametrize("name", ["out.pcap", "out.pcapng"])
def test_on_the_virtual_clock_time_stamps_are_the_captures_own(path, name, replayed, frames_of, padded, tmp_path):
    assert replayed(path, "--clock", "virtual", "--out", tmp_path / name)[0] == 0
    assert frames_of(tmp_path / name) == padded(frames_of(path))


@each_capture
@pytest.mark.parametrize("format", ["pcap", "pcapng"])
def test_a_capture_file_as_wire_hears_every_frame_at_its_time(path, format, replayed, frames_of, padded, tmp_path):
    status, result = replayed(path, "--clock", "virtual", "--wire", f"{format}:{tmp_path / 'wire'}")
    assert status == 0
    assert frames_of(tmp_path / "wire") == padded(frames_of(path))
    assert result["received_bytes"] == result["bytes"] + result["pad_bytes"]


@each_capture
def test_the_null_wire_takes_every_frame(path, replayed, frames_of):
    status, result = replayed(path, "--wire", "null")
    assert status == 0
    assert result["received"] == len(frames_of(path))
    assert result["received_bytes"] == result["bytes"] + result["pad_bytes"]


@pytest.mark.parametrize("name", ["http.pcap", "two-interfaces.pcapng", "dns-ns.pcap.gz"])
def test_scapy_reads_the_same_packets_from_what_arrived(name, data, replayed, tmp_path):
    assert replayed(data / name, "--clock", "virtual", "--out", tmp_path / "out.pcap")[0] == 0
    offered, arrived = rdpcap(str(data / name)), rdpcap(str(tmp_path / "out.pcap"))
    assert [bytes(packet).ljust(60, b"\0") for packet in offered] == [bytes(packet) for packet in arrived]
    assert [packet.time for packet in offered] == [packet.time for packet in arrived]
    # Whether scapy tells the padding depends on which of its layers somebody has imported
    summaries = [[packet.summary().removesuffix(" / Padding") for packet in packets] for packets in (offered, arrived)]
    assert summaries[0] == summaries[1]


@pytest.mark.parametrize("name", ["mixed.pcap", "short.pcap", "two-interfaces.pcapng"])
def test_two_runs_on_the_virtual_clock_are_the_same_to_the_byte(name, data, fastring, tmp_path):
    runs = [fastring("replay", data / name, "--clock", "virtual", "--json", "--out", tmp_path / out) for out in ("a.pcap", "b.pcap")]
    assert runs[0] == runs[1]
    assert (tmp_path / "a.pcap").read_bytes() == (tmp_path / "b.pcap").read_bytes()


def test_on_the_real_clock_frames_are_stamped_as_they_arrive(data, replayed, frames_of, tmp_path):
    from time import time_ns

    before = time_ns()
    replayed(data / "http.pcap", "--out", tmp_path / "out.pcap")
    times = [time for time, _packet in frames_of(tmp_path / "out.pcap")]
    assert before <= times[0]
    assert times == sorted(times)
    assert times[-1] <= time_ns()


def test_several_captures_follow_each_other(data, replayed, frames_of, padded, tmp_path):
    paths = [data / name for name in ("vlan.pcap", "dns-ns.pcap.gz", "two-interfaces.pcapng", "vlan.pcap")]
    status, result = replayed(*paths, "--clock", "virtual", "--out", tmp_path / "out.pcap")
    assert status == 0
    assert frames_of(tmp_path / "out.pcap") == padded([frame for path in paths for frame in frames_of(path)])
    assert result["sent"] == 602 + 1000 + 436 + 602


def test_the_result_has_what_happened_on_the_way(data, replayed):
    status, result = replayed(data / "mixed.pcap")
    assert status == 0
    assert result["seconds"] > 0
    assert result["pps"] == pytest.approx(result["received"] / result["seconds"])
    assert result["bits_per_second"] == pytest.approx(8 * result["received_bytes"] / result["seconds"])
    assert result["interrupts"] > 0
    assert result["polls"] > 0
    assert result["packets_per_poll"] > 1
    assert result["queue_stops"] == result["queue_wakes"]


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_a_capture_cut_short_by_another_process_ends_the_run_with_one_line(clock, data, process, tmp_path):
    source, out = tmp_path / "in.pcap", tmp_path / "out.pcap"
    source.write_bytes((data / "mixed.pcap").read_bytes())

    def cut():
        while not out.exists() or out.stat().st_size < 1 << 20:  # until it runs
            time.sleep(0.01)
        os.truncate(source, 0)

    cutter = threading.Thread(target=cut, daemon=True)
    cutter.start()
    outcome = process("replay", "in.pcap", data / "arp.pcap", "--loop", 0, "--clock", clock, "--out", out, cwd=tmp_path)
    cutter.join()
    assert outcome.status == 1, outcome
    assert re.fullmatch(r"fastring replay: in\.pcap: offset \d+: the file shrank while it was read [^\n]+\n", outcome.err)
    assert "received" in outcome.out
