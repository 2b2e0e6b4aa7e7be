"""`tee:`: what passes a wire, in a pcapng file, read back by others."""

import json
import shutil
import subprocess
from contextlib import ExitStack

import pytest
from scapy.utils import PcapNgReader
from wire_ends import Recorder, numbered

from fastring.burst import FRAME_BAD_CRC, Burst
from fastring.capture_writer import CaptureWriter
from fastring.clock import VirtualClock
from fastring.port import WirePort
from fastring.tee import TeeWire
from fastring.wire import pair
from softnet.wire import open_wire

PACKETS = numbered(300)
START = 1_000_000_000_123_456_789


@pytest.fixture
def undo():
    with ExitStack() as stack:
        yield stack


class Recorded:
    """A wire of that spec, recorded, with ports at both ends."""

    def __init__(self, undo, path, spec="pair"):
        self.path = path
        self.clock = VirtualClock(realtime=START)
        self.cabling = open_wire(f"tee:{path}@{spec}", clock=self.clock)
        self.near = undo.enter_context(WirePort(self.cabling.near, sink=Recorder()))
        self.far = undo.enter_context(WirePort(self.cabling.far, sink=Recorder())) if self.cabling.far is not None else None

    def records(self):
        """(bytes, outbound, comment, ns) of each, by scapy."""
        self.cabling.close()
        with PcapNgReader(str(self.path)) as reader:
            return [
                (bytes(p), {1: False, 2: True}[p.direction], p.comment and p.comment.decode(), round(p.time * 10**9)) for p in reader
            ]


def test_each_packet_has_its_direction_and_time(undo, tmp_path):
    tee = Recorded(undo, tmp_path / "t.pcapng")
    tee.near.send(Burst.from_packets([PACKETS[0], [b"in ", b"pieces "] * 10]))
    tee.clock.advance(5)
    tee.far.send(Burst.from_packets(PACKETS[:2]))
    records = tee.records()
    assert [record[:3] for record in records] == [
        (PACKETS[0], True, None),
        (b"in pieces " * 10, True, None),
        (PACKETS[0], False, None),
        (PACKETS[1], False, None),
    ]
    assert [record[3] - records[0][3] for record in records] == [0, 0, 5, 5]


def test_what_was_lost_says_why(undo, tmp_path):
    tee = Recorded(undo, tmp_path / "t.pcapng", "fault:loss=30%,seed=3@pair")
    tee.near.send(Burst.from_packets(PACKETS))
    records = tee.records()
    assert [record[0] for record in records] == PACKETS
    assert [record[0] for record in records if record[2] is None] == tee.far.sink.packets
    assert {record[2] for record in records} == {None, "dropped: loss"}
    assert 40 < sum(record[2] is not None for record in records) < 150


def test_what_is_lost_later_or_on_its_way_in_is_recorded_too(undo, tmp_path):
    tee = Recorded(undo, tmp_path / "t.pcapng", "fault:lost=1@pair")
    tee.far.send(Burst.from_packets(PACKETS[:2]))
    assert [record[:3] for record in tee.records()] == [(packet, False, "dropped: lost") for packet in PACKETS[:2]]
    late = Recorded(undo, tmp_path / "late.pcapng", f"fault:delay=1ms@unix:{tmp_path}/s")
    late.near.send(Burst.from_packets(PACKETS[:1]))
    late.clock.advance(2_000_000)
    assert [record[:3] for record in late.records()] == [(PACKETS[0], True, None), (PACKETS[0], True, "dropped: no peer")]


def test_a_packet_of_more_pieces_than_are_kept_is_cut_and_says_so(undo, tmp_path):
    tee = Recorded(undo, tmp_path / "t.pcapng", "null")
    tee.near.send(Burst.from_packets([[b"ab"] * 300]))
    tee.cabling.close()
    with PcapNgReader(str(tmp_path / "t.pcapng")) as reader:
        (packet,) = reader
    assert (bytes(packet), packet.wirelen) == (b"ab" * 256, 600)


def test_a_peer_that_is_not_there_is_a_reason(undo, tmp_path):
    tee = Recorded(undo, tmp_path / "t.pcapng", f"unix:{tmp_path}/s")
    tee.near.send(Burst.from_packets(PACKETS[:2]))
    assert [record[2] for record in tee.records()] == ["dropped: no peer"] * 2


def test_an_answer_from_inside_is_recorded_as_it_went(undo, tmp_path):
    tee = Recorded(undo, tmp_path / "t.pcapng")

    class Echo(Recorder):
        def on_burst(self, burst):
            tee.far.send(Burst.from_packets([b"reply " + packet for packet in burst]))

    tee.far.sink = Echo()
    tee.near.send(Burst.from_packets(PACKETS[:3]))
    assert sorted((record[0], record[1]) for record in tee.records()) == sorted(
        [(packet, True) for packet in PACKETS[:3]] + [(b"reply " + packet, False) for packet in PACKETS[:3]]
    )


def test_many_packets_in_many_pieces(undo, tmp_path):
    tee = Recorded(undo, tmp_path / "t.pcapng")
    packets = [[bytes([i % 256])] * (1 + i % 200) for i in range(600)]
    tee.near.send(Burst.from_packets(packets))
    joined = [b"".join(packet) for packet in packets]
    assert tee.far.sink.packets == joined
    assert [record[0] for record in tee.records()] == joined


@pytest.mark.skipif(shutil.which("tshark") is None and shutil.which("capinfos") is None, reason="no tshark here")
def test_tshark_reads_directions_comments_and_errors(undo, tmp_path):
    path = tmp_path / "t.pcapng"
    tee = Recorded(undo, path, "fault:loss=50%,seed=1@pair")
    tee.near.send(Burst.from_packets(PACKETS[:20]))
    tee.far.send(Burst.from_packets(PACKETS[:1], errors=[FRAME_BAD_CRC]))
    expected = [(record[1], record[2]) for record in tee.records()]
    fields = ["frame.packet_flags_direction", "frame.comment", "frame.packet_flags_crc_error"]
    command = ["tshark", "-r", str(path), "-T", "json", *(word for field in fields for word in ("-e", field))]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    layers = [packet["_source"]["layers"] for packet in json.loads(done.stdout)]
    directions = [int(layer["frame.packet_flags_direction"][0], 0) == 2 for layer in layers]
    assert [(out, layer.get("frame.comment", [None])[0]) for out, layer in zip(directions, layers, strict=True)] == expected
    assert [layer["frame.packet_flags_crc_error"][0] in ("1", "True") for layer in layers] == [False] * 20 + [True]


def test_what_cannot_be_written_is_counted(undo, tmp_path):
    tee = Recorded(undo, tmp_path / "t.pcapng")
    tee.cabling.near.writer.close()
    tee.near.send(Burst.from_packets(PACKETS[:3]))
    assert tee.far.sink.packets == PACKETS[:3]
    assert tee.cabling.near.unrecorded == 3


def test_a_tee_writes_pcapng(tmp_path):
    near, _ = pair()
    with CaptureWriter(tmp_path / "x.pcap") as writer, pytest.raises(ValueError, match="a tee writes pcapng"):
        TeeWire(near, writer, clock=VirtualClock())
    with pytest.raises(ValueError, match="neither directions nor comments"), CaptureWriter(tmp_path / "y.pcap") as writer:
        writer.write(bytes(60), direction="in")
    with pytest.raises(FileNotFoundError):
        open_wire(f"tee:{tmp_path}/no/such@null", clock=VirtualClock())


def test_a_writer_annotates_from_python(tmp_path):
    path = tmp_path / "x.pcapng"
    with CaptureWriter(path, clock=VirtualClock(realtime=START)) as writer:
        for i, comment in enumerate(["", "a", "four", "ünï", "x" * 1024]):
            writer.write(bytes(60 + i), comment=comment, direction=("in", "out")[i % 2])
        with pytest.raises(ValueError, match="up to 1024 bytes"):
            writer.write(bytes(60), comment="x" * 1025)
        with pytest.raises(ValueError, match="'in' or 'out'"):
            writer.write(bytes(60), direction="up")
    with PcapNgReader(str(path)) as reader:
        packets = list(reader)
    assert [len(p) for p in packets] == [60, 61, 62, 63, 64]
    assert [(p.comment or b"").decode() for p in packets] == ["", "a", "four", "ünï", "x" * 1024]
    assert [p.direction for p in packets] == [1, 2, 1, 2, 1]
