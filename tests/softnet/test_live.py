"""The live table: rates between two samples, and how they went."""

import io

import pytest
from rich.console import Console

from softnet.live import HISTORY, RateTable, sparkline
from softnet.sampling import DeviceSample, Sample


def sample(seconds, packets, dropped=0):
    return Sample(seconds, {"eth0": DeviceSample(0, 0, packets, 60 * packets, dropped, 0, 0, 0, 0)})


def shown(table):
    console = Console(file=io.StringIO(), width=140)
    console.print(table.table())
    return console.file.getvalue()


def test_rates_are_those_between_the_last_two_samples():
    table = RateTable()
    for each in (sample(0, 0), sample(0.5, 1000), sample(1.5, 21000, dropped=1234)):
        table(each)
    (row,) = [line for line in shown(table).splitlines() if line.startswith("eth0")]
    assert "20.00 kpps" in row
    assert "9.60 Mbit/s" in row
    assert "1,234" in row
    assert row.rstrip().endswith("▁█")


def test_without_two_samples_at_different_times_there_is_no_row():
    table = RateTable()
    assert "eth0" not in shown(table)
    table(sample(0, 0))
    table(sample(0, 5))
    assert "eth0" not in shown(table)


def test_the_line_is_as_long_as_its_history():
    table = RateTable(ascii_only=True)
    for second in range(200):
        table(sample(second, second * second))
    row = shown(table).splitlines()[-1].rstrip()
    assert row.split()[-1] == sparkline(range(2 * (200 - HISTORY) - 1, 399, 2), ascii_only=True)
    assert len(row.split()[-1]) == HISTORY
    assert row.isascii()


@pytest.mark.parametrize(
    ("values", "line"), [([], ""), ([0, 0], "▁▁"), ([1], "█"), ([0, 50, 100], "▁▅█"), ([1e-9, 1e9], "▁█"), (range(8), "▁▂▃▄▅▆▇█")]
)
def test_the_highest_is_a_full_block(values, line):
    assert sparkline(list(values)) == line
