"""What is shown on a terminal while something runs: a table of the interfaces with their rates, and how those went."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from softnet.report import scaled
from softnet.sampling import DeviceSample, Sample, WireSample

if TYPE_CHECKING:
    from rich.table import Table

HISTORY = 30  # samples in a sparkline
BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"


def sparkline(values: Sequence[float], *, ascii_only: bool = False) -> str:
    """Values from 0 up as a line of blocks, the highest of them a full one; nothing at all is a flat line."""
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    top = max(values, default=0)
    return "".join(blocks[min(len(blocks) - 1, int(len(blocks) * value / top))] if top > 0 else blocks[0] for value in values)


class _Rates(NamedTuple):
    """Packets and bits a second, each way; None is a way it does not have."""

    tx: float | None
    tx_bits: float | None
    rx: float
    rx_bits: float


def _rates_between(old: DeviceSample | WireSample, now: DeviceSample | WireSample, passed: float) -> _Rates:
    tx = tx_bits = None
    if isinstance(old, DeviceSample) and isinstance(now, DeviceSample):
        tx, tx_bits = (now.tx_packets - old.tx_packets) / passed, 8 * (now.tx_bytes - old.tx_bytes) / passed
    return _Rates(tx, tx_bits, (now.rx_packets - old.rx_packets) / passed, 8 * (now.rx_bytes - old.rx_bytes) / passed)


# What the table's columns take, with the space between, and which of them go first where a terminal has no room.
NAME, PPS, BITS, DROPPED, SHORTEST = 20, 13, 15, 12, 6
BEST = NAME + 2 * (PPS + BITS) + DROPPED + HISTORY


class RateTable:
    """A Sampler's listener that makes a rich Table of the last rates of each interface; `table` renders it at any time.

    `ascii_only`: for terminals that show no block characters.
    """

    def __init__(self, *, ascii_only: bool = False) -> None:
        self.ascii_only = ascii_only
        self._last: Sample | None = None
        self._rates: dict[str, _Rates] = {}
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
            self._rates[name] = rates = _rates_between(old, now, passed)
            self._history.setdefault(name, deque(maxlen=HISTORY)).append((rates.tx or 0) + rates.rx)

    def table(self, width: int = BEST) -> Table:
        """The interfaces, one a row, in so many columns: a narrow table leaves bits out, a very narrow one drops."""
        from rich.table import Table  # an extra
        from rich.text import Text  # as it is: a name may look like markup

        sends = any(rates.tx is not None for rates in self._rates.values())
        left = width - PPS * (1 + sends) - SHORTEST
        name_width = min(NAME, max(4, left) - 2, max(map(len, self._rates), default=0))
        left -= name_width + 2
        drops = left >= DROPPED
        left -= drops * DROPPED
        bits = drops and left >= BITS * (1 + sends)
        left -= bits * BITS * (1 + sends)
        trend = min(HISTORY, SHORTEST + max(0, left))
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("", width=name_width, no_wrap=True, overflow="crop" if self.ascii_only else "ellipsis")
        for way in ("sent", "received")[not sends :]:
            table.add_column(way, justify="right", no_wrap=True, width=PPS - 2)
            if bits:
                table.add_column("", justify="right", no_wrap=True, width=BITS - 2)
        if drops:
            table.add_column("dropped", justify="right", no_wrap=True, width=DROPPED - 2)
        table.add_column("packets a second"[:trend], no_wrap=True, width=trend)
        for name, rates in self._rates.items():
            cells = [name]
            for packets, size in ((rates.tx, rates.tx_bits), (rates.rx, rates.rx_bits))[not sends :]:
                cells.append("" if packets is None else scaled(packets, "pps"))
                cells += ["" if size is None else scaled(size, "bit/s")] * bits
            cells += [f"{self._dropped[name]:,}"] * drops
            table.add_row(*map(Text, cells), Text(sparkline([*self._history[name]][-trend:], ascii_only=self.ascii_only)))
        return table
