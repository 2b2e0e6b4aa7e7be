/* The kernel's part of a wait at a ring: sleeping on a word, or on an eventfd, and waking who does. */
#ifndef FASTRING_RING_KERNEL_H
#define FASTRING_RING_KERNEL_H

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static inline struct timespec fr_timespec(int64_t nanoseconds) {
    struct timespec t = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    return t;
}

static inline void fr_futex_wake(uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE, 1 << 30, NULL, NULL, 0); }

/* Sleep if the word still holds that. Each wait returns errno's value, or 0. */
static inline int fr_futex_wait(uint32_t *word, uint32_t value, int64_t nanoseconds) {
    struct timespec t = fr_timespec(nanoseconds);
    return syscall(SYS_futex, word, FUTEX_WAIT, value, &t, NULL, 0) == 0 ? 0 : errno;
}

/* A peer that has the descriptor can make it block, and fill it: so look first. Between look and write it can still do so. */
static inline void fr_eventfd_write(int fd) {
    struct pollfd writable = {fd, POLLOUT, 0};
    uint64_t one = 1;
    if (poll(&writable, 1, 0) != 1) return; /* full: it is readable as it is */
    ssize_t ignored = write(fd, &one, sizeof one);
    (void)ignored;
}

static inline int fr_eventfd_wait(int fd, int64_t nanoseconds) {
    struct timespec t = fr_timespec(nanoseconds);
    struct pollfd readable = {fd, POLLIN, 0};
    int ready = ppoll(&readable, 1, &t, NULL);
    uint64_t count;
    if (ready > 0 && read(fd, &count, sizeof count) < 0) return errno;
    return ready < 0 ? errno : 0;
}

#endif
