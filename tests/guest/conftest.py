"""Virtual machines for tests: a module's tests share one for each kernel."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent))

from guests import served_guest
from vm import missing


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.guest)


@pytest.fixture(scope="module", params=["bookworm", "forky"])
def machine(request, tmp_path_factory):
    """(guest, namespace, server) for all tests of a module, with each kernel."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with served_guest(tmp_path_factory.mktemp("guest"), request.param) as made:
        yield made


@pytest.fixture
def guest(machine):
    return machine[0]


@pytest.fixture
def where(machine):
    return machine[1]
