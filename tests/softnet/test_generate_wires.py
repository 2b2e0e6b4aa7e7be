"""Generated packets over real interfaces: a veth pair in a namespace of the test's own."""

import json
import re

from namespaces import deleting, namespace, veth

from softnet import cli
from softnet.generate import Generate
from softnet.stream_file import udp_frame
from softnet.streams import Stream

FRAME = udp_frame("10.0.0.1:1024", "10.1.0.1:53")


def test_what_leaves_by_one_interface_and_comes_back_by_another_is_accounted_for():
    with namespace() as here, here.inside():
        veth(here, "left", here, "right")
        streams = [
            Stream(FRAME, {"ipv4.src": "10.0.0.1..10.0.0.99"}, size="imix", rate="20kpps", count=600),
            Stream(FRAME, rate=5000, count=200),
        ]
        result = Generate(streams, wire="packet:left", receive_wire="packet:right", drain=5).run()
    assert [(stream.sent, stream.received, stream.lost, stream.duplicates) for stream in result.streams] == [
        (600, 600, 0, 0),
        (200, 200, 0, 0),
    ]
    assert 0 < result.streams[0].latency["min"] <= result.streams[0].latency["max"]
    assert result.late_max > 0


def test_who_only_sends_loses_nothing(capsys):
    with namespace() as here, here.inside():
        veth(here, "left", here, "right")
        assert cli.main(["generate", "--udp", "10.0.0.1:1,10.0.0.2:2", "--count", "100", "--wire", "packet:left", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sent"] == 100
    assert told["streams"][0]["received"] is None


def test_an_interface_that_is_deleted_ends_the_run_with_what_was_sent_so_far():
    with namespace() as here, here.inside():
        veth(here, "left", here, "right")
        run = Generate([Stream(FRAME, rate=2000)], wire="packet:left", receive_wire="packet:right", drain=5, duration=600)
        result = run.run(deleting(here, "right", after=50))
    assert result.problems == [run.failure.strerror]
    assert "Wire> has failed" in re.sub(" (left|right)>", ">", result.problems[0])
    assert result.sent == result.streams[0].received + result.streams[0].lost
    assert 50 < result.sent < 1_200_000
