"""What results share that tell of drops."""

from __future__ import annotations


class DropCounts:
    """A result whose `drops` name what became of lost frames."""

    drops: dict[str, int]

    def count_drop(self, reason: str, frames: int) -> None:
        """Name what became of so many frames; none is no reason."""
        if frames:
            self.drops[reason] = self.drops.get(reason, 0) + frames
