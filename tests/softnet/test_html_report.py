"""The report page: whole in itself, and all its numbers those of the JSON."""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from softnet.charts import bars, label, lines, si, ticks
from softnet.html_report import merge, write_report
from softnet.png_report import write_png

RESULT = {
    "sent": 1234567, "received": 1234000, "lost": 567, "drops": {"rx_missed": 500, "<odd>": 67}, "bytes": 99, "received_bytes": 98,
    "seconds": 1.25, "pps": 987200.0, "bits_per_second": 627.2, "interrupts": 3, "polls": 4, "packets_per_poll": 5.5, "mtu": 1500,
    "problems": ["</script><b>interrupted"],
}  # fmt: skip
COUNTERS = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "dropped", "tx_in_flight", "interrupts", "polls", "polled_packets")
SERIES = {
    "seconds": [0.0, 0.5, 1.25],
    "devices": {"eth0": {name: [0, 10 * i, 40 * i] for i, name in enumerate(COUNTERS, 1)}, "eth1": {key: [0, 0, 0] for key in COUNTERS}},
}
HISTOGRAMS = {"frame_sizes": [(63, 5), (1535, 7)], "gaps_ns": [(1000, 1)], "latency_ns": []}


class Page(HTMLParser):
    """What is on a page: tables' rows, the JSON, charts, and everything it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.fetched, self.open, self.data, self.tags = [], [], [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.fetched += [value for name, value in attributes if name in ("src", "href", "data", "action") and value]
        if tag not in ("meta",):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)
        if self.open and self.open[-1] == "script":
            self.data += data


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "out.html"
    write_report(path, title="A <run>", result=RESULT, series=SERIES, histograms=HISTOGRAMS)
    return Page(path.read_text())


def test_its_numbers_are_those_of_the_json(page):
    told = json.loads(page.data)
    assert told["result"] == RESULT
    assert told["series"] == SERIES
    assert told["histograms"] == {name: [list(pair) for pair in pairs] for name, pairs in HISTOGRAMS.items()}
    rows = {row[0]: row[1] for row in page.rows}
    assert rows["frames sent"] == "1,234,567"
    assert rows["frames lost"] == "567"
    assert rows["seconds"] == "1.25"
    assert rows["packets per poll"] == "5.5"
    assert (rows["rx_missed"], rows["<odd>"]) == ("500", "67")


def test_it_fetches_nothing_and_runs_nothing(page):
    assert page.fetched == []
    assert page.tags.count("script") == 1  # the JSON
    assert "link" not in page.tags
    assert "b" not in page.tags, "text became markup"


def test_a_run_too_short_for_two_samples_says_so(tmp_path):
    path = tmp_path / "short.html"
    write_report(path, title="t", result={}, series={"seconds": [0.0], "devices": {}})
    assert "too short" in path.read_text()


@pytest.mark.parametrize(("last", "points"), [(1.001, 2), (1.5, 3)])
def test_a_last_sample_too_close_to_say_anything_is_not_drawn(tmp_path, last, points):
    path = tmp_path / "short.html"
    devices = {"eth0": {key: [0, 10, 20, 20] for key in COUNTERS}}
    write_report(path, title="t", result={}, series={"seconds": [0.0, 0.5, 1.0, last], "devices": devices})
    drawn = re.findall(r'<polyline [^>]*points="([^"]*)"', path.read_text())
    assert {len(line.split()) for line in drawn} == {points}


def test_a_page_that_cannot_be_written_is_told():
    with pytest.raises(OSError, match="No such file"):
        write_report("/nowhere/out.html", title="t", result={}, series={"seconds": [], "devices": {}})


# --- as a picture ---


def test_a_png_is_one(tmp_path):
    path = tmp_path / "out.png"
    write_png(path, title="A <run>", series=SERIES, histograms=HISTOGRAMS)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(data) > 10_000


def test_a_png_of_nothing_is_one(tmp_path):
    write_png(tmp_path / "out.png", title="t", series={"seconds": [], "devices": {}}, histograms={})


def test_without_matplotlib_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(OSError, match="needs matplotlib: pip install"):
        write_png(tmp_path / "out.png", title="t", series=SERIES, histograms={})


# --- charts ---


def points_of(svg):
    tree = ElementTree.fromstring(svg)
    return [[tuple(map(float, point.split(","))) for point in line.get("points").split()] for line in tree.iter("polyline")]


def test_a_line_goes_where_its_values_are():
    ((first, second, third),) = points_of(lines("t", [0, 1, 3], {"a": [0, 10, 5]}))
    assert first[0] < second[0] < third[0]
    assert third[0] - second[0] == pytest.approx(2 * (second[0] - first[0]), abs=0.2)
    assert second[1] < third[1] < first[1]  # downwards on a page
    assert first[1] - third[1] == pytest.approx((first[1] - second[1]) / 2, abs=0.2)


@pytest.mark.parametrize(
    "svg",
    [
        lines("t", [], {}),
        lines("t", [1.0], {"a": [2.0]}),
        lines("t", [0, 1], {"<&": [0, 0]}),
        bars("t", [], [], x_title=""),
        bars('"', ["<"] * 100, [0] * 100, x_title="&"),
    ],
)
def test_a_chart_of_nothing_or_of_odd_names_is_a_chart(svg):
    assert ElementTree.fromstring(svg).tag == "svg"
    assert not re.search(r"nan|inf", svg)


def test_bars_are_as_high_as_their_values():
    heights = [float(bar.get("height")) for bar in ElementTree.fromstring(bars("t", ["a", "b"], [10, 20], x_title="")).iter("rect")]
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2)


@pytest.mark.parametrize(
    ("low", "high", "wanted"), [(0, 10, [0, 2, 4, 6, 8, 10]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (3, 3, [3]), (7, 93, [20, 40, 60, 80])]
)
def test_ticks_are_round(low, high, wanted):
    assert ticks(low, high) == pytest.approx(wanted)


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (999.9, "1k"), (1234567, "1.23M"), (0.0015, "1.5m"), (12e-9, "12n"), (450, "450")])
def test_numbers_have_three_digits_and_a_prefix(value, text):
    assert si(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(12.3e6, "bit/s", "12.3 Mbit/s"), (0, "pps", "0 pps"), (0.0015, "s", "1.5 ms"), (0.5, "", "0.5"), (0, "", "0"), (12.3e6, "", "12.3M")],
)
def test_labels_have_a_unit_or_are_short(value, unit, text):
    assert label(value, unit) == text


def test_merging_keeps_every_count():
    buckets = [(i, i) for i in range(1, 101)]
    merged = merge(buckets, 7)
    assert len(merged) <= 7
    assert sum(count for _, count in merged) == 5050
    assert merged[0][0] == 1
