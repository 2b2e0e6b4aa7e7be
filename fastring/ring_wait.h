/* Parking at a ring: arm, look again, sleep; and whoever publishes looks whether somebody is armed.
 *
 * Two stores and two loads, each side a store and then a load of what the other stored: without a full fence in each both may miss the
 * other, and the sleeper sleeps on (the same as a queue's stop and wake, txq.pxd). Futexes sleep on the word; eventfds are written.
 *
 * The word is odd while it is armed. Who rings makes it even again by adding one, so that it never comes back to the value that a sleeper saw
 * before it looked: armed anew by another, it would otherwise hold a futex that had been rung. It is disarmed by who rings alone: a sleeper
 * that needs no bell any more may not be the only one. An eventfd has no such value, and who reads it takes the bell from the others: it is
 * for one sleeper at a time on each side; others sleep on until their time is up, or the next bell.
 */
#ifndef FASTRING_RING_WAIT_H
#define FASTRING_RING_WAIT_H

#include "fastring/ring_types.h"

#ifndef FASTRING_MODEL
#include "fastring/ring_kernel.h"
#endif

struct fr_bell { /* one side's, private; the word is shared */
    fr_atomic32 *armed;
    int eventfd; /* or -1: a futex */
};

/* After a publication. */
static inline void fr_ring_bell(struct fr_bell *bell) {
    fr_fence_full(); /* pairs with fr_arm: either we see it armed, or it sees what was published */
    uint32_t armed = fr_load_relaxed32(bell->armed);
    if (armed % 2 == 0 || !fr_compare_exchange32(bell->armed, &armed, armed + 1)) return; /* else another has rung: who slept looks again */
    if (bell->eventfd >= 0)
        fr_eventfd_write(bell->eventfd);
    else
        fr_futex_wake(bell->armed);
}

/* What the word holds until the bell rings. */
static inline uint32_t fr_arm(struct fr_bell *bell) {
    uint32_t armed = fr_fetch_or32(bell->armed, 1) | 1;
    fr_fence_full(); /* pairs with fr_ring_bell; the caller looks at the ring again after it */
    return armed;
}

/* Items there, or slots free, as everybody sees it. slotflag's write index comes after its items, and may be behind what was read of them. */
static inline uint32_t fr_ready(struct fr_ring *r, int items) {
    uint32_t read = fr_load_acquire32(r->read_index), used = fr_load_acquire32(r->write_index) - read;
    used = used > INT32_MAX ? 0 : fr_least(used, r->capacity);
    return items ? used : r->capacity - used;
}

/* Sleep until the bell rings, or for so long, unless n are ready; errno's value, or 0. */
static inline int fr_park(struct fr_ring *r, struct fr_bell *bell, int items, uint32_t n, int64_t nanoseconds) {
    uint32_t armed = fr_arm(bell);
    if (fr_ready(r, items) >= n) return 0; /* published before it was armed */
    return bell->eventfd < 0 ? fr_futex_wait(bell->armed, armed, nanoseconds) : fr_eventfd_wait(bell->eventfd, nanoseconds);
}

#endif
