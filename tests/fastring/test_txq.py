"""TxQueue's stop and wake, step by step; what two threads make of it is in test_txq_threads.py."""

import pytest

from fastring.txq import TxQueue

DRV_XOFF, STACK_XOFF, FROZEN = 1, 2, 4


@pytest.fixture
def txq():
    return TxQueue(bql=False)


def slots(*answers):
    """A free_slots that gives these answers, one a call."""
    return iter(answers).__next__


def test_enough_room_leaves_the_queue_alone(txq):
    assert txq.txq_maybe_stop(slots(4), 4, 8) == 1
    assert (txq.xmit_stopped, txq.stops) == (False, 0)


def test_too_little_room_stops_it(txq):
    assert txq.txq_maybe_stop(slots(3, 3), 4, 8) == 0
    assert txq.state == DRV_XOFF
    assert (txq.stops, txq.restarts, txq.wakes) == (1, 0, 0)


def test_room_that_appeared_after_the_stop_starts_it_again_without_a_wake(txq):
    assert txq.txq_maybe_stop(slots(3, 8), 4, 8) == -1
    assert txq.state == 0
    assert (txq.stops, txq.restarts, txq.wakes) == (1, 1, 0)


def test_after_the_stop_it_takes_start_slots_not_stop_slots(txq):
    assert txq.txq_maybe_stop(slots(3, 7), 4, 8) == 0
    assert txq.xmit_stopped


def test_a_completion_with_room_wakes_a_stopped_queue(txq):
    txq.stop()
    assert txq.txq_completed_wake(1, 60, 8, 8) == 0
    assert (txq.state, txq.wakes) == (0, 1)


def test_a_completion_without_room_leaves_it_stopped(txq):
    txq.stop()
    assert txq.txq_completed_wake(1, 60, 7, 8) == -1
    assert (txq.state, txq.wakes) == (DRV_XOFF, 0)


def test_a_queue_that_is_awake_needs_no_wake(txq):
    assert txq.txq_completed_wake(1, 60, 8, 8) == 1
    assert txq.wakes == 0


def test_a_poll_without_completed_packets_wakes_nothing(txq):
    txq.stop()
    assert txq.txq_completed_wake(0, 0, 8, 8) == -1
    assert txq.xmit_stopped


def test_a_device_under_stop_is_never_woken(txq):
    txq.stop()
    txq.down = True
    assert txq.txq_completed_wake(1, 60, 8, 8) == 1
    assert txq.xmit_stopped
    txq.down = False
    assert txq.txq_completed_wake(1, 60, 8, 8) == 0


def test_the_watchdog_s_hold_is_not_lifted_by_a_wake(txq):
    txq.freeze()
    txq.stop()
    txq.wake()
    assert txq.state == FROZEN
    assert txq.xmit_stopped
    txq.unfreeze()
    assert not txq.xmit_stopped


def test_stopping_twice_counts_one_stop_and_waking_twice_one_wake(txq):
    txq.stop()
    txq.stop()
    txq.wake()
    txq.wake()
    assert (txq.stops, txq.wakes) == (1, 1)


def test_start_does_not_count_as_a_wake(txq):
    txq.stop()
    txq.start()
    assert (txq.state, txq.wakes) == (0, 0)


def test_what_free_slots_raises_comes_out_and_leaves_the_queue_awake(txq):
    with pytest.raises(StopIteration):
        txq.txq_maybe_stop(slots(), 4, 8)
    with pytest.raises(StopIteration):
        txq.txq_maybe_stop(slots(1), 4, 8)
    assert not txq.xmit_stopped


def test_transmit_time_and_requeues_are_kept_for_the_watchdog_and_the_statistics(txq):
    txq.trans_update(1234)
    txq.count_requeue()
    assert (txq.trans_start, txq.requeues) == (1234, 1)


def test_without_bql_bytes_are_not_counted(txq):
    txq.tx_sent(10**6)
    assert (txq.inflight, txq.xmit_stopped, txq.bql) == (0, False, False)


def test_repr_names_the_state(txq):
    txq.stop()
    txq.freeze()
    assert repr(txq).startswith("<TxQueue: DRV_XOFF|FROZEN, 1 stops")
    assert "in flight" in repr(TxQueue())
