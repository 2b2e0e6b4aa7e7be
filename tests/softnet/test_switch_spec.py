"""`switch:`: a card and wires of other kinds on a switch."""

from contextlib import ExitStack

import pytest
from wire_ends import End, until

from fastring.clock import MonotonicClock, VirtualClock
from softnet.wire import open_wire

BROADCAST, CARD, LEFT, RIGHT = (bytes.fromhex(text) for text in ("ff" * 6, "020000000001", "020000000002", "020000000003"))


def frame(to, sender, tag=b""):
    return to + sender + tag + b"\x08\x00" + bytes(60)


@pytest.fixture
def undo():
    with ExitStack() as stack:
        yield stack


def test_a_card_and_two_sockets_are_one_network(undo, tmp_path):
    card = End(undo, f"switch:unix:{tmp_path}/a,remote={tmp_path}/left+unix:{tmp_path}/b,remote={tmp_path}/right")
    left = End(undo, f"unix:{tmp_path}/left,remote={tmp_path}/a")
    right = End(undo, f"unix:{tmp_path}/right,remote={tmp_path}/b")
    ends = (card, left, right)
    left.send(frame(BROADCAST, LEFT))
    until(lambda: card.sink.packets and right.sink.packets, *ends)
    right.take()
    right.send(frame(LEFT, RIGHT))
    until(lambda: left.sink.packets, *ends)
    card.send(frame(RIGHT, CARD))
    until(lambda: right.sink.packets, *ends)
    assert (card.take(), left.take(), right.take()) == ([frame(BROADCAST, LEFT)], [frame(LEFT, RIGHT)], [frame(RIGHT, CARD)])
    assert card.wire.polled
    assert card.cabling.taken() == (1, 74)


def test_what_comes_in_from_a_host_is_padded(undo, tmp_path):
    """A kernel's ARP answer has 42 bytes, and a card behind the switch has no use for runts."""
    card = End(undo, f"switch:unix:{tmp_path}/a,remote={tmp_path}/left+unix:{tmp_path}/b,remote={tmp_path}/right")
    left = End(undo, f"unix:{tmp_path}/left,remote={tmp_path}/a")
    left.send(frame(CARD, LEFT)[:42])
    until(lambda: card.sink.packets, card, left)
    assert card.take() == [frame(CARD, LEFT)[:60]]


def test_vlans_keep_them_apart(undo, tmp_path):
    members = f"unix:{tmp_path}/a,remote={tmp_path}/left,vlan=20+unix:{tmp_path}/b,remote={tmp_path}/right,trunk=10/20-21"
    card = End(undo, f"switch:vlan=10+{members}")
    left = End(undo, f"unix:{tmp_path}/left,remote={tmp_path}/a")
    right = End(undo, f"unix:{tmp_path}/right,remote={tmp_path}/b")
    card.send(frame(BROADCAST, CARD))
    left.send(frame(BROADCAST, LEFT))
    until(lambda: len(right.sink.packets) == 2, card, left, right)
    assert sorted(right.take()) == [frame(BROADCAST, CARD, b"\x81\x00\0\x0a"), frame(BROADCAST, LEFT, b"\x81\x00\0\x14")]
    assert card.take() == left.take() == []


def test_closing_it_closes_all(tmp_path):
    cabling = open_wire(f"meter@switch:unix:{tmp_path}/a+unix:{tmp_path}/b", clock=MonotonicClock())
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
    cabling.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("switch:", "needs wires"),
        ("switch:vlan=5", "needs wires"),
        ("switch:null+", "needs wires"),
        ("switch:pair", "nobody is at the other end"),
        ("switch:nonsense", "no wire 'nonsense'"),
        ("switch:null,vlan=4095", "whole number"),
        ("switch:null,trunk=1/x", "whole number"),
        ("switch:null,vlan=1,vlan=2", "twice"),
        ("switch:ageing=0+null", "whole number"),
    ],
)
def test_a_spec_that_makes_no_sense_is_one_line(tmp_path, spec, match):
    with pytest.raises(ValueError, match=match):
        open_wire(spec, clock=VirtualClock())


def test_what_was_opened_before_one_that_cannot_be_is_closed(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_wire(f"switch:unix:{tmp_path}/a+unix:{tmp_path}/no/such", clock=VirtualClock())
    assert list(tmp_path.iterdir()) == []


def test_one_dead_wire_leaves_the_others_and_when_all_are_it_is_told(undo, tmp_path):
    with ExitStack() as servers:
        for name in "ab":
            End(servers, f"unix-stream:{tmp_path}/{name},server=on")
        card = End(undo, f"switch:unix-stream:{tmp_path}/a+unix-stream:{tmp_path}/b")
    with pytest.raises(ConnectionResetError):
        until(lambda: False, card)
    assert card.wire.failure() is not None
