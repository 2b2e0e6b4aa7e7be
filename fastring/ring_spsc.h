/* One producer, one consumer, two indexes: `lamport`, `cached` and `batched`.
 *
 *   lamport   each operation looks at the other side's index (Lamport 1977)
 *   cached    each side keeps what it last saw of the other, and looks again only when that is not enough (rigtorp's SPSCQueue)
 *   batched   and tells its own index only every `batch` items, at a flush, or when it would have to wait (MCRingBuffer)
 *
 * An index of the peer is believed only between this side's own and the capacity, and never backwards.
 */
#ifndef FASTRING_RING_SPSC_H
#define FASTRING_RING_SPSC_H

#include "fastring/ring_types.h"

/* Read the consumer's index; return the free slots, 0 if the index is impossible. */
static inline uint32_t fr_look_for_room(struct fr_ring *r) {
    struct fr_side *p = &r->producer;
    uint32_t read = fr_load_acquire32(r->read_index), used = p->index - read; /* pairs with fr_give_back: what was in the slots is read */
    if (fr_is_broken(p)) return 0;
    if (used > r->capacity || used > p->index - p->other) return fr_break(p); /* ahead of us, or back again */
    p->other = read;
    return r->capacity - used;
}

/* Read the producer's index; return the items there are, 0 if the index is impossible. */
static inline uint32_t fr_look_for_items(struct fr_ring *r) {
    struct fr_side *c = &r->consumer;
    uint32_t write = fr_load_acquire32(r->write_index), used = write - c->index; /* pairs with fr_publish: the items are there */
    if (fr_is_broken(c)) return 0;
    if (used > r->capacity || used < c->other - c->index) return fr_break(c); /* too far ahead, or back again */
    c->other = write;
    return used;
}

static inline void fr_publish(struct fr_ring *r) {
    r->producer.published = r->producer.index;
    fr_store_release32(r->write_index, r->producer.index); /* the items are out before their index: fr_look_for_items */
}

static inline void fr_give_back(struct fr_ring *r) {
    r->consumer.published = r->consumer.index;
    fr_store_release32(r->read_index, r->consumer.index); /* the slots are read before they are free: fr_look_for_room */
}

static inline uint32_t fr_cached_room(struct fr_ring *r, uint32_t n) {
    uint32_t room = r->capacity - (r->producer.index - r->producer.other);
    return room >= n ? room : fr_look_for_room(r);
}

static inline uint32_t fr_cached_items(struct fr_ring *r, uint32_t n) {
    uint32_t there = r->consumer.other - r->consumer.index;
    return there >= n ? there : fr_look_for_items(r);
}

static inline void fr_cached_commit(struct fr_ring *r, uint32_t n) {
    r->producer.index += n;
    fr_publish(r);
}

static inline void fr_cached_release(struct fr_ring *r, uint32_t n) {
    r->consumer.index += n;
    fr_give_back(r);
}

static inline uint32_t fr_lamport_room(struct fr_ring *r, uint32_t n) {
    (void)n;
    return fr_look_for_room(r);
}

static inline uint32_t fr_lamport_items(struct fr_ring *r, uint32_t n) {
    (void)n;
    return fr_look_for_items(r);
}

#define fr_lamport_commit fr_cached_commit
#define fr_lamport_release fr_cached_release

static inline void fr_batched_flush(struct fr_ring *r) {
    if (r->producer.published != r->producer.index) fr_publish(r);
}

static inline void fr_batched_flush_reads(struct fr_ring *r) {
    if (r->consumer.published != r->consumer.index) fr_give_back(r);
}

/* A side that would have to wait tells what it has kept to itself: else both could wait for each other. */
static inline uint32_t fr_batched_room(struct fr_ring *r, uint32_t n) {
    uint32_t room = fr_cached_room(r, n);
    if (room < n) fr_batched_flush(r);
    return room;
}

static inline uint32_t fr_batched_items(struct fr_ring *r, uint32_t n) {
    uint32_t there = fr_cached_items(r, n);
    if (there < n) fr_batched_flush_reads(r);
    return there;
}

static inline void fr_batched_commit(struct fr_ring *r, uint32_t n) {
    r->producer.index += n;
    if (r->producer.index - r->producer.published >= r->batch) fr_publish(r);
}

static inline void fr_batched_release(struct fr_ring *r, uint32_t n) {
    r->consumer.index += n;
    fr_store_relaxed32(r->read_head, r->consumer.index); /* nobody looks, but who goes on for a killed consumer: these were taken */
    if (r->consumer.index - r->consumer.published >= r->batch) fr_give_back(r);
}

#define FR_SPSC_OPERATIONS(S)                                                                                 \
    static inline uint32_t fr_##S##_enqueue(struct fr_ring *r, const uint64_t *items, uint32_t n, int bulk) { \
        n = fr_grant(fr_##S##_room(r, n), n, bulk);                                                           \
        if (n == 0) return 0;                                                                                 \
        fr_items_in(r, r->producer.index, items, n);                                                          \
        fr_##S##_commit(r, n);                                                                                \
        return n;                                                                                             \
    }                                                                                                         \
    static inline uint32_t fr_##S##_dequeue(struct fr_ring *r, uint64_t *items, uint32_t n, int bulk) {       \
        n = fr_grant(fr_##S##_items(r, n), n, bulk);                                                          \
        if (n == 0) return 0;                                                                                 \
        fr_items_out(r, r->consumer.index, items, n);                                                         \
        fr_##S##_release(r, n);                                                                               \
        return n;                                                                                             \
    }

FR_SPSC_OPERATIONS(lamport)
FR_SPSC_OPERATIONS(cached)
FR_SPSC_OPERATIONS(batched)

/* One item of 8 bytes, for callers that inline it. */
static inline int fr_cached_enqueue_one(struct fr_ring *r, uint64_t item) {
    if (r->producer.index - r->producer.other >= r->capacity && fr_look_for_room(r) == 0) return 0;
    fr_units_in(r->slots + (r->producer.index & r->mask), &item, 1);
    fr_cached_commit(r, 1);
    return 1;
}

static inline int fr_cached_dequeue_one(struct fr_ring *r, uint64_t *item) {
    if (r->consumer.index == r->consumer.other && fr_look_for_items(r) == 0) return 0;
    fr_units_out(item, r->slots + (r->consumer.index & r->mask), 1);
    fr_cached_release(r, 1);
    return 1;
}

#endif
