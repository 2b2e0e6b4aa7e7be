"""What the tests of the checks share: drivers that keep every rule or break one, and a Stack that is checked."""

import sys
from pathlib import Path

import pytest

from fastring.clock import VirtualClock
from softnet import Stack, checks

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def stack():
    """A Stack with a Checker of its own."""
    with Stack(clock=VirtualClock(start=10**9)) as stack, checks.enable(stack):
        yield stack
