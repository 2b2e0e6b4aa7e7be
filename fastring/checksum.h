/* Sum of 16-bit words (RFC 1071), unfolded: 32-bit words in a 64-bit total, which is what a compiler makes vectors of. */
#ifndef FASTRING_CHECKSUM_H
#define FASTRING_CHECKSUM_H

#include <stdint.h>
#include <string.h>

static inline __attribute__((always_inline)) uint64_t fastring_sum_any(const uint8_t *data, uint32_t length)
{
    uint64_t total = 0, pair;
    uint32_t word, i, words = length / 64 * 16;
    uint16_t half;

    for (i = 0; i < words; i++) {
        memcpy(&word, data + 4 * (uint64_t)i, 4);
        total += word;
    }
    data += 4 * (uint64_t)words;
    length -= 4 * words;
    for (; length >= 8; length -= 8, data += 8) {
        memcpy(&pair, data, 8);
        total += (uint32_t)pair + (pair >> 32);
    }
    if (length & 4) {
        memcpy(&word, data, 4);
        total += word;
        data += 4;
    }
    if (length & 2) {
        memcpy(&half, data, 2);
        total += half;
        data += 2;
    }
    return length & 1 ? total + data[0] : total;
}

#ifdef __x86_64__
/* The same loop where the CPU has vectors of twice the size: they are not in the instruction set a wheel is made for. */
static __attribute__((target("avx2"), noinline, unused)) uint64_t fastring_sum_avx2(const uint8_t *data, uint32_t length)
{
    return fastring_sum_any(data, length);
}
#endif

static inline uint64_t fastring_sum(const uint8_t *data, uint32_t length)
{
#ifdef __x86_64__
    if (length >= 256 && __builtin_cpu_supports("avx2"))
        return fastring_sum_avx2(data, length);
#endif
    return fastring_sum_any(data, length);
}

#endif
