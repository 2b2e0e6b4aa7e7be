/* The loops that every ring from elsewhere runs in: those of fastring/ring_loops.pyx, so that only the rings differ.
 *
 * A peer defines, before it includes this file (C or C++):
 *   PEER                                             its name
 *   struct peer_ring;
 *   peer_ring_new(capacity) -> struct peer_ring *    in memory of shared_alloc, if two processes can use it
 *   peer_push_one(ring, item), peer_pop_one(ring, &item) -> whether it did
 *   peer_push(ring, items, n), peer_pop(ring, items, n) -> how many: 0 or n where it does bulks, up to n where it does bursts
 *   PEER_THREADS_ONLY                                if two processes cannot use it
 * Compiled with ITEM_WORDS=2 items are of 16 bytes: those of peer_push and peer_pop, and there are no single ones.
 *
 *   PROGRAM mode=throughput capacity=1024 bulk=32 items=1000000 producers=1 consumers=1 processes=0 spins=0 cpus=0,1
 *
 * prints one line of JSON. Modes:
 *   throughput   each producer pushes its share of 0, 1, ... items - 1 in bulks, each consumer pops its share: nanoseconds an item
 *   roundtrip    one item there through a ring and back through another, `items` times: nanoseconds of each, as percentiles
 *   single       one thread pushes a bulk and pops it
 * processes=1 forks for each worker instead of starting a thread. Workers are pinned to `cpus` in turn. A loop that has to wait says so
 * to the core (pause); with spins=N every Nth time it lets others have the core, for more workers than cores.
 */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef ITEM_WORDS
#define ITEM_WORDS 1 /* of 8 bytes */
#endif

enum { MAX_BULK = 1024, MAX_WORKERS = 16, SHARED_BYTES = 64 << 20, LINE = 128 };

/* --- what all workers see, threads or processes */

typedef struct {
    uint64_t sum, begun, ended; /* of items popped; in nanoseconds */
    uint32_t wrong;             /* items that came back as others */
    char rest[LINE - 28];
} worker_result;

typedef struct {
    uint32_t ready;
    char rest[LINE - 4];
    worker_result results[MAX_WORKERS];
} shared_state;

static char *shared_memory;
static size_t shared_used;

/* Memory that a fork shares; never given back. */
static inline void *shared_alloc(size_t bytes) {
    size_t at = (shared_used + LINE - 1) / LINE * LINE;
    if (at + bytes > SHARED_BYTES) {
        fprintf(stderr, "the ring is too large: %zu bytes\n", bytes);
        exit(2);
    }
    shared_used = at + bytes;
    return shared_memory + at;
}
