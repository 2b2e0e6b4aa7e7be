"""Captures through standard input and output: `-` reads one, and one written to standard output has it for itself."""

import json
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "softnet.cli"]


@pytest.mark.parametrize("name", ["mixed.pcap", "two-interfaces.pcapng", "dns-ns.pcap.gz"])
@pytest.mark.parametrize("how", ["pipe", "file"])
def test_a_capture_comes_in_by_standard_input(name, how, data, process):
    whole = process("replay", data / name, "--json", "--clock", "virtual")
    with open(data / name, "rb") as file:
        cat = subprocess.Popen(["cat", data / name], stdout=subprocess.PIPE) if how == "pipe" else None
        outcome = process("replay", "-", "--json", "--clock", "virtual", stdin=cat.stdout if cat else file)
    if cat:
        cat.stdout.close()
        cat.wait()
    assert (outcome.status, outcome.err) == (0, "")
    assert json.loads(outcome.out) == json.loads(whole.out)


def test_standard_input_is_read_from_where_it_stands(data, process, tmp_path):
    (tmp_path / "in").write_bytes(b"a line before\n" + (data / "arp.pcap").read_bytes())
    with open(tmp_path / "in", "rb", buffering=0) as file:
        file.seek(14)
        assert process("diff", "-", data / "arp.pcap", stdin=file).status == 0


@pytest.mark.parametrize("option", ["--out=/dev/stdout", "--wire=pcap:/dev/stdout", "--wire=pcapng:/dev/stdout"])
@pytest.mark.parametrize("how", ["pipe", "file"])
def test_a_capture_on_standard_output_is_whole_and_the_result_is_on_standard_error(option, how, data, process, tmp_path):
    command = [*COMMAND, "replay", str(data / "arp.pcap"), option, "--json", "--clock", "virtual"]
    with open(tmp_path / "out", "wb") as file:
        done = subprocess.run(command, stdout=subprocess.PIPE if how == "pipe" else file, stderr=subprocess.PIPE, timeout=60, check=False)
    if how == "pipe":
        (tmp_path / "out").write_bytes(done.stdout)
    assert done.returncode == 0
    assert json.loads(done.stderr)["lost"] == 0
    assert process("diff", data / "arp.pcap", tmp_path / "out", "--padding").status == 0


def test_an_output_that_standard_output_was_redirected_to_is_noticed(data, process, tmp_path):
    with open(tmp_path / "out.pcap", "wb") as file:
        command = [*COMMAND, "replay", str(data / "arp.pcap"), "--out", str(tmp_path / "out.pcap")]
        done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert "received" in done.stderr
    assert process("diff", data / "arp.pcap", tmp_path / "out.pcap", "--padding").status == 0


def test_what_is_thrown_away_keeps_nothing_from_standard_output(data, process):
    outcome = process("replay", data / "arp.pcap", "--out", "/dev/null")
    assert (outcome.status, outcome.err) == (0, "")
    assert "received" in outcome.out
