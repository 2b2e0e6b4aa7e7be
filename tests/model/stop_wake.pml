/* Stop and wake without a lock, as in fastring/txq.pyx: one transmitting thread that stops, one polling thread that wakes.
 *
 * The ring has SIZE slots; a packet takes 1 to STOP of them, and a completion frees any part of what is in flight. With BQL each slot
 * is a byte, and the limit is any at each completion. Indexes and counters run on a circle of 16.
 *
 * A wake-up was lost if both threads are at rest, their stores out, and a bit is set that nothing justifies. Unless a later
 * completion happens to clear it, nobody can do anything any more in the end: SPIN calls that an invalid end state.
 *
 *   -DBQL                       byte limits too, whose fence D then stands in for fence B
 *   -DNEVER_FULL                the ring never stops the queue: only bytes do
 *   -DONLY_FOR_EVER             look for invalid end states only
 *   -DX86                       an atomic read-modify-write is a full fence
 *   -DNO_FENCE_A ... _D         without this fence
 *   -DNO_SECOND_LOOK            the ring's room is not looked at again after stopping; -DNO_SECOND_LOOK_AT_BYTES likewise
 *   -DWAKE_BEFORE_PUBLISHING    the poll calls the helper before it publishes its index
 *   -DPUBLISH_BEFORE_SENT       the driver publishes its index before it counts the bytes
 */

#ifndef SIZE
#define SIZE 3
#endif
#ifndef STOP
#define STOP 2
#endif
#ifndef START
#define START 2
#endif
#define LIMIT_MAX 2

#define PRODUCER 0
#define CONSUMER 1
#define STATE 2
#define QUEUED 3        /* num_queued */
#define LIMIT 4         /* adj_limit: limit + num_completed */
#define LOCATIONS 5
#define LOCKED STATE
#include "store_buffers.pml"

#define DRV_XOFF 1
#define STACK_XOFF 2

bool transmitting, polling;

#define on_circle(n) ((n) & 15)
#define free_slots(producer, consumer) (SIZE - on_circle((producer) - (consumer)))
#define has_room(limit, queued) (on_circle((limit) - (queued)) < 8)

#ifdef NO_FENCE_A
#define fence_a() skip
#else
#define fence_a() full_fence()
#endif
#if defined(NO_FENCE_B) || defined(BQL)
#define fence_b() skip
#else
#define fence_b() full_fence()
#endif
#ifdef NO_FENCE_C
#define fence_c() skip
#else
#define fence_c() full_fence()
#endif
#ifdef NO_FENCE_D
#define fence_d() skip
#else
#define fence_d() full_fence()
#endif

inline maybe_stop() {
#ifndef NEVER_FULL
    if
    :: free_slots(producer, load(CONSUMER)) >= STOP
    :: else ->
        fetch_or(DRV_XOFF);
        fence_a();
#ifndef NO_SECOND_LOOK
        if
        :: free_slots(producer, load(CONSUMER)) < START
        :: else -> fetch_and(~DRV_XOFF)
        fi
#endif
    fi
#else
    skip
#endif
}

inline sent(bytes) {
#ifdef BQL
    queued = on_circle(queued + bytes);
    store(QUEUED, queued);
    if
    :: has_room(load(LIMIT), queued)
    :: else ->
        fetch_or(STACK_XOFF);
        fence_c();
#ifndef NO_SECOND_LOOK_AT_BYTES
        if
        :: has_room(load(LIMIT), queued) -> fetch_and(~STACK_XOFF)
        :: else
        fi
#endif
    fi
#else
    skip
#endif
}

inline publish_producer() {
    producer = on_circle(producer + packet);
    store(PRODUCER, producer)
}

active proctype transmit() {
    byte producer, queued, packet;
    do
    :: atomic { load(STATE) == 0 -> transmitting = true };      /* the stack transmits while no bit is set */
        if
        :: free_slots(producer, load(CONSUMER)) < STOP          /* woken too early: BUSY, and the stack tries again */
        :: else ->
            select(packet : 1 .. STOP);
#ifdef PUBLISH_BEFORE_SENT
            publish_producer();
            sent(packet);
#else
            sent(packet);
            publish_producer();
#endif
            packet = 0;
            maybe_stop()
        fi;
        transmitting = false
    od
}

inline completed(bytes) {
#ifdef BQL
    assert(on_circle(load(QUEUED) - counted) >= bytes);         /* else bql_excess: completed what was never sent */
    counted = on_circle(counted + bytes);
    select(limit : 0 .. LIMIT_MAX);
    limit = on_circle(limit + counted);
    store(LIMIT, limit);
    fence_d();
    if
    :: has_room(limit, load(QUEUED)) ->
        if
        :: load(STATE) & STACK_XOFF -> fetch_and(~STACK_XOFF)
        :: else
        fi
    :: else
    fi;
    limit = 0
#else
    skip
#endif
}

inline completed_wake(slots) {
    room = free_slots(load(PRODUCER), consumer);                /* the caller's look: before any fence */
    completed(slots);
    if
    :: room >= START ->
        fence_b();
        if
        :: load(STATE) & DRV_XOFF -> fetch_and(~DRV_XOFF)
        :: else
        fi
    :: else
    fi;
    room = 0
}

active proctype poll() {
    byte consumer, counted, limit, done, room;
    do
    :: atomic { load(PRODUCER) != consumer -> polling = true };
        select(done : 1 .. on_circle(load(PRODUCER) - consumer));
        consumer = on_circle(consumer + done);
#ifdef WAKE_BEFORE_PUBLISHING
        completed_wake(done);
        store(CONSUMER, consumer);
#else
        store(CONSUMER, consumer);
        completed_wake(done);
#endif
        done = 0;
        polling = false
    od
}

active proctype transmit_buffer() { LET_OUT(0) }
active proctype poll_buffer() { LET_OUT(1) }

#ifndef ONLY_FOR_EVER
#define stopped_with_room (memory[STATE] & DRV_XOFF && free_slots(memory[PRODUCER], memory[CONSUMER]) >= START)
#define held_with_room (memory[STATE] & STACK_XOFF && has_room(memory[LIMIT], memory[QUEUED]))

active proctype at_rest() {
    atomic {
        !transmitting && !polling && empty(buffer[0]) && empty(buffer[1]) && (stopped_with_room || held_with_room) ->
        printf("lost wake-up: state %d, %d slots free\n", memory[STATE], free_slots(memory[PRODUCER], memory[CONSUMER]));
        assert(!stopped_with_room);
        assert(!held_with_room)
    }
}
#endif
