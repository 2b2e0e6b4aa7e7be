"""When `fastring replay` sends what, with tcpreplay's options: on a virtual clock, so that times are exact."""

import json
import re

import pytest

from softnet.replay import Replay

SECOND = 10**9


@pytest.fixture
def times(replayed, frames_of, tmp_path):
    """Replay on a virtual clock; when each frame arrived, in ns from the first."""

    def run(*arguments):
        status, result = replayed(*arguments, "--clock", "virtual", "--out", tmp_path / "out.pcapng")
        arrived = [time for time, _packet in frames_of(tmp_path / "out.pcapng")]
        assert status == 0, result
        return [time - arrived[0] for time in arrived]

    return run


@pytest.fixture
def stamped(capture, frame):
    """A capture of frames at these times, in ns."""

    def make(times, name="in.pcapng", length=100):
        return capture([(10**18 + time, frame(length, n)) for n, time in enumerate(times)], name)

    return make


def every(ns, count):
    return [n * ns for n in range(count)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--pps", "1000"], every(10**6, 6)),
        (["-p", "0.5"], every(2 * SECOND, 6)),
        (["--pps", "1000", "--pps-multi", "3"], [0, 0, 0, *[3 * 10**6] * 3]),
        (["--mbps", "0.8"], every(10**6, 6)),
        (["-M", "8"], every(10**5, 6)),
        (["--gbps", "0.0008"], every(10**6, 6)),
        (["--multiplier", "1"], [0, 10, 1010, 1010, 5 * 10**9, 5 * 10**9 + 1]),
        (["-x", "0.5"], [0, 20, 2020, 2020, 10**10, 10**10 + 2]),
        (["-x", "2.0"], [0, 5, 505, 505, 5 * 10**9 // 2, 5 * 10**9 // 2]),
        (["--multiplier", "1", "--maxsleep", "1000"], [0, 10, 1010, 1010, 1010 + SECOND, 1011 + SECOND]),
        (["--maxsleep", "1000"], [0, 10, 1010, 1010, 1010 + SECOND, 1011 + SECOND]),
        (["--pps", "1", "--maxsleep", "250"], every(SECOND // 4, 6)),
        (["--pps", "1000", "--duration", "0.003"], every(10**6, 3)),
        (["--duration", "4"], [0, 10, 1010, 1010]),
        (["--pps", "1000", "--limit", "2"], every(10**6, 2)),
        (["--pps", "1000", "--timer", "gtod"], every(10**6, 6)),
        ([], [0, 10, 1010, 1010, 5 * 10**9, 5 * 10**9 + 1]),
    ],
)
def test_frames_leave_when_the_options_say(options, expected, times, stamped):
    assert times(stamped([0, 10, 1010, 1010, 5 * 10**9, 5 * 10**9 + 1]), *options) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--pps", "1000"], every(10**6, 6)),
        (["--multiplier", "1"], [0, 10, 10, 20, 20, 30]),
        (["--multiplier", "1", "--loopdelay-ms", "2"], [0, 10, 2 * 10**6 + 10, 2 * 10**6 + 20, 4 * 10**6 + 20, 4 * 10**6 + 30]),
        (["--pps", "1000", "--loopdelay-ms", "0.5"], [0, 10**6, 2_500_000, 3_500_000, 5 * 10**6, 6 * 10**6]),
    ],
)
def test_the_schedule_goes_on_over_passes(options, expected, times, stamped):
    assert times(stamped([0, 10]), "--loop", 3, *options) == expected


def test_each_capture_begins_where_the_one_before_it_ended(times, stamped):
    assert times(stamped([0, 10], "a.pcapng"), stamped([700, 720], "b.pcapng"), "--multiplier", "1") == [0, 10, 10, 30]


def test_duration_ends_an_endless_loop(times, stamped):
    assert times(stamped([0, 10]), "--loop", "0", "--pps", "1000", "--duration", "0.0105") == every(10**6, 11)


# --- on the real clock ---


@pytest.mark.parametrize("timer", ["nano", "select", "gtod", "ioport"])
def test_a_rate_is_kept_and_told(timer, stamped, replayed):
    status, result = replayed(stamped(range(50)), "--pps", "5000", "--timer", timer)
    assert (status, result["received"], result["timing"], result["rate_asked"]) == (0, 50, "pps", 5000)
    assert result["seconds"] >= 49 / 5000
    assert 0 < result["rate_achieved"] <= 5000
    assert 0 <= result["late_p50_ns"] <= result["late_p99_ns"] <= result["late_max_ns"]


@pytest.mark.parametrize(
    ("options", "timing"),
    [
        (["--wire", "pair"], "topspeed"),
        (["--intf1", "pair"], "multiplier"),
        (["--intf1", "pair", "--topspeed"], "topspeed"),
        (["--intf1", "pair", "--mbps", "0"], "topspeed"),
        (["-i", "pair", "-t"], "topspeed"),
        (["-i", "pair", "-p", "100000"], "pps"),
    ],
)
def test_with_intf1_the_timing_is_tcpreplays(options, timing, stamped, replayed):
    status, result = replayed(stamped([0, 5000]), *options)
    assert (status, result["timing"]) == (0, timing)
    assert (result["rate_asked"] is None) == (timing == "topspeed")


def test_a_rate_is_in_the_text(stamped, fastring):
    out = fastring("replay", stamped(range(3)), "--mbps", "100").out
    assert "\nrate       100 Mbit/s asked, " in out
    assert "\nlate       " in out
    assert "rate " not in fastring("replay", stamped(range(3))).out


def test_duration_and_loopdelay_at_top_speed(stamped, replayed):
    status, result = replayed(stamped(range(3)), "--loop", 0, "--duration", "0.2", "--loopdelay-ms", "30")
    assert (status, result["timing"]) == (0, "topspeed")
    assert 3 <= result["sent"] <= 3 * 8
    assert result["seconds"] >= 0.03


def test_oneatatime_asks_how_many_to_send(stamped, process):
    outcome = process("replay", stamped(range(9)), "--oneatatime", input="\n2\nx\n0\n100\n")
    assert (outcome.status, "received   9 frames" in outcome.out) == (0, True)
    asked = [line.split("frame ")[1].split(":")[0] for line in outcome.err.split("next is ")[1:]]
    assert asked == ["1", "2", "4", "4", "4"]
    assert "a number of frames, not 'x'" in outcome.err


def test_oneatatime_ends_with_its_input(stamped, process):
    outcome = process("replay", stamped(range(9)), "-o", "--unique-ip", input="\n\n")
    assert (outcome.status, "received   2 frames" in outcome.out) == (1, True)
    assert outcome.err.endswith("fastring replay: standard input ended before frame 3\n")


@pytest.mark.parametrize("options", [["--pps", "10", "--loop", "0"], ["--loop", "0", "--loopdelay-ms", "100000"]])
def test_an_interrupt_ends_what_waits(options, stamped):
    from softnet.commands.replay import parser, timing_of

    path = str(stamped(range(3)))
    arguments = parser().parse_args([path, *options])
    calls = []

    def interrupt(sent):
        calls.append(sent)
        if sent:
            raise KeyboardInterrupt

    result = Replay([path], loop=0, timing=timing_of(arguments)).run(interrupt)
    assert (result.interrupted, result.sent) == (True, result.received)
    assert 1 <= result.sent <= 3


# --- statistics ---


def test_statistics_after_each_pass(stamped, fastring):
    outcome = fastring("replay", stamped(range(3)), "--loop", 3, "--stats", 0)
    lines = re.findall(r"^after [0-9.]+ s  (.*?):", outcome.out, re.MULTILINE)
    assert lines == ["3 frames  300 bytes", "6 frames  600 bytes", "9 frames  900 bytes"]


def test_statistics_every_second_and_beside_json(stamped, process):
    outcome = process("replay", stamped(range(3)), "--loop", 0, "--pps", 100, "--duration", 2.5, "--stats", 1, "--json", "--quiet")
    assert outcome.out.startswith("{")
    assert outcome.err.count("after ") >= 1


# --- what makes no sense ---


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--pps 5 --mbps 5", "not allowed with argument"),
        ("--pps 5 --topspeed", "not allowed with argument"),
        ("--multiplier 1 --oneatatime", "not allowed with argument"),
        ("--wire pair --intf1 pair", "not allowed with argument"),
        ("--include 1 --exclude 2", "not allowed with argument"),
        ("--cachefile x --dualfile", "not allowed with argument"),
        ("--pps 0", "above 0"),
        ("--multiplier 0", "above 0"),
        ("--pps -5", "no number"),
        ("--pps 1e3", "at most 6 decimals"),
        ("--pps 0.0000001", "at most 6 decimals"),
        ("--pps 2000000000000", "a rate is above 0"),
        ("--pps-multi 5", "goes with --pps"),
        ("--pps 5 --pps-multi 0", "goes with --pps"),
        ("--topspeed --maxsleep 5", "--maxsleep"),
        ("--duration 0", "above 0"),
        ("--timer rdtsc", "invalid choice"),
        ("--clock virtual --topspeed", "the real clock"),
        ("--clock virtual --oneatatime", "the real clock"),
        ("--unique-ip-loops 2", "goes with --unique-ip"),
        ("--unique-ip --unique-ip-loops 0", "above 0"),
        ("--intf2 pair", "go together"),
        ("--dualfile", "go together"),
        ("--dualfile --intf2 pair", "two by two"),
        ("--include 0", "packet number or range"),
        ("--include 5-3", "packet number or range"),
        ("--exclude 1,,2", "packet number or range"),
        ("--intf1 nowhere0", "nowhere0"),
    ],
)
def test_options_that_contradict_each_other_are_told_in_one_line(options, why, stamped, fastring):
    outcome = fastring("replay", stamped(range(3)), *options.split())
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert why in outcome.err


def test_oneatatime_cannot_read_a_capture_from_standard_input(fastring):
    assert "standard input" in fastring("replay", "-", "--oneatatime").err


def test_what_was_all_due_at_once_achieved_no_rate(fastring, data):
    outcome = fastring("replay", data / "short.pcap", "--limit", 5, "--pps", 1000, "--pps-multi", 10, "--json")
    assert json.loads(outcome.out)["rate_achieved"] is None
