"""`check` runs SPIN over a model, `relacy` Relacy over the rings; where one is not installed, its tests are skipped."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import ring_models
import spin


@pytest.fixture
def check(tmp_path):
    def check(model, defines, **options):
        try:
            return spin.check(model, defines, tmp_path, **options)
        except spin.Unavailable as reason:
            pytest.skip(str(reason))

    return check


@pytest.fixture(scope="session")
def relacy(tmp_path_factory):
    try:
        return ring_models.Checker(tmp_path_factory.mktemp("relacy"))
    except ring_models.Unavailable as reason:
        pytest.skip(str(reason))
