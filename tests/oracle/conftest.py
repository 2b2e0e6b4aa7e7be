"""The folders whose modules the oracle imports."""

import sys
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parent.parent / "e1000"):
    sys.path.insert(0, str(folder))
