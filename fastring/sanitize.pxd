"""Poisoning of free memory in a sanitized build, assertions in a debug build; nothing otherwise."""

cdef extern from "fastring/sanitize.h" nogil:
    void poison "fr_poison"(void* p, size_t n)
    void unpoison "fr_unpoison"(void* p, size_t n)
    void debug_assert "fr_assert"(bint what)
