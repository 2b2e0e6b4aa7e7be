/* A NAPI that its own thread polls, as in fastring/kthread.pyx and fastring/softirq.pyx with `preempt`: how the thread is woken, and
 * how a busy poller has the NAPI in between.
 *
 * All that threads share is changed by atomic read-modify-writes, or by who has the CPU (Softirq.running); so memory has one order here.
 *
 * An event is lost if everything rests, nobody is to be woken, and work is left.
 *
 *   -DCLEAR_WOKEN_LATE      the thread forgets that it was woken after its work, and not before it
 *   -DWAKE_FIRST            it is woken before SCHED_THREADED says what for
 *   -DONLY_IF_ASLEEP        a thread that is awake is not woken
 *   -DFORGET_MISSED         a busy poller that stops forgets MISSED and does not poll once more
 */

#define WEIGHT 2
#define MOST 3                      /* events that wait at once */

#define SCHED 1
#define MISSED 2
#define IN_BUSY_POLL 4
#define SCHED_THREADED 8

byte state;                         /* Napi.state, THREADED */
bool cpu;                           /* Softirq.running */
bool woken;                         /* Kthread.woken */
byte wakeups;                       /* its semaphore */
bool asleep = true;                 /* it waits for that */
byte work;
bool telling, busy;                 /* an interrupt is on its way; somebody busy-polls */
byte polling;                       /* how many poll it */

#define take_cpu() atomic { !cpu -> cpu = true }
#define let_go() cpu = false

inline wake() {
    atomic {
#ifdef ONLY_IF_ASLEEP
        if
        :: !woken && asleep -> woken = true; wakeups++
#else
        if
        :: !woken -> woken = true; wakeups++
#endif
        :: else
        fi
    }
}

inline enqueue() {
#ifdef WAKE_FIRST
    wake();
    state = state | SCHED_THREADED
#else
    state = state | SCHED_THREADED;
    wake()
#endif
}

inline schedule() {
    atomic {
        seen = state;
        state = (seen & SCHED -> seen | MISSED : seen | SCHED)
    };
    if
    :: !(seen & SCHED) -> enqueue()
    :: else
    fi;
    seen = 0
}

inline poll() {
    polling++;
    assert(polling == 1);
    atomic { got = (work < WEIGHT -> work : WEIGHT); work = work - got };
    again = (got == WEIGHT);
    polling--
}

inline complete_done() {
    atomic {
        seen = state;
        if
        :: seen & IN_BUSY_POLL -> seen = 0
        :: else -> state = (seen & MISSED -> SCHED : 0)
        fi
    };
    if
    :: seen & MISSED -> enqueue()
    :: else
    fi;
    seen = 0
}

active proctype card() {            /* an event, and its interrupt */
    byte seen;
    do
    :: atomic { work < MOST -> work++; telling = true };
        schedule();                 /* from its own CPU, as it may be in the kernel: what holds then holds with ours taken, too */
        telling = false
    od
}

active proctype thread() {
    byte seen, got;
    bool again;
    do
    :: atomic { wakeups > 0 -> wakeups--; asleep = false };
#ifndef CLEAR_WOKEN_LATE
        woken = false;
#endif
        again = true;
        do
        :: again ->
            take_cpu();
            assert(state & SCHED_THREADED);     /* who is woken has it */
            poll();
            if
            :: !again -> complete_done()
            :: else
            fi;
            let_go()
        :: else -> break
        od;
#ifdef CLEAR_WOKEN_LATE
        woken = false;
#endif
        atomic { got = 0; again = false; asleep = true }
    od
}

active proctype busy_poller() {
    byte seen, got;
    bool again;
    do
    ::  take_cpu();
        atomic {
            if
            :: !(state & (SCHED | IN_BUSY_POLL)) -> state = state | SCHED | IN_BUSY_POLL; busy = true
            :: else
            fi
        };
        if
        :: busy ->
            poll();
            let_go();
            take_cpu();             /* others were on it in between */
#ifdef FORGET_MISSED
            state = 0;
#else
            state = state & ~(MISSED | IN_BUSY_POLL);
            poll();
            if
            :: again -> enqueue()
            :: else -> complete_done()
            fi;
#endif
            atomic { got = 0; again = false; busy = false }
        :: else
        fi;
        let_go()
    od
}

#define lost (work > 0 && !wakeups && asleep && !busy && !telling && !cpu)

active proctype at_rest() {
    atomic { lost -> assert(!lost) }
}
