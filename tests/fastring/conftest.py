"""A clock and a softirq, and the loops that run without the GIL: compiled once a session against the fastring under test."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "bench" / "peers")]
import mutable_txq  # noqa: E402
import peers  # noqa: E402
from interface_ends import two_ends  # noqa: E402

from fastring.clock import VirtualClock  # noqa: E402
from fastring.softirq import Softirq  # noqa: E402


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def softirq(clock):
    return Softirq(clock)


def built(build, *arguments):
    try:
        return build(*arguments)
    except peers.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def threads(tmp_path_factory):
    return built(peers.build_extension, HERE / "threads.pyx", tmp_path_factory.mktemp("threads"))


@pytest.fixture(scope="session")
def ring_threads(tmp_path_factory):
    return built(peers.build_extension, HERE / "ring_threads.pyx", tmp_path_factory.mktemp("ring_threads"))


@pytest.fixture(scope="session")
def kill_loops(tmp_path_factory):
    return built(peers.build_extension, HERE / "kill_loops.pyx", tmp_path_factory.mktemp("kill_loops"))


@pytest.fixture(scope="session")
def pool_model(tmp_path_factory):
    return built(peers.build_extension, HERE / "pool_model.pyx", tmp_path_factory.mktemp("pool_model"))


@pytest.fixture(scope="session")
def stop_wake(tmp_path_factory):
    return built(peers.build_extension, HERE / "stop_wake.pyx", tmp_path_factory.mktemp("stop_wake"))


@pytest.fixture(scope="session")
def napi_race(tmp_path_factory):
    return built(peers.build_extension, HERE / "napi_race.pyx", tmp_path_factory.mktemp("napi_race"))


@pytest.fixture(scope="session")
def socket_wire(tmp_path_factory):
    return built(peers.build_extension, HERE / "socket_wire.pyx", tmp_path_factory.mktemp("socket_wire"))


@pytest.fixture(scope="session")
def mutable(tmp_path_factory):
    """TxQueue with a switch at each fence, and its races."""
    return built(mutable_txq.MutableTxq, tmp_path_factory.mktemp("mutable_txq"))


@pytest.fixture
def ends():
    """A veth pair between two namespaces: interface_ends.Ends."""
    with two_ends() as made:
        yield made


@pytest.fixture
def far(ends):
    """A plain packet socket at its far end."""
    with ends.socket(ends.far, "far") as plain:
        yield plain
