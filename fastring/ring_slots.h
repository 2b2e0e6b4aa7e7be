/* Ownership in the slot: `slotflag` for one producer and one consumer, `mpmc` for several of each.
 *
 * Each slot has a sequence number beside its item, as a descriptor has its DD bit: twice the position whose turn it is while it is free,
 * one more while it holds that item, and twice the position of the next lap once it is read. So item and news travel in one cache line.
 *
 *   slotflag  FastForward (Giacomoni et al. 2008), with a number where that has NULL: every 64-bit value is an item
 *   mpmc      Vyukov's bounded MPMC queue: positions are claimed with a compare-and-swap, and filled in any order
 */
#ifndef FASTRING_RING_SLOTS_H
#define FASTRING_RING_SLOTS_H

#include "fastring/ring_types.h"

#ifndef FASTRING_MODEL
static inline fr_atomic32 *fr_sequence(struct fr_ring *r, uint32_t position) {
    return (fr_atomic32 *)(r->slots + (uint64_t)(position & r->mask) * r->stride);
}
static inline fr_unit *fr_slot_item(struct fr_ring *r, uint32_t position) {
    return r->slots + (uint64_t)(position & r->mask) * r->stride + 1;
}
#endif

enum fr_slot_state { FR_SLOT_READY, FR_SLOT_NOT_YET, FR_SLOT_IMPOSSIBLE };

/* Is the slot of `position` free to be written? Not yet: it holds the item of the lap before, or waits for it. */
static inline enum fr_slot_state fr_slot_free(struct fr_ring *r, uint32_t position) {
    uint32_t sequence = fr_load_acquire32(fr_sequence(r, position)); /* pairs with fr_slots_free: the item was read */
    uint32_t behind = 2 * position - sequence;
    if (behind == 0) return FR_SLOT_READY;
    return behind == 2 * r->capacity || behind == 2 * r->capacity - 1 ? FR_SLOT_NOT_YET : FR_SLOT_IMPOSSIBLE;
}

/* Does the slot of `position` hold its item? Not yet: it is free for it, or still being read from the lap before. */
static inline enum fr_slot_state fr_slot_full(struct fr_ring *r, uint32_t position) {
    uint32_t sequence = fr_load_acquire32(fr_sequence(r, position)); /* pairs with fr_slots_in: the item is there */
    uint32_t behind = 2 * position + 1 - sequence;
    if (behind == 0) return FR_SLOT_READY;
    return behind == 1 || behind == 2 * r->capacity ? FR_SLOT_NOT_YET : FR_SLOT_IMPOSSIBLE;
}

static inline void fr_slots_in(struct fr_ring *r, uint32_t start, const uint64_t *items, uint32_t n) {
    for (uint32_t i = 0; i < n; i++, items += r->units) {
        fr_units_in(fr_slot_item(r, start + i), items, r->units);
        fr_store_release32(fr_sequence(r, start + i), 2 * (start + i) + 1); /* the item is in before it is told: fr_slot_full */
    }
}

static inline void fr_slots_copy(struct fr_ring *r, uint32_t start, uint64_t *items, uint32_t n) {
    for (uint32_t i = 0; i < n; i++, items += r->units) fr_units_out(items, fr_slot_item(r, start + i), r->units);
}

static inline void fr_slots_free(struct fr_ring *r, uint32_t start, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        fr_store_release32(fr_sequence(r, start + i), 2 * (start + i + r->capacity)); /* the item is out first: fr_slot_free */
}

/* slotflag: how many of the next n slots are ready. One producer fills them, and one consumer empties them, in order: if the last is
 * ready all are, and where they end is found by bisection. */
static inline uint32_t fr_slotflag_ready(struct fr_ring *r, struct fr_side *side, uint32_t n, int bulk,
                                         enum fr_slot_state (*state)(struct fr_ring *, uint32_t)) {
    uint32_t known = 0, beyond = n = fr_least(n, r->capacity);
    if (n == 0 || fr_is_broken(side)) return 0;
    switch (state(r, side->index + n - 1)) {
    case FR_SLOT_READY: return n;
    case FR_SLOT_IMPOSSIBLE: return fr_break(side);
    default: break;
    }
    if (bulk) return 0;
    while (known + 1 < beyond) {
        uint32_t middle = known + (beyond - known) / 2; /* the first `middle` slots: ready? */
        if (state(r, side->index + middle - 1) == FR_SLOT_READY)
            known = middle;
        else
            beyond = middle;
    }
    return known;
}

static inline uint32_t fr_slotflag_enqueue(struct fr_ring *r, const uint64_t *items, uint32_t n, int bulk) {
    struct fr_side *p = &r->producer;
    if (bulk && n > r->capacity) return 0;
    n = fr_slotflag_ready(r, p, n, bulk, fr_slot_free);
    if (n == 0) return 0;
    fr_slots_in(r, p->index, items, n);
    p->index += n;
    fr_store_relaxed32(r->write_index, p->index); /* nobody goes by it: a count for onlookers, and where a restarted producer begins to search */
    return n;
}

static inline uint32_t fr_slotflag_dequeue(struct fr_ring *r, uint64_t *items, uint32_t n, int bulk) {
    struct fr_side *c = &r->consumer;
    if (bulk && n > r->capacity) return 0;
    n = fr_slotflag_ready(r, c, n, bulk, fr_slot_full);
    if (n == 0) return 0;
    fr_slots_copy(r, c->index, items, n);
    c->index += n;
    fr_store_release32(r->read_index, c->index); /* they are taken: fr_slotflag_settle frees what a killed consumer did not. Relaxed would do */
    fr_slots_free(r, c->index - n, n);
    return n;
}

/* Take over a side, its last owner being gone: find how far it came. A producer goes by what is published, for its index came later; a
 * consumer by its index, which came before it freed the slots. */
static inline void fr_slotflag_settle(struct fr_ring *r) {
    struct fr_side *p = &r->producer, *c = &r->consumer;
    uint32_t told = fr_load_acquire32(r->write_index);
    for (uint32_t i = 0; i < r->capacity; i++, p->index++) {
        uint32_t ahead = fr_load_acquire32(fr_sequence(r, p->index)) - 2 * p->index;
        if (ahead != 1 && ahead != 2 * r->capacity) break; /* neither published nor read since */
    }
    for (uint32_t position = c->index - r->capacity; position != c->index; position++) {
        if (fr_load_acquire32(fr_sequence(r, position)) == 2 * position + 1) fr_slots_free(r, position, 1);
    }
    /* Not over a newer one: who attaches may be the consumer, and the producer at work. */
    if ((int32_t)(p->index - told) > 0) fr_compare_exchange32(r->write_index, &told, p->index);
}

/* mpmc: claim up to n positions whose slots are ready, by moving the index that all of one side share. What is ready stays so until the
 * index has passed it, so a look and a compare-and-swap are enough; what looks impossible may only be an old look at the index. */
static inline uint32_t fr_mpmc_claim(struct fr_ring *r, fr_atomic32 *index, struct fr_side *side, uint32_t n, int bulk,
                                     enum fr_slot_state (*state)(struct fr_ring *, uint32_t), uint32_t *start) {
    uint32_t limit = fr_least(n, r->capacity), position = fr_load_acquire32(index);
    if (limit == 0 || (bulk && n > r->capacity) || fr_is_broken(side)) return 0;
    for (uint32_t tries = 0; tries < FR_TRIES; tries++) {
        enum fr_slot_state last = FR_SLOT_READY;
        uint32_t there = 0, now;
        while (there < limit && (last = state(r, position + there)) == FR_SLOT_READY) there++;
        if (there == n || (!bulk && there > 0)) {
            now = position;
            if (fr_compare_exchange32(index, &now, position + there)) {
                *start = position;
                return there;
            }
        } else {
            now = fr_load_acquire32(index);
            if (now == position) {
                if (last == FR_SLOT_IMPOSSIBLE) fr_break(side);
                return 0;
            }
        }
        position = now;
    }
    return 0;
}

static inline uint32_t fr_mpmc_enqueue(struct fr_ring *r, const uint64_t *items, uint32_t n, int bulk) {
    uint32_t start;
    n = fr_mpmc_claim(r, r->write_index, &r->producer, n, bulk, fr_slot_free, &start);
    if (n > 0) fr_slots_in(r, start, items, n);
    return n;
}

static inline uint32_t fr_mpmc_dequeue(struct fr_ring *r, uint64_t *items, uint32_t n, int bulk) {
    uint32_t start;
    n = fr_mpmc_claim(r, r->read_index, &r->consumer, n, bulk, fr_slot_full, &start);
    if (n == 0) return 0;
    fr_slots_copy(r, start, items, n);
    fr_slots_free(r, start, n);
    return n;
}

#endif
