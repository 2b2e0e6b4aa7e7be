"""A copy of fastring/txq.pyx, built for these tests alone, in which each fence and each second look can be left out.

It is the source of today with a switch at each of these places: with nothing left out, it does what fastring does.
"""

from pathlib import Path

import peers

HERE = Path(__file__).resolve().parent
TXQ = HERE.parents[1] / "fastring" / "txq.pyx"
FENCE = "if not left_out({}): fence_full()"

# What can be left out, and how: behind the comment `mark`, `old` becomes `new`.
PLACES = {
    "fence A": ("# Fence A:", "fence_full()", FENCE),
    "fence B": ("# Fence B:", "fence_full()", FENCE),
    "fence C": ("# Fence C:", "fence_full()", FENCE),
    "fence D": ("# Fence D:", "fence_full()", FENCE),
    "second look at the ring": ("# Fence A:", "if free_slots(ring) < start:", "if left_out({}) or free_slots(ring) < start:"),
    "second look at the bytes": ("# Fence C:", "if self._has_room():", "if not left_out({}) and self._has_room():"),
}
SWITCH = '''
cdef unsigned int switched_off = 0

cdef inline bint left_out(unsigned int place) noexcept nogil:
    return switched_off & place != 0

def leave_out(unsigned int places):
    global switched_off
    switched_off = places

'''


def replace_after(text, mark, old, new):
    before, found, after = text.partition(mark)
    if not found or old not in after:
        raise AssertionError(f"fastring/txq.pyx has no {old!r} behind {mark!r} any more: bring mutable_txq.PLACES up to date")
    return before + mark + after.replace(old, new, 1)


class MutableTxq:
    """Compile the copy in the folder `target`, and the races of stop_wake.pyx against it; needs a compiler."""

    def __init__(self, target):
        text = TXQ.read_text()
        for n, (mark, old, new) in enumerate(PLACES.values()):
            text = replace_after(text, mark, old, new.format(1 << n))
        (target / "txq_mutable.pyx").write_text(text.replace("cdef enum:", SWITCH + "cdef enum:", 1))
        (target / "txq_mutable.pxd").write_text(TXQ.with_suffix(".pxd").read_text())
        (target / "patience.pxd").write_text((HERE / "patience.pxd").read_text())
        races = (HERE / "stop_wake.pyx").read_text()
        (target / "stop_wake_mutable.pyx").write_text(races.replace("from fastring.txq cimport", "from txq_mutable cimport"))
        self._txq = peers.build_extension(target / "txq_mutable.pyx", target)
        self.TxQueue = self._txq.TxQueue
        self.Race = peers.build_extension(target / "stop_wake_mutable.pyx", target).Race

    def leave_out(self, *places):
        """Leave these out from now on, and nothing else."""
        self._txq.leave_out(sum(1 << list(PLACES).index(place) for place in places))
