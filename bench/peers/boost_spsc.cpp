// Boost.Lockfree's spsc_queue with its pushes and pops of arrays, which take as many as fit.
#include "harness.h"

#include <boost/lockfree/spsc_queue.hpp>
#include <new>

#define PEER "boost spsc_queue"

// A fork sees shared memory where its parent does, so that the queue's pointer holds in both.
template <class T> struct SharedAllocator {
    using value_type = T;
    SharedAllocator() = default;
    template <class U> SharedAllocator(const SharedAllocator<U> &) {}
    T *allocate(size_t n) { return static_cast<T *>(shared_alloc(n * sizeof(T))); }
    void deallocate(T *, size_t) {}
};

struct Item {
    uint64_t words[ITEM_WORDS];
};

using Queue = boost::lockfree::spsc_queue<Item, boost::lockfree::allocator<SharedAllocator<Item>>>;

struct peer_ring {
    Queue queue;
    explicit peer_ring(unsigned capacity) : queue(capacity) {}
};

static peer_ring *peer_ring_new(unsigned capacity) { return new (shared_alloc(sizeof(peer_ring))) peer_ring(capacity); }
static inline bool peer_push_one(peer_ring *ring, uint64_t item) { return ring->queue.push(Item{{item}}); }
static inline bool peer_pop_one(peer_ring *ring, uint64_t *item) { return ring->queue.pop(*(Item *)item); }
static inline unsigned peer_push(peer_ring *ring, const uint64_t *items, unsigned n) {
    return (unsigned)ring->queue.push((const Item *)items, n);
}
static inline unsigned peer_pop(peer_ring *ring, uint64_t *items, unsigned n) { return (unsigned)ring->queue.pop((Item *)items, n); }

#include "harness_main.h"
