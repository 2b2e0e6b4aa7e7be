"""Byte queue limits: the rules of lib/dynamic_queue_limits.c, each on its own, then against a second reading of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastring.txq import TxQueue

STACK_XOFF = 2
SECOND = 10**9
MASK = 2**32 - 1


@pytest.fixture
def txq():
    return TxQueue()


def grown(limit, **options):
    """A queue at rest whose limit has grown to `limit`."""
    txq = TxQueue(**options)
    txq.tx_sent(limit)
    txq.tx_completed(1, limit)
    assert (txq.limit, txq.inflight) == (limit, 0)
    return txq


def test_bytes_in_flight_are_those_sent_and_not_completed(txq):
    txq.tx_sent(1000)
    txq.tx_sent(500)
    txq.tx_completed(1, 1000)
    assert txq.inflight == 500


def test_the_first_packet_past_the_limit_stops_the_stack():
    txq = grown(1000)
    txq.tx_sent(1000)
    assert not txq.xmit_stopped
    txq.tx_sent(1)
    assert (txq.state, txq.bql_stops, txq.stops) == (STACK_XOFF, 2, 0)


def test_a_completion_below_the_limit_lets_the_stack_go_on():
    txq = grown(1000)
    txq.tx_sent(1500)
    assert txq.xmit_stopped
    txq.tx_completed(1, 400)
    assert txq.xmit_stopped
    txq.tx_completed(1, 200)
    assert not txq.xmit_stopped


def test_a_stop_by_the_driver_is_not_lifted_by_bql():
    txq = grown(1000)
    txq.stop()
    txq.tx_sent(1500)
    txq.tx_completed(1, 1500)
    assert txq.state == 1


def test_starvation_grows_the_limit_by_what_was_sent_and_completed_since():
    txq = grown(1000)
    txq.tx_sent(1500)           # over the limit, and then the device ran dry
    txq.tx_completed(1, 1500)
    assert txq.limit == 1000 + 1500


def test_a_queue_never_held_back_does_not_grow():
    txq = grown(1000)
    for _ in range(10):
        txq.tx_sent(600)
        txq.tx_completed(1, 600)
    assert txq.limit == 1000


def busy_round(txq, now, sent=600):
    """Send before completing what was sent last time: the device is never idle."""
    txq.tx_sent(sent)
    txq.tx_completed(1, sent, now=now)


def test_a_limit_that_is_never_used_up_shrinks_after_the_hold_time():
    txq = grown(10_000)
    txq.tx_sent(1200)
    for step in range(10):
        busy_round(txq, step * SECOND // 20)
    assert txq.limit == 10_000      # half a second: within the hold time
    busy_round(txq, SECOND + 1)
    assert txq.limit < 10_000


def test_the_hold_time_is_a_second_unless_told():
    assert TxQueue().hold_time == SECOND
    txq = grown(10_000, hold_time=10)
    txq.tx_sent(1200)
    busy_round(txq, 1)
    busy_round(txq, 11)
    assert txq.limit < 10_000


def test_the_limit_stays_within_its_bounds():
    txq = TxQueue(limit_min=500, limit_max=2000)
    assert txq.limit == 500
    txq.tx_sent(100_000)
    txq.tx_completed(1, 100_000)
    assert txq.limit == 2000
    txq.limit_max = 1000
    txq.tx_sent(10)
    txq.tx_completed(1, 10)
    assert txq.limit == 1000


@pytest.mark.parametrize(
    ("name", "value"), [("limit_max", 2**31), ("limit_max", -1), ("limit_min", 2**31), ("limit", 0x70000001), ("hold_time", -1)]
)
def test_bounds_that_make_no_sense_are_refused(name, value):
    txq = TxQueue(limit_min=100, limit_max=1000)
    with pytest.raises(ValueError, match=name):
        setattr(txq, name, value)
    assert (txq.limit, txq.limit_min, txq.limit_max, txq.hold_time) == (100, 100, 1000, SECOND)


def test_bounds_that_exclude_each_other_hold_as_the_kernels_clamp_has_it():
    txq = TxQueue(limit_min=2000, limit_max=1000)
    for limit, then in ((5000, 1000), (1000, 1000), (999, 2000)):
        txq.limit = limit
        txq.tx_sent(10)
        txq.tx_completed(1, 10)
        assert txq.limit == then


def test_a_limit_that_is_set_counts_from_the_next_completion_on():
    txq = TxQueue()
    txq.limit = 3000
    assert txq.xmit_stopped is False
    txq.tx_sent(100)
    assert txq.xmit_stopped  # still by the old one
    txq.tx_completed(1, 100)
    txq.tx_sent(3000)
    assert (txq.xmit_stopped, txq.limit) == (False, 3000)


def test_reset_forgets_what_is_in_flight_and_lifts_the_stop(txq):
    txq.tx_sent(1000)
    assert txq.xmit_stopped
    txq.tx_reset()
    assert (txq.inflight, txq.limit, txq.xmit_stopped) == (0, 0, False)


def test_more_completed_than_sent_is_refused_and_counted(txq):
    txq.tx_sent(100)
    txq.tx_completed(1, 150)
    assert (txq.inflight, txq.bql_excess) == (0, 50)


def test_completed_wake_accounts_for_the_bytes(txq):
    txq.tx_sent(100)
    txq.txq_completed_wake(1, 100, 8, 8)
    assert txq.inflight == 0


def test_one_packet_larger_than_a_sixteenth_of_the_circle_is_refused(txq):
    with pytest.raises(ValueError, match="at most"):
        txq.tx_sent(2**28)


class Reference:
    """dql_completed in unbounded integers: counters never wrap here."""

    def __init__(self):
        self.queued = self.done = self.limit = self.over = self.queued_before = self.last = self.last_before = 0
        self.slack, self.since = MASK, 0

    def sent(self, count):
        self.queued += count
        self.last = count

    def completed(self, count, now):
        done, limit = self.done + count, self.limit
        over = max(self.queued - self.done - limit, 0)
        busy, was_busy = self.queued > done, self.queued_before > self.done
        all_done = done >= self.queued_before
        if (over and not busy) or (self.over and all_done):
            limit += max(done - self.queued_before, 0) + self.over
            self.since, self.slack = now, MASK
        elif busy and was_busy and not all_done:
            slack = max(limit + self.over - 2 * count, 0, self.last_before - self.over if self.over else 0)
            self.slack = min(self.slack, slack)
            if now > self.since + SECOND:
                limit = max(limit - self.slack, 0)
                self.since, self.slack = now, MASK
        limit = min(limit, 0x70000000)
        self.over = over if limit == self.limit else 0
        self.limit, self.done, self.queued_before, self.last_before = limit, done, self.queued, self.last


@given(st.lists(st.tuples(st.lists(st.integers(1, 70_000), max_size=4), st.integers(0, 100), st.integers(0, SECOND)), max_size=60))
def test_the_limit_follows_the_kernel_s_algorithm(rounds):
    txq, reference, now = TxQueue(), Reference(), 0
    for packets, percent, elapsed in rounds:
        now += elapsed
        for packet in packets:
            txq.tx_sent(packet)
            reference.sent(packet)
        count = (reference.queued - reference.done) * percent // 100
        if count:
            txq.tx_completed(1, count, now=now)
            reference.completed(count, now)
        assert (txq.limit, txq.inflight) == (reference.limit, reference.queued - reference.done)


def test_counters_wrap_at_32_bits_without_a_trace():
    txq, packet = TxQueue(), 2**27
    for _ in range(100):            # more than three times round
        txq.tx_sent(packet)
        txq.tx_completed(1, packet)
        assert txq.inflight == 0
        assert not txq.xmit_stopped
    assert txq.limit == packet
