/* The baseline: one lock around everything, `locked`, for any number of producers and consumers.
 *
 * The lock's word holds the thread that has it. The indexes move by one store each, after the items, so what a holder leaves behind when it
 * is killed is whole: a waiter that finds the holder gone takes the lock over, which is all a robust mutex does, without a list of pointers
 * in shared memory that a peer could bend.
 */
#ifndef FASTRING_RING_LOCKED_H
#define FASTRING_RING_LOCKED_H

#include "fastring/ring_types.h"

static inline int fr_lock(struct fr_ring *r, struct fr_side *side) {
    struct fr_patience patience = fr_patience_of(r);
    uint32_t self = fr_self(), holder = 0;
    while (!fr_compare_exchange32(r->lock, &holder, self)) { /* acquires what fr_unlock released */
        if (!fr_wait_a_little(&patience)) return (int)fr_give_up(side);
        if (!fr_is_gone(&patience, holder)) holder = 0; /* else: expect the dead one, and take its place */
    }
    return 1;
}

static inline void fr_unlock(struct fr_ring *r) { fr_store_release32(r->lock, 0); }

static inline uint32_t fr_locked_enqueue(struct fr_ring *r, const uint64_t *items, uint32_t n, int bulk) {
    if (fr_is_broken(&r->producer) || !fr_lock(r, &r->producer)) return 0;
    uint32_t write = fr_load_relaxed32(r->write_index), used = write - fr_load_relaxed32(r->read_index);
    n = used > r->capacity ? fr_break(&r->producer) : fr_grant(r->capacity - used, n, bulk);
    if (n > 0) {
        fr_items_in(r, write, items, n);
        fr_store_release32(r->write_index, write + n);
    }
    fr_unlock(r);
    return n;
}

static inline uint32_t fr_locked_dequeue(struct fr_ring *r, uint64_t *items, uint32_t n, int bulk) {
    if (fr_is_broken(&r->consumer) || !fr_lock(r, &r->consumer)) return 0;
    uint32_t read = fr_load_relaxed32(r->read_index), used = fr_load_relaxed32(r->write_index) - read;
    n = used > r->capacity ? fr_break(&r->consumer) : fr_grant(used, n, bulk);
    if (n > 0) {
        fr_items_out(r, read, items, n);
        fr_store_release32(r->read_index, read + n);
    }
    fr_unlock(r);
    return n;
}

#endif
