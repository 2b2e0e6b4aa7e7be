"""A sink for the tests of wires and of the transmitter."""

from fastring.burst import BurstSink


class RecordingSink(BurstSink):
    """Remembers every packet it is given, its time, and how many came at once."""

    def __init__(self):
        self.packets, self.times, self.sizes = [], [], []

    def on_burst(self, burst):
        self.packets += list(burst)
        self.times += burst.times
        self.sizes.append(len(burst))
