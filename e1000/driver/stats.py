"""The card's statistics, which a read clears, added up for ever (the kernel's e1000_hw_stats and e1000_update_stats); and the rings'."""

from __future__ import annotations

from e1000 import regs
from e1000.bus.base import Bus
from e1000.driver.hw import ALL_ONES
from e1000.driver.rxring import RxRing
from e1000.driver.txring import TxRing
from softnet.stats import Stats64

# In the kernel's order of reading. A name without L or H is 64 bits wide: reading the high half clears both.
# fmt: off
COUNTERS = (
    "CRCERRS", "GPRC", "GORC", "BPRC", "MPRC", "ROC", "PRC64", "PRC127", "PRC255", "PRC511", "PRC1023", "PRC1522", "SYMERRS", "MPC", "SCC",
    "ECOL", "MCC", "LATECOL", "DC", "SEC", "RLEC", "XONRXC", "XONTXC", "XOFFRXC", "XOFFTXC", "FCRUC", "GPTC", "GOTC", "RNBC", "RUC", "RFC",
    "RJC", "TOR", "TOT", "TPR", "PTC64", "PTC127", "PTC255", "PTC511", "PTC1023", "PTC1522", "MPTC", "BPTC", "TPT", "COLC", "ALGNERRC",
    "RXERRC", "TNCRS", "CEXTERR", "TSCTC", "TSCTFC", "MGTPTC", "MGTPRC", "MGTPDC",
)
# fmt: on
WIDE = frozenset(("GORC", "GOTC", "TOR", "TOT"))


class HardwareStats:
    """`total`: every counter by its register's lower-case name, since probe. Control thread."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.total = {name.lower(): 0 for name in COUNTERS}
        self.last = dict(self.total)  # what the latest update added
        self.reads = 0  # how often

    def update(self) -> None:
        """Add what the card counted since the last read of each register; nothing if it is gone, and all reads are ones."""
        self.reads += 1
        read: dict[str, int] = {}
        try:
            for name in COUNTERS:
                read[name.lower()] = self._read(name)
            if read["mgtpdc"] == ALL_ONES == self.bus.read(regs.STATUS):  # the last of them: it may have gone in between
                read.clear()
        finally:
            for counter, value in read.items():
                self.last[counter] = value
                self.total[counter] += value

    def _read(self, name: str) -> int:
        if name not in WIDE:
            return self.bus.read(getattr(regs, name))
        return self.bus.read(getattr(regs, f"{name}L")) | self.bus.read(getattr(regs, f"{name}H")) << 32

    @property
    def rx_errors(self) -> int:
        """Frames that arrived damaged, or of a wrong length; they are not in rings' counts."""
        total = self.total
        return total["rxerrc"] + total["crcerrs"] + total["algnerrc"] + total["ruc"] + total["roc"] + total["cexterr"]

    @property
    def tx_errors(self) -> int:
        """Frames given up because of collisions."""
        return self.total["ecol"] + self.total["latecol"]

    def fill(self, stats: Stats64) -> None:
        """Add to a device's statistics, as e1000_update_stats does."""
        total = self.total
        stats.multicast += total["mprc"]
        stats.collisions += total["colc"]
        stats.rx_errors += self.rx_errors
        stats.rx_length_errors += total["ruc"] + total["roc"]
        stats.rx_crc_errors += total["crcerrs"]
        stats.rx_frame_errors += total["algnerrc"]
        stats.rx_missed_errors += total["mpc"]
        stats.tx_errors += self.tx_errors
        stats.tx_aborted_errors += total["ecol"]
        stats.tx_window_errors += total["latecol"]
        stats.tx_carrier_errors += total["tncrs"]


def count_tx(tx: TxRing | None, stats: Stats64) -> None:
    """Add what a transmit ring counted."""
    if tx is not None:
        stats.tx_packets += tx.packets
        stats.tx_bytes += tx.bytes
        stats.tx_dropped += tx.dropped
        stats.tx_errors += tx.aborted


def count_rx(rx: RxRing | None, stats: Stats64) -> None:
    """Add what a receive ring counted."""
    if rx is not None:
        stats.rx_packets += rx.packets
        stats.rx_bytes += rx.bytes
        stats.rx_errors += rx.errors
        stats.rx_dropped += rx.sink_failed + rx.abandoned
