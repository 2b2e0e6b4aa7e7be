/* DPDK's rte_mempool, the peer of bench/peers/pool_loops.pyx.
 *
 *   rte_mempool THREADS OPS CACHE BUFFERS SIZE BULK ITEMS CPU CPU      prints nanoseconds per buffer
 *
 * THREADS is 1 (take BULK, give them back) or 2 (the first takes, an rte_ring carries them over, the second gives back). OPS is ring_mp_mc
 * or stack, what lies behind the caches of CACHE buffers, one a thread; 0 for none. Without huge pages, in memory of the process's own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <rte_pause.h>
#include <rte_ring.h>

enum { MAX_BULK = 64 };

static struct rte_mempool *pool;
static struct rte_ring *ring;
static unsigned bulk;
static uint64_t items;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void take_and_give(void) {
    void *batch[MAX_BULK];
    for (uint64_t done = 0; done < items; done += bulk) {
        if (rte_mempool_get_bulk(pool, batch, bulk) != 0) exit(1);
        rte_mempool_put_bulk(pool, batch, bulk);
    }
}

static void take(void) {
    void *batch[MAX_BULK];
    for (uint64_t done = 0; done < items; done += bulk) {
        while (rte_mempool_get_bulk(pool, batch, bulk) != 0) rte_pause();
        while (!rte_ring_sp_enqueue_bulk(ring, batch, bulk, NULL)) rte_pause();
    }
}

static int give(void *unused) {
    void *batch[MAX_BULK];
    (void)unused;
    for (uint64_t done = 0; done < items; done += bulk) {
        while (!rte_ring_sc_dequeue_bulk(ring, batch, bulk, NULL)) rte_pause();
        rte_mempool_put_bulk(pool, batch, bulk);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 10) return fprintf(stderr, "usage: rte_mempool THREADS OPS CACHE BUFFERS SIZE BULK ITEMS CPU CPU\n"), 2;
    unsigned threads = (unsigned)atoi(argv[1]), cache = (unsigned)atoi(argv[3]), count = (unsigned)atoi(argv[4]);
    bulk = (unsigned)atoi(argv[6]);
    if (bulk == 0 || bulk > MAX_BULK) return fprintf(stderr, "BULK is 1 to %d\n", MAX_BULK), 2;
    items = strtoull(argv[7], NULL, 10) / bulk * bulk;

    char cpus[32];
    snprintf(cpus, sizeof cpus, "0@%d,1@%d", atoi(argv[8]), atoi(argv[9]));
    char *eal[] = {"rte_mempool", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "128", "--lcores", cpus,
                   "--log-level", "error", "-d", "librte_mempool_ring.so", "-d", "librte_mempool_stack.so"};
    if (rte_eal_init((int)(sizeof eal / sizeof *eal), eal) < 0) return 1;
    pool = rte_mempool_create_empty("bench", count, (unsigned)atoi(argv[5]), cache, 0, SOCKET_ID_ANY, 0);
    if (pool == NULL || rte_mempool_set_ops_byname(pool, argv[2], NULL) != 0 || rte_mempool_populate_default(pool) < 0)
        return fprintf(stderr, "no mempool of %u buffers with %s\n", count, argv[2]), 1;
    ring = rte_ring_create("bench", 1024, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    if (ring == NULL) return 1;

    double start = now();
    if (threads == 1) {
        take_and_give();
    } else {
        rte_eal_remote_launch(give, NULL, 1);
        take();
        rte_eal_wait_lcore(1);
    }
    double elapsed = now() - start;
    if (rte_mempool_avail_count(pool) != count) return fprintf(stderr, "buffers were lost\n"), 1;
    printf("%.4f\n", elapsed / items);
    return 0;
}
