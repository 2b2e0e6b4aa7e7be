"""The rings' headers between real threads under ThreadSanitizer, which is shown to look by a release left out.

It sees orderings between threads as C has them, on whatever processor; it does not understand fences, which only the waits have.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
HEADERS = HERE.parents[1] / "fastring"
SPSC = [(strategy, 1, 1) for strategy in ("lamport", "cached", "batched", "slotflag")]
SEVERAL = [(strategy, *sides) for strategy in ("mpmc", "mt", "rts", "hts", "locked") for sides in ((2, 2), (3, 1), (1, 3))]
RACE = 66       # ThreadSanitizer's exit status


def build(folder, headers):
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed (Debian: gcc)")
    command = ["gcc", "-O1", "-g", "-fsanitize=thread", f"-I{headers}", str(HERE / "race_rings.c"), "-o", str(folder / "race_rings")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ltsan" in done.stderr or "libtsan" in done.stderr:
        pytest.skip("gcc has no ThreadSanitizer here (Debian: libtsan2, of libgcc-12-dev)")
    assert done.returncode == 0, done.stderr
    return folder / "race_rings"


def race(program, strategy, producers, consumers, milliseconds):
    command = [str(program), strategy, str(producers), str(consumers), str(milliseconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "unexpected memory mapping" in done.stderr:     # GCC 12's cannot have as much randomness of addresses as newer kernels give
        done = subprocess.run(["setarch", "--addr-no-randomize", *command], capture_output=True, text=True, timeout=120, check=False)
    return done


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("race"), HEADERS.parent)


def passes(program, strategy, producers, consumers, milliseconds):
    done = race(program, strategy, producers, consumers, milliseconds)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert int(re.match(r"(\d+) in, \1 out, 0 wrong", done.stdout)[1]) > 0


@pytest.mark.parametrize(("strategy", "producers", "consumers"), SPSC + SEVERAL)
def test_threads_do_not_race_and_items_come_once_in_order(program, strategy, producers, consumers):
    passes(program, strategy, producers, consumers, 200)


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "producers", "consumers"), SPSC + SEVERAL)
def test_threads_do_not_race_for_longer(program, strategy, producers, consumers):
    passes(program, strategy, producers, consumers, 5000)


@pytest.fixture(scope="module")
def relaxed(tmp_path_factory):
    """The same with a release that is none."""
    folder = tmp_path_factory.mktemp("relaxed")
    shutil.copytree(HEADERS, folder / "fastring", ignore=lambda _, names: [name for name in names if not name.endswith(".h")])
    atomic = folder / "fastring/atomic.h"
    text = atomic.read_text()
    assert text.count("__ATOMIC_RELEASE") == 1
    atomic.write_text(text.replace("__ATOMIC_RELEASE", "__ATOMIC_RELAXED"))
    return build(folder, folder)


@pytest.mark.parametrize(("strategy", "producers", "consumers"), [*SPSC, ("mpmc", 2, 2), ("mt", 2, 2), ("hts", 2, 2), ("locked", 2, 2)])
def test_a_release_left_out_is_found(relaxed, strategy, producers, consumers):
    for milliseconds in (200, 1000, 5000):      # longer where threads hardly ever meet, on a busy machine
        done = race(relaxed, strategy, producers, consumers, milliseconds)
        if done.returncode == RACE:
            break
    assert done.returncode == RACE, done.stdout
    assert "ThreadSanitizer: data race" in done.stderr
