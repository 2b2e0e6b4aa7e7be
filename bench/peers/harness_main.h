/* The second half of harness.h: loops and main, over what a peer has defined between the two. */
#ifndef PEER_THREADS_ONLY
#define PEER_THREADS_ONLY 0
#endif

static struct {
    const char *mode, *cpus;
    uint64_t capacity, bulk, items, producers, consumers, processes, spins;
} options = {"throughput", "0,1", 1024, 32, 1000000, 1, 1, 0, 0};

static shared_state *state;
static struct peer_ring *there, *back; /* `back` in round trips alone */
static uint32_t *times;                /* of round trips, in nanoseconds */
static unsigned workers;

static void fail(const char *why) {
    fprintf(stderr, "%s: %s\n", PEER, why);
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void relax(uint64_t *waited) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
    if (options.spins && ++*waited % options.spins == 0) sched_yield();
}

static void pin(unsigned worker) {
    int cpus[MAX_WORKERS], count = 0;
    for (const char *at = options.cpus; at && *at && count < MAX_WORKERS; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        cpus[count++] = atoi(at);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpus[worker % (unsigned)count], &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) fail("cannot pin a worker to its CPU");
}

/* Returns when the last worker is here, too. */
static void meet(void) {
    uint64_t waited = 0;
    __atomic_fetch_add(&state->ready, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&state->ready, __ATOMIC_ACQUIRE) < workers) relax(&waited);
}

/* --- throughput */

static void produce(uint64_t first, uint64_t items) {
    uint64_t batch[MAX_BULK * ITEM_WORDS], waited = 0, end = first + items;
    unsigned bulk = (unsigned)options.bulk, done;
    if (bulk == 1 && ITEM_WORDS == 1) {
        for (uint64_t item = first; item < end; item++)
            while (!peer_push_one(there, item)) relax(&waited);
        return;
    }
    for (uint64_t sent = first; sent < end; sent += bulk) {
        for (unsigned i = 0; i < bulk; i++)
            for (unsigned word = 0; word < ITEM_WORDS; word++) batch[i * ITEM_WORDS + word] = word ? sent : sent + i;
        for (done = 0; (done += peer_push(there, batch + done * ITEM_WORDS, bulk - done)) < bulk;) relax(&waited);
    }
}

static uint64_t consume(uint64_t items) {
    uint64_t batch[MAX_BULK * ITEM_WORDS], waited = 0, sum = 0, item = 0, left = items;
    unsigned bulk = (unsigned)options.bulk, got;
    if (bulk == 1 && ITEM_WORDS == 1) {
        for (; left; left--) {
            while (!peer_pop_one(there, &item)) relax(&waited);
            sum += item;
        }
        return sum;
    }
    while (left) {
        while (!(got = peer_pop(there, batch, left < bulk ? (unsigned)left : bulk))) relax(&waited);
        for (unsigned i = 0; i < got; i++) sum += batch[i * ITEM_WORDS];
        left -= got;
    }
    return sum;
}

/* --- round trips */

static uint32_t ping(uint64_t rounds) {
    uint64_t waited = 0, item = 0, last = now();
    uint32_t wrong = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        while (!peer_push_one(there, i)) relax(&waited);
        while (!peer_pop_one(back, &item)) relax(&waited);
        wrong += item != i;
        uint64_t then = now();
        times[i] = then - last < UINT32_MAX ? (uint32_t)(then - last) : UINT32_MAX;
        last = then;
    }
    return wrong;
}

static void pong(uint64_t rounds) {
    uint64_t waited = 0, item = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        while (!peer_pop_one(there, &item)) relax(&waited);
        while (!peer_push_one(back, item)) relax(&waited);
    }
}

/* --- one thread */

static uint64_t push_pop(uint64_t items) {
    uint64_t batch[MAX_BULK], sum = 0, item = 0;
    unsigned bulk = (unsigned)options.bulk;
    if (bulk == 1) {
        for (uint64_t i = 0; i < items; i++) {
            if (!peer_push_one(there, i) || !peer_pop_one(there, &item)) fail("an item did not go through");
            sum += item;
        }
        return sum;
    }
    for (uint64_t sent = 0; sent < items; sent += bulk) {
        for (unsigned i = 0; i < bulk; i++) batch[i] = sent + i;
        if (peer_push(there, batch, bulk) != bulk || peer_pop(there, batch, bulk) != bulk) fail("a bulk did not go through");
        for (unsigned i = 0; i < bulk; i++) sum += batch[i];
    }
    return sum;
}

/* --- workers: producers, then consumers; or ping, then pong; or the only one */

static void *work(void *number) {
    unsigned worker = (unsigned)(uintptr_t)number;
    worker_result *result = &state->results[worker];
    uint64_t share = options.items / options.producers, sum = 0;
    pin(worker);
    meet();
    uint64_t begun = now();
    if (!strcmp(options.mode, "roundtrip")) {
        if (worker == 0) result->wrong = ping(options.items);
        else pong(options.items);
    } else if (!strcmp(options.mode, "single")) {
        sum = push_pop(options.items);
    } else if (worker < options.producers) {
        produce(worker * share, share);
    } else {
        sum = consume(options.items / options.consumers);
    }
    result->ended = now();
    result->begun = begun;
    result->sum = sum;
    return NULL;
}

static void run_threads(void) {
    pthread_t threads[MAX_WORKERS];
    for (unsigned i = 0; i < workers; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i)) fail("cannot start a thread");
    for (unsigned i = 0; i < workers; i++) pthread_join(threads[i], NULL);
}

static void run_processes(void) {
    int status;
    for (unsigned i = 0; i < workers; i++) {
        pid_t child = fork();
        if (child < 0) fail("cannot fork");
        if (child == 0) {
            work((void *)(uintptr_t)i);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < workers; i++)
        if (wait(&status) < 0 || status) fail("a process failed");
}

/* --- what is printed */

static int compare_times(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(double percent) {
    uint64_t rank = (uint64_t)(percent / 100 * (double)(options.items - 1) + 0.5);
    return times[rank];
}

static void print_result(void) {
    uint64_t begun = UINT64_MAX, ended = 0, sum = 0;
    for (unsigned i = 0; i < workers; i++) {
        worker_result *result = &state->results[i];
        if (result->begun < begun) begun = result->begun;
        if (result->ended > ended) ended = result->ended;
        sum += result->sum;
        if (result->wrong) fail("items came back as others");
    }
    int trips = !strcmp(options.mode, "roundtrip");
    if (!trips && sum != options.items * (options.items - 1) / 2) fail("items were lost");
    printf("{\"peer\": \"%s\", \"mode\": \"%s\", \"capacity\": %lu, \"bulk\": %lu, \"items\": %lu, \"processes\": %lu, \"ns\": %.4f", PEER,
           options.mode, (unsigned long)options.capacity, (unsigned long)options.bulk, (unsigned long)options.items,
           (unsigned long)options.processes, (double)(ended - begun) / (double)options.items);
    if (trips) {
        qsort(times, options.items, sizeof *times, compare_times);
        printf(", \"p50\": %.0f, \"p99\": %.0f, \"p99_9\": %.0f", percentile(50), percentile(99), percentile(99.9));
    }
    printf("}\n");
}

/* --- the command line */

static void parse(const char *argument) {
    const char *value = strchr(argument, '=');
    struct {
        const char *name;
        uint64_t *number;
    } numbers[] = {{"capacity", &options.capacity},   {"bulk", &options.bulk},           {"items", &options.items}, {"producers", &options.producers},
                   {"consumers", &options.consumers}, {"processes", &options.processes}, {"spins", &options.spins}};
    size_t length = value ? (size_t)(value++ - argument) : 0;
    if (value && length == 4 && !strncmp(argument, "mode", length)) {
        options.mode = value;
        return;
    }
    if (value && length == 4 && !strncmp(argument, "cpus", length)) {
        options.cpus = value;
        return;
    }
    for (size_t i = 0; value && i < sizeof numbers / sizeof *numbers; i++)
        if (length == strlen(numbers[i].name) && !strncmp(argument, numbers[i].name, length)) {
            *numbers[i].number = strtoull(value, NULL, 10);
            return;
        }
    fprintf(stderr, "%s: what is %s? See harness.h\n", PEER, argument);
    exit(2);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) parse(argv[i]);
    int trips = !strcmp(options.mode, "roundtrip"), single = !strcmp(options.mode, "single");
    uint64_t apart = options.bulk * options.producers * options.consumers; /* whole bulks for everybody */
    if (apart == 0 || options.bulk > MAX_BULK || options.producers + options.consumers > MAX_WORKERS) fail("bulk or workers out of range");
    if (options.processes && PEER_THREADS_ONLY) fail("two processes cannot use it");
    options.items = trips ? options.items : options.items / apart * apart;
    if (options.items == 0) fail("no items");
    workers = trips ? 2 : single ? 1 : (unsigned)(options.producers + options.consumers);

    shared_memory = (char *)mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared_memory == MAP_FAILED) fail("no memory");
    state = (shared_state *)shared_alloc(sizeof *state);
    times = (uint32_t *)shared_alloc(trips ? options.items * sizeof *times : 0);
    there = peer_ring_new((unsigned)options.capacity);
    back = trips ? peer_ring_new((unsigned)options.capacity) : NULL;
    if (!there || (trips && !back)) fail("cannot make the ring: is the capacity a power of two?");
    if (trips) memset(times, 1, options.items * sizeof *times); /* no page faults later */

    if (options.processes) run_processes();
    else run_threads();
    print_result();
    return 0;
}
