/* Preloaded: counts every allocation of the process, whoever makes it. fr_mallocs() tells. */
#include <stdatomic.h>
#include <stddef.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);

static atomic_ulong calls;

unsigned long fr_mallocs(void) { return atomic_load(&calls); }

void *malloc(size_t size) { return atomic_fetch_add(&calls, 1), __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return atomic_fetch_add(&calls, 1), __libc_calloc(n, size); }
void *realloc(void *p, size_t size) { return atomic_fetch_add(&calls, 1), __libc_realloc(p, size); }
void *aligned_alloc(size_t align, size_t size) { return atomic_fetch_add(&calls, 1), __libc_memalign(align, size); }
void *memalign(size_t align, size_t size) { return atomic_fetch_add(&calls, 1), __libc_memalign(align, size); }
int posix_memalign(void **p, size_t align, size_t size) {
    return (*p = aligned_alloc(align, size)) == NULL;
}
