/* DPDK's rte_ring, single producer and single consumer, between two pinned threads: the peer of bench/peers/ring_threads.pyx.
 *
 *   rte_ring CAPACITY BULK ITEMS CPU_PRODUCER CPU_CONSUMER      prints nanoseconds per item
 *
 * The ring lies in plain memory, without EAL or huge pages. All its slots are usable (RING_F_EXACT_SZ would round up instead).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <rte_pause.h>
#include <rte_ring.h>

enum { MAX_BULK = 1024 };

static struct rte_ring *ring;
static unsigned bulk;
static uint64_t items;
static atomic_int ready;

static void pin_and_meet(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0) {
        fprintf(stderr, "cannot pin a thread to CPU %d\n", cpu);
        exit(1);
    }
    atomic_fetch_add(&ready, 1);
    while (atomic_load(&ready) < 2) rte_pause();
}

static void *produce(void *cpu) {
    uint64_t batch[MAX_BULK];
    pin_and_meet(*(int *)cpu);
    for (uint64_t sent = 0; sent < items; sent += bulk) {
        for (unsigned i = 0; i < bulk; i++) batch[i] = sent + i;
        while (!rte_ring_sp_enqueue_bulk(ring, (void **)batch, bulk, NULL)) rte_pause();
    }
    return NULL;
}

static void *consume(void *cpu) {
    uint64_t batch[MAX_BULK], sum = 0;
    pin_and_meet(*(int *)cpu);
    for (uint64_t got = 0; got < items; got += bulk) {
        while (!rte_ring_sc_dequeue_bulk(ring, (void **)batch, bulk, NULL)) rte_pause();
        for (unsigned i = 0; i < bulk; i++) sum += batch[i];
    }
    return (void *)(uintptr_t)sum;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc != 6) return fprintf(stderr, "usage: rte_ring CAPACITY BULK ITEMS CPU_PRODUCER CPU_CONSUMER\n"), 2;
    unsigned capacity = (unsigned)atoi(argv[1]);
    bulk = (unsigned)atoi(argv[2]);
    int cpus[2] = {atoi(argv[4]), atoi(argv[5])};
    if (bulk == 0 || bulk > MAX_BULK) return fprintf(stderr, "BULK is 1 to %d\n", MAX_BULK), 2;
    items = strtoull(argv[3], NULL, 10) / bulk * bulk;

    ssize_t size = rte_ring_get_memsize(capacity);
    if (size < 0) return fprintf(stderr, "CAPACITY is a power of two\n"), 2;
    ring = aligned_alloc(4096, ((size_t)size + 4095) / 4096 * 4096);
    if (ring == NULL || rte_ring_init(ring, "bench", capacity, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0) return 1;

    pthread_t producer, consumer;
    void *sum;
    double start = now();
    pthread_create(&producer, NULL, produce, &cpus[0]);
    pthread_create(&consumer, NULL, consume, &cpus[1]);
    pthread_join(producer, NULL);
    pthread_join(consumer, &sum);
    double elapsed = now() - start;
    if ((uint64_t)(uintptr_t)sum != items * (items - 1) / 2) return fprintf(stderr, "items were lost\n"), 1;
    printf("%.4f\n", elapsed / items);
    return 0;
}
