"""The report in a browser, Chromium without a window: it opens from its file where there is no network, with the numbers of the JSON."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from namespaces import namespace

pytestmark = pytest.mark.unsanitized  # a browser with AddressSanitizer preloaded is none

STREAMS = """
[[stream]]
name = "<dns> & co"
template = {udp = "10.0.0.1:1024,10.0.1.1:53"}
rate = 20000
size = 128
count = 4000
[[stream]]
name = "bulk"
template = {udp = "10.0.0.2:9,10.0.1.1:9"}
rate = 10000
size = "imix"
count = 2000
"""


class Shown(HTMLParser):
    """What the browser made of a page: rows of its tables and the headings before them, the bars' titles, by heading; and the JSON."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.bars, self.heading, self.open, self.data, self.lines = {}, {}, "", [], "", {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag in ("h1", "h2"):
            self.heading = ""
        elif tag == "tr":
            self.tables.setdefault(self.heading, []).append([])
        elif tag in ("th", "td"):
            self.tables[self.heading][-1].append("")
        elif tag == "polyline":
            self.lines[self.heading] = self.lines.get(self.heading, 0) + 1

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass  # meta has no end

    def handle_data(self, data):
        tag = self.open[-1] if self.open else None
        if tag in ("h1", "h2"):
            self.heading += data
        elif tag in ("th", "td"):
            self.tables[self.heading][-1][-1] += data
        elif tag == "title" and "svg" in self.open:
            self.bars.setdefault(self.heading, []).append(data)
        elif tag == "script":
            self.data += data


def number(text):
    return float(text.replace(",", ""))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Show a file, where there is no network: browser(path) -> Shown."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs chromium")
    profile = tmp_path_factory.mktemp("profile")
    options = "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}", "--dump-dom"
    with namespace() as nowhere:
        yield lambda path: Shown(nowhere.run(program, *options, path.as_uri(), timeout=120).stdout)


def test_numbers_in_the_browser_are_those_of_the_json(fastring, browser, tmp_path):
    page = tmp_path / "a page.html"
    (tmp_path / "streams.toml").write_text(STREAMS)
    options = "--wire", "fault:loss=10%@pair", "--clock", "virtual", "--json", "--report", page
    told = json.loads(fastring("generate", tmp_path / "streams.toml", *options).out)
    assert told["lost"] == sum(told["drops"].values()) > 0
    shown = browser(page)
    data = json.loads(shown.data)
    assert data["result"] == told

    totals = {name: number(value) for name, value in shown.tables["fastring generate"]}
    for name, key in (("frames sent", "sent"), ("frames received", "received"), ("frames lost", "lost"), ("bytes", "bytes")):
        assert totals[name] == told[key]
    assert totals["packets per second"] == pytest.approx(told["pps"], abs=0.5)
    assert totals["seconds"] == pytest.approx(told["seconds"], abs=1e-6)

    assert {row[0]: number(row[1]) for row in shown.tables["Drops by cause"]} == told["drops"]
    names, *rows = shown.tables["Streams"]
    assert [row[0] for row in rows] == ["<dns> & co", "bulk"]
    for row, stream in zip(rows, told["streams"], strict=True):
        assert [number(cell) for cell in row[1:-1]] == [stream[name] for name in names[1:-1]]
    assert len(shown.tables["Latency, in ns"]) == 3

    for heading, key in (("Frame sizes", "frame_sizes"), ("Latency", "latency_ns"), ("Gaps between packets", "gaps_ns")):
        counts = [number(re.fullmatch(r"[^:]+: ([\d,]+)", title)[1]) for title in shown.bars[heading]]
        assert sum(counts) == sum(count for _, count in data["histograms"][key]) > 0
    assert shown.lines["Packets, received"] == len(data["series"]["devices"]) == 2
