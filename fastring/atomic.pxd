"""Memory ordering on plain integers: the Cython face of atomic.h, and the only one."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "fastring/atomic.h" nogil:
    uint8_t load_relaxed8 "fr_load_relaxed8"(const uint8_t* p)
    void store_relaxed8 "fr_store_relaxed8"(uint8_t* p, uint8_t value)
    uint8_t exchange8 "fr_exchange8"(uint8_t* p, uint8_t value)

    uint32_t load_acquire32 "fr_load_acquire32"(const uint32_t* p)
    uint32_t load_relaxed32 "fr_load_relaxed32"(const uint32_t* p)
    void store_release32 "fr_store_release32"(uint32_t* p, uint32_t value)
    void store_relaxed32 "fr_store_relaxed32"(uint32_t* p, uint32_t value)
    uint32_t exchange32 "fr_exchange32"(uint32_t* p, uint32_t value)
    uint32_t fetch_or32 "fr_fetch_or32"(uint32_t* p, uint32_t bits)
    uint32_t fetch_and32 "fr_fetch_and32"(uint32_t* p, uint32_t mask)
    uint32_t fetch_add32 "fr_fetch_add32"(uint32_t* p, uint32_t value)
    bint compare_exchange32 "fr_compare_exchange32"(uint32_t* p, uint32_t* expected, uint32_t desired)

    uint64_t load_acquire64 "fr_load_acquire64"(const uint64_t* p)
    uint64_t load_relaxed64 "fr_load_relaxed64"(const uint64_t* p)
    void store_release64 "fr_store_release64"(uint64_t* p, uint64_t value)
    void store_relaxed64 "fr_store_relaxed64"(uint64_t* p, uint64_t value)
    uint64_t fetch_add64 "fr_fetch_add64"(uint64_t* p, uint64_t value)

    void fence_full "fr_fence_full"()
    void cpu_relax "fr_cpu_relax"()
