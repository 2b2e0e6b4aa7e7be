"""What a person reads at the end of a capture."""

from __future__ import annotations

from softnet.capturing import CaptureResult
from softnet.report import drop_lines, scaled


def capture_text(result: CaptureResult) -> str:
    """A few lines, as tcpdump's at its end; drops are told even if there are none."""
    width = len(f"{result.received:,}")
    dropped = sum(result.drops.values())
    rate = f", {scaled(result.captured / result.seconds, 'pps')}" if result.seconds > 0 else ""
    lines = [
        f"captured   {result.captured:>{width},} packets  {result.bytes:,} bytes in {result.seconds:.3f} s{rate}",
        f"received   {result.received:>{width},} packets",
        f"dropped    {dropped:>{width},} packets",
        *drop_lines(result.drops),
    ]
    if result.filtered:
        lines.append(f"filtered   {result.filtered:>{width},} packets  that the expression does not match")
    if result.not_wanted:
        lines.append(f"not wanted {result.not_wanted:>{width},} packets  after the last one")
    if result.truncated:
        lines.append(f"cut short  {result.truncated:>{width},} packets  to the snapshot length")
    if len(result.files) > 1 or result.overwritten:
        written = f", after {result.overwritten:,} that were overwritten" if result.overwritten else ""
        lines.append(f"files      {len(result.files):,}{written}: {result.files[0]} to {result.files[-1]}")
    return "\n".join(lines)
