"""What a terminal shows while replay, generate, capture and forward run: a table or a line, which is gone at the end."""

import io
import os
import pty
import re
import select
import signal
import socket
import termios
import threading
import time

import pytest
from terminal import LONG, left_on, on_terminal

from fastring.clock import MonotonicClock, VirtualClock
from softnet.sampling import Counted, WireSample
from softnet.screen import Screen, fitting

pytestmark = pytest.mark.unsanitized  # Python alone, in processes that start slowly there

GENERATE = "generate", "--udp", "10.0.0.1:1,10.0.0.2:2", "--pps", "20000"
FORWARD = "forward", "--mode", "txonly", "--out", "null"
NO_RICH = "import sys; sys.modules['rich'] = None; sys.modules['rich.console'] = None"
RATE = r"[1-9][\d.]+ [kMG]?pps"


def tidy(shown):
    """What was shown meanwhile, and the lines that are left; the cursor is there again."""
    assert "Traceback" not in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")
    assert shown.rfind("\x1b[?25h") >= shown.rfind("\x1b[?25l")
    return left_on(shown)


@pytest.mark.parametrize(
    ("command", "doing", "first", "status", "then"),
    [
        (("replay", "tests/data/mixed.pcap", "--loop", "0"), "replaying", "sent ", 130, signal.SIGTERM),
        (GENERATE, "generating", "sent ", 130, b"\x03"),
        (FORWARD, "forwarding", "wire ", 0, b"\x03"),
    ],
)
def test_a_table_is_shown_until_it_is_interrupted_and_then_the_result(command, doing, first, status, then, data):
    pytest.importorskip("rich")
    command = [str(data.parents[1] / word) if word.startswith("tests/") else word for word in command]
    seen = rf"eth0 .*{RATE}(.|\n)*{doing} [\d,]+ \w+, {RATE}, \d:\d\d:\d\d"
    code, shown = on_terminal(*command, until=seen, then=then)
    assert code == status, shown
    lines = [line for line in tidy(shown) if line and line != "^C"]
    if status == 130:
        assert lines.pop(0) == f"fastring {command[0]}: interrupted"
    assert lines[0].startswith(first)
    assert not any(doing in line or "▁" in line or "█" in line for line in lines)


def test_a_capture_shows_its_wire(tmp_path):
    pytest.importorskip("rich")
    ended = threading.Event()

    def world():
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            while not ended.is_set():
                try:
                    sender.sendto(bytes(100), str(tmp_path / "w"))
                except OSError:  # nobody there yet, or any more
                    time.sleep(0.01)

    thread = threading.Thread(target=world)
    thread.start()
    try:
        seen = rf"unix:.*{RATE}.*[kM]bit/s(.|\n)*capturing [\d,]+ packets, {RATE}"
        status, shown = on_terminal("capture", "-i", f"unix:{tmp_path}/w", "-w", tmp_path / "o.pcap", until=seen)
    finally:
        ended.set()
        thread.join()
    lines = tidy(shown)
    assert status in (0, 1), shown
    assert lines[0].startswith("fastring capture: capturing on unix:")
    assert lines[1].startswith("captured ")


@pytest.mark.parametrize(
    ("environ", "prepare"),
    [({"TERM": "dumb"}, ()), ({"PYTHONIOENCODING": "latin-1"}, NO_RICH)],
)
def test_without_rich_or_on_a_dumb_terminal_it_is_a_line_without_escapes(environ, prepare):
    status, shown = on_terminal(*GENERATE, environ=environ, prepare=prepare, until=rf"generating [\d,]+ packets, {RATE}")
    assert status == 130
    assert "\x1b" not in shown
    assert tidy(shown)[0].removeprefix("^C") == "fastring generate: interrupted"


@pytest.mark.parametrize("prepare", [(), NO_RICH])
def test_on_a_narrow_terminal_no_line_is_longer_than_it(prepare):
    if not prepare:
        pytest.importorskip("rich")
    status, shown = on_terminal(*GENERATE, columns=40, prepare=prepare, until=rf"generating [\d,]+ packets, {RATE}")
    live = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.partition("fastring generate:")[0])
    assert status == 130
    assert max(map(len, re.split(r"[\r\n]+", live))) <= 40
    assert tidy(shown)[0].removeprefix("^C") == "fastring generate: interrupted"


def test_without_utf_8_all_of_it_is_ascii_and_without_colour_nothing_is_coloured():
    pytest.importorskip("rich")
    environ = {"PYTHONIOENCODING": "latin-1", "NO_COLOR": "1"}
    status, shown = on_terminal(*GENERATE, "--count", "100000", environ=environ, until=r"eth1 .*[#@](.|\n)*generating")
    assert status == 130
    assert shown.partition("fastring generate:")[0].isascii()
    assert not re.search(r"\x1b\[[\d;]*(3|4|9)\d[;m]", shown)


def test_quiet_shows_nothing_but_the_result():
    status, shown = on_terminal(*GENERATE, "--duration", "0.3", "--quiet")
    assert status == 0
    assert shown.startswith("sent ")


def test_where_results_go_elsewhere_the_terminal_has_the_table_alone(tmp_path):
    pytest.importorskip("rich")
    out = tmp_path / "out"
    status, shown = on_terminal(*GENERATE, "--duration", "0.8", "--json", output=out)
    assert status == 0
    assert "generating" in shown
    assert [line for line in tidy(shown) if line] == []
    assert out.read_text().startswith('{"clock"')


def test_a_capture_on_standard_output_is_the_terminals_of_who_reads_it(tmp_path):
    status, shown = on_terminal("capture", "-i", f"unix:{tmp_path}/w", "-w", "-", "--duration", "0.6", output=tmp_path / "o")
    assert status == 0
    assert "\x1b" not in shown
    assert "0 packets" in shown


def test_lines_of_statistics_go_above_it(data):
    pytest.importorskip("rich")
    status, shown = on_terminal("replay", data / "mixed.pcap", "--loop", "0", "--stats", "1", until=r"after 1.*(.|\n)*replaying")
    assert status == 130
    lines = [line for line in tidy(shown) if line and line != "^C"]
    assert re.match(r"after 1\.\d s ", lines[0])
    assert "fastring replay: interrupted" in lines


# --- the screen itself ---


@pytest.fixture
def terminal():
    """A pseudo terminal: what was written to it so far, and a stream that writes to it."""
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as stream:
        yield ours, stream
    os.close(ours)


def wire(count):
    return Counted("wire", lambda: WireSample(count(), 60 * count(), 0))


def test_on_a_virtual_clock_it_is_drawn_as_progress_is_told(terminal):
    ours, stream = terminal
    screen = Screen("testing", "things", 5, stream=stream)
    clock = VirtualClock()
    with screen.during(clock, [wire(lambda: 1)]):
        clock.advance(10**12)
        assert clock.next_deadline is None
        screen.progress(5)  # the last is shown at once
        shown, end = "", time.monotonic() + LONG
        while "testing 5 of 5 things" not in shown:  # a terminal hands on each write of its own accord
            assert select.select([ours], [], [], max(0, end - time.monotonic()))[0], shown
            shown += os.read(ours, 65536).decode()


def test_after_the_run_there_is_no_timer(terminal):
    _, stream = terminal
    clock = MonotonicClock()
    screen = Screen("testing", "things", stream=stream)
    with screen.during(clock, [wire(lambda: 1)], lambda: 7):
        assert clock.next_deadline is not None
    assert clock.next_deadline is None
    screen.progress(9)


def drawn(screen, clock):
    """Let a timer come that draws, or would."""
    before, end = screen._next, time.monotonic() + LONG
    while screen._next == before and time.monotonic() < end:
        clock.fire_due()
    assert screen._next > before


def test_a_terminal_that_is_stopped_or_gone_holds_nothing_up(terminal):
    ours, stream = terminal
    clock = MonotonicClock()
    screen = Screen("testing", "things", stream=stream)
    with screen.during(clock, [wire(lambda: 1)], lambda: 7):
        termios.tcflow(stream.fileno(), termios.TCOOFF)
        drawn(screen, clock)
        termios.tcflow(stream.fileno(), termios.TCOON)
        os.set_blocking(ours, False)
        with pytest.raises(BlockingIOError):
            os.read(ours, 1)
        drawn(screen, clock)
        assert select.select([ours], [], [], LONG)[0]


def test_a_terminal_that_hangs_up_ends_no_run():
    ours, theirs = pty.openpty()
    clock = MonotonicClock()
    stream = io.TextIOWrapper(os.fdopen(theirs, "wb", buffering=0), write_through=True)
    screen = Screen("testing", "things", stream=stream)
    with screen.during(clock, [wire(lambda: 1)], lambda: 7):
        os.close(ours)
        drawn(screen, clock)
        drawn(screen, clock)
    stream.close()


@pytest.mark.parametrize(("width", "text"), [(99, "abc, de, f"), (9, "abc, de"), (6, "abc"), (2, "ab"), (0, ""), (-1, "")])
def test_what_does_not_fit_goes_from_the_end(width, text):
    assert fitting(["abc", "de", "f"], width) == text
