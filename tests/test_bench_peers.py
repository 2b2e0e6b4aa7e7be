"""Other people's rings, as bench/ measures them: each builds here and loses nothing in any mode of its harness."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench/peers"))

import peers
import rings

MODES = {
    "bulks": {"bulk": 32},
    "single items": {"bulk": 1},
    "round trips": {"mode": "roundtrip", "items": 200},
    "one thread": {"mode": "single"},
    "several of both": {"producers": 2, "consumers": 2},
    "processes": {"processes": 1},
}


@pytest.fixture
def peer(request):
    try:
        request.param.build()
    except peers.Unavailable as reason:
        pytest.skip(str(reason))
    return request.param


def suits(peer, mode):
    return (peer.many or "several" not in mode) and (peer.processes or mode != "processes")


QUICK = ("rte_ring SP/SC", "rte_ring MP/MC", "ck_ring SPSC")  # C++, and the others' modes, take seconds to compile


def case(peer, mode):
    wide = "" if peer.words == 1 else ", items of 16 bytes"
    marks = () if peer.name in QUICK and peer.words == 1 else (pytest.mark.slow,)
    return pytest.param(peer, mode, id=f"{peer.name}: {mode}{wide}", marks=marks)


CASES = [case(peer, mode) for peer in rings.PEERS for mode in MODES if suits(peer, mode)]
CASES += [case(peer, "bulks") for peer in rings.WIDE]


@pytest.mark.parametrize(("peer", "mode"), CASES, indirect=["peer"])
def test_a_peer_passes_all_items_on(peer, mode):
    told = peer.run(cpus="0", capacity=256, spins=16, **({"items": 20_000} | MODES[mode]))
    assert told["ns"] > 0
    if mode == "round trips":
        assert 0 < told["p50"] <= told["p99"] <= told["p99_9"]


@pytest.mark.parametrize("peer", [peer for peer in rings.PEERS if peer.name == QUICK[0]], indirect=True)
def test_what_the_harness_does_not_know_is_refused(peer):
    told = subprocess.run([peer.build(), "colour=red"], capture_output=True, text=True)
    assert (told.returncode, "what is colour=red?" in told.stderr) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("peer", [peer for peer in rings.PEERS if not peer.processes], indirect=True)
def test_two_processes_are_refused_by_a_peer_that_they_cannot_use(peer):
    told = subprocess.run([peer.build(), "processes=1"], capture_output=True, text=True)
    assert (told.returncode, "two processes cannot use it" in told.stderr) == (1, True)


@pytest.mark.parametrize("what", ["items", "payloads"])
@pytest.mark.parametrize("kind", ["multiprocessing.Queue", "SimpleQueue, threads"])
def test_a_queue_of_python_passes_all_on(kind, what):
    told = subprocess.run([sys.executable, peers.HERE / "queues.py", kind, what, "512", "0,0"], capture_output=True, text=True, check=True)
    assert json.loads(told.stdout)["ns"] > 0
