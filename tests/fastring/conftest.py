"""A clock and a softirq, and the loops that run without the GIL: compiled once a session against the fastring under test."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "bench" / "peers")]
import peers  # noqa: E402

from fastring.clock import VirtualClock  # noqa: E402
from fastring.napi import Softirq  # noqa: E402


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def softirq(clock):
    return Softirq(clock)


@pytest.fixture(scope="session")
def threads(tmp_path_factory):
    try:
        return peers.build_extension(HERE / "threads.pyx", tmp_path_factory.mktemp("threads"))
    except peers.Unavailable as reason:
        pytest.skip(str(reason))
