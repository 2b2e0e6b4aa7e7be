"""What is shown on a terminal while something runs: a table of the interfaces with their rates, and how those went."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from softnet.report import scaled
from softnet.sampling import Sample

if TYPE_CHECKING:
    from rich.table import Table

HISTORY = 30  # samples in a sparkline
BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"


def sparkline(values: Sequence[float], *, ascii_only: bool = False) -> str:
    """Values from 0 up as a line of blocks, the highest of them a full one; nothing at all is a flat line."""
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    top = max(values, default=0)
    return "".join(blocks[min(len(blocks) - 1, int(len(blocks) * value / top))] if top > 0 else blocks[0] for value in values)


class RateTable:
    """A Sampler's listener that makes a rich Table of the last rates of each interface; `table` renders it at any time.

    `ascii_only`: for terminals that show no block characters.
    """

    def __init__(self, *, ascii_only: bool = False) -> None:
        self.ascii_only = ascii_only
        self._last: Sample | None = None
        self._rates: dict[str, tuple[float, float, float, float]] = {}
        self._history: dict[str, deque[float]] = {}
        self._dropped: dict[str, int] = {}

    def __call__(self, sample: Sample) -> None:
        """Take the next sample."""
        before, self._last = self._last, sample
        for name, now in sample.devices.items():
            self._dropped[name] = now.dropped
            old = None if before is None else before.devices.get(name)
            passed = 0.0 if before is None else sample.seconds - before.seconds
            if old is None or passed <= 0:
                continue
            tx, rx = (now.tx_packets - old.tx_packets) / passed, (now.rx_packets - old.rx_packets) / passed
            bits = [8 * (after - first) / passed for after, first in ((now.tx_bytes, old.tx_bytes), (now.rx_bytes, old.rx_bytes))]
            self._rates[name] = (tx, bits[0], rx, bits[1])
            self._history.setdefault(name, deque(maxlen=HISTORY)).append(tx + rx)

    def table(self) -> Table:
        """The interfaces, one a row."""
        from rich.table import Table  # an extra

        table = Table(box=None, pad_edge=False)
        for title in ("", "sent", "", "received", "", "dropped", "packets a second"):
            table.add_column(title, justify="right")
        table.columns[0].justify = table.columns[-1].justify = "left"
        for name, (tx, tx_bits, rx, rx_bits) in self._rates.items():
            rates = (scaled(tx, "pps"), scaled(tx_bits, "bit/s"), scaled(rx, "pps"), scaled(rx_bits, "bit/s"))
            table.add_row(name, *rates, f"{self._dropped[name]:,}", sparkline(self._history[name], ascii_only=self.ascii_only))
        return table
