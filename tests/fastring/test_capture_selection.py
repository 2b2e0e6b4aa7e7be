"""Which packets of a capture are sent and by which interface; and two captures as one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastring.burst import Burst
from fastring.capture import Capture, CaptureError
from fastring.capture_merge import MergedCursors
from fastring.capture_selection import SelectingCursor, Selection
from fastring.capture_writer import CaptureWriter
from fastring.unique_ip import UniqueIpSource


@pytest.fixture
def capture(tmp_path):
    """Make and open a capture of packets stamped with these times, each told by its first four bytes: its number, from 1."""
    opened = []

    def make(times, name="in.pcap"):
        with CaptureWriter(tmp_path / name) as writer:
            for number, time in enumerate(times, 1):
                writer.write(number.to_bytes(4, "big") * 15, time)
        opened.append(Capture(tmp_path / name))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def numbers(source, size=16):
    burst, got = Burst(size), []
    while source.read(burst):
        got += [int.from_bytes(packet[:4], "big") for packet in burst]
    return got


# --- by number ---


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 30))), st.booleans())
def test_a_list_of_ranges_in_any_order_means_their_numbers(pairs, excludes):
    ranges = [(first, first + more) for first, more in pairs]
    wanted = {n for first, last in ranges for n in range(first, last + 1)}
    selection = Selection(ranges, excludes=excludes)
    for number in range(1, 100):
        sent = (number in wanted) != excludes if ranges else True
        assert selection[number] == (0 if sent else None)


def test_a_cursor_passes_over_the_others_and_counts_them(capture):
    cursor = SelectingCursor(capture(range(1, 101)), Selection([(1, 5), (9, 9), (98, 1 << 40)]))
    assert numbers(cursor) == [1, 2, 3, 4, 5, 9, 98, 99, 100]
    assert (cursor.frames, cursor.unselected) == (9, 91)


def test_a_limit_counts_what_is_selected(capture):
    made = capture(range(1, 101))
    assert numbers(SelectingCursor(made, Selection([(1, 49)], excludes=True), limit=3)) == [50, 51, 52]


def test_a_rewound_cursor_counts_anew(capture):
    cursor = SelectingCursor(capture(range(1, 11)), Selection([(2, 3)]))
    for _ in range(2):
        assert numbers(cursor) == [2, 3]
        assert cursor.unselected == 8
        cursor.rewind()


def test_records_without_a_byte_have_a_number(tmp_path):
    with CaptureWriter(tmp_path / "in.pcap") as writer:
        writer.write(b"a" * 60, 1)
    raw = (tmp_path / "in.pcap").read_bytes()
    (tmp_path / "in.pcap").write_bytes(raw[:24] + raw[24:32] + bytes(8) + raw[24:] + raw[24:])
    with Capture(tmp_path / "in.pcap") as made:
        cursor = SelectingCursor(made, Selection([(3, 3)]))
        assert len(list(cursor)) == 1
        assert (cursor.frames, cursor.unselected, cursor.empty) == (1, 1, 1)


@given(st.lists(st.sampled_from([None, 0, 1]), min_size=1, max_size=40))
def test_a_cache_says_whether_and_where_in_two_bits_a_packet(wanted):
    bits = bytearray((len(wanted) + 3) // 4)
    for i, queue in enumerate(wanted):
        bits[i // 4] |= {None: 0, 0: 3, 1: 2}[queue] << 2 * (i % 4)
    selection = Selection(cache=bytes(bits), cached=len(wanted))
    assert [selection[n] for n in range(1, len(wanted) + 1)] == wanted
    assert selection[len(wanted) + 1] is None
    assert selection.cached == len(wanted)


def test_a_list_and_a_cache_must_both_have_a_packet():
    selection = Selection([(1, 2)], cache=b"\x3b", cached=3)  # client's, server's, client's
    assert [selection[n] for n in (1, 2, 3)] == [0, 1, None]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"ranges": [(0, 5)]}, "from 1"),
        ({"ranges": [(5, 4)]}, "lower to a higher"),
        ({"ranges": [(1, 1 << 64)]}, "lower to a higher"),
        ({"cache": b"\0", "cached": 5}, "4 packets, not of 5"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(arguments, why):
    with pytest.raises(ValueError, match=why):
        Selection(**arguments)
    with pytest.raises(IndexError):
        Selection()[0]


# --- by time ---


@given(st.lists(st.integers(1, 50), max_size=30), st.lists(st.integers(1, 50), max_size=30))
def test_two_captures_are_merged_by_time_each_in_its_own_order(tmp_path_factory, first, second):
    folder = tmp_path_factory.mktemp("merge")
    for name, times in (("a", first), ("b", second)):
        with CaptureWriter(folder / name) as writer:
            for number, time in enumerate(times):
                writer.write(f"{name}{number:03}".encode() * 15, time)
    expected, a, b = [], list(enumerate(first)), list(enumerate(second))
    while a or b:
        name, left = ("a", a) if a and (not b or a[0][1] <= b[0][1]) else ("b", b)
        expected.append(f"{name}{left.pop(0)[0]:03}")
    with Capture(folder / "a") as one, Capture(folder / "b") as other:
        merged, burst, got = MergedCursors(one.cursor(), other.cursor()), Burst(7), []
        while merged.read(burst):
            got += [packet[:4].decode() for packet in burst]
    assert got == expected
    assert merged.frames == len(first) + len(second)


def test_a_limit_counts_frames_of_both(capture):
    one, other = capture([1, 3, 5, 7], "a.pcap"), capture([2, 4, 6, 8], "b.pcap")
    merged = MergedCursors(one.cursor(), other.cursor(), limit=5)
    assert numbers(merged) == [1, 1, 2, 2, 3]
    assert merged.frames == 5


def test_damage_in_either_is_told_after_the_frames_before_it(capture, tmp_path):
    one = capture(range(1, 300), "a.pcap")
    capture([1, 1000], "b.pcap")
    whole = (tmp_path / "b.pcap").read_bytes()
    (tmp_path / "c.pcap").write_bytes(whole + whole[24:32] + b"\xff\xff\xff\x7f" * 2 + bytes(5000))
    with Capture(tmp_path / "c.pcap") as damaged:
        merged = MergedCursors(one.cursor(), damaged.cursor())
        assert sum(merged.read(Burst(7)) for _ in range(43)) == 301
        with pytest.raises(CaptureError, match=r"c\.pcap"):
            merged.read(Burst(7))


# --- into memory ---


def test_a_preloaded_capture_reads_the_same(capture):
    made = capture(range(1, 50))
    assert made.preload() in (True, False)
    assert numbers(made.cursor()) == list(range(1, 50))
    made.close()
    with pytest.raises(ValueError, match="closed"):
        made.preload()


def test_a_capture_that_shrank_before_it_is_preloaded_is_an_error(capture, tmp_path):
    made = capture(range(1, 5000))
    (tmp_path / "in.pcap").write_bytes(b"")
    with pytest.raises(OSError, match="into memory") as refused:
        made.preload()
    assert refused.value.filename == str(tmp_path / "in.pcap")


# --- other addresses ---


def test_a_source_of_packets_in_two_pieces_needs_bursts_of_two(capture):
    source = UniqueIpSource(capture([1]).cursor(), shift=1)
    with pytest.raises(ValueError, match="at least two"):
        source.read(Burst(1))
    assert "0 packets changed" in repr(source)
