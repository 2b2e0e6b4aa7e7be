// moodycamel's ReaderWriterQueue as it comes: blocks of 512 from malloc, never more of them (try_). No bulks: loops of single items.
#include "harness.h"

#include <new>
#include <readerwriterqueue/readerwriterqueue.h>

#define PEER "moodycamel ReaderWriterQueue"
#define PEER_THREADS_ONLY 1

struct peer_ring {
    moodycamel::ReaderWriterQueue<uint64_t> queue;
    explicit peer_ring(unsigned capacity) : queue(capacity) {}
};

static peer_ring *peer_ring_new(unsigned capacity) { return new (shared_alloc(sizeof(peer_ring))) peer_ring(capacity); }
static inline bool peer_push_one(peer_ring *ring, uint64_t item) { return ring->queue.try_enqueue(item); }
static inline bool peer_pop_one(peer_ring *ring, uint64_t *item) { return ring->queue.try_dequeue(*item); }

static inline unsigned peer_push(peer_ring *ring, const uint64_t *items, unsigned n) {
    unsigned done = 0;
    while (done < n && peer_push_one(ring, items[done])) done++;
    return done;
}

static inline unsigned peer_pop(peer_ring *ring, uint64_t *items, unsigned n) {
    unsigned done = 0;
    while (done < n && peer_pop_one(ring, &items[done])) done++;
    return done;
}

#include "harness_main.h"
