/* The rings' headers as they are, and threads that put numbered items through them. Knows nothing of Relacy: it is compiled in a moment,
 * so that a test can do it again with a header that it has bent. */
#include <stdlib.h>

#include <new>

#include "scenario.h"
#include "seam.h"

#include "fastring/ring_operations.h"
#include "fastring/ring_wait.h"

enum { MOST_SLOTS = 4, MOST_UNITS = 2, MOST_SIDES = 3, MOST_ITEMS = 8 };

struct table {
    const char *name;
    const fr_ring_operations *operations;
};

static const table TABLES[] = {
    {"lamport", &fr_lamport_operations}, {"cached", &fr_cached_operations}, {"batched", &fr_batched_operations},
    {"slotflag", &fr_slotflag_operations}, {"mpmc", &fr_mpmc_operations}, {"mt", &fr_mt_operations},
    {"rts", &fr_rts_operations}, {"hts", &fr_hts_operations}, {"locked", &fr_locked_operations},
};

/* What is shared, and the view of it that all threads have. */
struct world {
    fr_ring ring;
    fr_unit slots[MOST_SLOTS * MOST_UNITS];
    fr_atomic32 sequences[MOST_SLOTS];
    fr_atomic32 write_index, read_index, write_head, read_head, lock, items_armed, room_armed;
    fr_atomic64 write_pair, read_pair, write_head_pair, read_head_pair;
    fr_atomic32 write_half, read_half; /* the tails, in their pairs */
    fr_bell items_bell, room_bell;
    world() : write_half(write_pair), read_half(read_pair) {}
};

static char storage[sizeof(world)] __attribute__((aligned(FR_LINE)));
static world *w;
static const fr_ring_operations *operations;

/* The checker's own account: it runs one thread at a time, so this orders nothing for the rings. */
static unsigned taken, times_seen[MOST_SIDES][MOST_ITEMS];
static int last_seen[MOST_SIDES][MOST_SIDES]; /* of this consumer, by this producer */

fr_atomic32 *fr_sequence(struct fr_ring *r, uint32_t position) { return &w->sequences[position & r->mask]; }
fr_unit *fr_slot_item(struct fr_ring *r, uint32_t position) { return r->slots + (position & r->mask) * r->units; }

static bool is(const char *strategy) { return strcmp(play.strategy, strategy) == 0; }
static bool parks(void) { return play.wait[0] != 0; }
static bool some(unsigned bits) { return (play.in_place & bits) != 0; }

void rings_begin(void) {
    w = new (storage) world;
    fr_ring *r = &w->ring;
    bool pairs = is("rts") || is("hts");
    r->slots = w->slots;
    r->write_index = pairs ? &w->write_half : &w->write_index;
    r->read_index = pairs ? &w->read_half : &w->read_index;
    r->write_head = &w->write_head;
    r->read_head = &w->read_head;
    r->write_pair = &w->write_pair;
    r->read_pair = &w->read_pair;
    r->write_head_pair = &w->write_head_pair;
    r->read_head_pair = &w->read_head_pair;
    r->lock = &w->lock;
    r->capacity = play.capacity;
    r->mask = play.capacity - 1;
    r->units = r->stride = play.units;
    r->batch = is("batched") ? play.batch : 0;
    r->distance = play.distance;
    r->patience = 0;
    w->items_bell.armed = &w->items_armed;
    w->room_bell.armed = &w->room_armed;
    w->items_bell.eventfd = strcmp(play.wait, "eventfd") ? -1 : 0;
    w->room_bell.eventfd = strcmp(play.wait, "eventfd") ? -1 : 1;
    for (unsigned i = 0; i < play.capacity; i++)
        if (is("slotflag") || is("mpmc")) fr_store_relaxed32(&w->sequences[i], 2 * i);
    operations = NULL;
    for (const table &t : TABLES)
        if (is(t.name)) operations = t.operations;
    model_check(operations != NULL, "there is such a strategy");
    taken = 0;
    memset(times_seen, 0, sizeof times_seen);
    for (auto &of : last_seen)
        for (int &last : of) last = -1;
}

static uint64_t item_of(unsigned producer, unsigned number) { return 100 * (producer + 1) + number; }

static void note(unsigned consumer, const uint64_t *item) {
    unsigned producer = (unsigned)(item[0] / 100 - 1), number = (unsigned)(item[0] % 100);
    model_check(producer < play.producers && number < play.items, "an item is one that was put in");
    if (play.units == 2) model_check(item[1] == ~item[0], "an item is whole");
    model_check(++times_seen[producer][number] == 1, "an item comes once");
    model_check((int)number > last_seen[consumer][producer], "a producer's items come in its order");
    last_seen[consumer][producer] = (int)number;
    taken++;
}

/* Nothing doing: yield, or sleep until the other side rings. As Ring._wait does it. */
static void wait(bool items) {
    fr_ring *r = &w->ring;
    model_check(!fr_is_broken(items ? &r->consumer : &r->producer), "nothing looks impossible");
    if (!parks()) return model_yield();
    if (r->batch > 0) {
        if (items)
            fr_batched_flush_reads(r);
        else
            fr_batched_flush(r);
        fr_ring_bell(items ? &w->room_bell : &w->items_bell);
    }
    fr_park(r, items ? &w->items_bell : &w->room_bell, items, 1, 1);
    model_yield();
}

static unsigned put(const uint64_t *items, unsigned n) {
    fr_ring *r = &w->ring;
    if (play.one) return fr_cached_enqueue_one(r, items[0]);
    if (!some(1)) return model_random(2) ? operations->enqueue_bulk(r, items, n) : operations->enqueue_burst(r, items, n);
    fr_unit *span = operations->reserve(r, n);
    unsigned got = span == NULL ? 0 : (uint32_t)r->producer.reserved;
    if (got == 0) return 0;
    unsigned written = model_random(4) ? got : got - 1; /* now and then less than was reserved, or nothing */
    fr_units_in(span, items, written * play.units);
    return operations->commit(r, written);
}

static unsigned take(uint64_t *items, unsigned n) {
    fr_ring *r = &w->ring;
    if (play.one) return fr_cached_dequeue_one(r, items);
    if (!some(2)) return model_random(2) ? operations->dequeue_bulk(r, items, n) : operations->dequeue_burst(r, items, n);
    fr_unit *span = operations->peek(r, n);
    unsigned got = span == NULL ? 0 : (uint32_t)r->consumer.reserved;
    if (got == 0) return 0;
    unsigned read = model_random(4) ? got : got - 1;
    fr_units_out(items, span, read * play.units);
    return operations->release(r, read);
}

static void producer(unsigned self) {
    uint64_t items[MOST_ITEMS * MOST_UNITS];
    for (unsigned next = 0; next < play.items;) {
        unsigned n = fr_least(1 + model_random(play.most), play.items - next);
        for (unsigned i = 0; i < n; i++) {
            items[i * play.units] = item_of(self, next + i);
            if (play.units == 2) items[i * 2 + 1] = ~items[i * 2];
        }
        unsigned done = put(items, n);
        next += done;
        if (done == 0)
            wait(false);
        else if (parks())
            fr_ring_bell(&w->items_bell);
    }
    if (w->ring.batch > 0) fr_batched_flush(&w->ring);
    if (parks()) fr_ring_bell(&w->items_bell);
}

static void consumer(unsigned self) {
    uint64_t items[MOST_ITEMS * MOST_UNITS];
    unsigned all = play.producers * play.items, mine = 0;
    while (play.wait[0] && play.consumers > 1 ? mine < all / play.consumers : taken < all) {
        unsigned n = 1 + model_random(play.most);
        if (parks() && play.consumers > 1) n = fr_least(n, all / play.consumers - mine);
        unsigned done = take(items, n);
        mine += done;
        for (unsigned i = 0; i < done; i++) note(self, items + i * play.units);
        if (done == 0)
            wait(true);
        else if (parks())
            fr_ring_bell(&w->room_bell);
    }
    if (w->ring.batch > 0) fr_batched_flush_reads(&w->ring);
    if (parks()) fr_ring_bell(&w->room_bell);
}

void rings_thread(unsigned thread) {
    if (thread < play.producers)
        producer(thread);
    else
        consumer(thread - play.producers);
}

void rings_end(void) {
    for (unsigned p = 0; p < play.producers; p++)
        for (unsigned i = 0; i < play.items; i++) model_check(times_seen[p][i] == 1, "an item comes once");
    w->~world();
}
