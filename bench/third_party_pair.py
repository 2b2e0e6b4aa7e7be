"""One measurement of test_third_party.py, in a process of its own: where its stack lies to the ring is drawn anew for each.

    python third_party_pair.py EXTENSION STRATEGY BULK      # or the extension and a pool's name

Prints two numbers: nanoseconds an item in our loop, and in theirs, over the same ring or pool.
"""

import importlib.util
import sys
import time

from fastring.pool_loops import take_and_give
from fastring.ring import Ring
from fastring.ring_loops import push_pop
from softnet.bench import pools

ITEMS = 3_200_000


def load(path):
    spec = importlib.util.spec_from_file_location("third_party", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def took(loop, *args):
    """Nanoseconds an item; and what the loop returned."""
    start = time.perf_counter_ns()
    told = loop(*args)
    return (time.perf_counter_ns() - start) / ITEMS, told


def main(extension, name, bulk=None):
    theirs = load(extension)
    if bulk is None:
        _, [user, _] = pools.make_pool(name)
        loops, told = (take_and_give, user, ITEMS // 32, 32), (theirs.take_and_give, user, ITEMS // 32)
        expected = ITEMS
    else:
        ring = Ring.create(1024, strategy=name)
        loops, told = (push_pop, ring, ITEMS, int(bulk)), (theirs.push_pop, ring, ITEMS, int(bulk))
        expected = ITEMS * (ITEMS - 1) // 2
    ours, _ = took(*loops)
    other, found = took(*told)
    assert found == expected
    print(ours, other)


main(*sys.argv[1:])
