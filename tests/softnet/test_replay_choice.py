"""Which frames `fastring replay` sends, and by which interface, with tcpreplay's options and tcpprep's files."""

import os
import re
import shutil
import struct
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap

from fastring.capture_selection import Selection
from softnet.tcpprep import parse_packet_list, read_cache


@pytest.fixture
def numbered(capture, frame):
    """A capture of frames 1 to n, and what they are."""

    def make(count, name="in.pcap", start=0):
        frames = [(10**18 + start + 10 * n, frame(100, start + n)) for n in range(count)]
        return capture(frames, name), [packet for _time, packet in frames]

    return make


@pytest.fixture
def sent_to(replayed, frames_of, tmp_path):
    """Replay to two capture files; the frames in each."""

    def run(*arguments, status=0):
        one, other = tmp_path / "one.pcap", tmp_path / "other.pcap"
        done, result = replayed(*arguments, "--intf1", f"pcap:{one}", "--intf2", f"pcap:{other}", "--topspeed")
        assert done == status
        got = [[packet for _time, packet in frames_of(path)] for path in (one, other)]
        assert [each["received"] for each in result["interfaces"]] == [len(got[0]), len(got[1])]
        assert [each["sent"] for each in result["interfaces"]] == [len(got[0]), len(got[1])]
        return (*got, result)

    return run


def cache(path, directions, *, version=b"04\0\0", per_byte=4, comment=b"a comment", packets=None):
    """Write a cache file: for each packet None, 0 or 1."""
    bits = bytearray((len(directions) + 3) // 4)
    for n, queue in enumerate(directions):
        bits[n // 4] |= {None: 0, 0: 3, 1: 2}[queue] << 2 * (n % 4)
    count = len(directions) if packets is None else packets
    path.write_bytes(b"tcpprep\0" + version + struct.pack(">QHH", count, per_byte, len(comment)) + comment + bits)
    return path


# --- by number ---


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--include", "1-5,9,15-"], [1, 2, 3, 4, 5, 9, *range(15, 21)]),
        (["--exclude", "1-5,9,15-"], [6, 7, 8, *range(10, 15)]),
        (["--include", "20"], [20]),
        (["--include", "3-4,2-3"], [2, 3, 4]),
        (["--include", "5-", "--limit", "2"], [5, 6]),
    ],
)
def test_packets_are_picked_by_number(options, wanted, numbered, replayed, frames_of, tmp_path):
    path, frames = numbered(20)
    status, result = replayed(path, *options, "--out", tmp_path / "out.pcap")
    assert [packet for _time, packet in frames_of(tmp_path / "out.pcap")] == [frames[n - 1] for n in wanted]
    assert (status, result["sent"]) == (0, len(wanted))
    assert result["unselected"] == (20 if "--limit" not in options else 6) - len(wanted)


def test_numbers_begin_anew_with_each_capture_and_pass(numbered, replayed):
    path, _frames = numbered(20)
    status, result = replayed(path, path, "--include", "1-3", "--loop", 2)
    assert (status, result["sent"], result["unselected"]) == (0, 12, 68)


def test_an_endless_loop_over_nothing_ends(numbered, replayed):
    path, _frames = numbered(3)
    assert replayed(path, "--include", "9-", "--loop", 0)[1]["sent"] == 0


def test_what_is_left_out_is_told(numbered, fastring):
    path, _frames = numbered(20)
    assert "\nleft out   19 frames  by their number" in fastring("replay", path, "--include", "7").out


def test_a_list_without_an_end():
    assert parse_packet_list("1-5,9,15-") == [(1, 5), (9, 9), (15, (1 << 64) - 1)]


# --- two interfaces ---


@pytest.mark.parametrize("loop", [1, 3])
def test_a_cache_file_says_what_is_for_whom(loop, numbered, sent_to, tmp_path):
    path, frames = numbered(300)
    directions = [(None, 0, 1, 1, 0)[n % 5] for n in range(300)]
    clients, servers, result = sent_to(path, "--cachefile", cache(tmp_path / "c", directions), "--loop", loop)
    assert clients == [packet for packet, queue in zip(frames, directions, strict=True) if queue == 0] * loop
    assert servers == [packet for packet, queue in zip(frames, directions, strict=True) if queue == 1] * loop
    assert result["unselected"] == 60 * loop


def test_tcppreps_own_file_is_read(data, sent_to, tmp_path):
    assert shutil.which("tcpprep"), "needs tcpreplay"
    made = tmp_path / "http.cache"
    subprocess.run(["tcpprep", "--auto=bridge", f"--pcap={data / 'http.pcap'}", f"--cachefile={made}"], check=True, capture_output=True)
    told = subprocess.run(["tcpprep", f"--print-info={made}"], check=True, capture_output=True, text=True).stdout
    directions = re.findall(r"^Packet (\d+) -> (Primary|Secondary)", told, re.MULTILINE)
    packets = [bytes(packet).ljust(60, b"\0") for packet in rdpcap(str(data / "http.pcap"))]
    clients, servers, _result = sent_to(data / "http.pcap", "-c", made)
    assert clients == [packets[int(number) - 1] for number, where in directions if where == "Primary"]
    assert servers == [packets[int(number) - 1] for number, where in directions if where == "Secondary"]
    assert min(len(clients), len(servers)) > 100


def test_two_files_are_merged_by_time(capture, frame, sent_to, frames_of, tmp_path):
    one = capture([(10**18 + 20 * n, frame(100, n)) for n in range(50)], "a.pcap")
    other = capture([(10**18 + 20 * n + 10, frame(200, n)) for n in range(30)], "b.pcap")
    clients, servers, result = sent_to(one, other, "--dualfile", "--loop", 2)
    assert clients == [frame(100, n) for n in range(50)] * 2
    assert servers == [frame(200, n) for n in range(30)] * 2
    assert result["sent"] == 160


def test_the_schedule_is_common_to_both(capture, frame, replayed, frames_of, tmp_path):
    one = capture([(10**18 + 20 * n, frame(100, n)) for n in range(3)], "a.pcapng")
    other = capture([(10**18 + 20 * n + 10, frame(200, n)) for n in range(3)], "b.pcapng")
    wires = [f"pcapng:{tmp_path / name}" for name in ("x", "y")]
    arguments = (one, other, "--dualfile", "--intf1", wires[0], "--intf2", wires[1], "--clock", "virtual", "--pps", "1000")
    assert replayed(*arguments)[0] == 0
    stamps = [[time - 10**18 for time, _packet in frames_of(tmp_path / name)] for name in ("x", "y")]
    assert stamps == [[0, 2 * 10**6, 4 * 10**6], [10**6, 3 * 10**6, 5 * 10**6]]


def test_two_pairs_receive_each_its_own(capture, frame, replayed, frames_of, tmp_path):
    paths = [capture([(10**18 + 20 * n, frame(length, n)) for n in range(9)], f"{length}.pcap") for length in (100, 200)]
    status, result = replayed(*paths, "--dualfile", "--intf2", "pair", "--out", tmp_path / "out.pcap")
    assert (status, result["received"]) == (0, 18)
    assert [(each["wire"], each["sent"], each["received"]) for each in result["interfaces"]] == [("pair", 9, 9)] * 2
    assert len(frames_of(tmp_path / "out.pcap")) == 18


def test_both_interfaces_are_in_the_text(numbered, fastring, tmp_path):
    path, _frames = numbered(5)
    out = fastring("replay", path, "--intf2", "null", "--cachefile", cache(tmp_path / "c", [0, 1, 0, 1, 1])).out
    assert "wire       2 frames  sent to pair, 2 received\nwire       3 frames  sent to null, 3 received" in out


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ({"version": b"03\0\0"}, "version"),
        ({"per_byte": 0}, "packets per byte"),
        ({"packets": 1 << 63}, "breaks off"),
        ({"packets": 4}, "made of 4 packets, and"),
        ({"comment": b""}, None),
    ],
)
def test_a_cache_file_that_cannot_be_is_refused(damage, why, numbered, fastring, tmp_path):
    path, _frames = numbered(5)
    made = cache(tmp_path / "c", [0] * 5, **damage)
    outcome = fastring("replay", path, "--intf2", "null", "--cachefile", made)
    assert outcome.status == (0 if why is None else 2)
    assert (why or "") in outcome.err
    assert outcome.err.count("\n") == (why is not None)


@pytest.mark.parametrize("content", [b"", b"tcpprep", b"tcpprep\0" + b"04\0\0", b"\xd4\xc3\xb2\xa1" * 20])
def test_what_is_no_cache_file_is_refused(content, tmp_path):
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(ValueError, match=str(tmp_path / "c")):
        read_cache(tmp_path / "c")


@settings(max_examples=200)
@given(
    st.binary(max_size=60),
    st.sampled_from([b"04\0\0", b"04  ", b"4\0\0\0", b"\xff\xff\xff\xff"]),
    st.one_of(st.integers(0, 200), st.integers(0, 2**64 - 1)),
    st.one_of(st.just(4), st.integers(0, 2**16 - 1)),
    st.one_of(st.integers(0, 20), st.integers(0, 2**16 - 1)),
    st.integers(0, 100),
)
def test_a_cache_file_of_any_content_is_refused_or_read(tmp_path_factory, content, version, packets, per_byte, comment, cut):
    path = tmp_path_factory.getbasetemp() / "any.cache"
    whole = b"tcpprep\0" + version + struct.pack(">QHH", packets, per_byte, comment) + content
    path.write_bytes(whole[: len(whole) - cut] if cut < 40 else whole)
    refused = None
    try:
        directions, count = read_cache(path)
    except ValueError as error:
        refused = str(error)
    if refused is not None:
        assert refused.startswith(f"{path}: ")
        return
    assert (count, len(directions)) == (packets, -(-packets // 4))
    selection = Selection(cache=directions, cached=count)
    assert [selection[number] for number in range(count + 1, count + 3)] == [None, None]
    assert {selection[number] for number in range(1, count + 1)} <= {None, 0, 1}


def test_a_cache_file_too_large_to_be_one_is_refused_unread(tmp_path):
    path = cache(tmp_path / "large", [], packets=1 << 40)
    os.truncate(path, 1 << 39)
    with pytest.raises(ValueError, match=f"{path}: of 1099511627776 packets, and 4294967296 are the most"):
        read_cache(path)


# --- passes and memory ---


@pytest.mark.parametrize(("loops", "shifts"), [(None, [0, 1, 2, 3]), ("2", [0, 0, 1, 1]), ("0.5", [0, 2, 4, 6])])
def test_addresses_change_from_pass_to_pass_and_checksums_stay_right(loops, shifts, capture, replayed, tmp_path):
    packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="10.0.0.1", dst="10.0.0.9") / TCP() / b"hello"
    options = [] if loops is None else ["--unique-ip-loops", loops]
    path = capture([bytes(packet)])
    status, _result = replayed(path, "--unique-ip", *options, "--loop", 4, "--out", tmp_path / "out.pcap")
    got = rdpcap(str(tmp_path / "out.pcap"))
    assert status == 0
    assert [packet[IP].dst for packet in got] == [f"10.0.0.{9 + shift}" for shift in shifts]
    for received in got:
        again = received.copy()
        del again[IP].chksum, again[TCP].chksum
        assert bytes(again) == bytes(received)


def test_a_preloaded_capture_is_replayed_the_same(data, replayed):
    for path in (data / "mixed.pcap", data / "dns-ns.pcap.gz"):
        plain, preloaded = replayed(path), replayed(path, "--preload-pcap", "-K")
        assert preloaded[0] == 0
        assert preloaded[1]["received_bytes"] == plain[1]["received_bytes"]
