"""What docs/python.md, docs/rings.md and docs/scapy.md show is what happens: their examples are executed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = "python", "rings", "scapy"
EXAMPLES = [
    pytest.param(code, printed, id=f"{page}-{number}")
    for page in PAGES
    for number, (code, printed) in enumerate(
        re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", (ROOT / f"docs/{page}.md").read_text(), re.MULTILINE | re.DOTALL)
    )
]


@pytest.mark.parametrize(("code", "printed"), EXAMPLES)
def test_an_example_prints_what_the_page_says(code, printed):
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (printed, "")


def test_every_example_is_run():
    shown = sum((ROOT / f"docs/{page}.md").read_text().count("```python") for page in PAGES)
    assert shown == len(EXAMPLES) == 12
