"""`fastring rewrite` against Debian's tcprewrite 4.4.3: the same output for each edit, but for what docs/rewrite.md says and why."""

import shutil
import subprocess
from pathlib import Path

import pytest

from fastring.capture import Capture
from fastring.capture_writer import CaptureWriter
from softnet.cli import main

DATA = Path(__file__).resolve().parents[1] / "data"
CAPTURES = sorted(DATA.glob("*.pcap"))
EACH = 90  # packets of each capture

IP6 = b"\x86\xdd"
FRAGMENT = 44
ICMP6 = 58


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With `in.pcap`: the first and the last packets of every capture."""
    if shutil.which("tcprewrite") is None:
        pytest.skip("no tcprewrite: apt-get install tcpreplay")
    folder = tmp_path_factory.mktemp("rewrite")
    with CaptureWriter(folder / "in.pcap") as writer:
        for path in CAPTURES:
            packets = list(Capture(path))
            for time, packet in packets[:EACH] + packets[-EACH:]:
                writer.write(packet, time // 1000 * 1000)
    return folder


def outputs(folder, arguments, source="in.pcap"):
    """(ours, theirs): lists of (time, packet)."""
    command = ["tcprewrite", "-i", folder / source, "-o", folder / "theirs.pcap", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert main(["rewrite", str(folder / source), str(folder / "ours.pcap"), *arguments]) == 0
    return list(Capture(folder / "ours.pcap")), list(Capture(folder / "theirs.pcap"))


def network(packet):
    """Offset of what the tags lead to."""
    at = 12
    while packet[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    return at + 2


def is_ip6(packet):
    return packet[network(packet) - 2 : network(packet)] == IP6


def comparable(packet, arguments):
    """A packet without what is known to differ, which docs/rewrite.md explains: it has the same names."""
    at = network(packet)
    if packet[at - 2 : at] == b"\x08\x00" and any(packet[address] >> 4 == 0xE for address in (at + 12, at + 16)):  # multicast-macs
        return bytes(12) + packet[12:]
    if not is_ip6(packet):
        return packet
    packet = bytes(12) + packet[12:]  # ipv6-macs
    changes_addresses = any(argument.startswith(("--seed", "--srcipmap", "--dstipmap", "--pnat")) for argument in arguments)
    extended = packet[at + 6] == 0 and packet[at + 40] == ICMP6
    if changes_addresses and "--fixcsum" not in arguments and (packet[at + 6] == ICMP6 or extended):  # icmpv6-checksum
        checksum = at + (48 if extended else 40) + 2
        packet = packet[:checksum] + bytes(2) + packet[checksum + 2 :]
    return packet


VLAN = ["--enet-vlan=add", "--enet-vlan-tag=7", "--enet-vlan-pri=2", "--enet-vlan-cfi=1"]
CASES = [
    [],
    ["--enet-dmac=02:00:00:00:aa:01"],
    ["--enet-smac=2:0:0:0:aa:2", "--enet-dmac=02:00:00:00:aa:01"],
    ["--enet-dmac=02:00:00:00:aa:01", "--skipl2broadcast"],
    VLAN,
    [*VLAN, "--enet-vlan-proto=802.1ad"],
    ["--enet-vlan=del"],
    ["--srcipmap=10.0.0.0/8:192.168.0.0/16"],
    ["--dstipmap=10.0.0.2/32:172.16.0.9/32,0.0.0.0/0:172.16.0.0/12"],
    ["--srcipmap=10.0.0.0/8:192.168.0.0/16,[fd00::/8]:[2001:db8::/32]"],
    ["--dstipmap=[fd00::/8]:[2001:db8::/32]", "--fixcsum"],
    ["--pnat=10.0.0.0/8:192.168.0.0/16"],
    ["--pnat=10.0.0.1:1.1.1.1", "--pnat=10.0.0.2:2.2.2.2"],
    ["--seed=42"],
    ["--seed=4711", "--skipbroadcast", "--fixcsum"],
    ["--srcipmap=10.0.0.0/8:224.0.0.0/8", "--skipbroadcast", "--seed=9"],
    ["--portmap=80:8080"],
    ["--portmap=5201+53:99", "--portmap=1000-60000:7,8080:81"],
    ["--ttl=9"],
    ["--ttl=+250"],
    ["--ttl=-60"],
    ["--tos=9"],
    ["--tclass=200", "--flowlabel=70000"],
    ["--mtu-trunc"],
    ["--mtu=500", "--mtu-trunc"],
    ["--fixcsum"],
    ["--enet-dmac=02:00:00:00:aa:01", "--srcipmap=10.0.0.0/8:192.168.0.0/16", "--portmap=80:8080", "--ttl=-1", *VLAN],
]


@pytest.mark.parametrize("arguments", CASES, ids=" ".join)
def test_the_output_is_tcprewrites(folder, arguments, capsys):
    ours, theirs = outputs(folder, arguments)
    capsys.readouterr()
    assert [time for time, _ in ours] == [time for time, _ in theirs]
    compared = 0
    for number, ((_, mine), (_, other)) in enumerate(zip(ours, theirs, strict=True)):
        at = network(mine)
        if is_ip6(mine) and mine[at + 6] == FRAGMENT:  # ipv6-fragments
            continue
        if "--pnat=10.0.0.2:2.2.2.2" in arguments and mine[at - 2 : at] == b"\x08\x06":  # arp-request
            continue
        mine, other = comparable(mine, arguments), comparable(other, arguments)
        assert mine.hex() == other.hex(), f"packet {number}"
        compared += 1
    assert compared > 1000


@pytest.mark.unsanitized  # tcprewrite pads with whatever its memory holds, which AddressSanitizer fills
def test_packets_captured_short_are_padded_or_shortened_as_there(folder, capsys):
    with CaptureWriter(folder / "short.pcap") as writer:
        for path in CAPTURES:
            for time, packet in list(Capture(path))[:EACH]:
                if not is_ip6(packet):
                    writer.write(packet[:90], time // 1000 * 1000, wire_len=len(packet))
    for arguments in (["--fixlen=pad"], ["--fixlen=trunc"]):
        ours, theirs = outputs(folder, arguments, "short.pcap")
        differing = 0
        for (_, mine), (_, other) in zip(ours, theirs, strict=True):
            at = network(mine)
            if arguments == ["--fixlen=trunc"] and mine[at + 9] == 17:  # udp-length
                mine, other = mine[: at + 24], other[: at + 24]
            differing += mine != other
        assert differing == 0
        assert len(ours) > 500
    capsys.readouterr()


def test_what_differs_does_differ(folder, capsys):
    """Each departure is one: where tcprewrite learns better, docs/rewrite.md is to be shortened."""
    _, theirs = outputs(folder, [])
    damaged = sum(packet[:2] == b"\x33\x33" and packet[6:8] == b"\x33\x33" for _, packet in theirs if is_ip6(packet))
    assert damaged > 100
    ours, theirs = outputs(folder, ["--ttl=9"])
    capsys.readouterr()
    fragments = [(mine, other) for (_, mine), (_, other) in zip(ours, theirs, strict=True) if is_ip6(mine) and mine[20] == FRAGMENT]
    assert all(mine[21] == 9 != other[21] for mine, other in fragments)
    assert len(fragments) > 10
