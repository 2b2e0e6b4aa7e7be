"""Packets through a Rewriter, for tests."""

from fastring.burst import Burst, BurstSink, RepeatSource
from fastring.pump import pump
from fastring.rewrite import Edits, Rewriter


class Kept(BurstSink):
    """All packets, with their times."""

    def __init__(self):
        self.packets = []

    def on_burst(self, burst):
        self.packets += list(zip(burst.times, burst, strict=True))


def drained(source, burst_size=128):
    """All (time, packet) of a source."""
    sink, burst = Kept(), Burst(burst_size)
    while pump(source, sink, burst):
        pass
    return sink.packets


def edited(packets, *, server=False, **edits):
    """`packets` (bytes, or lists of pieces) edited, and the Rewriter for its counts."""
    rewriter = Rewriter(RepeatSource(Burst.from_packets(packets), packets=len(packets)), Edits(**edits), server=server)
    return [packet for _, packet in drained(rewriter)], rewriter
