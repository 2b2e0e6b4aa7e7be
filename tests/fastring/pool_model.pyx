"""Random operations on a BufferPool beside a model of it, without the GIL: on one thread, and on several with owners of one pool."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastring.atomic cimport load_acquire32, store_release32
from fastring.burst cimport Burst, Frame
from fastring.pool cimport BufferPool
from fastring.ring cimport Ring
from patience cimport PATIENCE, wait

cdef enum Order:
    LIFO, FIFO, ANY

cdef enum:
    MOST = 64                       # buffers in one call


ctypedef struct Held:
    uint32_t* buffers               # in no order
    uint32_t n


# What a pool should be. A buffer that is out has its stamp in its first bytes; one that is free has zeroes there.
ctypedef struct Model:
    Order order
    uint32_t count
    uint32_t* line                  # free buffers, the next one first; unless ANY
    uint32_t free
    Held own, lent
    uint64_t* stamps
    uint64_t doubles, foreigners, failures, random, serial


cdef uint32_t below(Model* model, uint32_t n) noexcept nogil:
    """A random number from 0 to n - 1: xorshift64*."""
    model.random ^= model.random >> 12
    model.random ^= model.random << 25
    model.random ^= model.random >> 27
    return <uint32_t>(((model.random * <uint64_t>0x2545F4914F6CDD1D) >> 32) % n)


cdef uint32_t pick(Model* model, Held* held) noexcept nogil:
    """Any of them, which is held no longer."""
    cdef uint32_t at = below(model, held.n), buffer = held.buffers[at]
    held.n -= 1
    held.buffers[at] = held.buffers[held.n]
    return buffer


cdef void keep(Held* held, uint32_t buffer) noexcept nogil:
    held.buffers[held.n] = buffer
    held.n += 1


cdef bint stamp(Model* model, BufferPool pool, uint32_t buffer) noexcept nogil:
    """Mark a buffer that was handed out; False if it is out already."""
    cdef uint64_t* word = <uint64_t*>pool.address(buffer)
    if buffer >= model.count or word[0] != 0:
        return False
    model.serial += 1
    word[0] = model.stamps[buffer] = model.serial
    return True


cdef bint unstamp(Model* model, BufferPool pool, uint32_t buffer) noexcept nogil:
    """Before it is given back; False if somebody else wrote to it."""
    cdef uint64_t* word = <uint64_t*>pool.address(buffer)
    if word[0] != model.stamps[buffer]:
        return False
    word[0] = 0
    return True


cdef void line_up(Model* model, uint32_t buffer) noexcept nogil:
    """It is free: first in the line, or last."""
    cdef uint32_t i
    if model.order == LIFO:
        for i in range(model.free, 0, -1):
            model.line[i] = model.line[i - 1]
        model.line[0] = buffer
    elif model.order == FIFO:
        model.line[model.free] = buffer
    model.free += 1


cdef bint take(Model* model, BufferPool pool) noexcept nogil:
    cdef uint32_t out[MOST]
    cdef uint32_t i, n = 1 + below(model, MOST)
    cdef uint32_t got = pool.take_bulk(out, n)
    if got != (n if n < model.free else model.free):
        return False
    model.failures += got < n
    for i in range(got):
        if (model.order != ANY and out[i] != model.line[i]) or not stamp(model, pool, out[i]):
            return False
        keep(&model.own, out[i])
    model.free -= got
    if model.order != ANY:
        for i in range(model.free):
            model.line[i] = model.line[i + got]
    return True


cdef bint give(Model* model, BufferPool pool, bint wrongly) noexcept nogil:
    """Give some back; `wrongly`: each twice, with one between them that no pool has."""
    cdef uint32_t buffers[3 * MOST]
    cdef uint32_t buffer, n = 0, times = below(model, MOST + 1)
    while times and model.own.n:
        times -= 1
        buffer = pick(model, &model.own)
        if not unstamp(model, pool, buffer):
            return False
        line_up(model, buffer)
        buffers[n] = buffer
        n += 1
        if wrongly:
            buffers[n] = model.count + below(model, 1 << 20)
            buffers[n + 1] = buffer
            n += 2
            model.doubles += 1
            model.foreigners += 1
    pool.give_bulk(buffers, n)
    return True


cdef bint lend(Model* model, BufferPool pool, uint8_t holder) noexcept nogil:
    cdef uint32_t buffers[MOST]
    cdef uint32_t n = 0, times = below(model, MOST + 1)
    while times and model.own.n:
        times -= 1
        buffers[n] = pick(model, &model.own)
        keep(&model.lent, buffers[n])
        n += 1
    return pool.lend_bulk(buffers, n, holder) == n


cdef bint take_back(Model* model, BufferPool pool, uint8_t holder) noexcept nogil:
    """What was lent, and among it a buffer that was not: the holder lies."""
    cdef uint32_t buffers[MOST + 1]
    cdef uint32_t buffer, honest = 0, n = 0, times = below(model, MOST)
    while times and model.lent.n:
        times -= 1
        buffer = pick(model, &model.lent)
        if not unstamp(model, pool, buffer):
            return False
        line_up(model, buffer)
        buffers[n] = buffer
        n += 1
    honest = n
    if model.own.n:
        buffers[n] = model.own.buffers[below(model, model.own.n)]
        n += 1
        model.foreigners += 1
    return pool.return_bulk(buffers, n, holder) == honest


cdef bint reclaim(Model* model, BufferPool pool, uint8_t holder) noexcept nogil:
    """In the order of their numbers."""
    cdef uint32_t buffer, expected = model.lent.n
    cdef uint32_t i
    for buffer in range(model.count):
        for i in range(model.lent.n):
            if model.lent.buffers[i] == buffer:
                if not unstamp(model, pool, buffer):
                    return False
                line_up(model, buffer)
                break
    model.lent.n = 0
    return pool.reclaim_all(holder) == expected


cdef bint step(Model* model, BufferPool pool, uint8_t holder) noexcept nogil:
    cdef uint32_t what = below(model, 1000)
    if what < 450:
        return take(model, pool)
    if what < 800:
        return give(model, pool, False)
    if what < 850:
        return give(model, pool, True)
    if what < 925:
        return lend(model, pool, holder)
    if what < 995:
        return take_back(model, pool, holder)
    return reclaim(model, pool, holder)


cdef bint agrees(Model* model, BufferPool pool) noexcept nogil:
    return (pool.free_now() == model.free and pool.double_frees == model.doubles and pool.foreign_frees == model.foreigners
            and pool.alloc_failures == model.failures)


cdef bint make(Model* model, BufferPool pool, uint64_t seed) except False:
    memset(model, 0, sizeof(Model))
    model.count = model.free = pool.count
    model.random = seed
    model.line = <uint32_t*>calloc(pool.count + 1, sizeof(uint32_t))
    model.own.buffers = <uint32_t*>calloc(pool.count, sizeof(uint32_t))
    model.lent.buffers = <uint32_t*>calloc(pool.count, sizeof(uint32_t))
    model.stamps = <uint64_t*>calloc(pool.count, sizeof(uint64_t))
    for i in range(pool.count):
        model.line[i] = i
    return True


cdef void unmake(Model* model) noexcept:
    free(model.line)
    free(model.own.buffers)
    free(model.lent.buffers)
    free(model.stamps)


def against_model(BufferPool pool, order, uint8_t holder, uint64_t operations, uint64_t seed):
    """That many operations, all given back at the end; return how many went as in the model. `order`: "lifo", "fifo" or None, any."""
    cdef Model model
    cdef uint64_t done = 0
    make(&model, pool, seed)
    model.order = {"lifo": LIFO, "fifo": FIFO, None: ANY}[order]
    with nogil:
        while done < operations and step(&model, pool, holder) and (done % 16 or agrees(&model, pool)):
            done += 1
        if done == operations:
            pool.give_bulk(model.own.buffers, model.own.n)
            pool.reclaim_all(holder)
    unmake(&model)
    return done


def share(BufferPool pool, Ring inbox, Ring outbox, uint64_t[::1] stamps, uint64_t operations, uint64_t seed):
    """One of several threads, whose rings make a circle: takes, gives, passes on and gives what was passed; stamps are for all of them.

    Return (operations without a fault, double frees it tried, foreign ones, buffers it took).
    """
    cdef Model model
    cdef uint64_t item, done = 0, taken = 0
    cdef uint32_t out[MOST]
    cdef uint32_t i, n, what, buffer
    cdef bint fine = True
    make(&model, pool, seed)
    model.order = ANY
    free(model.stamps)
    model.stamps = &stamps[0]
    model.serial = seed << 40
    with nogil:
        while done < operations and fine:
            what = below(&model, 100)
            if what < 30 and model.own.n < MOST:        # none of them takes all
                n = pool.take_bulk(out, 1 + below(&model, MOST))
                taken += n
                for i in range(n):
                    fine = fine and stamp(&model, pool, out[i])
                    keep(&model.own, out[i])
            elif what < 75:
                fine = give(&model, pool, what < 35)
            elif what < 85:
                if model.own.n:
                    buffer = pick(&model, &model.own)
                    if not outbox.enqueue(buffer):
                        keep(&model.own, buffer)
            else:
                n = 0
                while n < MOST and inbox.dequeue(&item):
                    fine = fine and unstamp(&model, pool, <uint32_t>item)
                    out[n] = <uint32_t>item
                    n += 1
                pool.give_bulk(out, n)
            done += 1
        for i in range(model.own.n):
            fine = fine and unstamp(&model, pool, model.own.buffers[i])
        pool.give_bulk(model.own.buffers, model.own.n)
    model.stamps = NULL
    unmake(&model)
    return done if fine else done - 1, model.doubles, model.foreigners, taken


def free_first(BufferPool pool, uint32_t[::1] words, uint32_t rounds):
    """Take a buffer and give it back at the moment that `free_second` does so on another thread; return the rounds.

    The other one sees it later by some time that this one waits for, each time a little longer.
    """
    cdef uint32_t buffer, turn = 0, _delay
    cdef uint64_t idle = 0
    with nogil:
        while turn < rounds and idle < PATIENCE and pool.take_bulk(&buffer, 1):
            turn += 1
            words[1] = buffer
            store_release32(&words[0], turn)
            for _delay in range(turn % 256):
                load_acquire32(&words[2])
            pool.give(buffer)
            idle = 0
            while load_acquire32(&words[2]) != turn and idle < PATIENCE:
                idle = wait(idle)
    return turn


def free_second(BufferPool pool, uint32_t[::1] words, uint32_t rounds):
    cdef uint32_t turn = 0
    cdef uint64_t idle = 0
    with nogil:
        while turn < rounds and idle < PATIENCE:
            turn += 1
            idle = 0
            while load_acquire32(&words[0]) != turn and idle < PATIENCE:
                idle = wait(idle)
            pool.give(words[1])
            store_release32(&words[2], turn)
    return turn


def burst_of(BufferPool pool):
    """A burst of one buffer of the pool."""
    cdef Burst burst = Burst(1, pool)
    cdef uint32_t buffer = pool.take()
    burst.frames[0] = Frame(pool.address(buffer), 0, 0, pool.buffer_size, buffer, 0, 0, 0)
    burst.count = 1
    return burst


def rounds(BufferPool pool, uint64_t times, uint32_t n):
    """Take n buffers and give them back, that often; return how many were taken."""
    cdef uint32_t buffers[MOST]
    cdef uint64_t _round, taken = 0
    cdef uint32_t got
    with nogil:
        for _round in range(times):
            got = pool.take_bulk(buffers, n if n < MOST else MOST)
            pool.give_bulk(buffers, got)
            taken += got
    return taken
