"""Packets generated from a template with four varying fields, beside the same number of packets repeated, and beside scapy's sendp.

    pytest bench/test_generate.py -s
"""

import statistics
import sys
import time
from pathlib import Path

import pytest
from generated import FOUR_FIELDS, IntoCard

from softnet.generate import Generate
from softnet.stream_file import udp_frame
from softnet.streams import Stream

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "shared"))
RUNS = 7
SCAPY_PACKETS, OUR_PACKETS = 1000, 300_000


@pytest.mark.parametrize("size", [64, 594, 1518])
def test_into_the_card_beside_repeated_packets(size, capsys):
    with IntoCard(size) as card:
        took = {name: [] for name in ("repeated", "unsigned", "signed")}
        for _ in range(RUNS):
            for name, figures in took.items():
                figures.append(card.nanoseconds(getattr(card, name)))
    repeated, unsigned, signed = (statistics.median(figures) for figures in took.values())
    with capsys.disabled():
        print(
            f"\n{size} bytes into the card: {1e3 / signed:.1f} Mpps with four fields and a signature ({signed:.1f} ns), "
            f"{1e3 / unsigned:.1f} without one ({unsigned:.1f} ns), {1e3 / repeated:.1f} repeated ({repeated:.1f} ns); "
            f"CPU time, medians of {RUNS}"
        )


def scapy_seconds(ports):
    """A packet by scapy's sendp, four fields varying."""
    from scapy.config import conf
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.sendrecv import sendp
    from scapy.volatile import RandIP, RandShort

    conf.ifaces.reload()
    addresses = IP(src=RandIP("10.0.0.0/24"), dst=RandIP("10.1.0.0/16"))
    packet = Ether(src="52:54:00:00:00:01", dst="52:54:00:00:00:02") / addresses / UDP(sport=RandShort(), dport=ports) / (b"\0" * 18)
    start = time.process_time()
    sendp(packet, iface="left", count=SCAPY_PACKETS // len(ports), verbose=False)
    return (time.process_time() - start) / SCAPY_PACKETS


def our_seconds(wire):
    stream = Stream(udp_frame("10.0.0.1:1024", "10.1.0.1:53"), FOUR_FIELDS, size=64, count=OUR_PACKETS)
    run = Generate([stream], wire=wire)
    start = time.process_time()
    result = run.run()
    assert result.sent == OUR_PACKETS
    return (time.process_time() - start) / OUR_PACKETS


def test_beside_scapys_sendp(capsys):
    """Both on the same veth pair, where the kernel is the limit of ours, and ours where it is not."""
    namespaces = pytest.importorskip("namespaces")
    pytest.importorskip("scapy")
    try:
        left, right = namespaces.Namespace(), namespaces.Namespace()
    except OSError as error:
        pytest.skip(f"no network namespaces: {error}")
    namespaces.veth(left, "left", right, "right")
    theirs, on_veth, on_null = [], [], []
    with left.inside():
        for _ in range(3):
            theirs.append(scapy_seconds([53, 80]))
            on_veth.append(our_seconds("packet:left"))
            on_null.append(our_seconds("null"))
    scapys, veth, null = (1e6 * statistics.median(figures) for figures in (theirs, on_veth, on_null))
    with capsys.disabled():
        print(
            f"\nscapy's sendp: {scapys:.1f} µs a packet; ours {veth:.2f} µs on the same veth ({scapys / veth:.0f} x), "
            f"{null:.3f} µs where the kernel is not the limit ({scapys / null:.0f} x); CPU time, medians of 3"
        )
