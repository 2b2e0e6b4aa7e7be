/* What a ring is made of: the struct each process keeps of it, and the helpers all strategies share.
 *
 * The strategies are C headers so that the lines which run are also the lines which a model checker explores: tests/model/relacy compiles
 * them with atomics of its own (FASTRING_MODEL). Everything shared goes through atomic.h; everything else in struct fr_ring is private to
 * one process, and nothing that a peer writes is used before it is masked or bounded.
 */
#ifndef FASTRING_RING_TYPES_H
#define FASTRING_RING_TYPES_H

#include <stdint.h>
#include <string.h>

#ifdef FASTRING_MODEL
#include "seam.h"
#else
#include "fastring/atomic.h"
#include "fastring/ring_patience.h"
typedef uint32_t fr_atomic32;
typedef uint64_t fr_atomic64;
typedef uint32_t fr_own32; /* not shared, or one thread's at a time */
typedef uint64_t fr_unit;  /* what items are made of: one or two */
/* n is not 0. One item is a load and a store: a call to copy it costs several times as much. */
static inline void fr_units(uint64_t *to, const uint64_t *from, uint32_t n) {
    if (n > 2) {
        memcpy(to, from, n * sizeof *to);
        return;
    }
    to[0] = from[0];
    if (n == 2) to[1] = from[1];
}
static inline void fr_units_in(fr_unit *to, const uint64_t *from, uint32_t n) { fr_units(to, from, n); }
static inline void fr_units_out(uint64_t *to, const fr_unit *from, uint32_t n) { fr_units(to, from, n); }
#endif

#define FR_LINE 128 /* two cache lines: the prefetcher fetches pairs */
#define FR_TRIES 65536 /* of a compare-and-swap that others keep winning: then the ring counts as full, or empty, this time */

/* One side's own truth, and its last look at the other side. Where several share a side, only `broken` and `breaks` are used. */
struct fr_side {
    fr_own32 index;       /* where this side goes on: of all items ever, modulo 2^32 */
    fr_own32 other;       /* the other side's index, as last seen */
    fr_own32 published;   /* how far the other side has been told */
    fr_own32 reserved;    /* items handed out by reserve or peek, and neither committed nor released yet */
    fr_own32 reserved_at; /* from which index on: they are void once this side went on without them */
    fr_atomic32 broken;   /* an impossible value was seen: nothing goes through until a reset */
    fr_atomic32 breaks;   /* how often that happened */
} __attribute__((aligned(FR_LINE)));

struct fr_ring {
    fr_unit *slots;
    fr_atomic32 *write_index; /* what consumers look at: all before it is there to be read. headtail: the tails */
    fr_atomic32 *read_index;
    fr_atomic32 *write_head; /* headtail: what producers have claimed */
    fr_atomic32 *read_head;
    fr_atomic64 *write_pair; /* headtail, RTS and HTS: the same words, a tail and what goes with it in one access */
    fr_atomic64 *read_pair;
    fr_atomic64 *write_head_pair;
    fr_atomic64 *read_head_pair;
    fr_atomic32 *lock;
    uint32_t capacity, mask;
    uint32_t units;     /* of 8 bytes, in an item */
    uint32_t stride;    /* units from one slot to the next: one more where each has a sequence number */
    uint32_t batch;     /* batched: items between two publications */
    uint32_t looks;     /* lamport: at the other side's index, each time */
    uint32_t distance;  /* headtail, RTS: how far a head may be ahead of its tail */
    int64_t patience;   /* ns to wait for a thread that has begun and does not finish */
    struct fr_side producer;
    struct fr_side consumer;
};

/* A strategy's operations, for who chooses one while it runs (ring_operations.h). */
struct fr_ring_operations {
    uint32_t (*enqueue_bulk)(struct fr_ring *, const uint64_t *, uint32_t);
    uint32_t (*enqueue_burst)(struct fr_ring *, const uint64_t *, uint32_t);
    uint32_t (*dequeue_bulk)(struct fr_ring *, uint64_t *, uint32_t);
    uint32_t (*dequeue_burst)(struct fr_ring *, uint64_t *, uint32_t);
    fr_unit *(*reserve)(struct fr_ring *, uint32_t); /* NULL: not in place */
    uint32_t (*commit)(struct fr_ring *, uint32_t);
    fr_unit *(*peek)(struct fr_ring *, uint32_t);
    uint32_t (*release)(struct fr_ring *, uint32_t);
};

static inline struct fr_patience fr_patience_of(const struct fr_ring *r) {
    struct fr_patience patience = {r->patience, 0, 0};
    return patience;
}

enum { FR_BURST = 0, FR_BULK = 1 }; /* as many as there is room for; all or none */

static inline uint32_t fr_least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static inline int fr_is_broken(struct fr_side *side) { return fr_load_relaxed32(&side->broken) != 0; }

enum fr_why_broken { FR_NOT_BROKEN, FR_IMPOSSIBLE, FR_IMPATIENT };

static inline uint32_t fr_break_for(struct fr_side *side, enum fr_why_broken why) {
    fr_store_relaxed32(&side->broken, why);
    fr_fetch_add32(&side->breaks, 1);
    return 0;
}

/* What the other side published is impossible. */
static inline uint32_t fr_break(struct fr_side *side) { return fr_break_for(side, FR_IMPOSSIBLE); }

/* Somebody has begun, and did not finish in time. */
static inline uint32_t fr_give_up(struct fr_side *side) { return fr_break_for(side, FR_IMPATIENT); }

/* Of `there` items or slots, how many an operation for n gets. */
static inline uint32_t fr_grant(uint32_t there, uint32_t n, int bulk) {
    if (there >= n) return n;
    return bulk ? 0 : there;
}

/* Items to and from slots that lie side by side. */
static inline void fr_items_in(struct fr_ring *r, uint32_t start, const uint64_t *items, uint32_t n) {
    uint32_t slot = start & r->mask, first = fr_least(n, r->capacity - slot), units = r->units;
    fr_units_in(r->slots + (uint64_t)slot * units, items, first * units);
    if (first < n) fr_units_in(r->slots, items + (uint64_t)first * units, (n - first) * units);
}

static inline void fr_items_out(struct fr_ring *r, uint32_t start, uint64_t *items, uint32_t n) {
    uint32_t slot = start & r->mask, first = fr_least(n, r->capacity - slot), units = r->units;
    fr_units_out(items, r->slots + (uint64_t)slot * units, first * units);
    if (first < n) fr_units_out(items + (uint64_t)first * units, r->slots, (n - first) * units);
}

#endif
