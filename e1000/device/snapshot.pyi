"""A card's whole state as bytes, and back."""

from typing import Final

REFUSED: Final[tuple[str | None, ...]]
