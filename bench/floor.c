/* The floor: what carrying a packet between two descriptor rings costs when there is nothing else to do.
 *
 * One thread. For each packet: write a transmit descriptor; read it back, check its bounds, look at the destination; copy the
 * payload to a receive buffer; write the receive descriptor; read that. No registers, filters, counters, interrupts or refill.
 * Buffers lie 2048 bytes apart, as a driver without cache colouring has them.
 *
 * usage: floor SIZE [PACKETS]      prints nanoseconds per packet
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RING 256u
#define BURST 32u
#define STRIDE 2048u
#define DONE (1ull << 32)

typedef struct { uint64_t address, word; } descriptor;

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    uint32_t size = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
    uint64_t packets = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000;
    if (size < 14 || size > STRIDE) {
        fprintf(stderr, "usage: floor SIZE [PACKETS], with 14 to %u bytes\n", STRIDE);
        return 2;
    }
    const uint64_t memory_size = 2 * 4096 + 2ull * RING * STRIDE;
    uint8_t *memory = aligned_alloc(4096, memory_size);
    if (!memory) return 1;
    memset(memory, 0xff, memory_size);      /* touched, and every destination a broadcast */
    volatile descriptor *tx = (volatile descriptor *)memory, *rx = tx + RING;
    const uint64_t tx_buffers = 2 * 4096, rx_buffers = tx_buffers + RING * STRIDE;
    for (uint32_t i = 0; i < RING; i++) rx[i].address = rx_buffers + i * STRIDE;

    uint64_t bytes = 0, unicast = 0;
    uint32_t put = 0, sent = 0, received = 0;
    double start = seconds();
    for (uint64_t left = packets / BURST; left; left--) {
        for (uint32_t i = 0; i < BURST; i++, put++) {                   /* the driver transmits */
            volatile descriptor *d = &tx[put % RING];
            d->address = tx_buffers + put % RING * STRIDE;
            d->word = size;
        }
        for (; sent != put; sent++) {                                   /* the device carries */
            volatile descriptor *d = &tx[sent % RING], *r = &rx[sent % RING];
            uint64_t from = d->address, word = d->word, to = r->address, length = word & 0xffff;
            if (from > memory_size - length || to > memory_size - length) abort();
            unicast += !(memory[from] & 1);
            memcpy(memory + to, memory + from, length);
            r->word = length | DONE;
            d->word = word | DONE;
        }
        for (; received != sent; received++) {                          /* the driver receives, and completes */
            volatile descriptor *r = &rx[received % RING];
            uint64_t word = r->word;
            if (!(word & DONE) || !(tx[received % RING].word & DONE)) abort();
            bytes += (word & 0xffff) + memory[r->address + 12];
        }
    }
    double elapsed = seconds() - start;
    fprintf(stderr, "%llu bytes and sums, %llu unicast\n", (unsigned long long)bytes, (unsigned long long)unicast);
    printf("%.4f\n", elapsed * 1e9 / (double)(packets / BURST * BURST));
    return 0;
}
