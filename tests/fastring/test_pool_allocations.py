"""A pool in its steady state allocates nothing: every call of malloc in the process is counted, by a library preloaded for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "count_mallocs.c"

PROGRAM = """
import ctypes, importlib.util, sys

spec = importlib.util.spec_from_file_location("pool_model", sys.argv[1])
compiled = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compiled)

from fastring.memory import Arena
from fastring.pool import BufferPool

libc = ctypes.CDLL(None)
mallocs = libc.fr_mallocs
mallocs.restype, libc.malloc.restype, libc.free.argtypes = ctypes.c_ulong, ctypes.c_void_p, [ctypes.c_void_p]
before = mallocs()
libc.free(libc.malloc(1))       # Python itself has a malloc of its own without a GIL
print("counted", mallocs() > before)
for strategy in ("lifo", "fifo"):
    for way in ("alone", "shared", "owner"):
        pool = user = BufferPool.create(Arena(1 << 20), count=512, buffer_size=256, strategy=strategy, shared=way != "alone")
        if way == "owner":
            user = pool.owner(cache=16)         # refilled or flushed in each round
        for times in 10, 1_000_000:             # the first time round Python allocates for itself
            blocks, before = sys.getallocatedblocks(), mallocs()
            taken = compiled.rounds(user, times, 48)
            after, blocks = mallocs(), sys.getallocatedblocks() - blocks
        print(strategy, way, taken, after - before, blocks < 10)
"""


@pytest.mark.unsanitized
def test_a_million_rounds_of_take_and_give_allocate_nothing(pool_model, tmp_path):
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("a C compiler is needed to count calls of malloc")
    library = tmp_path / "count_mallocs.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(library)], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library)}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, pool_model.__file__], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    lines = run.stdout.splitlines()
    assert lines[0] == "counted True"
    assert lines[1:] == [f"{order} {way} 48000000 0 True" for order in ("lifo", "fifo") for way in ("alone", "shared", "owner")]
