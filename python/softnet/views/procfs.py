"""/proc/net/dev (net/core/net-procfs.c)."""

from __future__ import annotations

from softnet.stack import Stack
from softnet.stats import Stats64

HEADER = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
)


def net_dev(stack: Stack) -> str:
    """The whole file: a line for each device, in the order of registering."""
    with stack.rtnl:
        return HEADER + "".join(_line(name, device.stats64) for name, device in stack.devices.items())


def _line(name: str, stats: Stats64) -> str:
    """dev_seq_printf_stats."""
    s = stats
    frame = s.rx_length_errors + s.rx_over_errors + s.rx_crc_errors + s.rx_frame_errors
    carrier = s.tx_carrier_errors + s.tx_aborted_errors + s.tx_window_errors + s.tx_heartbeat_errors
    return (
        f"{name:>6}: {s.rx_bytes:7} {s.rx_packets:7} {s.rx_errors:4} {s.rx_dropped + s.rx_missed_errors:4} {s.rx_fifo_errors:4} "
        f"{frame:5} {s.rx_compressed:10} {s.multicast:9} "
        f"{s.tx_bytes:8} {s.tx_packets:7} {s.tx_errors:4} {s.tx_dropped:4} {s.tx_fifo_errors:4} {s.collisions:5} "
        f"{carrier:7} {s.tx_compressed:10}\n"
    )
