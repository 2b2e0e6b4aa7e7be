"""What is no snapshot, or a forged one, is refused or makes a card that works."""

import zlib
from collections import Counter
from itertools import pairwise

import pytest
from cards import STATION, RecordingWire, legacy, packet
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshot_world import PAUSE, World

from e1000 import regs
from e1000.device import E1000Device
from e1000.regmap import expand
from fastring.burst import Burst

FIFO = 56  # where it lies in a snapshot, behind a header


def sealed(snapshot):
    """Make the checksum right again."""
    return snapshot[:28] + zlib.crc32(snapshot[32:]).to_bytes(4, "little") + snapshot[32:]


def test_the_checksum_is_where_this_file_thinks_it_is():
    snapshot = E1000Device().snapshot()
    assert sealed(snapshot) == snapshot


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda s: b"", "not a snapshot"),
        (lambda s: s[:7], "not a snapshot"),
        (lambda s: b"x" + s[1:], "not a snapshot"),
        (lambda s: s[:8] + b"\2" + s[9:], "another version"),
        (lambda s: s[:16] + bytes([s[16] ^ 1]) + s[17:], "laid out differently"),
        (lambda s: s[:19], "cut short"),
        (lambda s: s[:-1], "cut short"),
        (lambda s: s + b"\0", "cut short"),
        (lambda s: s[:-1000] + bytes([s[-1000] ^ 1]) + s[-999:], "damaged"),
        (lambda s: s[:40] + bytes([s[40] ^ 1]) + s[41:], "damaged"),
    ],
)
def test_what_is_no_snapshot_is_refused_in_one_line(spoil, why):
    card = E1000Device()
    before = card.snapshot()
    with pytest.raises(ValueError, match=why) as refused:
        card.restore(spoil(before))
    assert "\n" not in str(refused.value)
    assert card.snapshot() == before


@given(st.lists(st.tuples(st.integers(32, 1 << 18), st.integers(1, 255)), min_size=1, max_size=4))
@settings(max_examples=300)
def test_a_forged_snapshot_is_refused_or_makes_a_card_that_works_after_a_reset(changes):
    card, wire = E1000Device(), RecordingWire()
    card.plug(wire)
    forged = bytearray(card.snapshot())
    for at, value in changes:
        forged[32 + (at - 32) % (len(forged) - 32)] ^= value
    before = card.snapshot()
    try:
        card.restore(sealed(bytes(forged)))
    except ValueError:
        assert card.snapshot() == before
        return
    wire.inject(Burst.from_packets([packet(100)]))
    card.config_write(0xE0, 0, 2)
    card.config_write(4, 7, 2)
    card.write(regs.CTRL, regs.CTRL_RST)
    dump, fresh = card.dump(), E1000Device(eeprom=card.eeprom).dump()
    reset = [name for name, register in expand().values() if not register.sticky and name != "STATUS"]
    assert {name: dump[name] for name in reset} == {name: fresh[name] for name in reset}


def states():
    """Snapshots of one card whose path, pause and PHY wires are as they can be; its registers are last."""
    world = World()
    card, snapshots = world.device, []

    def save(*steps):
        for step in steps:
            world.play(step)
        snapshots.append(card.snapshot())

    save()  # about to have a link
    save(("write", regs.CTRL, regs.CTRL_SLU | regs.CTRL_FD), ("time", 2 * 10**9))
    save(("rings", 0x8000, 8))
    save(("write", regs.CTRL, regs.CTRL_SLU | regs.CTRL_FD | 3 << 27), ("write", regs.FCT, 0x8808))
    save(("write", regs.FCAL, 0x00C28001), ("write", regs.FCAH, 0x0100), ("write", regs.FCRTL, 8))
    world.wire.inject(Burst.from_packets([PAUSE]))
    save(("send", [(legacy, 0, 100)]))
    save(("write", regs.FCRTH, 0x10), ("receive", [(1000, STATION)] * 40))
    save(("time", 10**9), ("write", regs.RCTL, 0x8000 | regs.RCTL_EN | regs.RCTL_LBM_MAC))
    save(("config", 0xE0, 3, 1))
    card.close()
    save(("config", 0xE0, 0, 1), ("write", regs.RCTL, 0))
    world.close()
    return snapshots


def test_a_word_from_another_state_is_refused_or_worked_out_or_the_cards_own():
    snapshots, words, outcomes = states(), set(), Counter()
    for a, b in pairwise(snapshots):
        words |= {at for at in (*range(32, FIFO, 4), *range(FIFO + 0x10000, len(a), 4)) if a[at : at + 4] != b[at : at + 4]}
    for base in snapshots[1::3]:
        for at in words:
            for word in {s[at : at + 4] for s in snapshots} | {b"\xff" * 4, b"\x40\0\0\0"}:
                if base[at : at + 4] != word:
                    outcomes[play_forged(base[:at] + word + base[at + 4 :], base)] += 1
    assert min(outcomes[kind] for kind in ("refused", "worked out", "its own")) > 10, outcomes


def play_forged(content, base):
    """Restore it on cards with and without a cable, and use what became of it: whatever it is, it goes on and can be saved."""
    out = "refused"
    for plugged in (True, False):
        world = World(plugged=plugged)
        try:
            world.device.restore(sealed(content))
        except ValueError:
            world.close()
            continue
        after = world.device.snapshot()
        out = "worked out" if after == base or out == "worked out" else "its own"
        world.device.restore(after)
        world.send([(legacy, 0, 100)])
        if plugged:
            world.play(("receive", [(100, STATION)]))
        world.clock.advance(10**10)
        world.device.restore(world.device.snapshot())
        world.close()
    return out
