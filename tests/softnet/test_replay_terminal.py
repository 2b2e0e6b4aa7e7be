"""What the command says and where: piped, on a terminal, interrupted, and when nobody listens."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
from terminal import COMMAND, on_terminal

BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def test_piped_there_is_nothing_but_the_result(data, process):
    outcome = process("replay", data / "mixed.pcap", "--clock", "virtual")
    assert (outcome.status, outcome.err) == (0, "")
    names = [line.split()[0] for line in outcome.out.splitlines()]
    assert names == ["sent", "received", "lost", "time", "driver", "queue", "MTU"]
    assert "\x1b" not in outcome.out
    assert "\r" not in outcome.out


def test_json_is_one_object_and_nothing_else(data, process):
    outcome = process("replay", data / "short.pcap", "--json")
    assert (outcome.status, outcome.err, outcome.out.count("\n")) == (0, "", 1)
    result = json.loads(outcome.out)
    assert {"sent", "received", "lost", "drops", "seconds", "pps", "bits_per_second"} <= set(result)


def test_the_result_names_every_loss_and_why(capture, frame, fastring):
    outcome = fastring("replay", capture([frame(60), frame(1000)]), "--mtu", 500)
    assert outcome.status == 1
    assert "lost       1 frames\n  1 longer than the MTU allows" in outcome.out
    assert "(mtu_exceeded)" in outcome.out


def test_columns_of_the_result_line_up(data, fastring):
    lines = fastring("replay", data / "short.pcap").out.splitlines()
    assert len({line.index(" frames") for line in lines[:4]}) == 1
    assert len({line.index(" bytes") for line in lines[:2]}) == 1
    assert len({re.match(r"\S+\s+", line).end() for line in lines if not re.match(r"lost", line)}) <= 2


def test_the_live_line_of_a_short_replay_that_is_held_is_not_0(data):
    pytest.importorskip("rich")
    status, shown = on_terminal("replay", data / "short.pcap", "--hold", 1)
    assert status == 0
    assert re.search(r"([\d,]+) of \1 frames, ", shown)


def test_on_a_terminal_a_live_line_is_shown_and_gone_at_the_end(data):
    pytest.importorskip("rich")
    status, shown = on_terminal("replay", data / "mixed.pcap", "--clock", "virtual", "--loop", 400)
    assert status == 0
    live, result = shown.split("sent  ", 1)
    assert "replaying" in live
    assert len(set(re.findall(r"([\d,]+) of 4,406,800 frames, [\d.]+ [kM]?pps", live))) > 2
    assert live.rstrip().endswith("\x1b[2K")  # erased
    assert "\x1b" not in result


def test_statistics_on_a_terminal_have_lines_of_their_own(data):
    pytest.importorskip("rich")
    status, shown = on_terminal("replay", data / "mixed.pcap", "--clock", "virtual", "--loop", 100, "--stats", 0)
    assert status == 0
    assert len(re.findall(r"after [\d.]+ s ", shown)) == 100
    assert not re.search(r"\d:\d\d:\d\d(\x1b\[[\d;]*m)*after ", shown)  # behind the live line


def test_what_generates_does_not_say_that_it_replays():
    pytest.importorskip("rich")
    status, shown = on_terminal("generate", "--udp", "10.0.0.1:1,10.0.0.2:2", "--pps", 1000, until="pps")
    assert status == 130
    assert "generating" in shown
    assert "replaying" not in shown


def test_ctrl_c_on_a_terminal_ends_an_endless_replay_with_its_result(data):
    pytest.importorskip("rich")
    status, shown = on_terminal("replay", data / "mixed.pcap", "--loop", 0, until="pps")
    assert status == 130
    assert "fastring replay: interrupted" in shown
    assert re.search(r"lost +0 frames", shown)
    assert "Traceback" not in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("options", [(), ("--clock", "virtual"), ("--wire", "null")])
def test_a_signal_ends_an_endless_replay_promptly_with_its_result(number, options, data, tmp_path):
    out = () if "--wire" in options else ("--out", "/dev/null")
    samples = tmp_path / "samples"
    watched = ("--stats-file", str(samples), "--interval", "0.1")
    command = [*COMMAND, "replay", "--json", "--loop", "0", str(data / "mixed.pcap"), *options, *out, *watched]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        deadline = time.monotonic() + 60
        while not (samples.exists() and samples.read_text().count("\n") > 1) and time.monotonic() < deadline:
            time.sleep(0.05)  # until frames pass
        child.send_signal(number)
        start = time.monotonic()
        out, err = child.communicate(timeout=30)
        assert time.monotonic() - start < 5
    result = json.loads(out)
    assert (child.returncode, err) == (130, "fastring replay: interrupted\n")
    assert result["interrupted"]
    assert result["sent"] == result["received"] > 0


def test_a_signal_before_the_replay_began_leaves_no_traceback(data, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen([*COMMAND, "replay", str(tmp_path / "fifo")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        time.sleep(1.5)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (130, "", "fastring replay: interrupted\n")


@pytest.mark.parametrize("arguments", ["replay {}", "diff {} {}", "--help", "replay --help", "--version"])
def test_a_reader_that_has_gone_is_no_error(arguments, data, process):
    read, write = os.pipe()
    os.close(read)
    command = [*COMMAND, *arguments.replace("{}", str(data / "arp.pcap")).split()]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, env=BUFFERED)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", ["replay {}", "diff {} {}", "--help", "--version"])
def test_a_full_standard_output_is_told(arguments, data):
    command = [*COMMAND, *arguments.replace("{}", str(data / "arp.pcap")).split()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env=BUFFERED)
    assert (done.returncode, done.stderr) == (2, "fastring: standard output: No space left on device\n")


def test_closed_standard_streams_do_not_harm_the_output(data, process, frames_of, padded, tmp_path):
    command = 'exec "$0" "$@" <&- >&- 2>&-'
    out = tmp_path / "out.pcap"
    outcome = process("replay", data / "arp.pcap", "--clock", "virtual", "--out", out, before=("sh", "-c", command))
    assert outcome == (0, "", "")
    assert frames_of(out) == padded(frames_of(data / "arp.pcap"))
    assert process("replay", "missing", before=("sh", "-c", command)).status == 2


def test_help_says_what_every_option_does(fastring):
    for command in ((), ("replay",), ("diff",)):
        outcome = fastring(*command, "--help")
        assert (outcome.status, outcome.err) == (0, "")
        assert max(map(len, outcome.out.splitlines())) <= 120
    replay = fastring("replay", "--help").out
    for word in ("--wire", "--out", "--clock", "--loop", "--limit", "--mtu", "--json", "pair:lossy", "pcapng:FILE", "exit status"):
        assert word in replay


def test_version_is_the_packages(fastring):
    from importlib.metadata import version

    assert fastring("--version") == (0, f"fastring {version('fastring')}\n", "")
