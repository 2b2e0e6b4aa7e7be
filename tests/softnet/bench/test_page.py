"""The page of comparisons opens by itself, tells all names, and has all numbers."""

import json
import re
from xml.etree import ElementTree

import pytest

from softnet.bench.page import spread, sweep, write_page
from softnet.bench.series import Comparison, Series


def comparison(title):
    return Comparison(title, [Series("ours <1>", True, [1.0, 2.0, 3.0]), Series("theirs", False, [20.0, 200.0, 2000.0])])


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "rings.html"
    asked = [comparison("which ring? two threads"), comparison("which capacity?    64"), comparison("which capacity?   256")]
    write_page(path, title="Rings & more", comparisons=asked, machine={"CPU": "a <fast> one"}, verdict="this machine was quiet")
    return path.read_text()


def test_it_fetches_nothing(page):
    assert not re.search(r"https?://|<link|src=|<script(?! type=\"application/json\")", page)


def test_it_tells_machine_verdict_questions_and_names(page):
    escaped = ("Rings &amp; more", "a &lt;fast&gt; one", "ours &lt;1&gt;")
    assert all(told in page for told in (*escaped, "machine was quiet", "which ring?", "which capacity?", "theirs"))


def test_it_holds_all_values(page):
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert data["comparisons"][0]["values"]["theirs"] == [20.0, 200.0, 2000.0]


def test_questions_that_end_with_numbers_are_one_chart_and_others_have_their_own(page):
    assert page.count("<svg") == 2


@pytest.mark.parametrize("chart", [spread(comparison("a")), sweep("a", ["64", "256"], [comparison("a? 64"), comparison("a? 256")])])
def test_a_chart_is_well_formed_and_within_its_box(chart):
    root = ElementTree.fromstring(chart)
    _, _, width, height = map(float, root.get("viewBox").split())
    for element in root.iter():
        assert all(0 <= float(element.get(name, 0)) <= width for name in ("x", "x1", "x2", "cx"))
        assert all(0 <= float(element.get(name, 0)) <= height for name in ("y", "y1", "y2", "cy"))


def test_who_misses_a_point_of_a_sweep_has_no_line_in_it():
    alone = Comparison("a? 256", [Series("ours <1>", True, [1.0])])
    assert "theirs" not in sweep("a", ["64", "256"], [comparison("a? 64"), alone])


@pytest.mark.parametrize("values", [[130.0, 150.0], [90.0], [1000.0, 1001.0], [0.5, 3000.0], [1e-3, 1e9]])
def test_an_axis_has_some_ticks_however_near_or_far_its_values_lie(values):
    root = ElementTree.fromstring(spread(Comparison("a", [Series("ours", True, values)])))
    ticks = [element.text for element in root.iter() if element.get("text-anchor") == "middle"][:-1]
    assert 2 <= len(ticks) <= 8


def test_a_long_name_has_room():
    name = "a name of as many as fifty letters, which is longer"
    root = ElementTree.fromstring(spread(Comparison("a", [Series(name, True, [1.0])])))
    [label] = [element for element in root.iter() if element.text == name]
    assert float(label.get("x")) > 6.5 * len(name)


def test_the_points_of_a_sweep_are_told_with_what_was_swept(page):
    assert "<h3>capacity 64</h3>" in page
