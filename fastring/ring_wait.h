/* Parking at a ring: arm, look again, sleep; and whoever publishes looks whether somebody is armed.
 *
 * Two stores and two loads, each side a store and then a load of what the other stored: without a full fence in each both may miss the
 * other, and the sleeper sleeps on (the same as a queue's stop and wake, txq.pxd). A word that is armed holds one, and is cleared by who
 * wakes alone: a sleeper that needs no bell any more may not be the only one. Futexes sleep on the word; eventfds are written.
 */
#ifndef FASTRING_RING_WAIT_H
#define FASTRING_RING_WAIT_H

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fastring/ring_types.h"

struct fr_bell { /* one side's, private; the word is shared */
    fr_atomic32 *armed;
    int eventfd; /* or -1: a futex */
};

/* After a publication. */
static inline void fr_ring_bell(struct fr_bell *bell) {
    fr_fence_full(); /* pairs with fr_arm: either we see it armed, or it sees what was published */
    if (fr_load_relaxed32(bell->armed) == 0 || fr_exchange32(bell->armed, 0) == 0) return;
    if (bell->eventfd >= 0) {
        uint64_t one = 1;
        ssize_t ignored = write(bell->eventfd, &one, sizeof one); /* EAGAIN: it is readable as it is */
        (void)ignored;
    } else {
        syscall(SYS_futex, bell->armed, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
    }
}

static inline void fr_arm(struct fr_bell *bell) {
    fr_store_relaxed32(bell->armed, 1);
    fr_fence_full(); /* pairs with fr_ring_bell; the caller looks at the ring again after it */
}

/* Sleep until the bell rings, or for so long; errno's value, or 0. */
static inline int fr_park(struct fr_bell *bell, int64_t nanoseconds) {
    struct timespec t = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    if (bell->eventfd < 0) return syscall(SYS_futex, bell->armed, FUTEX_WAIT, 1, &t, NULL, 0) == 0 ? 0 : errno;
    struct pollfd readable = {bell->eventfd, POLLIN, 0};
    int ready = ppoll(&readable, 1, &t, NULL);
    uint64_t count;
    if (ready > 0 && read(bell->eventfd, &count, sizeof count) < 0) return errno;
    return ready < 0 ? errno : 0;
}

#endif
