"""What a person reads at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping

from softnet.replay_result import ReplayResult

WHERE = {
    "mtu_exceeded": "longer than the MTU allows: not given to the driver",
    "empty": "of no bytes in the capture: no wire takes them",
    "queue_stalled": "left when the transmit queue stopped moving",
    "device_down": "left when the interface was taken down",
    "tx_dropped": "refused by the driver",
    "tx_dma": "not readable by the sending card",
    "tx_empty": "empty at the sending card",
    "tx_oversize": "too long for the sending card",
    "rx_disabled": "arrived while the receiver was off",
    "rx_filtered": "not for the receiving card's addresses or VLANs",
    "rx_control": "MAC control frames, for the card alone",
    "rx_runt": "shorter than 64 bytes with CRC (RUC)",
    "rx_oversize": "longer than the receiver takes (ROC)",
    "rx_error": "damaged on the wire (CRCERRS, ALGNERRC, RXERRC)",
    "rx_missed": "missed, the receive FIFO being full (MPC)",
    "rx_dma": "not writable by the receiving card",
    "write_failed": "could not be written to the output",
    "time_not_writable": "stamped with a time the output format has no room for",
    "netem_loss": "lost by the impaired wire",
    "netem_limit": "too many to be delayed by the impaired wire",
    "fault_lost": "lost by the impaired wire",
    "interface_down": "sent while the interface was down",
    "no_carrier": "sent while the interface had no carrier",
    "no_peer": "sent while nobody was at the other end",
    "too_long": "longer than the wire takes",
    "too_short": "shorter than an Ethernet header",
    "driver_dropped": "dropped by the interface's driver",
    "port_full": "dropped by the switch, whose port took no more",
    "wire_failed": "sent when the wire had failed",
    "in_flight": "still on their way at the end",
}


def scaled(value: float, unit: str) -> str:
    """A rate with the prefix that suits it: 12.3 Mpps."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.2f} {prefix}{unit}"
    return f"{value:.0f} {unit}"


def drop_lines(drops: Mapping[str, int], where: Mapping[str, str] = WHERE) -> list[str]:
    """What was lost where, a line each."""
    return [f"  {frames:,} {where.get(reason, '')} ({reason})" for reason, frames in drops.items()]


def statistics_line(seconds: float, frames: int, size: int) -> str:
    """How far a replay is."""
    rate = f": {scaled(frames / seconds, 'pps')}, {scaled(8 * size / seconds, 'bit/s')}" if seconds > 0 else ""
    return f"after {seconds:.1f} s  {frames:,} frames  {size:,} bytes{rate}"


def timing_lines(result: ReplayResult) -> list[str]:
    """Whether a schedule was kept."""
    if result.rate_asked is None:
        return []
    unit = {"pps": "pps", "mbps": "Mbit/s", "multiplier": "times as captured"}[result.timing]
    achieved = "" if result.rate_achieved is None else f", {result.rate_achieved:.6g} achieved"
    lines = [f"rate       {result.rate_asked:.12g} {unit} asked{achieved}"]
    if result.late_p50_ns is not None and result.late_p99_ns is not None and result.late_max_ns is not None and result.clock == "real":
        p50, p99, most = result.late_p50_ns / 1000, result.late_p99_ns / 1000, result.late_max_ns / 1000
        lines.append(f"late       {p50:.1f} µs in the middle, {p99:.1f} µs at 99 %, {most:.1f} µs at most")
    return lines


def replay_text(result: ReplayResult) -> str:
    """The result of a replay, a few lines: names in a column, counts of frames and bytes right-aligned."""
    frames = len(f"{result.sent:,}")
    size = len(f"{max(result.bytes, result.received_bytes):,}")
    lines = [
        f"sent       {result.sent:>{frames},} frames  {result.bytes:>{size},} bytes",
        f"received   {result.received:>{frames},} frames  {result.received_bytes:>{size},} bytes",
        f"lost       {result.lost:>{frames},} frames",
        *drop_lines(result.drops),
    ]
    if result.padded:
        lines.append(f"padded     {result.padded:>{frames},} frames  to 60 bytes, with {result.pad_bytes:,} zeroes in all")
    if result.truncated:
        lines.append(f"cut short  {result.truncated:>{frames},} frames  in the captures: sent as long as they were captured")
    if result.unselected:
        lines.append(f"left out   {result.unselected:>{frames},} frames  by their number, or by the cache file")
    for label, count, what in (
        ("filtered", result.filtered, "that do not match the filter"),
        ("edited", result.edited, "before they were sent"),
        ("deleted", result.deleted, "captured short (--fixlen=del)"),
        ("malformed", result.malformed, "edited as far as their headers can be believed"),
        ("unchecked", result.unchecked, "with a checksum to make anew whose bytes are not all there"),
    ):
        if count:
            lines.append(f"{label:<10} {count:>{frames},} frames  {what}")
    for each in result.interfaces if len(result.interfaces) > 1 else ():
        lines.append(f"wire       {each['sent']:>{frames},} frames  sent to {each['wire']}, {each['received']:,} received")
    rate = f": {scaled(result.pps, 'pps')}, {scaled(result.bits_per_second, 'bit/s')}" if result.seconds > 0 else ""
    lines += [
        f"time       {result.seconds:.6f} s on the {result.clock} clock{rate}",
        *timing_lines(result),
        f"driver     {result.interrupts:,} interrupts, {result.polls:,} polls, {result.packets_per_poll:.1f} packets per poll",
        f"queue      {result.queue_stops:,} stops, {result.queue_wakes:,} wakes, {result.bql_stops:,} stops by BQL",
        f"MTU        {result.mtu} bytes",
    ]
    return "\n".join(lines)
