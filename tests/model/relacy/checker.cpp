/* Relacy, and the shared words that it watches: it plays a scenario again and again, each time another interleaving, and other old values
 * for loads that may still see them. Prints a line "verdict: …" last.
 *
 *     checker [NAME=VALUE …]      the fields of scenario.h, and
 *         iterations=N            how many times
 *         search=random|full|bound    the scheduler. full ends by itself, if it ends
 *         weaken=PLACE            this operation is relaxed: "fr_publish: fr_store_release32(r->write_index)"
 *         to=relaxed|acquire|release  what is left of it
 *         places=1                print the places that were come to, and their order
 *         history=1               print what happened before a failure
 */
#include <relacy/relacy.hpp>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario.h"
#include "seam.h"

enum { MOST_WORDS = 20, MOST_VARS = 18, MOST_EVENTFDS = 2 };

scenario play;

/* Everything shared, made anew for each iteration. */
struct memory {
    rl::atomic<uint64_t> words[MOST_WORDS];
    rl::var<uint64_t> vars[MOST_VARS];
    rl::atomic<uint64_t> eventfds[MOST_EVENTFDS];
};

static memory *shared;
static unsigned words, vars;

/* --- what is weakened */

static const char *weak_place;
static rl::memory_order weak_order = rl::mo_relaxed;
static bool weakened;
static unsigned list_places, history;

/* Names are literals, so two pointers tell a place. (Relacy takes over new and delete while it runs: nothing here allocates.) */
static struct place {
    const char *function, *operation;
    rl::memory_order order;
} places[64];
static unsigned places_seen;

static void note_place(const char *function, const char *operation, rl::memory_order order) {
    for (unsigned i = 0; i < places_seen; i++)
        if (places[i].function == function && places[i].operation == operation) return;
    RL_VERIFY(places_seen < 64);
    places[places_seen++] = place{function, operation, order};
}

static bool is_weak(const char *function, const char *operation, rl::memory_order order) {
    size_t length = strlen(function);
    if (list_places) note_place(function, operation, order);
    if (weak_place == NULL || strncmp(weak_place, function, length) || strncmp(weak_place + length, ": ", 2)) return false;
    if (strcmp(weak_place + length + 2, operation)) return false;
    weakened = true;
    return true;
}

static rl::memory_order order_at(const char *function, const char *operation, rl::memory_order order) {
    return is_weak(function, operation, order) ? weak_order : order;
}

/* --- the seam */

unsigned model_new_word(uint64_t value) {
    RL_VERIFY(words < MOST_WORDS);
    shared->words[words].store(value, rl::mo_relaxed, $);
    return words++;
}

unsigned model_new_var(void) {
    RL_VERIFY(vars < MOST_VARS);
    return vars++;
}

uint64_t model_load(unsigned word, model_order order, const char *function, const char *operation) {
    return shared->words[word].load(order_at(function, operation, order == MODEL_ACQUIRE ? rl::mo_acquire : rl::mo_relaxed),
                                    rl::debug_info(function, operation, word));
}

void model_store(unsigned word, uint64_t value, model_order order, const char *function, const char *operation) {
    shared->words[word].store(value, order_at(function, operation, order == MODEL_RELEASE ? rl::mo_release : rl::mo_relaxed),
                              rl::debug_info(function, operation, word));
}

uint64_t model_fetch_or(unsigned word, uint64_t value, const char *function, const char *operation) {
    return shared->words[word].fetch_or(value, order_at(function, operation, rl::mo_acq_rel), rl::debug_info(function, operation, word));
}

uint64_t model_fetch_add(unsigned word, uint64_t value, const char *function, const char *operation) {
    return shared->words[word].fetch_add(value, order_at(function, operation, rl::mo_acq_rel), rl::debug_info(function, operation, word));
}

int model_compare_exchange(unsigned word, uint64_t *expected, uint64_t desired, const char *function, const char *operation) {
    rl::memory_order order = order_at(function, operation, rl::mo_acq_rel);
    rl::memory_order failed = order == rl::mo_acq_rel || order == rl::mo_acquire ? rl::mo_acquire : rl::mo_relaxed;
    return shared->words[word].compare_exchange(rl::bool_t<false>(), *expected, desired, order, failed,
                                                rl::debug_info(function, operation, word));
}

void model_fence(const char *function) {
    if (!is_weak(function, "fr_fence_full()", rl::mo_seq_cst)) rl::atomic_thread_fence(rl::mo_seq_cst, rl::debug_info(function, "fence", 0));
}

uint64_t model_var_load(unsigned var) { return shared->vars[var]($); }
void model_var_store(unsigned var, uint64_t value) { shared->vars[var]($) = value; }
void model_yield(void) { rl::yield(1, $); }
unsigned model_random(unsigned limit) { return limit < 2 ? 0 : rl::rand(limit); }
unsigned model_thread(void) { return rl::thread_index(); }

static const char *failure; /* what model_check missed */

void model_check(bool holds, const char *what) {
    if (holds) return;
    failure = what;
    rl::ctx().fail_test(what, rl::test_result_user_assert_failed, $);
}

/* The kernel compares and goes to sleep under the lock that a wake takes. */
int model_futex_wait(unsigned word, uint64_t value) {
    rl::context &c = rl::ctx();
    c.sched();
    if (shared->words[word].debug_value() != value) return 1;
    shared->words[word].wait(c, false, false, $);
    return 0;
}

void model_futex_wake(unsigned word) {
    rl::context &c = rl::ctx();
    c.sched();
    shared->words[word].wake(c, 1 << 30, $);
}

void model_eventfd_write(int fd) {
    shared->eventfds[fd].fetch_add(1, rl::mo_acq_rel, $);
    shared->eventfds[fd].wake(rl::ctx(), 1 << 30, $);
}

/* Who is woken looks for itself: another may have read it meanwhile, and then the sleep goes on. */
void model_eventfd_read(int fd) {
    while (shared->eventfds[fd].exchange(0, rl::mo_acq_rel, $) == 0) shared->eventfds[fd].wait(rl::ctx(), false, false, $);
}

/* --- the run */

template <int THREADS>
struct run : rl::test_suite<run<THREADS>, THREADS> {
    memory all;
    void before() {
        shared = &all;
        words = vars = 0;
        for (auto &fd : all.eventfds) fd.store(0, rl::mo_relaxed, $);
        rings_begin();
    }
    void thread(unsigned index) { rings_thread(index); }
    void after() { rings_end(); }
};

static rl::test_params params;

static bool is(const char *text, const char *other) { return strcmp(text, other) == 0; }

static bool set(const char *name, const char *value) {
    struct {
        const char *name;
        unsigned *at;
    } numbers[] = {
        {"producers", &play.producers}, {"consumers", &play.consumers}, {"capacity", &play.capacity}, {"items", &play.items},
        {"most", &play.most}, {"units", &play.units}, {"batch", &play.batch}, {"distance", &play.distance},
        {"in_place", &play.in_place}, {"one", &play.one}, {"bound", &params.context_bound}, {"places", &list_places}, {"history", &history},
    };
    struct {
        const char *name;
        const char **at;
    } words[] = {{"strategy", &play.strategy}, {"wait", &play.wait}, {"weaken", &weak_place}};
    for (auto &n : numbers)
        if (is(name, n.name)) return *n.at = (unsigned)atoi(value), true;
    for (auto &s : words)
        if (is(name, s.name)) return *s.at = value, true;
    if (is(name, "iterations")) return params.iteration_count = strtoull(value, NULL, 10), true;
    if (is(name, "search"))
        return params.search_type = is(value, "full") ? rl::sched_full : is(value, "bound") ? rl::sched_bound : rl::sched_random, true;
    if (is(name, "to"))
        return weak_order = is(value, "acquire") ? rl::mo_acquire : is(value, "release") ? rl::mo_release : rl::mo_relaxed, true;
    return false;
}

int main(int argc, char **argv) {
    std::ostream nowhere(NULL);
    params.iteration_count = 10000;
    params.execution_depth_limit = 5000;
    for (int i = 1; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (equals == NULL || (*equals = 0, !set(argv[i], equals + 1))) {
            fprintf(stderr, "what is %s?\n", argv[i]);
            return 2;
        }
    }
    params.output_stream = history ? &std::cout : &nowhere;
    params.progress_stream = &nowhere;
    switch (play.producers + play.consumers) {
    case 2: rl::simulate<run<2> >(params); break;
    case 3: rl::simulate<run<3> >(params); break;
    case 4: rl::simulate<run<4> >(params); break;
    default: return 2;
    }
    for (unsigned i = 0; i < places_seen; i++)
        printf("place: %s %s: %s\n", rl::format(places[i].order), places[i].function, places[i].operation);
    printf("iterations: %llu\n", (unsigned long long)params.stop_iteration);
    if (failure != NULL) printf("failure: %s\n", failure);
    printf("verdict: %s\n", weak_place != NULL && !weakened ? "NEVER WEAKENED" : rl::test_result_str(params.test_result));
    return 0;
}
