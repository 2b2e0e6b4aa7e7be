"""Metrics: the last Sample in Prometheus' text format, over HTTP."""

from __future__ import annotations

import errno
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

from softnet.sampling import Sample

DEFAULT_ADDRESS = "127.0.0.1:9110"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TIMEOUT = 2.0  # seconds that a client may take, and the others wait: one is served at a time

# Name, type and help of each metric, and the counter it shows. Names as node_exporter's where it has them.
METRICS = (
    ("fastring_network_receive_packets_total", "counter", "Packets received.", "rx_packets"),
    ("fastring_network_receive_bytes_total", "counter", "Bytes received, without CRC.", "rx_bytes"),
    ("fastring_network_transmit_packets_total", "counter", "Packets sent.", "tx_packets"),
    ("fastring_network_transmit_bytes_total", "counter", "Bytes sent, without CRC.", "tx_bytes"),
    ("fastring_network_dropped_total", "counter", "Packets dropped, missed or in error, both ways.", "dropped"),
    ("fastring_transmit_ring_packets", "gauge", "Descriptors in the transmit ring.", "tx_in_flight"),
    ("fastring_interrupts_total", "counter", "Interrupts handled.", "interrupts"),
    ("fastring_polls_total", "counter", "Polls by NAPI.", "polls"),
    ("fastring_polled_packets_total", "counter", "Packets that polls received.", "polled_packets"),
)


def metrics_text(sample: Sample | None) -> str:
    """A Sample in the text exposition format; without one no device has a value."""
    lines = []
    for name, kind, told, counter in METRICS:
        lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}"]
        for device, counters in () if sample is None else sample.devices.items():
            if hasattr(counters, counter):  # a wire without a card has but some
                lines.append(f'{name}{{device="{_escaped(device)}"}} {getattr(counters, counter)}')
    return "\n".join(lines) + "\n"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def parse_address(text: str) -> tuple[str, int]:
    """HOST:PORT, :PORT, PORT, [IPv6]:PORT or HOST. Raises ValueError."""
    default_host, _, default_port = DEFAULT_ADDRESS.rpartition(":")
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = ("", text) if text.isdecimal() else (text, "")
    elif "]" in port:  # [::1]
        host, port = text, ""
    elif ":" in host and not host.startswith("["):
        raise ValueError(f"{text!r} is no address for metrics: an IPv6 address stands in brackets, [::1]:9110")
    if port and not (port.isascii() and port.isdecimal() and int(port[:6]) < 65536):
        raise ValueError(f"{text!r} is no address for metrics: it is HOST:PORT, such as {DEFAULT_ADDRESS}")
    return host.strip("[]") or default_host, int(port or default_port)


class _Handler(BaseHTTPRequestHandler):
    timeout = TIMEOUT
    server: MetricsServer

    def do_GET(self) -> None:
        """/metrics, and / as well."""
        if self.path.partition("?")[0] not in ("/metrics", "/"):
            self.send_error(HTTPStatus.NOT_FOUND, "metrics are at /metrics")
            return
        text = metrics_text(self.server.sample).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: standard error is the command's."""


class MetricsServer(HTTPServer):
    """Serve the last Sample on `address` from a thread of its own, one client after the other, until `close`; a Sampler's listener.

    Raises ValueError for what is no address, OSError if it cannot be listened on.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS) -> None:
        self.sample: Sample | None = None
        host, port = parse_address(address)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise OSError(errno.EADDRNOTAVAIL, f"no address to serve metrics on: {error.strerror or error}", address) from None
        self.address_family = found[0][0]
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise OSError(error.errno, error.strerror, address) from None
        self._thread = threading.Thread(target=self.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def __call__(self, sample: Sample) -> None:
        self.sample = sample

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of ours."""

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self.server_address[:2]
        return f"http://{f'[{host!s}]' if ':' in str(host) else str(host)}:{port}/metrics"

    def close(self) -> None:
        """Serve no more; again is harmless."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
