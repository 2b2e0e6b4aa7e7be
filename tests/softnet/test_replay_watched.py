"""Who watches a replay: samples in a file, metrics, a report."""

import json
import re

from softnet.commands.observing import DEFAULT_ADDRESS


def test_the_report_says_what_the_json_says(fastring, data, tmp_path):
    page = tmp_path / "out.html"
    told = json.loads(fastring("replay", data / "mixed.pcap", "--clock", "virtual", "--json", "--report", page).out)
    ((embedded),) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    report = json.loads(embedded)
    assert report["result"] == told
    assert report["series"]["devices"]["eth1"]["tx_packets"][-1] == told["sent"] == 11017
    assert report["series"]["devices"]["eth0"]["rx_bytes"][-1] == told["received_bytes"]
    assert sum(count for _, count in report["histograms"]["frame_sizes"]) == 11017
    assert sum(count for _, count in report["histograms"]["gaps_ns"]) == 11016


def test_on_the_virtual_clock_samples_are_the_same_every_time(fastring, data, tmp_path):
    files = [tmp_path / name for name in ("one", "two")]
    for file in files:
        assert fastring("replay", data / "mixed.pcap", "--clock", "virtual", "--stats-file", file, "--interval", "0.1").status == 0
    first, second = (file.read_text() for file in files)
    assert first == second
    lines = [json.loads(line) for line in first.splitlines()]
    assert [line["seconds"] for line in lines[:3]] == [0.0, 0.1, 0.2]
    assert lines[-1]["devices"]["eth1"]["tx_packets"] == 11017


def test_a_file_that_is_full_is_a_problem_and_not_the_end(fastring, data):
    outcome = fastring("replay", data / "mixed.pcap", "--stats-file", "/dev/full", "--json")
    assert outcome.status == 1
    assert outcome.err == "fastring replay: /dev/full: No space left on device: 2 samples are missing\n"
    assert json.loads(outcome.out)["received"] == 11017


def test_what_cannot_be_watched_by_is_refused_before_a_frame_is_sent(fastring, data, tmp_path):
    for option, reason in (
        (("--report", tmp_path / "out.pdf"), "a report is a FILE.html or a FILE.png"),
        (("--report", "/nowhere/out.html"), "/nowhere/out.html: No such file or directory"),
        (("--stats-file", "/nowhere/stats"), "/nowhere/stats: No such file or directory"),
        (("--metrics", "host:x"), f"it is HOST:PORT, such as {DEFAULT_ADDRESS}"),
        (("--interval", "0"), "no number of seconds above 0"),
    ):
        outcome = fastring("replay", data / "arp.pcap", "--out", tmp_path / "out.pcap", *option)
        assert outcome.status == 2
        assert outcome.out == ""
        assert outcome.err.count("\n") == 1
        assert reason in outcome.err
        assert not (tmp_path / "out.pcap").exists()
