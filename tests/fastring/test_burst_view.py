"""Looking at packets without copying them: arrays and memoryviews whose memory stays, and refusals where it would not."""

import gc

import numpy
import pytest

from fastring.burst import Burst, BurstSink
from fastring.capture import Capture
from fastring.capture_writer import CaptureWriter
from fastring.packet_queue import PacketQueue
from fastring.port import WirePort
from fastring.wire import pair

PACKETS = [bytes([i]) * (20 + i) for i in range(10)]


@pytest.fixture
def capture(tmp_path):
    with CaptureWriter(tmp_path / "c.pcap") as writer:
        for i, packet in enumerate(PACKETS):
            writer.write(packet, time=1000 + i)
    return Capture(tmp_path / "c.pcap")


def burst_of(capture):
    burst = Burst(64)
    assert capture.cursor().read(burst) == len(PACKETS)
    return burst


def seen(view):
    return [bytes(view.payload[offset:][:length]) for offset, length in zip(view.offset, view.length, strict=True)]


def test_a_captures_packets_are_seen_where_they_lie(capture):
    view = burst_of(capture).view()
    assert seen(view) == PACKETS
    assert list(view.time) == [1000 + i for i in range(10)]
    assert len(view.payload) == capture.size
    assert view.payload.ctypes.data == numpy.frombuffer(capture.data, "u1").ctypes.data, "copied"


def test_views_outlive_the_burst_and_the_file(capture):
    view, payload = burst_of(capture).view(), burst_of(capture).payload(3)
    capture.close()
    gc.collect()
    assert seen(view) == PACKETS
    assert payload == PACKETS[3]


def test_a_queues_packets_too():
    queue = PacketQueue()
    queue.put(Burst.from_packets(PACKETS))
    view = queue.take().view()
    queue.put(Burst.from_packets([b"z" * 500] * 50))
    assert seen(view) == PACKETS


def test_views_cannot_be_written(capture):
    burst = burst_of(capture)
    for array in burst.view():
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    for array in burst.view()[1:]:
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
    assert burst.payload(0).readonly


def test_a_burst_with_views_is_neither_cleared_nor_filled(capture):
    burst = burst_of(capture)
    view = burst.view()
    with pytest.raises(BufferError, match="there are views"):
        burst.clear()
    with pytest.raises(BufferError, match="there are views"):
        capture.cursor().read(burst)
    length = view.length
    del view
    with pytest.raises(BufferError, match="there are views"):
        burst.clear()
    assert list(length) == list(map(len, PACKETS))
    del length
    assert capture.cursor(limit=2).read(burst) == 2
    assert seen(burst.view()) == PACKETS[:2]
    burst.clear()
    assert len(burst) == 0


def test_a_burst_shown_to_a_sink_is_copied_to_be_looked_at():
    class Look(BurstSink):
        def on_burst(self, burst):
            for look in (burst.view, lambda: burst.payload(0), lambda: burst[:1]):
                with pytest.raises(BufferError, match=r"copy\(\)"):
                    look()
            self.copy = burst.copy()

    a, b = pair()
    look = Look()
    with WirePort(a) as near, WirePort(b, sink=look):
        near.send(Burst.from_packets([*PACKETS, [b"in ", b"pieces"]]))
    assert look.error is None
    assert seen(look.copy.view()) == [*PACKETS, b"in pieces"]
    assert look.copy.count == 11


def test_packets_all_over_memory_are_viewed_one_by_one_or_copied():
    burst = Burst.from_packets([*PACKETS, [b"a", b"b"]], times=range(11))
    with pytest.raises(BufferError, match="copy"):
        burst.view()
    assert burst.payload(2) == PACKETS[2]
    assert burst.payload(-1) == b"ab"
    assert seen(burst.copy().view()) == [*PACKETS, b"ab"]
    assert list(burst.copy().view().time) == list(range(11))
    with pytest.raises(IndexError):
        burst.payload(11)


def test_mapped_packets_are_seen_in_their_buffer():
    buffer = bytearray(b"abcdefgh")
    view = Burst.from_mapped(buffer, iova=0, offsets=[1, 4], lengths=[2, 4]).view()
    assert (list(view.offset), list(view.length), bytes(view.payload)) == ([1, 4], [2, 4], b"abcdefgh")
    with pytest.raises(ValueError, match="read-only"):
        view.payload[0] = 0


def test_a_slice_shares_the_packets():
    burst = Burst.from_packets([*PACKETS, [b"in ", b"pieces"]], times=range(11))
    part = burst[2:4]
    assert (list(part), part.times) == (PACKETS[2:4], [2, 3])
    del burst
    gc.collect()
    assert list(part[1:]) == PACKETS[3:4]
    assert len(part[5:]) == len(part[1:0]) == 0
    with pytest.raises(ValueError, match="in steps"):
        part[::2]


def test_an_empty_burst_has_empty_views():
    view = Burst(4).view()
    assert [len(array) for array in view] == [0, 0, 0, 0]
    assert len(Burst(4).copy()) == len(Burst(4)[:]) == 0
