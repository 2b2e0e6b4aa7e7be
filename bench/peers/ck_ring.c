/* Concurrency Kit's ck_ring: SYNC is spsc or mpmc. It has no bulks: loops of single items. One item less than its size fits. */
#define _GNU_SOURCE
#include "harness.h"

#include <ck_ring.h>

#define NAME_OF(sync) #sync
#define PEER_NAMED(sync) "ck_ring " NAME_OF(sync)
#define PEER PEER_NAMED(SYNC)
#define JOIN(a, b) a##b
#define PUSH(sync) JOIN(ck_ring_enqueue_, sync)
#define POP(sync) JOIN(ck_ring_dequeue_, sync)

struct peer_ring {
    ck_ring_t ring;
    char rest[LINE - sizeof(ck_ring_t) % LINE];
    ck_ring_buffer_t slots[];
};

static struct peer_ring *peer_ring_new(unsigned capacity) {
    if (capacity & (capacity - 1)) return NULL;
    struct peer_ring *ring = (struct peer_ring *)shared_alloc(sizeof *ring + capacity * sizeof(ck_ring_buffer_t));
    ck_ring_init(&ring->ring, capacity);
    return ring;
}

static inline int peer_push_one(struct peer_ring *ring, uint64_t item) {
    return PUSH(SYNC)(&ring->ring, ring->slots, (void *)(uintptr_t)item);
}

static inline int peer_pop_one(struct peer_ring *ring, uint64_t *item) { return POP(SYNC)(&ring->ring, ring->slots, item); }

static inline unsigned peer_push(struct peer_ring *ring, const uint64_t *items, unsigned n) {
    unsigned done = 0;
    while (done < n && peer_push_one(ring, items[done])) done++;
    return done;
}

static inline unsigned peer_pop(struct peer_ring *ring, uint64_t *items, unsigned n) {
    unsigned done = 0;
    while (done < n && peer_pop_one(ring, &items[done])) done++;
    return done;
}

#include "harness_main.h"
