"""Cards for tests, made by cards.py; everything a test opened is closed when it ends."""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cards import BareCard, TwoCards
from qemu_guest import Guest

from e1000.bus import HostMemory
from e1000.bus.qemu import find_qemu, qemu_folder


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
def tx(card):
    """It with a transmit ring of 64 descriptors."""
    card.tx_ring()
    return card


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


@pytest.fixture(scope="session")
def qemu_program():
    """The QEMU to run, which .ci/run fetches."""
    if not (qemu_folder() / "stepped/.made-by").exists():
        pytest.skip(f"no QEMU in {qemu_folder()}: tests/oracle/qemu.sh fetches it")
    return find_qemu()


@pytest.fixture
def guest(undo, qemu_program):
    """The driver on QEMU's card, not yet open."""
    return Guest(undo)


@pytest.fixture
def opened(guest):
    """It, open and receiving."""
    return guest.open()
