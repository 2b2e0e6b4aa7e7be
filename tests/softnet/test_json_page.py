"""docs/json.md: what the commands print has the keys and types that it says, all of them and no others."""

import json
import re
import socket
from pathlib import Path

import pytest

from softnet.capturing import Capturing

TEXT = (Path(__file__).resolve().parents[2] / "docs/json.md").read_text()
TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "object": dict, "null": type(None)}
PERCENTILES = {"min", "mean", "p50", "p90", "p99", "p99_9", "max"}
UDP = "--udp", "10.0.0.1:1024,10.0.1.1:53"


def table(heading):
    """The keys under a heading, with their types."""
    (text,) = re.findall(rf"^##+ {heading}\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", text, re.MULTILINE)
    assert rows
    return {name: {TYPES[word] for word in told.split(" or ")} for name, told in rows}


def check(found, heading):
    """Whether an object is as the table says."""
    wanted = table(heading)
    assert set(found) == set(wanted)
    assert {name: value for name, value in found.items() if type(value) not in wanted[name]} == {}
    for value in found.get("drops", {}).values():
        assert type(value) is int


@pytest.mark.parametrize("options", [("--pps", "1000"), ("--clock", "virtual", "--limit", "0"), ("--mtu", "100"), ("--topspeed",)])
def test_replay(fastring, data, options):
    result = json.loads(fastring("replay", data / "short.pcap", "--json", *options).out)
    check(result, "fastring replay")
    for interface in result["interfaces"]:
        assert {name: type(value) for name, value in interface.items()} == {"wire": str, "sent": int, "bytes": int, "received": int}


@pytest.mark.parametrize("options", [("--pps", "1e5"), ("--wire", "null"), ("--no-signature",), ("--wire", "fault:loss=50%@pair")])
def test_generate(fastring, options):
    result = json.loads(fastring("generate", *UDP, "--count", 50, "--json", *options).out)
    check(result, "fastring generate")
    (stream,) = result["streams"]
    check(stream, "A stream")
    measured = options[0] == "--pps" or "fault" in options[-1]
    assert (stream["received"] is not None) == measured
    if measured:
        assert set(stream["latency"]) == PERCENTILES
        assert {type(value) for value in stream["latency"].values()} == {float}


@pytest.mark.parametrize("file_size", [None, 200])
def test_capture(tmp_path, file_size):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as world:
        capturing = Capturing(f"unix:{tmp_path}/wire", tmp_path / "out.pcap", count=5, file_size=file_size)
        for _ in range(5):
            world.sendto(bytes(100), f"{tmp_path}/wire")
        result = json.loads(json.dumps(capturing.run().as_dict()))
    check(result, "fastring capture")
    assert {type(name) for name in result["files"]} == {str}


@pytest.mark.parametrize("mode", ["txonly", "flowgen"])
def test_forward(fastring, tmp_path, mode):
    samples = tmp_path / "samples"
    result = json.loads(fastring("forward", "--mode", mode, "--out", "loopback", "--count", 100, "--json", "--stats-file", samples).out)
    check(result, "fastring forward")
    for port in result["ports"]:
        check(port, "A port")
    for line in samples.read_text().splitlines():
        sample = json.loads(line)
        assert set(sample) == {"seconds", "devices"}
        assert type(sample["seconds"]) is float
        check(sample["devices"]["eth0"], "A line of --stats-file")
