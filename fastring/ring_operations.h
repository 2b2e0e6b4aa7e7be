/* Each strategy's operations as a table, for who chooses one while it runs. */
#ifndef FASTRING_RING_OPERATIONS_H
#define FASTRING_RING_OPERATIONS_H

#include "fastring/ring_in_place.h"
#include "fastring/ring_locked.h"
#include "fastring/ring_slots.h"

#define FR_MOVES(S)                                                                                       \
    static uint32_t fr_##S##_enqueue_bulk(struct fr_ring *r, const uint64_t *items, uint32_t n) {         \
        return fr_##S##_enqueue(r, items, n, FR_BULK);                                                    \
    }                                                                                                     \
    static uint32_t fr_##S##_enqueue_burst(struct fr_ring *r, const uint64_t *items, uint32_t n) {        \
        return fr_##S##_enqueue(r, items, n, FR_BURST);                                                   \
    }                                                                                                     \
    static uint32_t fr_##S##_dequeue_bulk(struct fr_ring *r, uint64_t *items, uint32_t n) {               \
        return fr_##S##_dequeue(r, items, n, FR_BULK);                                                    \
    }                                                                                                     \
    static uint32_t fr_##S##_dequeue_burst(struct fr_ring *r, uint64_t *items, uint32_t n) {              \
        return fr_##S##_dequeue(r, items, n, FR_BURST);                                                   \
    }

#define FR_TABLE(S)                                                                                                    \
    static const struct fr_ring_operations fr_##S##_operations = {fr_##S##_enqueue_bulk, fr_##S##_enqueue_burst, fr_##S##_dequeue_bulk, fr_##S##_dequeue_burst, NULL, NULL, NULL, NULL};
#define FR_TABLE_IN_PLACE(S) \
    static const struct fr_ring_operations fr_##S##_operations = {fr_##S##_enqueue_bulk, fr_##S##_enqueue_burst, fr_##S##_dequeue_bulk, fr_##S##_dequeue_burst, fr_##S##_reserve, fr_##S##_commit_reserved, fr_##S##_peek, fr_##S##_release_peeked};

/* A closed ring is empty, and has no room. */
static inline uint32_t fr_closed_enqueue(struct fr_ring *r, const uint64_t *items, uint32_t n, int bulk) {
    (void)r, (void)items, (void)n, (void)bulk;
    return 0;
}
static inline uint32_t fr_closed_dequeue(struct fr_ring *r, uint64_t *items, uint32_t n, int bulk) {
    (void)r, (void)items, (void)n, (void)bulk;
    return 0;
}

FR_MOVES(lamport) FR_TABLE_IN_PLACE(lamport)
FR_MOVES(cached) FR_TABLE_IN_PLACE(cached)
FR_MOVES(batched) FR_TABLE_IN_PLACE(batched)
FR_MOVES(slotflag) FR_TABLE(slotflag)
FR_MOVES(mpmc) FR_TABLE(mpmc)
FR_MOVES(mt) FR_TABLE(mt)
FR_MOVES(rts) FR_TABLE(rts)
FR_MOVES(hts) FR_TABLE_IN_PLACE(hts)
FR_MOVES(locked) FR_TABLE(locked)
FR_MOVES(closed) FR_TABLE(closed)

#endif
