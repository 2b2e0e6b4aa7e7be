"""What a person reads at the end of forwarding."""

from __future__ import annotations

from softnet.forwarding import ForwardResult
from softnet.report import WHERE, drop_lines, scaled

FORWARD_WHERE = WHERE | {
    "tx_full": "more than the sending card's ring had room for",
    "runt": "shorter than an Ethernet header",
    "no_request": "neither an ARP request nor an ICMP echo request",
    "rx_only": "dropped on purpose",
    "too_long": "longer than can be changed",
}


def forward_text(result: ForwardResult) -> str:
    """A table of the cards, as testpmd's statistics, and what became of the packets received."""
    head = f"{'wire':<24} {'RX packets':>14} {'RX bytes':>16} {'TX packets':>14} {'TX bytes':>16} {'dropped':>9}"
    lines = [head]
    for port in result.ports:
        counts = f"{port.rx_packets:>14,} {port.rx_bytes:>16,} {port.tx_packets:>14,} {port.tx_bytes:>16,}"
        lines.append(f"{port.wire:<24} {counts} {sum(port.drops.values()):>9,}")
        lines += drop_lines(port.drops, FORWARD_WHERE)
    lines.append(f"{result.mode}: {result.received:,} received, {result.forwarded:,} sent on, {sum(result.drops.values()):,} dropped")
    lines += drop_lines(result.drops, FORWARD_WHERE)
    lines.append(f"time {result.seconds:.3f} s: {scaled(result.pps, 'pps')}")
    return "\n".join(lines)
