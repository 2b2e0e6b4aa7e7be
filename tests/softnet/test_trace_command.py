"""`fastring replay --trace` and `fastring trace`."""

import json
import shlex
import subprocess
import sys

import pytest


@pytest.fixture
def recorded(fastring, capture, frame, tmp_path):
    """A trace of three frames, and its path."""
    path = tmp_path / "trace.jsonl"
    outcome = fastring("replay", capture([frame(60, n) for n in range(3)]), "--clock", "virtual", "--trace", path)
    assert (outcome.status, outcome.err) == (0, "")
    return path


def lines(outcome, status=0):
    assert (outcome.status, outcome.err) == (status, "")
    return outcome.out.splitlines()


def test_a_replay_does_the_same_with_a_trace_as_without(replayed, data, tmp_path):
    plain = replayed(data / "mixed.pcap", "--clock", "virtual", "--limit", 500, "--out", tmp_path / "a.pcap")
    traced = replayed(
        data / "mixed.pcap", "--clock", "virtual", "--limit", 500, "--out", tmp_path / "b.pcap", "--trace", tmp_path / "t.jsonl"
    )
    assert traced == plain
    assert (tmp_path / "a.pcap").read_bytes() == (tmp_path / "b.pcap").read_bytes()


def test_a_trace_is_printed_with_names_of_registers_and_bits(fastring, recorded):
    out = lines(fastring("trace", recorded))
    assert sum("sent       60 bytes" in line for line in out) == sum("arrived    60 bytes" in line for line in out) == 3
    assert any(line.split()[1:] == ["0", "mmio", "write", "TDT", "0x00000001"] for line in out)
    assert any("IMS        0x0000009d  TXDW LSC RXSEQ RXDMT0 RXT0" in line for line in out)
    assert any("LENGTH=0x3c DD EOP IXSM" in line for line in out)


def test_events_are_chosen_by_category_register_card_and_place(fastring, recorded):
    everything = lines(fastring("trace", recorded))
    frames = lines(fastring("trace", recorded, "--only", "frame"))
    assert [line for line in everything if " frame " in line] == frames
    assert lines(fastring("trace", recorded, "--only", "frame,irq", "--head", 2)) == [
        line for line in everything if " frame " in line or " irq " in line
    ][:2]
    assert lines(fastring("trace", recorded, "--tail", 4)) == everything[-4:]
    assert lines(fastring("trace", recorded, "--head", 0)) == []
    tails = lines(fastring("trace", recorded, "--register", "TDT", "--card", 0))
    assert [line.split()[5] for line in tails] == [f"{n:#010x}" for n in range(4)]


def test_registers_are_named_in_either_case_and_arrays_as_a_whole(fastring, recorded):
    tails = fastring("trace", recorded, "--register", "tdt")
    assert tails.out == fastring("trace", recorded, "--register", "TDT").out != ""
    assert len(fastring("trace", recorded, "--register", "MTA").out.splitlines()) >= 128


def test_a_trace_is_converted_for_perfetto(fastring, recorded, tmp_path):
    assert lines(fastring("trace", recorded, "--to", "perfetto", "--out", tmp_path / "a.json")) == []
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["otherData"]["lost"] == 0
    assert sum(event["name"] == "arrived" for event in content["traceEvents"]) == 3
    outcome = fastring("trace", recorded, "--to", "perfetto")
    assert json.loads(outcome.out) == content


def test_a_part_of_a_trace_is_a_trace(fastring, recorded, tmp_path):
    part = tmp_path / "part.jsonl"
    assert lines(fastring("trace", recorded, "--only", "irq", "--to", "jsonl", "--out", part)) == []
    assert lines(fastring("trace", part)) == lines(fastring("trace", recorded, "--only", "irq"))


def test_a_replay_writes_for_perfetto_by_the_files_name(fastring, capture, frame, tmp_path):
    path = tmp_path / "t.json"
    assert fastring("replay", capture([frame(60)]), "--trace", path).status == 0
    assert len({event["pid"] for event in json.loads(path.read_text())["traceEvents"]}) == 2


def test_standard_input_is_read(process, recorded):
    with recorded.open() as file:
        outcome = process("trace", "-", "--only", "frame", stdin=file)
    assert (outcome.status, outcome.err) == (0, "")
    assert len(outcome.out.splitlines()) == 6


def test_a_reader_that_goes_is_no_error(fastring, data, tmp_path):
    path = tmp_path / "long.jsonl"
    assert fastring("replay", data / "mixed.pcap", "--limit", 500, "--trace", path).status == 0
    command = shlex.join([sys.executable, "-m", "softnet.cli", "trace", str(path)])
    done = subprocess.run(["sh", "-c", f"{{ {command}; echo $? >&2; }} | head -1"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "0\n"
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["more", "--nope"], "unrecognized arguments: more --nope; see `fastring trace --help`"),
        (["--only", "mmoi"], "there are no events 'mmoi': they are mmio, io, config, desc, dma, irq, frame, timer"),
        (["--only", ","], "no category is named: they are mmio, io, config, desc, dma, irq, frame, timer"),
        (["--register", ""], "no register is named"),
        (["--register", "tdx"], "there is no register 'TDX'"),
        (["--card", 2], "{path}: a trace of 2 cards has no card 2, they count from 0"),
        (["--out", "/dev/full"], "/dev/full: No space left on device"),
        (["--to", "perfetto", "--out", "/dev/full"], "/dev/full: No space left on device"),
        (["--head", 1, "--tail", 1], "the first events or the last ones, not both"),
        (["--out", "{path}"], "{path} would overwrite itself"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(fastring, recorded, arguments, said):
    outcome = fastring("trace", recorded, *(str(a).replace("{path}", str(recorded)) for a in arguments))
    assert outcome == (2, "", f"fastring trace: {said.replace('{path}', str(recorded))}\n")


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\xd4\xc3\xb2\xa1" + bytes(40), b"\0" * 100_000, b"[" * 100_000, b'{"a": 1}\n'])
def test_a_file_that_is_no_trace_is_one_line_and_status_2(fastring, tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    outcome = fastring("trace", path)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == f"fastring trace: {path}: not a trace that `fastring replay --trace` or e1000.trace wrote in JSON lines\n"
    assert fastring("trace", tmp_path / "none").status == 2


def test_a_trace_that_breaks_off_is_printed_and_has_status_1(fastring, recorded):
    content = recorded.read_bytes()
    recorded.write_bytes(content[: len(content) // 2])
    outcome = fastring("trace", recorded)
    assert outcome.status == 1
    assert len(outcome.out.splitlines()) > 10
    assert outcome.err == f"fastring trace: {recorded}: the trace breaks off\n"


def test_lost_events_are_told(fastring, recorded):
    recorded.write_text(recorded.read_text().replace('"lost": 0', '"lost": 7'))
    outcome = fastring("trace", recorded, "--only", "timer")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"fastring trace: {recorded}: 7 events are missing: they could not be recorded\n"


def test_a_trace_overwrites_no_capture(fastring, capture, frame):
    path = capture([frame(60)])
    before = path.read_bytes()
    outcome = fastring("replay", path, "--trace", path)
    assert (outcome.status, outcome.err) == (2, f"fastring replay: the trace would overwrite {path}\n")
    assert path.read_bytes() == before


def test_a_trace_that_cannot_be_written_is_a_problem_of_the_replay(fastring, capture, frame):
    outcome = fastring("replay", capture([frame(60)] * 50), "--trace", "/dev/full")
    assert outcome.status == 1
    assert outcome.err == "fastring replay: /dev/full: No space left on device\n"
    assert "received   50 frames" in outcome.out
