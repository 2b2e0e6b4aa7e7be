"""Cards for tests, made by cards.py; everything a test opened is closed when it ends."""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cards import BareCard, TwoCards

from e1000.bus import HostMemory


@pytest.fixture
def undo():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def make_card(undo):
    """make_card(**options): a BareCard."""
    return lambda **options: BareCard(undo, **options)


@pytest.fixture
def card(make_card):
    """A BareCard without rings."""
    return make_card()


@pytest.fixture
def two_cards(undo):
    """two_cards(**options): TwoCards, open; conservation is asserted at the end of the test."""
    return lambda **options: TwoCards(undo, **options).open()


@pytest.fixture(scope="module")
def shared():
    """One card for all of a hypothesis test's examples."""
    with ExitStack() as stack:
        card = BareCard(stack, memory=stack.enter_context(HostMemory(size=1 << 26)))
        card.tx_ring(256)
        yield card
