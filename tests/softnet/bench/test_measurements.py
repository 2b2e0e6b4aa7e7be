"""Rings measured by softnet.bench: between threads, between processes, and from Python, each checked for lost items."""

import os
import time

import pytest

from fastring.ring import Ring
from softnet.bench import from_python, pools, rings
from softnet.bench.partner import Partner, PartnerError, Patience

ALL = (*rings.STRATEGIES, *rings.MANY_STRATEGIES)
CPUS = (rings.cpus() * 2)[:2]
pytestmark = pytest.mark.skipif(len(rings.cpus()) < 2, reason="two sides that spin need two CPUs")


@pytest.fixture(scope="module")
def partner():
    with Partner(CPUS[1]) as partner:
        yield partner


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("bulk", [1, 32])
def test_between_threads(strategy, bulk):
    assert rings.throughput(strategy, bulk=bulk, items=10_000, cpus=CPUS) > 0


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("bulk", [1, 32])
def test_between_threads_with_items_of_16_bytes(strategy, bulk):
    assert rings.throughput(strategy, bulk=bulk, items=10_000, cpus=CPUS, item_size=16) > 0


@pytest.mark.parametrize("strategy", rings.MANY_STRATEGIES)
def test_between_several_of_both(strategy):
    assert rings.throughput(strategy, items=4096, cpus=CPUS, producers=2, consumers=2, spins=64) > 0


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("bulk", [1, 32])
def test_between_processes(strategy, bulk, partner):
    before = partner.arena.allocated
    assert rings.throughput_to(partner, strategy, bulk=bulk, items=10_000, cpu=CPUS[0]) > 0
    assert partner.arena.allocated == before


@pytest.mark.parametrize("strategy", ALL)
def test_on_one_thread(strategy):
    assert rings.single(strategy, items=10_000, cpu=CPUS[0]) > 0


@pytest.mark.parametrize("strategy", ALL)
def test_round_trips(strategy, partner):
    for trip in (rings.round_trip(strategy, rounds=200, cpus=CPUS), rings.round_trip_to(partner, strategy, rounds=200, cpu=CPUS[0])):
        assert 0 < trip.p50 <= trip.p99 <= trip.p99_9


@pytest.mark.parametrize("name", pools.POOLS)
def test_a_pool_on_one_thread(name):
    assert pools.on_one_thread(name, buffers=10_000, cpu=CPUS[0]) > 0


@pytest.mark.parametrize("name", pools.BETWEEN_THREADS)
def test_a_pool_between_threads(name):
    assert pools.between_threads(name, buffers=20_000, cpus=CPUS) > 0


def test_lost_buffers_are_noticed(monkeypatch):
    monkeypatch.setattr(pools, "take_and_give", lambda user, *_: user.take() and (0, 1))
    with pytest.raises(RuntimeError, match="buffers were lost"):
        pools.on_one_thread("lifo", buffers=32, cpu=CPUS[0])


def test_from_python_to_python(partner):
    before = partner.arena.allocated
    assert from_python.python_items(partner, items=10_240, cpu=CPUS[0]) > 0
    assert from_python.python_payloads(partner, count=1024, cpu=CPUS[0]) > 0
    assert from_python.python_records(partner, count=1024, cpu=CPUS[0]) > 0
    assert partner.arena.allocated == before


def test_a_strategy_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="fastest"):
        rings.make_ring("fastest", 64)


def test_measuring_leaves_this_thread_where_it_may_run():
    before = os.sched_getaffinity(0)
    rings.single("cached", items=1000, cpu=CPUS[0])
    assert os.sched_getaffinity(0) == before


def test_an_error_in_the_other_process_is_told_here(partner):
    partner.ask("consume", ring=0, meeting=0, items=1, bulk=1)
    with pytest.raises(PartnerError, match="there is no ring at offset 0x0"):
        partner.answer()


def test_another_process_that_is_gone_is_an_error():
    with Partner(CPUS[1]) as partner:
        os.kill(partner.pid, 9)

        def ask():
            partner.ask("bounce", meeting=0, rounds=1)  # whichever notices first
            partner.answer()

        with pytest.raises(PartnerError, match="is gone"):
            ask()


def test_lost_items_are_noticed(monkeypatch):
    monkeypatch.setattr(rings, "make_ring", lambda *_, **options: Ring(64))
    monkeypatch.setattr(rings, "consume", lambda *_: (0, 1, 5))
    monkeypatch.setattr(rings, "produce", lambda *_: (0, 1))
    with pytest.raises(RuntimeError, match="items were lost"):
        rings.throughput("cached", items=320, cpus=CPUS)


def test_who_waits_for_nothing_gives_up(monkeypatch):
    monkeypatch.setattr("softnet.bench.partner.PATIENCE", 0.01)
    patience = Patience()
    patience()
    time.sleep(0.02)
    patience.moved()
    patience()
    time.sleep(0.02)
    with pytest.raises(TimeoutError):
        patience()
