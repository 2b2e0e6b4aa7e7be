/* DPDK's rte_ring: SYNC is sp (one producer, one consumer), mp, rts or hts (many of both).
 *
 * In plain memory, without EAL or huge pages. RING_F_EXACT_SZ: as many items as asked for fit, as in the other rings; without it one less.
 */
#define _GNU_SOURCE
#define ALLOW_EXPERIMENTAL_API
#include "harness.h"

#include <rte_ring.h>

#define NAME_OF(sync) #sync
#define PEER_NAMED(sync) "rte_ring " NAME_OF(sync)
#define PEER PEER_NAMED(SYNC)
#define JOIN(a, b, c) a##b##c
#define PUSH(sync) JOIN(rte_ring_, sync, _enqueue_bulk)
#define POP(sync) JOIN(rte_ring_, sync, _dequeue_bulk)
#define PUSH_WIDE(sync) JOIN(rte_ring_, sync, _enqueue_bulk_elem)
#define POP_WIDE(sync) JOIN(rte_ring_, sync, _dequeue_bulk_elem)

#define FLAGS_sp (RING_F_SP_ENQ | RING_F_SC_DEQ)
#define FLAGS_mp 0
#define FLAGS_rts (RING_F_MP_RTS_ENQ | RING_F_MC_RTS_DEQ)
#define FLAGS_hts (RING_F_MP_HTS_ENQ | RING_F_MC_HTS_DEQ)
#define FLAGS_OF(sync) JOIN(FLAGS_, sync, )
#define rte_ring_sp_dequeue_bulk rte_ring_sc_dequeue_bulk
#define rte_ring_sp_dequeue_bulk_elem rte_ring_sc_dequeue_bulk_elem
#define rte_ring_mp_dequeue_bulk rte_ring_mc_dequeue_bulk
#define rte_ring_rts_enqueue_bulk rte_ring_mp_rts_enqueue_bulk
#define rte_ring_rts_dequeue_bulk rte_ring_mc_rts_dequeue_bulk
#define rte_ring_hts_enqueue_bulk rte_ring_mp_hts_enqueue_bulk
#define rte_ring_hts_dequeue_bulk rte_ring_mc_hts_dequeue_bulk

struct peer_ring {
    struct rte_ring ring;
};

static struct peer_ring *peer_ring_new(unsigned capacity) {
    ssize_t size = rte_ring_get_memsize_elem(8 * ITEM_WORDS, 2 * capacity); /* what one more than the capacity is rounded up to */
    if (size < 0) return NULL;
    struct rte_ring *ring = (struct rte_ring *)shared_alloc((size_t)size);
    return rte_ring_init(ring, "bench", capacity, FLAGS_OF(SYNC) | RING_F_EXACT_SZ) ? NULL : (struct peer_ring *)ring;
}

static inline unsigned peer_push(struct peer_ring *ring, const uint64_t *items, unsigned n) {
#if ITEM_WORDS > 1
    return PUSH_WIDE(SYNC)(&ring->ring, items, 8 * ITEM_WORDS, n, NULL);
#else
    return PUSH(SYNC)(&ring->ring, (void *const *)items, n, NULL);
#endif
}

static inline unsigned peer_pop(struct peer_ring *ring, uint64_t *items, unsigned n) {
#if ITEM_WORDS > 1
    return POP_WIDE(SYNC)(&ring->ring, items, 8 * ITEM_WORDS, n, NULL);
#else
    return POP(SYNC)(&ring->ring, (void **)items, n, NULL);
#endif
}

/* rte_ring_enqueue is a bulk of one, too. */
static inline int peer_push_one(struct peer_ring *ring, uint64_t item) { return peer_push(ring, &item, 1); }
static inline int peer_pop_one(struct peer_ring *ring, uint64_t *item) { return peer_pop(ring, item, 1); }

#include "harness_main.h"
