"""What to choose follows from the figures: made-up ones, and what is advised for them."""

import pytest

from softnet.bench.advice import advise, better, sentences
from softnet.bench.series import Comparison, RoundTrip, Series


def comparison(unit="ns an item", **rounds):
    return Comparison("which?", [Series(name.lstrip("_").replace("_", " "), True, values) for name, values in rounds.items()], unit)


def only(found, *, about, cpus=2):
    [one] = advise({about: found}, cpus=cpus)
    return one


def test_the_fastest_ring_is_taken_for_bulk_with_how_much_faster_it_is():
    one = only(comparison(cached=[20.0, 22.0, 24.0], batched=[10.0, 11.0, 12.0]), about="bulk")
    assert one.choose == "batched"
    assert one.text == "for bulk between two threads: batched (2.0 times as fast as cached: 11.0 against 22.0 ns an item)"


def test_the_default_stays_where_another_one_gains_little():
    one = only(comparison(cached=[10.0] * 3, batched=[9.8] * 3), about="bulk")
    assert one.choose == "cached"
    assert "no other one is faster by 5 %" in one.text


def test_a_pool_is_compared_with_what_is_there_by_default():
    one = only(comparison("ns a buffer", lifo=[3.0] * 3, fifo=[1.5] * 3), about="pool")
    assert one.text == "pool of one thread: fifo (2.0 times as fast as lifo: 1.50 against 3.00 ns a buffer)"


def test_one_lucky_round_takes_nobody_from_the_default():
    assert only(comparison(cached=[10.0, 10.0, 10.0, 10.0], lamport=[0.1, 0.1, 11.0, 11.0]), about="single").choose == "cached"


def test_a_round_that_was_slow_for_all_does_not_matter():
    assert only(comparison(cached=[10.0, 10.0, 900.0], batched=[8.0, 8.0, 700.0]), about="bulk").choose == "batched"


def test_latency_is_told_with_its_tail():
    trips = [RoundTrip(100.0, 90.0, 150.0, 400.0)] * 3
    found = Comparison("which?", [Series("cached", True, [90.0] * 3, trips)], "ns there and back, p50")
    assert only(found, about="latency").text == (
        "for latency between two threads: cached (90.0 ns there and back; no other one is faster by 5 % in most rounds; "
        "1 in 1,000 took 400 or more)"
    )


def test_several_producers_are_compared_with_mpmc():
    one = only(comparison(mpmc=[20.0] * 3, headtail_hts=[10.0] * 3, locked=[30.0] * 3), about="many")
    assert one.choose == "headtail hts"
    assert "2.0 times as fast as mpmc" in one.text


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        ({"_1": 100.0, "_4": 40.0, "_32": 10.0, "_128": 9.5}, "32"),
        ({"_1": 100.0, "_4": 40.0, "_32": 10.0, "_128": 5.0}, "128"),
        ({"_1": 10.0, "_4": 9.9, "_32": 9.8}, "1"),
    ],
)
def test_the_smallest_batch_is_taken_that_no_larger_one_beats_by_a_tenth(values, chosen):
    assert only(comparison(**{name: [value] * 5 for name, value in values.items()}), about="batch").choose == chosen


def test_the_smallest_capacity_is_taken_that_no_larger_one_beats_by_a_tenth():
    found = comparison(_64=[30.0] * 5, _256=[10.0] * 5, _1024=[9.7] * 5)
    assert only(found, about="capacity").text == "capacity: 256 items (10.0 ns an item); more gain less than 10 %"


WAITS = {"parks_at_once": [9000.0] * 3, "spins": [1000.0] * 3}


def test_polling_is_advised_by_what_it_saves():
    one = only(comparison("ns there and back, p50", **WAITS), about="wait")
    assert one.choose == "spins"
    assert "where 8.00 µs a round trip matter (1,000 against 9,000 ns there and back)" in one.text


def test_on_one_cpu_nobody_is_told_to_spin():
    assert only(comparison(**WAITS), about="wait", cpus=1).choose == "parks at once"


def test_who_gains_nothing_by_spinning_parks():
    assert only(comparison(parks_at_once=[9000.0] * 3, spins=[8900.0] * 3), about="wait").choose == "parks at once"


def test_a_driver_keeps_its_defaults_unless_a_setting_gains():
    assert only(comparison(default=[20.0] * 3, weight=[19.9] * 3), about="driver").choose == "default"
    assert only(comparison(default=[20.0] * 3, weight=[10.0] * 3), about="driver").choose == "weight"


def test_what_was_not_measured_has_no_advice():
    assert advise({}, cpus=2) == []
    assert not list(sentences([], noisy=True))


def test_a_noisy_machine_is_advised_to_be_asked_again():
    told = advise({"bulk": comparison(cached=[10.0])}, cpus=2)
    assert len(list(sentences(told, noisy=False))) == 1
    assert "ask it again" in list(sentences(told, noisy=True))[-1]


def test_better_is_by_enough_and_in_most_rounds():
    found = comparison(a=[10.0, 10.0, 10.0], b=[8.0, 8.0, 30.0], c=[9.9, 9.9, 9.9])
    a, b, c = found.series
    assert better(found, b, a)
    assert not better(found, c, a)
    assert not better(found, a, b)
