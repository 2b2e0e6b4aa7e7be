/* What the rings' headers are compiled with instead of atomic.h and ring_patience.h: every access to shared memory goes to the checker.
 *
 * An operation is known by its place, as "fr_publish: fr_store_release32(r->write_index)": by that name a test weakens it (checker.cpp).
 * Shared words are numbered; a fr_atomic32 may also be the low half of a 64-bit word, which it then only reads.
 */
#ifndef FASTRING_MODEL_SEAM_H
#define FASTRING_MODEL_SEAM_H

#include <stdint.h>
#include <string.h>

enum model_order { MODEL_RELAXED, MODEL_ACQUIRE, MODEL_RELEASE, MODEL_ACQ_REL };

/* checker.cpp, where Relacy is. */
unsigned model_new_word(uint64_t value);
unsigned model_new_var(void);
uint64_t model_load(unsigned word, model_order order, const char *function, const char *operation);
void model_store(unsigned word, uint64_t value, model_order order, const char *function, const char *operation);
uint64_t model_fetch_or(unsigned word, uint64_t value, const char *function, const char *operation);
uint64_t model_fetch_add(unsigned word, uint64_t value, const char *function, const char *operation);
int model_compare_exchange(unsigned word, uint64_t *expected, uint64_t desired, const char *function, const char *operation);
void model_fence(const char *function);
uint64_t model_var_load(unsigned var);
void model_var_store(unsigned var, uint64_t value);
void model_yield(void);
unsigned model_random(unsigned limit);
unsigned model_thread(void);
int model_futex_wait(unsigned word, uint64_t value);
void model_futex_wake(unsigned word);
void model_eventfd_write(int fd);
void model_eventfd_read(int fd);
void model_check(bool holds, const char *what);

struct fr_atomic64 {
    unsigned word;
    fr_atomic64() : word(model_new_word(0)) {}
};

struct fr_atomic32 {
    unsigned word;
    bool half;
    fr_atomic32() : word(model_new_word(0)), half(false) {}
    explicit fr_atomic32(const fr_atomic64 &whole) : word(whole.word), half(true) {}
};

/* A field that one thread has at a time, and a unit of an item: two threads at it without an order between them are a data race. */
struct fr_own32 {
    unsigned var;
    fr_own32() : var(model_new_var()) { model_var_store(var, 0); }
    operator uint32_t() const { return (uint32_t)model_var_load(var); }
    fr_own32 &operator=(uint32_t value) {
        model_var_store(var, value);
        return *this;
    }
    fr_own32 &operator=(const fr_own32 &other) { return *this = (uint32_t)other; }
    fr_own32 &operator+=(uint32_t more) { return *this = *this + more; }
    uint32_t operator++(int) {
        uint32_t before = *this;
        *this = before + 1;
        return before;
    }
};

struct fr_unit {
    unsigned var;
    fr_unit() : var(model_new_var()) {}
};

static inline void fr_units_in(fr_unit *to, const uint64_t *from, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) model_var_store(to[i].var, from[i]);
}
static inline void fr_units_out(uint64_t *to, const fr_unit *from, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) to[i] = model_var_load(from[i].var);
}

static inline uint32_t model_load32(const fr_atomic32 *p, model_order order, const char *function, const char *operation) {
    return (uint32_t)model_load(p->word, order, function, operation);
}
static inline void model_store32(fr_atomic32 *p, uint32_t value, model_order order, const char *function, const char *operation) {
    model_check(!p->half, "half a word is written");
    model_store(p->word, value, order, function, operation);
}
static inline int model_compare_exchange32(fr_atomic32 *p, uint32_t *expected, uint32_t desired, const char *function, const char *operation) {
    model_check(!p->half, "half a word is written");
    uint64_t wide = *expected;
    int done = model_compare_exchange(p->word, &wide, desired, function, operation);
    *expected = (uint32_t)wide;
    return done;
}

#define fr_load_acquire32(p) model_load32(p, MODEL_ACQUIRE, __func__, "fr_load_acquire32(" #p ")")
#define fr_load_relaxed32(p) model_load32(p, MODEL_RELAXED, __func__, "fr_load_relaxed32(" #p ")")
#define fr_load_acquire64(p) model_load((p)->word, MODEL_ACQUIRE, __func__, "fr_load_acquire64(" #p ")")
#define fr_store_release32(p, v) model_store32(p, v, MODEL_RELEASE, __func__, "fr_store_release32(" #p ")")
#define fr_store_relaxed32(p, v) model_store32(p, v, MODEL_RELAXED, __func__, "fr_store_relaxed32(" #p ")")
#define fr_store_release64(p, v) model_store((p)->word, v, MODEL_RELEASE, __func__, "fr_store_release64(" #p ")")
#define fr_fetch_or32(p, v) (uint32_t)(model_fetch_or((p)->word, v, __func__, "fr_fetch_or32(" #p ")"))
#define fr_fetch_add32(p, v) model_fetch_add((p)->word, v, __func__, "fr_fetch_add32(" #p ")")
#define fr_compare_exchange32(p, expected, desired) \
    model_compare_exchange32(p, expected, desired, __func__, "fr_compare_exchange32(" #p ")")
#define fr_compare_exchange64(p, expected, desired) \
    model_compare_exchange((p)->word, expected, desired, __func__, "fr_compare_exchange64(" #p ")")
#define fr_fence_full() model_fence(__func__)

/* Patience does not run out: a wait without an end is what the checker looks for. */
struct fr_patience {
    int64_t nanoseconds, until;
    uint32_t rounds;
};
static inline int fr_wait_a_little(fr_patience *) {
    model_yield();
    return 1;
}
static inline uint32_t fr_self(void) { return model_thread() + 1; }
static inline int fr_is_gone(fr_patience *, uint32_t) { return 0; }

/* The kernel's part of a wait, as it answers: what it does under a futex's lock happens at once. */
static inline void fr_futex_wake(fr_atomic32 *word) { model_futex_wake(word->word); }
static inline int fr_futex_wait(fr_atomic32 *word, uint32_t value, int64_t) { return model_futex_wait(word->word, value); }
static inline void fr_eventfd_write(int fd) { model_eventfd_write(fd); }
static inline int fr_eventfd_wait(int fd, int64_t) {
    model_eventfd_read(fd);
    return 0;
}

struct fr_ring;
fr_atomic32 *fr_sequence(struct fr_ring *r, uint32_t position);
fr_unit *fr_slot_item(struct fr_ring *r, uint32_t position);

#endif
