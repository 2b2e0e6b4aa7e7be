/* AddressSanitizer cannot see overruns inside an mmap by itself: free memory is poisoned by hand in a sanitized build. */
#ifndef FASTRING_SANITIZE_H
#define FASTRING_SANITIZE_H

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define fr_poison(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define fr_unpoison(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define fr_poison(p, n) ((void)(p), (void)(n))
#define fr_unpoison(p, n) ((void)(p), (void)(n))
#endif

/* assert() of a debug build only, whatever NDEBUG says. */
#if defined(FASTRING_DEBUG)
#include <stdio.h>
#include <stdlib.h>
#define fr_assert(what) \
    ((what) ? (void)0 : (fprintf(stderr, "%s:%d: fastring assertion failed: %s\n", __FILE__, __LINE__, #what), abort()))
#else
#define fr_assert(what) ((void)0)
#endif

#endif
