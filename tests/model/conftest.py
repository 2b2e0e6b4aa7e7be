"""`check` runs SPIN over a model; where it is not installed, the test is skipped."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import spin


@pytest.fixture
def check(tmp_path):
    def check(model, defines, **options):
        try:
            return spin.check(model, defines, tmp_path, **options)
        except spin.Unavailable as reason:
            pytest.skip(str(reason))

    return check
