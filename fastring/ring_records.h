/* Records of any length in a ring of 8-byte units, between one producer and one consumer.
 *
 * A record is a unit with its length, and its bytes in as many units as they need; it never crosses the end of the slots, which is then
 * marked as skipped. A length is read once, and believed only as far as units were published.
 */
#ifndef FASTRING_RING_RECORDS_H
#define FASTRING_RING_RECORDS_H

#include "fastring/ring_spsc.h"

#define FR_SKIP UINT64_MAX /* in the place of a length: go on at the first slot */

static inline uint32_t fr_units_of(uint32_t length) { return 1 + (uint32_t)(((uint64_t)length + 7) / 8); }

/* Half of the slots: a longer one, begun in the middle, would never fit before or after the end. */
static inline uint64_t fr_longest_record(uint32_t capacity) { return capacity < 4 ? 0 : (capacity / 2 - 1) * 8ull; }

static inline uint32_t fr_units_room(struct fr_ring *r, uint32_t n) {
    return r->batch ? fr_batched_room(r, n) : r->looks ? fr_lamport_room(r, n) : fr_cached_room(r, n);
}

static inline uint32_t fr_units_there(struct fr_ring *r, uint32_t n) {
    return r->batch ? fr_batched_items(r, n) : r->looks ? fr_lamport_items(r, n) : fr_cached_items(r, n);
}

/* Room for a record, or NULL. Reserved: with what is skipped before it. */
static inline uint8_t *fr_record_reserve(struct fr_ring *r, uint32_t length) {
    struct fr_side *p = &r->producer;
    uint32_t units = fr_units_of(length), slot = p->index & r->mask, to_end = r->capacity - slot, skip = units > to_end ? to_end : 0;
    p->reserved = 0;
    if (length > fr_longest_record(r->capacity) || fr_units_room(r, skip + units) < skip + units) return NULL;
    if (skip) r->slots[slot] = FR_SKIP;
    p->reserved = skip + units;
    return (uint8_t *)(r->slots + (skip ? 0 : slot) + 1);
}

/* The record that was reserved has `length` bytes, no more than reserved. Not yet published. */
static inline void fr_record_put(struct fr_ring *r, uint32_t length) {
    struct fr_side *p = &r->producer;
    uint32_t slot = p->index & r->mask, skip = slot + p->reserved > r->capacity ? r->capacity - slot : 0;
    r->slots[skip ? 0 : slot] = length;
    p->index += skip + fr_units_of(length);
    p->reserved = 0;
}

static inline void fr_records_publish(struct fr_ring *r) {
    if (r->producer.index - r->producer.published >= r->batch) fr_publish(r);
}

/* The oldest record, or NULL. Reserved: its units, with what is skipped before it. */
static inline uint8_t *fr_record_peek(struct fr_ring *r, uint32_t *length) {
    struct fr_side *c = &r->consumer;
    uint32_t slot = c->index & r->mask, skip = 0, there = fr_units_there(r, 1);
    uint64_t said;
    c->reserved = 0;
    if (there == 0) return NULL;
    said = r->slots[slot];
    if (said == FR_SKIP) {
        skip = r->capacity - slot;
        if (there <= skip) return fr_break(c), NULL; /* both were published at once */
        slot = 0;
        said = r->slots[slot];
    }
    if (said > fr_longest_record(r->capacity) || fr_units_of((uint32_t)said) > there - skip || fr_units_of((uint32_t)said) > r->capacity - slot)
        return fr_break(c), NULL;
    c->reserved = skip + fr_units_of((uint32_t)said);
    *length = (uint32_t)said;
    return (uint8_t *)(r->slots + slot + 1);
}

/* The record that was looked at is done with. Not yet given back. */
static inline void fr_record_take(struct fr_ring *r) {
    r->consumer.index += r->consumer.reserved;
    r->consumer.reserved = 0;
    if (r->batch) fr_store_relaxed32(r->read_head, r->consumer.index); /* as in fr_batched_release */
}

static inline void fr_records_give_back(struct fr_ring *r) {
    if (r->consumer.index - r->consumer.published >= r->batch) fr_give_back(r);
}

#endif
