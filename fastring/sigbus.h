/* A file that shrinks under its mapping is a SIGBUS in whoever touches the pages it lost. For mappings registered here the handler puts
 * zeroes in their place and notes it, so that the reader can report the file instead of dying of it.
 *
 * The table is read in a signal handler, of any thread, at any time: no locks. A slot's `turn` counts on through free, being
 * filled, live (turn & 3 is 0, 1, 2) and never comes back to a value, so a handler sees whether what it read belongs together.
 * Included by one module only: it holds the state. Prior art: libwayland's wayland-shm.c, systemd's sigbus.c.
 */
#ifndef FASTRING_SIGBUS_H
#define FASTRING_SIGBUS_H

#include <errno.h>
#include <linux/magic.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fastring/atomic.h"

#define FR_GUARDED 1024

struct fr_guarded {
    uint64_t turn;
    uint64_t first, end; /* addresses, of whole pages */
    uint64_t page;       /* bytes: a huge one can only be replaced whole */
    uint32_t protection; /* PROT_READ, PROT_WRITE */
    uint32_t shrunk;     /* set by the handler, for as long as the slot is live */
};

static struct fr_guarded fr_guarded[FR_GUARDED];
static struct sigaction fr_sigbus_before;

/* Put zeroes where a live mapping has lost `address`: true if one had it. */
static int fr_mend(uint64_t address) {
    for (struct fr_guarded *slot = fr_guarded; slot < fr_guarded + FR_GUARDED; slot++) {
        uint64_t turn = fr_load_acquire64(&slot->turn); /* pairs with the release in fr_guard */
        uint64_t first = fr_load_acquire64(&slot->first);
        uint64_t end = fr_load_acquire64(&slot->end); /* keeps the next loads behind it */
        uint64_t page = fr_load_acquire64(&slot->page);
        uint32_t protection = fr_load_acquire32(&slot->protection);
        if ((turn & 3) != 2 || address < first || address >= end || fr_load_relaxed64(&slot->turn) != turn)
            continue;
        /* What lies behind a lost page is lost as well. */
        address &= ~(page - 1);
        if (mmap((void *)(uintptr_t)address, end - address, (int)protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            return 0;
        fr_store_relaxed32(&slot->shrunk, 1); /* the thread that faulted reads it behind a fence, others when they can */
        return 1;
    }
    return 0;
}

static void fr_on_sigbus(int number, siginfo_t *info, void *context) {
    int kept = errno;
    struct sigaction before = fr_sigbus_before;
    (void)context;
    if (info->si_code <= 0 || !fr_mend((uint64_t)(uintptr_t)info->si_addr)) {
        /* Not ours: whoever was there before gets it, once (it may hand it back: faulthandler does). */
        fr_sigbus_before = (struct sigaction){.sa_handler = SIG_DFL};
        sigaction(number, &before, NULL);
        if (info->si_code <= 0)
            raise(number); /* nothing faults again of itself */
    }
    errno = kept;
}

/* Install the handler, unless it is there: anybody may have put theirs in its place since. Any thread: two at once do the same twice. */
static void fr_catch_sigbus(void) {
    struct sigaction now, ours = {.sa_sigaction = fr_on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (sigaction(SIGBUS, NULL, &now) < 0 || ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == fr_on_sigbus))
        return;
    fr_sigbus_before = now;
    sigemptyset(&ours.sa_mask);
    sigaction(SIGBUS, &ours, NULL);
}

/* Bytes of a page of a file's mapping: hugetlbfs has larger ones. */
static uint64_t fr_page_of(int fd) {
    struct statfs told;
    if (fstatfs(fd, &told) == 0 && told.f_type == HUGETLBFS_MAGIC && told.f_bsize > 0 && !(told.f_bsize & (told.f_bsize - 1)))
        return (uint64_t)told.f_bsize;
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Guard a mapping of whole pages until fr_unguard. NULL if the table is full: it is unguarded then. Any thread. */
static struct fr_guarded *fr_guard(const void *base, uint64_t size, uint64_t page, uint32_t protection) {
    fr_catch_sigbus();
    for (struct fr_guarded *slot = fr_guarded; slot < fr_guarded + FR_GUARDED; slot++) {
        uint64_t turn = fr_load_relaxed64(&slot->turn);
        if ((turn & 3) || !fr_compare_exchange64(&slot->turn, &turn, turn + 1))
            continue; /* another's, or another thread was quicker */
        fr_fence_full(); /* a handler that sees what follows sees that the turn changed */
        fr_store_relaxed64(&slot->first, (uint64_t)(uintptr_t)base);
        fr_store_relaxed64(&slot->end, (uint64_t)(uintptr_t)base + size);
        fr_store_relaxed64(&slot->page, page);
        fr_store_relaxed32(&slot->protection, protection);
        fr_store_relaxed32(&slot->shrunk, 0);
        fr_store_release64(&slot->turn, turn + 2); /* pairs with the acquire in fr_mend */
        return slot;
    }
    return NULL;
}

/* Before the mapping goes: its addresses may be somebody else's the moment after. */
static void fr_unguard(struct fr_guarded *slot) {
    if (slot != NULL)
        fr_store_release64(&slot->turn, fr_load_relaxed64(&slot->turn) + 2);
}

#endif
