"""Who watches generate, capture and forward: samples in a file, metrics, a report whose numbers are those of the JSON."""

import json
import re
import socket
import urllib.request

import pytest

from softnet.capturing import Capturing
from softnet.observe import Observation

UDP = "--udp", "10.0.0.1:1024,10.0.1.1:53"


def embedded(page):
    """What a page has as JSON."""
    ((text,),) = [re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())]
    return json.loads(text)


def cells(page):
    """The numbers in a page's tables, by what stands before them."""
    rows = re.findall(r"<tr><th>([^<]*)</th>(.*?)</tr>", page.read_text())
    return {name: re.findall(r"<td[^>]*>([^<]*)</td>", rest) for name, rest in rows}


def test_a_generated_run_is_reported_with_its_latencies_and_streams(fastring, tmp_path):
    page, samples = tmp_path / "out.html", tmp_path / "samples"
    outcome = fastring(
        "generate", *UDP, "--count", 3000, "--pps", 10000, "--size", "64*1,512*2", "--clock", "virtual", "--json",
        "--report", page, "--stats-file", samples, "--interval", 0.1,
    )  # fmt: skip
    assert (outcome.status, outcome.err) == (0, "")
    told, report = json.loads(outcome.out), embedded(page)
    assert report["result"] == told
    assert report["series"]["devices"]["eth1"]["tx_packets"][-1] == told["sent"] == 3000
    histograms = report["histograms"]
    assert {name: sum(count for _, count in buckets) for name, buckets in histograms.items()} == {
        "frame_sizes": 3000, "gaps_ns": 2999, "latency_ns": 3000, "lateness_ns": 3000,
    }  # fmt: skip
    assert [round(size, -1) for size, _ in histograms["frame_sizes"]] == [60, 510]  # to 1/128
    shown = cells(page)
    assert shown["0"][:3] == ["0", "0", "0"]  # the stream's latency, of which there is none here: the later of its two rows
    assert shown["frames received"] == ["3,000"]
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    assert [round(line["seconds"], 9) for line in lines] == [0.0, 0.1, 0.2, round(lines[-1]["seconds"], 9)]
    assert lines[-1]["seconds"] == pytest.approx(0.3, abs=0.01)
    assert lines[-1]["devices"]["eth0"]["rx_packets"] == 3000


def test_without_a_receiver_a_report_has_what_was_sent(fastring, tmp_path):
    page = tmp_path / "out.html"
    assert fastring("generate", *UDP, "--count", 100, "--wire", "null", "--topspeed", "--report", page).status == 0
    report = embedded(page)
    assert list(report["series"]["devices"]) == ["eth0"]
    assert report["histograms"] == {}


@pytest.mark.parametrize("command", [("generate", *UDP, "--count", 100), ("forward", "--mode", "txonly", "--out", "null", "--count", 100)])
def test_a_file_that_is_full_is_a_problem_and_not_the_end(fastring, command):
    outcome = fastring(*command, "--stats-file", "/dev/full", "--json")
    assert outcome.status == 1
    assert outcome.err == f"fastring {command[0]}: /dev/full: No space left on device: 2 samples are missing\n"
    result = json.loads(outcome.out)
    assert outcome.err.strip().endswith((result.get("problems") or [result.get("problem")])[0])


def test_forwarding_is_reported_card_by_card(fastring, tmp_path):
    page, samples = tmp_path / "out.html", tmp_path / "samples"
    outcome = fastring(
        "forward", "--mode", "flowgen", "--out", "loopback", "--count", 5000, "--json", "--report", page, "--stats-file", samples
    )
    told, report = json.loads(outcome.out), embedded(page)
    assert report["result"] == told
    assert report["series"]["devices"]["eth0"]["tx_packets"][-1] == told["ports"][0]["tx_packets"] >= 5000
    assert sum(count for _, count in report["histograms"]["frame_sizes"]) == told["received"] > 0
    shown = cells(page)
    assert shown["loopback"][2] == f"{told['ports'][0]['tx_packets']:,}"
    assert shown["rx_only"] == [f"{told['drops']['rx_only']:,}", "dropped on purpose"]
    assert json.loads(samples.read_text().splitlines()[-1])["devices"]["eth0"]["rx_packets"] == told["ports"][0]["rx_packets"]


def test_a_capture_is_sampled_by_its_wire(tmp_path):
    page, samples = tmp_path / "out.html", tmp_path / "samples"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as world,
        Observation(stats_file=samples, metrics="127.0.0.1:0", report_file=page, interval=0.01) as watched,
    ):
        capturing = Capturing(f"unix:{tmp_path}/wire", tmp_path / "out.pcap", filter="greater 80", count=15, observation=watched)
        for size in range(60, 110, 2):
            world.sendto(bytes(size), f"{tmp_path}/wire")
            capturing.port.poll()
        result = capturing.run()
        metrics = urllib.request.urlopen(watched.server.url, timeout=10).read().decode()
        watched.report("a capture", result.as_dict(), capturing.histograms())
    last = json.loads(samples.read_text().splitlines()[-1])
    assert last["devices"] == {f"unix:{tmp_path}/wire": {"rx_packets": 25, "rx_bytes": sum(range(60, 110, 2)), "dropped": 0}}
    assert f'fastring_network_receive_packets_total{{device="unix:{tmp_path}/wire"}} 25\n' in metrics
    assert "fastring_interrupts_total{" not in metrics
    report = embedded(page)
    assert report["result"] == json.loads(json.dumps(result.as_dict()))
    assert [count for _, count in report["histograms"]["frame_sizes"]] == [1] * 15
    shown = cells(page)
    assert (shown["frames captured"], shown["frames filtered"]) == (["15"], ["10"])
    text = page.read_text()
    assert "Packets, received" in text
    assert "Interrupts" not in text


def test_a_capture_is_sampled_while_nothing_comes(tmp_path):
    samples = tmp_path / "samples"
    with Observation(stats_file=samples, interval=0.01) as watched:
        Capturing(f"unix:{tmp_path}/wire", tmp_path / "out.pcap", duration=0.3, observation=watched).run()
    assert len(samples.read_text().splitlines()) > 3


def test_what_cannot_be_watched_by_is_refused_at_once(fastring, tmp_path):
    capture = "capture", "-i", f"unix:{tmp_path}/wire", "-w", tmp_path / "out.pcap"
    for command in (("generate", *UDP), ("forward", "--mode", "txonly", "--out", "null"), capture):
        outcome = fastring(*command, "--report", tmp_path / "out.pdf")
        assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
        assert "a report is a FILE.html or a FILE.png" in outcome.err
    assert list(tmp_path.iterdir()) == []
