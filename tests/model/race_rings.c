/* Each strategy between threads that run for a while, for ThreadSanitizer to watch: race_rings STRATEGY PRODUCERS CONSUMERS MILLISECONDS.
 * Items are numbered; 0 is returned when each came once, and each producer's in its order. ThreadSanitizer makes it 66. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "fastring/ring_operations.h"

enum { CAPACITY = 64, MOST = 8, MOST_THREADS = 4, FIRST_OF = 40 /* the producer is in an item's upper bits */ };

static const struct {
    const char *name;
    const struct fr_ring_operations *operations;
} TABLES[] = {
    {"lamport", &fr_lamport_operations}, {"cached", &fr_cached_operations}, {"batched", &fr_batched_operations},
    {"slotflag", &fr_slotflag_operations}, {"mpmc", &fr_mpmc_operations}, {"mt", &fr_mt_operations},
    {"rts", &fr_rts_operations}, {"hts", &fr_hts_operations}, {"locked", &fr_locked_operations},
};

static struct fr_ring ring;
static const struct fr_ring_operations *operations;
static uint64_t slots[2 * CAPACITY], indexes[4], lock;
static uint32_t over, done; /* the time; producers that have ended */
static uint32_t producers;
static uint64_t put[MOST_THREADS], taken[MOST_THREADS]; /* by each producer, by each consumer */
static uint32_t wrong;

/* How many of one operation; every third is in place, where there is that. */
static uint32_t push(const uint64_t *items, uint32_t n, uint32_t round) {
    fr_unit *span;
    if (round % 3 == 0) return operations->enqueue_bulk(&ring, items, n);
    if (round % 3 == 1 || operations->reserve == NULL) return operations->enqueue_burst(&ring, items, n);
    span = operations->reserve(&ring, n);
    if (span == NULL || ring.producer.reserved == 0) return 0;
    n = ring.producer.reserved;
    fr_units_in(span, items, n);
    return operations->commit(&ring, n);
}

static uint32_t pull(uint64_t *items, uint32_t n, uint32_t round) {
    fr_unit *span;
    if (round % 3 == 0) return operations->dequeue_bulk(&ring, items, n);
    if (round % 3 == 1 || operations->peek == NULL) return operations->dequeue_burst(&ring, items, n);
    span = operations->peek(&ring, n);
    if (span == NULL || ring.consumer.reserved == 0) return 0;
    n = ring.consumer.reserved;
    fr_units_out(items, span, n);
    return operations->release(&ring, n);
}

static void *produce(void *arg) {
    uint64_t self = (uint64_t)(uintptr_t)arg, next = 0, items[MOST];
    for (uint32_t round = 0; !fr_load_relaxed32(&over); round++) {
        uint32_t n = 1 + round % MOST, got;
        for (uint32_t i = 0; i < n; i++) items[i] = self << FIRST_OF | (next + i);
        got = push(items, n, round);
        next += got;
        if (got == 0) sched_yield();
    }
    if (ring.batch) fr_batched_flush(&ring);
    put[self] = next;
    fr_fetch_add32(&done, 1);
    return NULL;
}

static void *consume(void *arg) {
    uint64_t self = (uint64_t)(uintptr_t)arg, items[MOST], next[MOST_THREADS] = {0};
    uint32_t ended = 0;
    for (uint32_t round = 0;; round++) {
        uint32_t last = fr_load_acquire32(&done) == producers, got = pull(items, 1 + round % MOST, round);
        for (uint32_t i = 0; i < got; i++) {
            uint64_t producer = items[i] >> FIRST_OF, number = items[i] & ((1ull << FIRST_OF) - 1);
            if (producer >= producers || number < next[producer % MOST_THREADS]) fr_fetch_add32(&wrong, 1);
            next[producer % MOST_THREADS] = number + 1;
        }
        taken[self] += got;
        ended = last && got == 0 ? ended + 1 : 0; /* a bulk larger than what is left finds nothing: once for each size and way */
        if (ended > 3 * MOST) return NULL;
        if (got == 0) sched_yield();
    }
}

int main(int argc, char **argv) {
    pthread_t threads[2 * MOST_THREADS];
    uint32_t consumers, pairs, n = 0;
    uint64_t in = 0, out = 0;
    if (argc != 5) return 2;
    for (size_t i = 0; i < sizeof TABLES / sizeof *TABLES; i++)
        if (strcmp(TABLES[i].name, argv[1]) == 0) operations = TABLES[i].operations;
    producers = (uint32_t)atoi(argv[2]), consumers = (uint32_t)atoi(argv[3]);
    if (operations == NULL || producers > MOST_THREADS || consumers > MOST_THREADS) return 2;
    pairs = strcmp(argv[1], "slotflag") == 0 || strcmp(argv[1], "mpmc") == 0; /* a sequence number beside each item */
    ring.slots = slots;
    ring.write_index = (uint32_t *)&indexes[0], ring.read_index = (uint32_t *)&indexes[1];
    ring.write_head = (uint32_t *)&indexes[2], ring.read_head = (uint32_t *)&indexes[3];
    ring.write_pair = &indexes[0], ring.read_pair = &indexes[1], ring.write_head_pair = &indexes[2], ring.read_head_pair = &indexes[3];
    ring.lock = (uint32_t *)&lock;
    ring.capacity = CAPACITY, ring.mask = CAPACITY - 1, ring.units = 1, ring.stride = pairs ? 2 : 1;
    ring.batch = strcmp(argv[1], "batched") == 0 ? 16 : 0;
    ring.distance = 8;
    ring.patience = 60000000000;
    for (uint32_t i = 0; pairs && i < CAPACITY; i++) fr_store_relaxed32(fr_sequence(&ring, i), 2 * i);
    for (uintptr_t i = 0; i < producers; i++) pthread_create(&threads[n++], NULL, produce, (void *)i);
    for (uintptr_t i = 0; i < consumers; i++) pthread_create(&threads[n++], NULL, consume, (void *)i);
    usleep(1000 * (useconds_t)atoi(argv[4]));
    fr_store_relaxed32(&over, 1);
    for (uint32_t i = 0; i < n; i++) pthread_join(threads[i], NULL);
    for (uint32_t i = 0; i < producers; i++) in += put[i];
    for (uint32_t i = 0; i < consumers; i++) out += taken[i];
    printf("%llu in, %llu out, %u wrong\n", (unsigned long long)in, (unsigned long long)out, wrong);
    return in != out || in == 0 || wrong != 0 || ring.producer.broken || ring.consumer.broken;
}
