/* Several producers and several consumers in two phases, as DPDK's rte_ring: `headtail`.
 *
 * A claim moves the side's head; then the items are copied; then the side's tail follows, which is what the other side looks at. The
 * three ways of rte_ring to let the tail follow:
 *
 *   mt    each waits until those that claimed before have moved the tail up to its own claim
 *   rts   whoever finishes last moves the tail to the head: nobody waits for the others, unless the head is `distance` ahead
 *   hts   one claim at a time: head and tail are one word, and only where they are equal there is a claim. So a claim may be taken back,
 *         and items may be written and read in place
 *
 * A claimer that is stopped half-way holds up the tail: so each wait has an end (patience), after which the ring counts as broken.
 */
#ifndef FASTRING_RING_HEADTAIL_H
#define FASTRING_RING_HEADTAIL_H

#include "fastring/ring_types.h"

/* One side, and what it has to know of the other. */
struct fr_ends {
    fr_atomic32 *tail, *head, *other_tail;
    fr_atomic64 *tail_pair, *head_pair;
    struct fr_side *side;
    uint32_t slots;         /* a producer's first lap is free: what it may be ahead of the consumers' tail */
};

static inline struct fr_ends fr_producers(struct fr_ring *r) {
    struct fr_ends ends = {r->write_index, r->write_head, r->read_index, r->write_pair, r->write_head_pair, &r->producer, r->capacity};
    return ends;
}

static inline struct fr_ends fr_consumers(struct fr_ring *r) {
    struct fr_ends ends = {r->read_index, r->read_head, r->write_index, r->read_pair, r->read_head_pair, &r->consumer, 0};
    return ends;
}

static inline uint32_t fr_low(uint64_t pair) { return (uint32_t)pair; }
static inline uint32_t fr_high(uint64_t pair) { return (uint32_t)(pair >> 32); }
static inline uint64_t fr_pair(uint32_t low, uint32_t high) { return (uint64_t)high << 32 | low; }

/* What a side at `head` may claim at once. More than the capacity is an old head, or a broken index: FR_NONSENSE. */
enum { FR_NONSENSE = -1 };
static inline int64_t fr_there(struct fr_ring *r, const struct fr_ends *e, uint32_t head) {
    uint32_t there = e->slots + fr_load_acquire32(e->other_tail) - head; /* pairs with the other side's fr_follow: slots are done with */
    return there > r->capacity ? FR_NONSENSE : there;
}

/* mt */

static inline uint32_t fr_mt_claim(struct fr_ring *r, const struct fr_ends *e, uint32_t n, int bulk, uint32_t *start) {
    uint32_t head = fr_load_acquire32(e->head), now;
    for (uint32_t tries = 0; tries < FR_TRIES && !fr_is_broken(e->side); tries++) {
        int64_t there = fr_there(r, e, head); /* after the head: an older tail than it saw would look like a fuller ring than can be */
        uint32_t grant = there > 0 ? fr_grant((uint32_t)there, n, bulk) : 0;
        now = head;
        if (grant > 0) {
            if (fr_compare_exchange32(e->head, &now, head + grant)) {
                *start = head;
                return grant;
            }
        } else {
            now = fr_load_acquire32(e->head);
            if (now == head) return there == FR_NONSENSE ? fr_break(e->side) : 0;
        }
        head = now;
    }
    return 0;
}

static inline int fr_mt_follow(struct fr_ring *r, const struct fr_ends *e, uint32_t start, uint32_t n) {
    struct fr_patience patience = fr_patience_of(r);
    while (fr_load_acquire32(e->tail) != start) { /* acquired, so that the release below hands on the others' items, too */
        if (!fr_wait_a_little(&patience)) return 0;
    }
    fr_store_release32(e->tail, start + n);
    return 1;
}

/* rts: a word is a position (low) and a count of claims (high). */

static inline uint32_t fr_rts_claim(struct fr_ring *r, const struct fr_ends *e, uint32_t n, int bulk, uint32_t *start) {
    struct fr_patience patience = fr_patience_of(r);
    uint64_t head = fr_load_acquire64(e->head_pair), now;
    for (uint32_t tries = 0; tries < FR_TRIES && !fr_is_broken(e->side); tries++) {
        while (fr_low(head) - fr_low(fr_load_acquire64(e->tail_pair)) > r->distance) { /* only how far: relaxed would do */
            if (!fr_wait_a_little(&patience)) return fr_give_up(e->side);
            head = fr_load_acquire64(e->head_pair);
        }
        int64_t there = fr_there(r, e, fr_low(head));
        uint32_t grant = there > 0 ? fr_grant((uint32_t)there, n, bulk) : 0;
        now = head;
        if (grant > 0) {
            if (fr_compare_exchange64(e->head_pair, &now, fr_pair(fr_low(head) + grant, fr_high(head) + 1))) {
                *start = fr_low(head);
                return grant;
            }
        } else {
            now = fr_load_acquire64(e->head_pair);
            if (now == head) return there == FR_NONSENSE ? fr_break(e->side) : 0;
        }
        head = now;
    }
    return 0;
}

static inline int fr_rts_follow(const struct fr_ends *e) {
    uint64_t tail = fr_load_acquire64(e->tail_pair); /* before the head: whoever finished before us has seen its own claim */
    for (uint32_t tries = 0; tries < FR_TRIES; tries++) {
        uint64_t head = fr_load_acquire64(e->head_pair); /* relaxed would do: who is last has seen all claims by way of the tail */
        uint32_t count = fr_high(tail) + 1;
        if (fr_compare_exchange64(e->tail_pair, &tail, fr_pair(count == fr_high(head) ? fr_low(head) : fr_low(tail), count))) return 1;
    }
    return 0;
}

/* hts: a word is a tail (low) and a head (high). */

static inline uint32_t fr_hts_claim(struct fr_ring *r, const struct fr_ends *e, uint32_t n, int bulk, uint32_t *start) {
    struct fr_patience patience = fr_patience_of(r);
    uint64_t word = fr_load_acquire64(e->tail_pair);
    for (uint32_t tries = 0; tries < FR_TRIES && !fr_is_broken(e->side); tries++) {
        while (fr_low(word) != fr_high(word)) {
            if (!fr_wait_a_little(&patience)) return fr_give_up(e->side);
            word = fr_load_acquire64(e->tail_pair);
        }
        uint32_t head = fr_high(word);
        int64_t there = fr_there(r, e, head);
        uint32_t grant = there > 0 ? fr_grant((uint32_t)there, n, bulk) : 0;
        uint64_t now = word;
        if (grant > 0) {
            if (fr_compare_exchange64(e->tail_pair, &now, fr_pair(head, head + grant))) {
                *start = head;
                return grant;
            }
        } else {
            now = fr_load_acquire64(e->tail_pair);
            if (now == word) return there == FR_NONSENSE ? fr_break(e->side) : 0;
        }
        word = now;
    }
    return 0;
}

/* The first n of what was claimed from `start` are done with; the rest is given up. */
static inline int fr_hts_follow(const struct fr_ends *e, uint32_t start, uint32_t n) {
    fr_store_release64(e->tail_pair, fr_pair(start + n, start + n));
    return 1;
}

#define fr_mt_finish(r, e, start, n) fr_mt_follow(r, e, start, n)
#define fr_rts_finish(r, e, start, n) fr_rts_follow(e)
#define fr_hts_finish(r, e, start, n) fr_hts_follow(e, start, n)

#define FR_HEADTAIL_OPERATIONS(S)                                                                             \
    static inline uint32_t fr_##S##_enqueue(struct fr_ring *r, const uint64_t *items, uint32_t n, int bulk) { \
        struct fr_ends e = fr_producers(r);                                                                   \
        uint32_t start = 0;                                                                                   \
        n = n ? fr_##S##_claim(r, &e, n, bulk, &start) : 0;                                                   \
        if (n == 0) return 0;                                                                                 \
        fr_items_in(r, start, items, n);                                                                      \
        return fr_##S##_finish(r, &e, start, n) ? n : fr_give_up(e.side);                                     \
    }                                                                                                         \
    static inline uint32_t fr_##S##_dequeue(struct fr_ring *r, uint64_t *items, uint32_t n, int bulk) {       \
        struct fr_ends e = fr_consumers(r);                                                                   \
        uint32_t start = 0;                                                                                   \
        n = n ? fr_##S##_claim(r, &e, n, bulk, &start) : 0;                                                   \
        if (n == 0) return 0;                                                                                 \
        fr_items_out(r, start, items, n);                                                                     \
        return fr_##S##_finish(r, &e, start, n) ? n : fr_give_up(e.side);                                     \
    }

FR_HEADTAIL_OPERATIONS(mt)
FR_HEADTAIL_OPERATIONS(rts)
FR_HEADTAIL_OPERATIONS(hts)

#endif
