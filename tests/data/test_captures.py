"""The captures are what their README says, and what a wire carries: whole frames with right checksums."""

import importlib
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from scapy.utils import RawPcapReader

HERE = Path(__file__).resolve().parent
LONGEST = 16114  # the longest frame the 82540EM's driver accepts at its largest MTU, without FCS and VLAN tag
IPV4, IPV6, VLAN, ICMP, TCP, UDP, FRAGMENT, ICMPV6, HOP_BY_HOP = 0x0800, 0x86DD, 0x8100, 1, 6, 17, 44, 58, 0


@pytest.fixture(scope="module")
def inventory():
    sys.path.insert(0, str(HERE))
    try:
        yield importlib.import_module("inventory")
    finally:
        sys.path.remove(str(HERE))


def captures():
    return sorted(path for path in HERE.iterdir() if ".pcap" in path.name)


def ones_complement(data):
    """The Internet checksum's sum (RFC 1071), 0xFFFF over data that has its right checksum inside."""
    return int.from_bytes(data + b"\0" * (len(data) % 2)) % 0xFFFF or 0xFFFF


def wrong_checksum(frame):
    """What is wrong with a frame's checksums, or None; fragments are judged by their IP header alone."""
    kind, at = struct.unpack_from("!H", frame, 12)[0], 14
    if kind == VLAN:
        kind, at = struct.unpack_from("!H", frame, 16)[0], 18
    if kind == IPV4:
        return wrong_ipv4(frame, at)
    if kind == IPV6:
        length, protocol = struct.unpack_from("!HB", frame, at + 4)
        start, end = at + 40, at + 40 + length
        if protocol == HOP_BY_HOP:
            protocol, start = frame[start], start + 8 * (frame[start + 1] + 1)
        return wrong_payload(protocol, frame[at + 8 : at + 40], frame[start:end])
    return None


def wrong_ipv4(frame, at):
    header = 4 * (frame[at] & 0xF)
    total, _identity, fragment = struct.unpack_from("!HHH", frame, at + 2)
    if ones_complement(frame[at : at + header]) != 0xFFFF:
        return "IPv4 header"
    if at + total > len(frame):
        return "IPv4 length"
    if fragment & 0x3FFF:
        return None
    return wrong_payload(frame[at + 9], frame[at + 12 : at + 20], frame[at + header : at + total])


def wrong_payload(protocol, addresses, payload):
    pseudo = addresses + struct.pack("!IHBB", len(payload), 0, 0, protocol)
    if protocol == UDP and len(addresses) == 8 and payload[6:8] == b"\0\0":
        return "UDP without checksum"
    if protocol in (TCP, UDP, ICMPV6):
        return f"protocol {protocol}" if ones_complement(pseudo + payload) != 0xFFFF else None
    if protocol == ICMP:
        return "ICMP" if ones_complement(payload) != 0xFFFF else None
    return None if protocol == FRAGMENT else f"unknown protocol {protocol}"


def test_readme_is_what_the_files_say():
    command = "import make, inventory; print(inventory.readme({n: s.__doc__ for n, s in make.SCENES.items()}), end='')"
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    told = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True).stdout
    assert (HERE / "README.md").read_text() == told, "README.md differs from its files: run python3 tests/data/make.py --readme"


def test_there_are_enough_frames_and_not_too_many_bytes(inventory):
    frames = {path.name: sum(1 for _ in inventory.frames(path)) for path in captures()}
    assert sum(frames.values()) >= 20_000
    assert frames["mixed.pcap"] >= 10_000
    assert sum(path.stat().st_size for path in captures()) < 20_000_000


@pytest.mark.parametrize("path", captures(), ids=lambda path: path.name)
def test_every_frame_is_whole_and_its_checksums_are_right(inventory, path):
    for number, frame in enumerate(inventory.frames(path), 1):
        tagged = 4 if frame[12:14] == b"\x81\x00" else 0
        assert 14 < len(frame) <= LONGEST + tagged, f"frame {number} has {len(frame)} bytes"
        assert wrong_checksum(frame) is None, f"frame {number}: {wrong_checksum(frame)}"


@pytest.mark.parametrize(
    ("name", "smallest", "largest"),
    [("mixed.pcap", 60, 1514), ("short.pcap", 42, 59), ("vlan.pcap", 46, 1518), ("jumbo.pcap", 60, 9014), ("arp.pcap", 42, 42)],
)
def test_sizes_are_what_the_capture_is_for(inventory, name, smallest, largest):
    sizes = [len(frame) for frame in inventory.frames(HERE / name)]
    assert min(sizes) >= smallest
    assert max(sizes) == largest


def test_mixed_is_sorted_by_time():
    with RawPcapReader(str(HERE / "mixed.pcap")) as reader:
        times = [(metadata.sec, metadata.usec) for _data, metadata in reader]
    assert times == sorted(times)


def test_every_frame_of_the_vlan_capture_is_tagged(inventory):
    assert {frame[12:16] for frame in inventory.frames(HERE / "vlan.pcap")} == {bytes.fromhex("81006007")}


def test_the_checksum_judge_sees_a_flipped_bit(inventory):
    frame = max(inventory.frames(HERE / "http.pcap"), key=len)
    for position in (20, len(frame) - 1):
        assert wrong_checksum(frame[:position] + bytes([frame[position] ^ 1]) + frame[position + 1 :])
