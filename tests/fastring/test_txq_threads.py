"""TxQueue between a transmitting and a reclaiming thread: never stopped for ever while there is room."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from fastring.txq import TxQueue


@pytest.mark.parametrize(("size", "start"), [(1, 1), (2, 1), (4, 4), (64, 8)])
@pytest.mark.parametrize("bql", [False, True])
def test_a_stop_that_meets_a_wake_never_leaves_the_queue_stopped(threads, size, start, bql):
    card, txq, packets = threads.Card(size), TxQueue(bql=bql, limit_max=300), 100_000
    with ThreadPoolExecutor(2) as pool:
        sent = pool.submit(threads.transmit, card, txq, packets, start)
        done = pool.submit(threads.complete, card, txq, packets, start)
        assert (sent.result(), done.result()) == (packets, packets)
    assert txq.inflight == 0
    assert txq.stops <= txq.wakes + txq.restarts + (txq.state & 1)     # both may have seen the other
