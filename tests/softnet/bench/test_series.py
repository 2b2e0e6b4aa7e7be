"""Competitors take turns, and are told by medians, spreads and ratios within a round."""

import itertools
import time

import pytest

from softnet.bench.machine import Noise, describe
from softnet.bench.series import Comparison, RoundTrip, Series, compare


def counted(values):
    values = iter(values)
    return lambda: next(values)


def test_all_have_their_turn_in_each_round_and_another_one_begins():
    calls = []
    measures = {name: (lambda name=name: calls.append(name) or 1.0) for name in "abc"}
    compare("which?", measures, ours=["a"], rounds=3)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"


def test_the_first_measurement_of_each_is_not_counted():
    found = compare("which?", {"a": counted([99.0, 1.0, 2.0, 3.0])}, ours=["a"], rounds=3)
    assert found.named("a").values == [1.0, 2.0, 3.0]


def test_a_ratio_is_taken_within_rounds():
    """A machine that is ten times as slow in some rounds is so for both."""
    found = Comparison("which?", [Series("ours", True, [1.0, 10.0, 1.0]), Series("theirs", False, [20.0, 20.0, 2.0])])
    assert found.ratio(found.named("ours")) == 2.0


def test_the_best_peer_is_the_one_with_the_least_median_and_never_ours():
    found = Comparison("which?", [Series("ours", True, [1.0]), Series("slow", False, [3.0]), Series("quick", False, [2.0])])
    assert found.best_peer is found.named("quick")
    assert Comparison("alone", [Series("ours", True, [1.0])]).ratio(Series("ours", True, [1.0])) is None


def test_the_table_has_medians_spreads_and_ratios_the_best_first():
    found = Comparison("which?", [Series("theirs", False, [4.0, 4.0, 8.0]), Series("ours", True, [2.0, 1.0, 200.0])])
    first, second = (line.split() for line in str(found).splitlines()[2:])
    assert first == ["ours", "2.00", "1.00..200", "2.00"]
    assert second == ["theirs", "4.00", "4.00..8.00", "1.00"]


@pytest.fixture
def noise():
    return Noise([0])


def test_a_quiet_machine_is_called_quiet(noise, monkeypatch):
    monkeypatch.setattr("softnet.bench.machine._ticks", lambda: (0.0, 0.0, 1e9))
    noise._ticks = (0.0, 0.0, 0.0)
    assert noise.verdict() == "this machine was quiet"


@pytest.mark.parametrize(
    ("ticks", "told"), [((5e8, 0.0, 1e9), "others used 50% of its CPUs"), ((0.0, 2e7, 1e9), "2.0% of its time was stolen")]
)
def test_what_others_took_is_noise(noise, monkeypatch, ticks, told):
    noise._ticks = (0.0, 0.0, 0.0)
    monkeypatch.setattr("softnet.bench.machine._ticks", lambda: ticks)
    assert told in noise.verdict()


def test_cpus_that_moved_apart_are_noise(noise):
    noise.lines = [100.0, 900.0]
    assert "100 to 900 ns from CPU to CPU and back" in noise.verdict()


def test_a_core_that_runs_unsteadily_is_noise(noise):
    noise.spins = [1000, 2000]
    assert "up to 2.0 times as long" in noise.verdict()


def test_the_machine_is_described_in_words():
    told = describe()
    assert {"CPU", "cores", "kernel", "Python"} <= set(told)
    assert all(itertools.chain.from_iterable(told.items()))


def test_round_trips_are_told_with_their_tails():
    trips = [RoundTrip(mean=9.0, p50=5.0, p99=20.0, p99_9=tail) for tail in (100.0, 300.0, 200.0)]
    found = compare("which?", {"ours": counted([trips[0], *trips]), "theirs": counted(trips[:1] * 4)}, ours=["ours"], rounds=3)
    head, row = (line.split() for line in str(found).splitlines()[1:3])
    assert head[-4:] == ["p99", "p99.9", "times", "theirs"]
    assert row == ["ours", "5.00", "5.00..5.00", "20.0", "200", "1.00"]


def test_a_comparison_goes_on_until_its_time_is_over_but_for_its_rounds_at_least():
    assert compare("which?", {"a": lambda: 1.0}, ours=["a"], rounds=3, seconds=0.05).rounds > 3
    assert compare("which?", {"a": lambda: time.sleep(0.01) or 1.0}, ours=["a"], rounds=3, seconds=0.001).rounds == 3
