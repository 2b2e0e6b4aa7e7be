"""What a document in Markdown shows: its blocks of code, and its commands with what they print."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Document:
    """Of the repository, by its path there."""

    def __init__(self, path):
        self.text = (ROOT / path).read_text()

    def blocks(self, language):
        """The blocks of code in a language."""
        return re.findall(rf"^```{language}\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)

    def commands(self):
        """(command, what it prints) of all console blocks."""
        for block in self.blocks("console"):
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                yield command, output
