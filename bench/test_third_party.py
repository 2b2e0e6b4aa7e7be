"""Is fastring as fast in somebody else's extension as in its own? The same loops, built here against the installed package.

    pytest bench/test_third_party.py -s
"""

import statistics
import subprocess
import sys
from pathlib import Path

import peers
import pytest

HERE = Path(__file__).resolve().parent
RUNS = 11


@pytest.fixture(scope="module")
def extension():
    try:
        return peers.build_extension(HERE / "peers/third_party.pyx").__file__
    except peers.Unavailable as reason:
        pytest.skip(str(reason))


def tell(capsys, extension, what, *arguments):
    """Their throughput by ours, in processes of their own: a stack array that crosses cache lines costs as much again."""
    pairs = []
    for _ in range(RUNS):
        told = subprocess.check_output([sys.executable, HERE / "third_party_pair.py", extension, *map(str, arguments)], text=True)
        pairs.append(tuple(map(float, told.split())))
    ours, theirs = (statistics.median(figures) for figures in zip(*pairs, strict=True))
    with capsys.disabled():
        print(f"\n{what}, one thread: an extension of somebody else's has {ours / theirs:.2f} x our throughput "
              f"({theirs:.2f} and {ours:.2f} ns an item, medians of {RUNS} processes)")


@pytest.mark.parametrize("bulk", [1, 32])
@pytest.mark.parametrize("strategy", ["cached", "slotflag", "mpmc"])
def test_a_ring_in_somebody_elses_loop(extension, capsys, strategy, bulk):
    tell(capsys, extension, f"{strategy}, bulk {bulk}", strategy, bulk)


@pytest.mark.parametrize("name", ["lifo", "lifo, cache"])
def test_a_pool_in_somebody_elses_loop(extension, capsys, name):
    tell(capsys, extension, f"pool, {name}, bulk 32", name)
