"""SharedPool and its owners: caches that fill and flush, buffers that one takes and another gives, and names for what is missing."""

import errno
import gc
import weakref

import pytest

from fastring.burst import Burst
from fastring.memory import AddressSpace, Arena
from fastring.pool import BufferPool


@pytest.fixture(params=["lifo", "fifo"])
def pool(request):
    return BufferPool.create(Arena(1 << 16), count=32, buffer_size=64, strategy=request.param, shared=True)


def cached(owner):
    """Buffers in its cache."""
    return int(repr(owner).split(": ")[1].split()[0])


def test_an_owner_fills_its_cache_when_that_is_empty_and_not_before(pool):
    owner = pool.owner(cache=4)
    for left in (3, 2, 1, 0, 3):
        owner.take()
        assert cached(owner) == left
    assert (pool.available, owner.available) == (27, 27)


def test_an_owner_flushes_a_cache_s_worth_at_one_and_a_half_times_that(pool):
    owner = pool.owner(cache=4)
    out = [pool.take() for _ in range(8)]
    for buffer, kept in zip(out, (1, 2, 3, 4, 5, 6, 3, 4), strict=True):
        owner.put(buffer)
        assert cached(owner) == kept


def test_an_owner_without_a_cache_keeps_nothing(pool):
    owner = pool.owner(cache=0)
    buffer = owner.take()
    assert owner.outstanding == [buffer]
    owner.put(buffer)
    assert cached(owner) == 0
    with pytest.raises(ValueError, match="is free already"):
        owner.put(buffer)
    assert (owner.double_frees, pool.double_frees) == (1, 1)


def test_one_owner_takes_and_another_gives(pool):
    taker, giver = pool.owner(cache=4), pool.owner(cache=4)
    for _ in range(1000):
        giver.put(taker.take())
    assert (taker.outstanding, pool.available, pool.double_frees) == ([], 32, 0)


@pytest.mark.parametrize("caches", [(4, 4), (0, 4), (4, 0)])
def test_what_one_owner_freed_another_cannot_free_again(pool, caches):
    first, second = (pool.owner(cache=cache) for cache in caches)
    buffer = first.take()
    second.put(buffer)
    with pytest.raises(ValueError, match=f"buffer {buffer} is free already"):
        first.put(buffer)
    assert (first.double_frees, second.double_frees, pool.double_frees) == (1, 0, 1)


def test_a_foreign_buffer_is_refused_and_counted_for_the_owner_and_the_pool(pool):
    owner = pool.owner(cache=4)
    with pytest.raises(ValueError, match="buffers 0 to 31, not 32"):
        owner.put(32)
    assert (owner.foreign_frees, pool.foreign_frees, owner.double_frees) == (1, 1, 0)


def test_an_owner_that_finds_none_says_where_they_are(pool):
    hoarder, owner = pool.owner(cache=20), pool.owner("tx", cache=4)
    hoarder.put(hoarder.take())
    for _ in range(12):
        owner.take()
    with pytest.raises(OSError, match="none of 32 buffers is left for tx: 12 are out") as error:
        owner.take()
    assert error.value.errno == errno.ENOBUFS
    assert (owner.alloc_failures, pool.alloc_failures, hoarder.alloc_failures) == (1, 1, 0)


def test_a_leak_has_the_name_of_the_owner_that_took_it(pool):
    with pool.owner("rx", cache=4) as rx, pool.owner(cache=4) as other:
        lost = [rx.take(), rx.take()]
        also = other.take()
        assert (rx.outstanding, other.outstanding, rx.number) == (sorted(lost), [also], 2)
        with pytest.raises(RuntimeError, match="owners of the pool are still open: rx, owner 3"):
            pool.close()
    names = f"{min(lost)}, {max(lost)} with rx; {also} with owner 3"
    with pytest.raises(RuntimeError, match=f"3 of 32 buffers are still out: {names}"):
        pool.close()
    assert pool.reclaim(2) == sorted(lost)      # of an owner whose thread died
    pool.put(also)
    pool.close()


def test_the_number_of_a_closed_owner_waits_for_what_it_took(pool):
    first = pool.owner("first", cache=4)
    buffer = first.take()
    first.close()
    assert pool.owner("second", cache=4).number == 3
    pool.put(buffer)
    assert pool.owner("third", cache=4).number == 2


def test_a_closed_owner_gave_its_cache_back_and_still_passes_on_what_it_is_given(pool):
    owner = pool.owner(cache=16)
    buffer = owner.take()
    owner.close()
    owner.close()
    assert (owner.available, repr(owner), pool.owners) == (0, "<PoolOwner: closed>", [])
    assert sorted(pool.take() for _ in range(31)) == [i for i in range(32) if i != buffer]
    for use in (owner.take, lambda: owner.view(buffer)):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_an_owner_that_is_forgotten_gives_its_cache_back_out_of_a_cycle_too(pool):
    class Keeper:
        pass

    keeper = Keeper()
    keeper.owner, keeper.itself = pool.owner(cache=16), keeper
    keeper.owner.put(keeper.owner.take())
    gone = weakref.ref(keeper)
    del keeper
    gc.collect()
    assert gone() is None
    assert (pool.owners, len([pool.take() for _ in range(32)])) == ([], 32)


def test_a_burst_gives_its_buffers_back_through_the_owner(pool):
    owner = pool.owner(cache=4)
    with Burst(4, owner) as burst:
        assert burst.pool is owner
    assert owner.double_frees == 0


def test_an_owner_lends_and_reclaims_for_itself(pool):
    owner = pool.owner(cache=4)
    peer = owner.add_holder("peer")
    buffers = [owner.take(), owner.take()]
    for buffer in buffers:
        owner.lend(buffer, peer)
    owner.take_back(buffers[0], peer)
    assert (pool.outstanding_of(peer), owner.outstanding) == ([buffers[1]], [])
    assert owner.reclaim(peer) == [buffers[1]]
    assert pool.available == 32


def test_owners_reach_the_same_memory(pool):
    first, second = pool.owner(cache=4), pool.owner(cache=4)
    buffer = first.take()
    first.view(buffer)[:5] = b"hello"
    assert bytes(second.view(buffer)[:5]) == b"hello"


@pytest.mark.parametrize("cache", [22, 32, 2863311531, 2**32 - 1])
def test_a_cache_that_could_hold_the_whole_pool_is_refused(pool, cache):
    with pytest.raises(ValueError, match="and the pool has 32"):
        pool.owner(cache=cache)
    assert pool.owners == []


def test_an_owner_is_made_once(pool):
    owner = pool.owner("rx", cache=4)
    with pytest.raises(TypeError, match="made already"):
        owner.__init__(pool, cache=4)
    assert repr(owner) == "<PoolOwner 'rx': 0 buffers in its cache of 4, 32 in the pool>"


def test_an_owner_of_a_closed_pool_is_refused(pool):
    pool.close()
    with pytest.raises(ValueError, match="the pool is closed"):
        pool.owner(cache=4)


def test_a_device_reaches_an_owner_s_buffers():
    arena, space = Arena(1 << 16), AddressSpace()
    iova = space.map(arena)
    pool = BufferPool.create(arena, count=8, buffer_size=64, arena_iova=iova, shared=True)
    owner = pool.owner(cache=2)
    buffer = owner.take()
    space.write(iova + buffer * owner.stride, b"hello")
    assert bytes(owner.view(buffer)[:5]) == b"hello"
    space.unmap(iova)


def test_an_open_owners_number_is_not_forgotten():
    with Arena(1 << 20) as arena:
        pool = BufferPool.create(arena, count=64, buffer_size=64, shared=True)
        with pool.owner("rx", cache=4) as owner:
            buffer = owner.take()
            owner.put(buffer)
            with pytest.raises(ValueError, match="is an owner, rx"):
                pool.remove_holder(max(pool.holders))
            assert pool.holders[max(pool.holders)] == "rx"
        pool.close()


@pytest.mark.parametrize("cache", [None, 0, 4], ids=["by the pool", "by an owner without a cache", "by an owner"])
@pytest.mark.parametrize("options", [{}, {"strategy": "fifo"}, {"shared": True}], ids=["lifo", "fifo", "shared"])
def test_a_lent_buffer_is_given_back_by_take_back_alone(options, cache):
    if cache is not None and "shared" not in options:
        options = options | {"shared": True}
    with Arena(1 << 20) as arena:
        pool = BufferPool.create(arena, count=64, buffer_size=64, **options)
        giver = pool if cache is None else pool.owner("rx", cache=cache)
        buffer = giver.take()
        peer = pool.add_holder("peer")
        pool.lend(buffer, peer)
        with pytest.raises(ValueError, match=f"buffer {buffer} is lent: take_back"):
            giver.put(buffer)
        assert (giver.foreign_frees, pool.outstanding_of(peer)) == (1, [buffer])
        pool.take_back(buffer, peer)
        assert pool.available == 64
        with pytest.raises(ValueError, match="free already"):
            giver.put(buffer)
        if giver is not pool:
            giver.close()
        pool.close()


def test_a_number_that_was_a_peers_is_an_owners_like_any_other():
    with Arena(1 << 20) as arena:
        pool = BufferPool.create(arena, count=64, buffer_size=64, shared=True)
        peer = pool.add_holder("peer")
        pool.remove_holder(peer)
        with pool.owner("rx", cache=4) as owner:
            assert max(pool.holders) == peer
            owner.put(owner.take())
        assert pool.available == 64
        pool.close()
