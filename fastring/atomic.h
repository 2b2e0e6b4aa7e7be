/* Memory ordering, all of it. Every other file names an operation from here and says, in a comment, what it pairs with.
 *
 * Plain integers in shared memory, accessed through the compiler's __atomic built-ins:
 *   load_acquire  / store_release    an index and what it publishes
 *   load_relaxed  / store_relaxed    a counter, or an index only its owner writes
 *   fence_full                       stop/wake: a store, then a load that must not pass it
 */
#ifndef FASTRING_ATOMIC_H
#define FASTRING_ATOMIC_H

#include <stdint.h>

#define FASTRING_ATOMIC(bits)                                                                                          \
    static inline uint##bits##_t fr_load_acquire##bits(const uint##bits##_t *p) {                                      \
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);                                                                   \
    }                                                                                                                  \
    static inline uint##bits##_t fr_load_relaxed##bits(const uint##bits##_t *p) {                                      \
        return __atomic_load_n(p, __ATOMIC_RELAXED);                                                                   \
    }                                                                                                                  \
    static inline void fr_store_release##bits(uint##bits##_t *p, uint##bits##_t v) {                                   \
        __atomic_store_n(p, v, __ATOMIC_RELEASE);                                                                      \
    }                                                                                                                  \
    static inline void fr_store_relaxed##bits(uint##bits##_t *p, uint##bits##_t v) {                                   \
        __atomic_store_n(p, v, __ATOMIC_RELAXED);                                                                      \
    }                                                                                                                  \
    static inline uint##bits##_t fr_exchange##bits(uint##bits##_t *p, uint##bits##_t v) {                              \
        return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL);                                                            \
    }                                                                                                                  \
    static inline uint##bits##_t fr_fetch_or##bits(uint##bits##_t *p, uint##bits##_t v) {                              \
        return __atomic_fetch_or(p, v, __ATOMIC_ACQ_REL);                                                              \
    }                                                                                                                  \
    static inline uint##bits##_t fr_fetch_and##bits(uint##bits##_t *p, uint##bits##_t v) {                             \
        return __atomic_fetch_and(p, v, __ATOMIC_ACQ_REL);                                                             \
    }                                                                                                                  \
    static inline uint##bits##_t fr_fetch_add##bits(uint##bits##_t *p, uint##bits##_t v) {                             \
        return __atomic_fetch_add(p, v, __ATOMIC_ACQ_REL);                                                             \
    }                                                                                                                  \
    static inline int fr_compare_exchange##bits(uint##bits##_t *p, uint##bits##_t *expected, uint##bits##_t desired) { \
        return __atomic_compare_exchange_n(p, expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);               \
    }

FASTRING_ATOMIC(8)
FASTRING_ATOMIC(32)
FASTRING_ATOMIC(64)

#undef FASTRING_ATOMIC

static inline void fr_fence_full(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* Polite spinning: tells the core (and its hyper-thread) that this loop waits. */
static inline void fr_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

#endif
