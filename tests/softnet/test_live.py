"""The live table: rates between two samples, and how they went."""

import io

import pytest
from rich.console import Console

from softnet.live import HISTORY, RateTable, sparkline
from softnet.sampling import DeviceSample, Sample, WireSample


def sample(seconds, packets, dropped=0):
    return Sample(seconds, {"eth0": DeviceSample(0, 0, packets, 60 * packets, dropped, 0, 0, 0, 0)})


def shown(table):
    console = Console(file=io.StringIO(), width=140)
    console.print(table.table(140))
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


def test_a_wire_that_only_receives_has_no_column_for_what_it_sends():
    table = RateTable()
    for seconds in (0, 1):
        table(Sample(seconds, {"unix:/tmp/[red]wire": WireSample(500 * seconds, 60000 * seconds, 7)}))
    text = shown(table)
    assert "sent" not in text
    assert "unix:/tmp/[red]wire" in text
    assert "500 pps" in text
    assert "480.00 kbit/s" in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_row_is_a_line_however_narrow(width, ascii_only):
    table = RateTable(ascii_only=ascii_only)
    for second in range(50):
        table(sample(second, 12_345_678 * second, dropped=12_345_678))
    console = Console(file=io.StringIO(), width=width)
    console.print(table.table(width))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) <= width
    if width >= 40:
        assert lines[1].split()[:3] == ["eth0", "12.35", "Mpps"]
        assert len(lines[1].split()[-1]) >= 6
    assert ("12,345,678" in lines[1]) == (width >= 60)
    assert ("Gbit/s" in lines[1]) == (width >= 80)


@pytest.mark.parametrize(
    ("values", "line"), [([], ""), ([0, 0], "▁▁"), ([1], "█"), ([0, 50, 100], "▁▅█"), ([1e-9, 1e9], "▁█"), (range(8), "▁▂▃▄▅▆▇█")]
)
def test_the_highest_is_a_full_block(values, line):
    assert sparkline(list(values)) == line
