/* Items written and read where they lie: reserve and commit, peek and release.
 *
 * A span never crosses the end of the slots, so there may be fewer in it than asked for. What is reserved and never committed, or looked at
 * and never released, stays as it was. For strategies whose items lie side by side, and where a claim can be taken back: rte_ring has its
 * zero-copy calls for the same ones.
 */
#ifndef FASTRING_RING_IN_PLACE_H
#define FASTRING_RING_IN_PLACE_H

#include "fastring/ring_headtail.h"
#include "fastring/ring_spsc.h"

static inline fr_unit *fr_span(struct fr_ring *r, struct fr_side *side, uint32_t start, uint32_t n) {
    uint32_t slot = start & r->mask;
    side->reserved = fr_least(n, r->capacity - slot);
    side->reserved_at = start;
    return r->slots + (uint64_t)slot * r->units;
}

/* How many of n are still reserved, for the one who ends it: none if others were pushed or popped meanwhile. */
static inline uint32_t fr_end_span(struct fr_side *side, uint32_t n) {
    n = side->index == side->reserved_at ? fr_least(n, side->reserved) : 0;
    side->reserved = 0;
    return n;
}

/* Each returns how many of n it was for: no more than were reserved. */
#define FR_SPSC_IN_PLACE(S)                                                          \
    static inline fr_unit *fr_##S##_reserve(struct fr_ring *r, uint32_t n) {         \
        n = fr_grant(fr_##S##_room(r, n), n, FR_BURST);                              \
        return fr_span(r, &r->producer, r->producer.index, n);                       \
    }                                                                                \
    static inline uint32_t fr_##S##_commit_reserved(struct fr_ring *r, uint32_t n) { \
        n = fr_end_span(&r->producer, n);                                            \
        if (n > 0) fr_##S##_commit(r, n);                                            \
        return n;                                                                    \
    }                                                                                \
    static inline fr_unit *fr_##S##_peek(struct fr_ring *r, uint32_t n) {            \
        n = fr_grant(fr_##S##_items(r, n), n, FR_BURST);                             \
        return fr_span(r, &r->consumer, r->consumer.index, n);                       \
    }                                                                                \
    static inline uint32_t fr_##S##_release_peeked(struct fr_ring *r, uint32_t n) {  \
        n = fr_end_span(&r->consumer, n);                                            \
        if (n > 0) fr_##S##_release(r, n);                                           \
        return n;                                                                    \
    }

FR_SPSC_IN_PLACE(lamport)
FR_SPSC_IN_PLACE(cached)
FR_SPSC_IN_PLACE(batched)

/* hts: from the claim to its end nobody else of this side gets in, so the side's fields are the claimer's. */
static inline fr_unit *fr_hts_span(struct fr_ring *r, const struct fr_ends *e, uint32_t n) {
    uint32_t start = 0;
    n = n ? fr_hts_claim(r, e, n, FR_BURST, &start) : 0;
    if (n == 0) return NULL;
    e->side->index = start;
    return fr_span(r, e->side, start, n);
}

static inline uint32_t fr_hts_end(const struct fr_ends *e, uint32_t n) {
    n = fr_least(n, e->side->reserved);
    if (e->side->reserved == 0) return 0;
    e->side->reserved = 0;
    fr_hts_follow(e, e->side->index, n);
    return n;
}

static inline fr_unit *fr_hts_reserve(struct fr_ring *r, uint32_t n) {
    struct fr_ends e = fr_producers(r);
    return fr_hts_span(r, &e, n);
}
static inline uint32_t fr_hts_commit_reserved(struct fr_ring *r, uint32_t n) {
    struct fr_ends e = fr_producers(r);
    return fr_hts_end(&e, n);
}
static inline fr_unit *fr_hts_peek(struct fr_ring *r, uint32_t n) {
    struct fr_ends e = fr_consumers(r);
    return fr_hts_span(r, &e, n);
}
static inline uint32_t fr_hts_release_peeked(struct fr_ring *r, uint32_t n) {
    struct fr_ends e = fr_consumers(r);
    return fr_hts_end(&e, n);
}

#endif
