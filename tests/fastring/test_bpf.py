"""Filter expressions: what libpcap's compiler and tcpdump make of them is what passes, and each packet that does not is counted."""

import ctypes
import gc
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from rewriting import Kept, drained

import fastring.bpf
from fastring.bpf import FilterSink, FilterSource, Program
from fastring.burst import Burst, BurstSink, CountingSink, RepeatSource
from fastring.capture import Capture
from fastring.pump import pump

DATA = Path(__file__).resolve().parents[1] / "data"
EXPRESSIONS = ("", "udp port 53", "ip6 and icmp6", "tcp[tcpflags] & tcp-syn != 0", "greater 1000", "vlan 7", "ip[6:2] & 0x3fff != 0")


@pytest.mark.parametrize("capture", ["mixed.pcap", "vlan.pcap", "arp.pcap"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_passes_is_what_tcpdump_prints(capture, expression):
    with Capture(DATA / capture) as packets:
        source = FilterSource(packets.cursor(), Program(expression))
        mine = drained(source)
        total = packets.scan().frames
    command = ["tcpdump", "-nr", DATA / capture, "-w", "-", expression]
    theirs = subprocess.run(command, capture_output=True, check=True).stdout
    # Both files are pcap in microseconds: a header of 24 bytes, and 16 before each packet.
    assert len(theirs) == 24 + sum(16 + len(packet) for _, packet in mine)
    assert b"".join(packet for _, packet in mine[:50]) == b"".join(packets_of(theirs)[:50])
    assert (source.packets, source.filtered) == (len(mine), total - len(mine))


def packets_of(pcap):
    packets, at = [], 24
    while at < len(pcap):
        length = int.from_bytes(pcap[at + 8 : at + 12], "little")
        packets.append(pcap[at + 16 : at + 16 + length])
        at += 16 + length
    return packets


def test_a_bad_expression_is_named_with_what_libpcap_says():
    with pytest.raises(ValueError, match=r"filter 'tcp prot 80': .*syntax error"):
        Program("tcp prot 80")
    with pytest.raises(ValueError, match=r"filter 'ip and ip6': expression rejects all packets"):
        Program("ip and ip6")
    with pytest.raises(ValueError, match="a byte 0"):
        Program("tcp\0")


def test_packets_in_pieces_are_seen_whole():
    packet = bytes(12) + b"\x08\x00" + bytes.fromhex("450000280000000040067cce7f0000017f000001") + bytes.fromhex("0050c000") + bytes(16)
    pieces = [packet[:13], packet[13:30], packet[30:]]
    packets = Burst.from_packets([pieces, packet, packet[:14] + bytes(40)])
    source, burst = FilterSource(RepeatSource(packets, packets=6), Program("tcp src port 80")), Burst(16)
    assert source.read(burst) == 8
    assert list(burst) == [packet] * 4
    assert (source.packets, source.filtered) == (4, 2)


def test_a_packets_length_is_the_one_it_had_on_its_wire():
    program = Program("greater 100")
    assert not program.matches(bytes(60))
    assert program.matches(bytes(60), wire_len=1000)
    assert not program.matches(b"")


def test_a_sink_gets_what_passes_and_the_burst_stays_whole():
    kept = Kept()
    sink = FilterSink(kept, Program("ether[0] = 1"))
    burst = Burst.from_packets([b"\x01" * 60, [b"\x01", b"\x02" * 70], b"\x02" * 60])
    sink.put(burst)
    assert [packet for _, packet in kept.packets] == [b"\x01" * 60, b"\x01" + b"\x02" * 70]
    assert (len(burst), sink.packets, sink.filtered) == (3, 2, 1)
    sink.put(Burst.from_packets([b"\x02" * 60] * 300))
    assert (len(kept.packets), sink.filtered) == (2, 301)


def test_an_error_of_the_sink_behind_is_told():
    class Full(BurstSink):
        def on_burst(self, burst):
            raise OSError(28, "No space left on device")

    sink = FilterSink(Full(), Program(""))
    with pytest.raises(OSError, match="No space"):
        sink.put(Burst.from_packets([bytes(60)]))
    with pytest.raises(OSError, match="No space"):
        pump(RepeatSource(Burst.from_packets([bytes(60)]), packets=1), sink, Burst(4))


def test_nothing_that_matches_is_the_end_not_a_hang():
    source = FilterSource(RepeatSource(Burst.from_packets([bytes(60)]), packets=100_000), Program("arp"))
    assert source.read(Burst(64)) == 0
    assert source.filtered == 100_000


def test_no_more_are_read_than_are_to_pass():
    packets = RepeatSource(Burst.from_packets([bytes(60), b"\x01" * 60]), packets=1000)
    source = FilterSource(packets, Program("ether[0] = 1"), limit=100)
    assert len(drained(source, burst_size=64)) == 100
    assert (source.packets, source.filtered, packets.left) == (100, 100, 800)


def test_one_program_serves_many_threads():
    program, sinks = Program("ether[0] = 1"), [CountingSink() for _ in range(2)]

    def run(sink):
        source = FilterSource(RepeatSource(Burst.from_packets([b"\x01" * 60, bytes(60)]), packets=20_000), program)
        while pump(source, sink, Burst(64)):
            pass

    threads = [threading.Thread(target=run, args=(sink,)) for sink in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sink.packets for sink in sinks] == [10_000, 10_000]


@pytest.fixture
def freed(monkeypatch):
    """The programs that libpcap was told to free."""
    freed, real = [], fastring.bpf.libpcap()

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def free(program):
        freed.append(program)
        real.pcap_freecode(program)

    class Library:
        pcap_freecode = free

        def __getattr__(self, name):
            return getattr(real, name)

    monkeypatch.setattr(fastring.bpf, "libpcap", Library)
    return freed


def test_programs_are_freed(freed):
    program = Program("tcp port 80 or udp port 53")
    source = FilterSource(RepeatSource(Burst.from_packets([bytes(60)]), packets=1), program)
    del program
    assert not freed
    del source
    gc.collect()
    assert len(freed) == 1


def test_programs_are_freed_out_of_reference_cycles(freed):
    for _ in range(20):  # each older than what holds it, so that the collector comes to it first
        cycle = [Program("tcp port 80")]
        cycle.append(cycle)
    del cycle
    gc.collect()
    assert len(freed) == 20


def test_a_socket_filters_with_its_instructions():
    program = Program("ether[0] = 1")
    assert len(program.instructions) % 8 == 0
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        right.settimeout(10)
        program.attach(right)
        left.send(b"\x02 not this")
        left.send(b"\x01 this")
        assert right.recv(100) == b"\x01 this"


def test_without_libpcap_one_line_says_what_to_install(monkeypatch):
    fastring.bpf.libpcap.cache_clear()
    try:
        monkeypatch.setattr(fastring.bpf, "NAMES", ("libnothing-of-the-kind.so.0",))
        monkeypatch.setattr(fastring.bpf.ctypes.util, "find_library", lambda name: None)
        with pytest.raises(OSError, match=r"need libpcap: apt-get install libpcap0\.8"):
            Program("tcp")
    finally:
        fastring.bpf.libpcap.cache_clear()
