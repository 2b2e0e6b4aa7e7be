"""RFC 2544 on a wire that takes so many bits a second, on a virtual clock: the search finds how many."""

import json

import pytest

from fastring.burst import Burst
from fastring.wire import Wire
from softnet import cli, generate
from softnet.rfc2544 import OVERHEAD, Rfc2544, rfc2544_text
from softnet.stream_file import udp_frame
from softnet.wire.cabling import Cabling

FRAME = udp_frame("198.18.0.1:1024", "198.19.0.1:7")
QUEUE = 3_000_000  # ns


class SlowWire(Wire):
    """`rate` bits a second with preambles, a queue of QUEUE ns before it, and what does not fit into that is lost."""

    def __init__(self, far, clock, rate):
        self.far, self.clock, self.rate, self.free = far, clock, rate, 0

    def transmit_burst(self, burst):
        for packet in burst:
            now = self.clock.monotonic_ns()
            if self.free - now <= QUEUE:
                self.free = max(self.free, now) + 8 * (len(packet) + 4 + OVERHEAD) * 10**9 // self.rate
                self.clock.call_at(self.free, lambda packet=packet: self.far.inject(Burst.from_packets([packet])))


@pytest.fixture
def slow_wire(monkeypatch):
    """slow_wire(rate): that is what every wire is now."""

    def use(rate):
        def cable(spec, *, clock, sends):
            far = Wire()
            return Cabling(SlowWire(far, clock, rate), far)

        monkeypatch.setattr(generate, "open_wire", cable)

    return use


def test_the_search_finds_what_the_wire_takes(slow_wire):
    slow_wire(10_000_000)
    search = Rfc2544(FRAME, sizes=[128, 512], line_rate="100mbps", resolution=0.01, duration=0.05, clock="virtual")
    for report in search.run():
        assert 0.1 <= report.line <= 0.1 * (1 + QUEUE / 5e7) + 0.01  # and what the queue takes in addition
        assert report.pps == pytest.approx(report.line * 1e8 / 8 / (report.size + OVERHEAD))
        assert all(trial.passed == (trial.pps <= report.pps) for trial in report.trials)
        on_the_wire = 8 * (report.size + OVERHEAD) * 100
        assert on_the_wire <= report.latency["min"] <= 2 * on_the_wire  # and until the next packet has the softirq run
        assert report.latency["max"] <= 2 * QUEUE


def test_the_same_search_finds_the_same(slow_wire):
    slow_wire(30_000_000)
    once, again = (Rfc2544(FRAME, sizes=[256], line_rate="100mbps", duration=0.02, clock="virtual").run() for _ in range(2))
    assert once == again
    assert rfc2544_text(once) == rfc2544_text(again)


def test_a_wire_that_takes_all_passes_at_once():
    (report,) = Rfc2544(FRAME, sizes=[1518], duration=0.01, clock="virtual").run()
    assert (report.line, len(report.trials)) == (1.0, 1)
    assert report.latency["max"] == 0


def test_a_wire_that_takes_nothing_has_no_throughput(monkeypatch, capsys):
    monkeypatch.setattr(generate, "open_wire", lambda spec, *, clock, sends: Cabling(Deaf(), Wire()))
    (report,) = Rfc2544(FRAME, sizes=[64], resolution=0.3, duration=0.001, clock="virtual").run()
    assert (report.pps, report.latency, [trial.lost > 0 for trial in report.trials]) == (0, None, [True, True, True])
    assert cli.main(["rfc2544", "--sizes", "64", "--resolution", "30", "--duration", "0.001", "--clock", "virtual", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["pps"] == 0


class Deaf(Wire):
    """Takes every frame, and that was it."""

    def transmit_burst(self, burst):
        pass


@pytest.mark.parametrize(
    "options",
    [
        ["--sizes", "20"],
        ["--sizes", "x"],
        ["--line-rate", "5"],
        ["--resolution", "0"],
        ["--duration", "0"],
        ["--udp", "x"],
        ["--wire", "none"],
    ],
)
def test_bad_usage_is_one_line(options, capsys):
    assert cli.main(["rfc2544", *options]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
