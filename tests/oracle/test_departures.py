"""The comparison itself: what a departure lets pass, and that nothing else does."""

import departures
import pytest
from departures import Departure, compare


def departure(*steps, **options):
    return Departure(list(steps), "QEMU's way", "the manual's way", "13.4", **options)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([("TDH", 1)], [("TDH", 2)]),
        ([("irq", True)], [("irq", False)]),
        ([("frame", b"abc")], [("frame", b"abd")]),
        ([("TDH", 1)], []),
        ([], [("TDH", 1)]),
        ([("frame", b"\1")], [("frame", 1)]),
    ],
)
def test_any_difference_is_told(ours, theirs):
    assert len(compare("s", ours, theirs, [])) == 1
    assert compare("s", ours, ours, []) == []


def test_a_departure_is_for_its_steps_alone():
    known = departure("s: TDH")
    assert compare("s", [("TDH", 1), ("TDT", 1)], [("TDH", 2), ("TDT", 2)], [known]) == ["s: TDT: ours 0x1, QEMU 0x2"]
    assert len(compare("t", [("TDH", 1)], [("TDH", 2)], [known])) == 1
    assert known.used == {"s: TDH"}


def test_bits_outside_the_masks_must_be_equal():
    known = [departure("s: ICR", mask=0x02), departure("s: *", mask=0x10)]
    assert compare("s", [("ICR", 0x12)], [("ICR", 0)], known) == []
    assert compare("s", [("ICR", 0x13)], [("ICR", 0)], known) == ["s: ICR: ours 0x13, QEMU 0x0, differ in 0x1"]


def test_bytes_outside_the_range_must_be_equal():
    known = [departure("s: frame", bytes=(2, 4))]
    assert compare("s", [("frame", b"abXXef")], [("frame", b"ab")], known) != []
    assert compare("s", [("frame", b"abXXef")], [("frame", b"abYYef")], known) == []
    assert compare("s", [("frame", b"abXX")], [("frame", b"ab")], known) == []
    assert compare("s", [("frame", b"aXXXef")], [("frame", b"abYYef")], known) != []


def test_values_that_are_named_must_be_shown():
    assert compare("s", [("FCT", 5)], [("FCT", 0)], [departure("s: FCT", reads=0)]) == []
    assert compare("s", [("FCT", 5)], [("FCT", 1)], [departure("s: FCT", reads=0)]) != []
    assert compare("s", [("FCT", 5)], [("FCT", 0)], [departure("s: FCT", expect=6)]) != []
    assert compare("s", [("crc", b"\1\2")], [("crc", b"\0\0")], [departure("s: crc", reads="0000", expect="0102")]) == []
    assert compare("s", [("frame", b"\1")], [], [departure("s: frame", reads="nothing")]) == []


def test_a_departure_that_is_not_met_is_not_used():
    known = departure("s: FCT", reads=0)
    compare("s", [("FCT", 5)], [("FCT", 5)], [known])
    compare("s", [("FCT", 5)], [("FCT", 1)], [known])
    assert not known.used


COMPLETE = ('steps = ["a"]', 'qemu = "x"', 'manual = "y"', 'section = "z"')


@pytest.mark.parametrize("entry", ["\n".join(line for line in COMPLETE if line != left_out) for left_out in COMPLETE] + ["typo = 1"])
def test_an_entry_says_what_the_manual_says_and_where(entry, tmp_path, monkeypatch):
    monkeypatch.setattr(departures, "FILE", tmp_path / "departures.toml")
    departures.FILE.write_text(f"[[departure]]\n{entry}\n")
    with pytest.raises(ValueError, match="departure"):
        departures.load()
