"""Histogram: percentiles to 1/128, and the text that HdrHistogram's plotters read."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastring.histogram import MOST, Histogram

VALUES = st.lists(st.integers(0, 63).flatmap(lambda bits: st.integers(0, 2**bits - 1)), min_size=1, max_size=60)


def histogram(values):
    made = Histogram()
    for value in values:
        made.record(value)
    return made


@given(VALUES, st.floats(0, 100))
def test_a_percentile_is_a_value_that_was_counted_to_one_in_128(values, percentile):
    exact = sorted(values)[max(math.ceil(percentile / 100 * len(values)), 1) - 1]
    told = histogram(values).percentile(percentile)
    assert exact <= told <= exact + exact / 128


@given(VALUES)
def test_least_most_mean_and_deviation(values):
    made = histogram(values)
    assert (made.min, made.max, made.total) == (min(values), max(values), len(values))
    if sum(values) < 2**53:
        mean = sum(values) / len(values)
        assert made.mean == pytest.approx(mean)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        assert made.stdev == pytest.approx(math.sqrt(variance), rel=1e-3, abs=1e-3 * mean + 1e-6)


@given(VALUES, VALUES)
def test_two_added_are_one_of_both(one, other):
    both = histogram(one)
    both.add(histogram(other))
    assert both.buckets() == histogram(one + other).buckets()
    assert (both.min, both.max, both.total) == (min(one + other), max(one + other), len(one + other))


@given(VALUES)
def test_the_text_is_hdr_histograms(values):
    """Held against what HistogramLogProcessor and the plotters split it into: four columns, and three footers."""
    made = histogram(values)
    lines = made.percentiles_text(scale=1000).splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert lines[1] == ""
    rows = [line.split() for line in lines[2:-3]]
    assert all(len(row) == 4 for row in rows[:-1])
    assert rows[-1] == [f"{max(values) / 1000:.3f}", "1.000000000000", str(len(values))]
    numbers = [[float(cell) for cell in row[:3]] for row in rows]
    assert numbers == sorted(numbers)
    for value, percentile, count in numbers:
        assert count >= percentile * len(values) * (1 - 1e-9)
        assert abs(value - made.percentile(100 * min(percentile, 1)) / 1000) <= 0.001 or count > percentile * len(values)
    assert re.fullmatch(r"#\[Mean    = +[\d.]+, StdDeviation   = +[\d.]+\]", lines[-3])
    assert re.fullmatch(r"#\[Max     = +[\d.]+, Total count    = +\d+\]", lines[-2])
    assert re.fullmatch(r"#\[Buckets = +\d+, SubBuckets     = +\d+\]", lines[-1])


def test_an_empty_one_says_nothing():
    empty = Histogram()
    assert (empty.total, empty.min, empty.max, empty.mean, empty.stdev, empty.percentile(50)) == (0, 0, 0, 0, 0, 0)
    assert len(empty.percentiles_text().splitlines()) == 5


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="a value is 0 to"):
        Histogram().record(MOST + 1)
    with pytest.raises(ValueError, match="0 to 100"):
        Histogram().percentile(101)
    with pytest.raises(ValueError, match="a scale is above 0"):
        Histogram().percentiles_text(scale=0)
