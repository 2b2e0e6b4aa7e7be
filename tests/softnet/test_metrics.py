"""Metrics over HTTP, in Prometheus' text format."""

import socket
import urllib.error
import urllib.request

import pytest

from softnet.metrics import METRICS, MetricsServer, metrics_text, parse_address
from softnet.sampling import DeviceSample, Sample

SAMPLE = Sample(1.5, {"eth0": DeviceSample(1, 2, 3, 4, 5, 6, 7, 8, 9), 'e"\\\n': DeviceSample(*range(10, 19))})


@pytest.fixture
def server():
    server = MetricsServer("127.0.0.1:0")
    yield server
    server.close()


def test_every_counter_of_every_device_has_a_line():
    lines = metrics_text(SAMPLE).splitlines()
    assert 'fastring_network_receive_packets_total{device="eth0"} 1' in lines
    assert 'fastring_network_transmit_bytes_total{device="eth0"} 4' in lines
    assert 'fastring_polled_packets_total{device="eth0"} 9' in lines
    assert r'fastring_interrupts_total{device="e\"\\\n"} 16' in lines
    assert len(lines) == 4 * len(METRICS)
    for name, kind, _, _ in METRICS:
        assert f"# TYPE {name} {kind}" in lines


def test_what_is_served_is_the_last_sample(server):
    assert "{" not in urllib.request.urlopen(server.url, timeout=10).read().decode()
    server(SAMPLE)
    with urllib.request.urlopen(server.url, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert answer.read().decode() == metrics_text(SAMPLE)


def test_nothing_else_is_there(server):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(server.url.replace("/metrics", "/etc/passwd"), timeout=10)


def test_a_client_that_says_nothing_or_nonsense_does_not_end_it(server):
    host, port = server.server_address[:2]
    with socket.create_connection((host, port)) as silent, socket.create_connection((host, port)) as mad:
        mad.send(b"\0" * 100000)
        silent.send(b"GET /me")
        assert urllib.request.urlopen(server.url, timeout=30).status == 200


def test_an_address_that_is_taken_is_told(server):
    host, port = server.server_address[:2]
    with pytest.raises(OSError, match="in use") as taken:
        MetricsServer(f"{host}:{port}")
    assert taken.value.filename == f"{host}:{port}"


def test_closing_again_is_harmless(server):
    server.close()
    server.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ("127.0.0.1", 9110)),
        ("8000", ("127.0.0.1", 8000)),
        (":8000", ("127.0.0.1", 8000)),
        ("0.0.0.0", ("0.0.0.0", 9110)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:2", ("::1", 2)),
        ("[::1]", ("::1", 9110)),
    ],
)
def test_addresses(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["::1", "host:port", "host:65536", "host:-1", "host:999999999999999999999", "1:2:3"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="is no address for metrics"):
        parse_address(text)
