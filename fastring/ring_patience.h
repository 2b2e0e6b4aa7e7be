/* Waiting for another thread to finish what it has begun: spin, then yield, and not for ever.
 *
 * The wait is short if the other runs. It may be preempted (yield: on one core it can only go on if we stop), it may have been killed, or a
 * peer may lie: after the ring's patience the caller is told to give up.
 */
#ifndef FASTRING_RING_PATIENCE_H
#define FASTRING_RING_PATIENCE_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fastring/atomic.h"

struct fr_patience {
    int64_t nanoseconds;
    int64_t until; /* 0: has not begun */
    uint32_t rounds;
};

static inline int64_t fr_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* Wait a moment; 0 when it has been long enough. */
static inline int fr_wait_a_little(struct fr_patience *p) {
    if (++p->rounds < 200) {
        fr_cpu_relax();
        return 1;
    }
    sched_yield();
    if (p->rounds % 256) return 1;
    if (p->until == 0) p->until = fr_now() + p->nanoseconds;
    return fr_now() < p->until;
}

static __thread uint32_t fr_self_cached; /* gettid is a system call */
static inline void fr_forget_self(void) { fr_self_cached = 0; }

/* This thread's number. A module that uses it calls pthread_atfork(NULL, NULL, fr_forget_self): a child's thread has a number of its own. */
static inline uint32_t fr_self(void) {
    if (fr_self_cached == 0) fr_self_cached = (uint32_t)syscall(SYS_gettid);
    return fr_self_cached;
}

/* Is that thread gone? Asked now and then only: the answer costs a system call. */
static inline int fr_is_gone(struct fr_patience *p, uint32_t thread) {
    if (p->rounds % 256 || thread == 0) return 0;
    return (int32_t)thread < 0 || (syscall(SYS_tkill, thread, 0) != 0 && errno == ESRCH);
}

#endif
