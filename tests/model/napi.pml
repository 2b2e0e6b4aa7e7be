/* NAPI's contract, as in fastring/napi.pyx and e1000/driver: an event's interrupt masks and schedules, the poll takes what is there,
 * completes and unmasks; meanwhile another thread opens and closes the device.
 *
 * All that threads share is one word, changed by compare-and-exchange, and what a lock guards; so memory has one order here. The
 * interrupt comes at any moment, as on another CPU; fastring's softirq takes it between two polls.
 *
 * An event is lost if the device is open, everything rests, no interrupt is up, and work is left.
 *
 *   -DNO_MISSED             scheduling what is scheduled already leaves no trace
 *   -DNO_CAS                complete_done reads the word and then writes it
 *   -DFORGET_WHEN_GIVING_UP disable() that gives up leaves the word as it finds it
 *   -DNO_SECOND_LOOK        disable() that gives up does not have the poll look again
 *   -DNO_SYNCHRONIZE        close does not wait for a run that goes on (remove_irq)
 *   -DNO_TIMEOUT            disable() never gives up
 *   -DNO_DISABLE_BIT        disable() only waits: with NO_TIMEOUT, and work that never ends, for ever
 */

#define WEIGHT 2
#define MOST 3                      /* events that wait at once */

#define SCHED 1
#define MISSED 2
#define DISABLE 4

byte state = SCHED;                 /* Napi.state */
bool disabled = true;
bool listed;                        /* on the softirq's list */
bool running, handling, kicking;    /* a poll, a handler, a kick is on its way */
bool serviced;                      /* the softirq looks at the line */
bool rings;                         /* they are there */
byte work;                          /* events nobody has taken */
bool cause, unmasked;               /* ICR and IMS: the line is up if both are set */
bool open, closing;

#define line (cause && unmasked)

inline schedule() {
    atomic {
        if
        :: state & DISABLE                                      /* refused */
        :: else ->
            if
            :: !(state & SCHED) -> state = state | SCHED; assert(!listed); listed = true
            :: else ->
#ifndef NO_MISSED
                state = state | MISSED
#else
                skip
#endif
            fi
        fi
    }
}

inline complete_done() {
#ifdef NO_CAS
    seen = state;
    atomic {
#else
    atomic {
        seen = state;
#endif
        if
        :: disabled || !(seen & SCHED) -> done = false
        :: else ->
            done = !(seen & MISSED);
            state = (done -> seen & ~SCHED : seen & ~MISSED);
            listed = listed || !done
        fi;
        seen = 0
    }
}

active proctype card() {
    do
    :: atomic { open && work < MOST -> work++; cause = true }
    od
}

active proctype interrupt() {
    do
    :: atomic { serviced && line -> handling = true };
        cause = false;                                          /* ICR is read, */
        unmasked = false;                                       /* IMC written */
        schedule();
        handling = false
    od
}

active proctype kick() {                        /* whoever else has work for the poll, and schedules it */
    do
    :: atomic { open && work < MOST -> work++; kicking = true };
        schedule();
        kicking = false
    od
}

active proctype softirq() {
    byte got, seen;
    bool done;
    do
    :: atomic { listed -> listed = false; running = true };
        atomic {
            assert(rings && !disabled);
            got = (work < WEIGHT -> work : WEIGHT);
            work = work - got
        };
        if
        :: got < WEIGHT ->
            complete_done();
            if
            :: done -> unmasked = true
            :: else
            fi
        :: else ->                                              /* all of its budget: polled again, unless somebody waits */
            seen = state;
            if
            :: seen & DISABLE -> complete_done()
            :: else -> listed = true; seen = 0
            fi
        fi;
        atomic { got = 0; done = false; running = false }
    od
}

active proctype control() {
    do
    ::  atomic { work = 0; cause = false; rings = true; serviced = true };
        disabled = false;
        state = state & ~SCHED;
        atomic { open = true; unmasked = true };
stays_open:
        closing = true;
#ifndef NO_DISABLE_BIT
        state = state | DISABLE;
#endif
        if
        :: atomic { !(state & SCHED) -> state = state | SCHED };
            disabled = true;
            state = state & ~DISABLE
#ifndef NO_TIMEOUT
        :: state & SCHED ->                                     /* seen once more, and time is over */
#ifdef FORGET_WHEN_GIVING_UP
            state = state & ~DISABLE;
            closing = false;
            goto stays_open
#else
            atomic {
                if
                :: state & SCHED ->                             /* the poll looks again, for what was refused */
#ifdef NO_SECOND_LOOK
                    state = state & ~DISABLE;
#else
                    state = (state & ~DISABLE) | MISSED;
#endif
                    closing = false;
                    goto stays_open
                :: else -> state = (state | SCHED) & ~DISABLE   /* it has completed after all */
                fi
            };
            disabled = true
#endif
#endif
        fi;
progress:
        assert(!listed);
        unmasked = false;                                       /* IMC */
#ifndef NO_SYNCHRONIZE
        atomic { !running && !handling -> serviced = false };
#else
        serviced = false;
#endif
        atomic { unmasked = false; cause = false; open = false };   /* reset */
        rings = false;
        closing = false
    od
}

#define lost (work > 0 && open && !closing && !line && !listed)
#define late (!open && !rings && unmasked)

active proctype at_rest() {
    atomic { !running && !handling && !kicking && lost -> assert(!lost) }
}

active proctype closed() {
    atomic { late -> assert(!late) }                            /* an interrupt of a closed device */
}
