/* Memory as two threads see it that have a store buffer each: threads 0 and 1, the first two proctypes of the model.
 *
 * A store waits in its thread's buffer, where that thread's later loads pass it; a buffer empties in order, whenever it likes. Loads
 * are done in order, at once. So it is on x86 (TSO), and no more do release stores and acquire loads promise two threads anywhere.
 *
 * LOCKED is the location that both threads change, by atomic read-modify-write. That keeps it to itself until its store is out. On
 * x86 (-DX86) it is a full fence as well; elsewhere (ARMv8's ldaxr and stlxr) later loads may pass its store.
 *
 * The model defines LOCATIONS and LOCKED before it includes this.
 */

#define NOBODY 255
#define BUFFERED 4

byte memory[LOCATIONS];
chan buffer[2] = [BUFFERED] of { byte, byte };     /* location, value */
byte held_by = NOBODY;                             /* whose read-modify-write of LOCKED is in its buffer, */
byte held_value;                                   /* and what it wrote */

/* A load. What a thread alone writes it keeps in a variable of its own, so only LOCKED is ever found in the own buffer. */
#define load(location) (((location) == LOCKED && held_by == _pid) -> held_value : memory[location])

#define store(location, value) buffer[_pid]!location,value
#define full_fence() empty(buffer[_pid])

#ifdef X86
#define change(value) atomic { empty(buffer[_pid]); memory[LOCKED] = value }
#define give_back() skip
#else
#define change(value) \
    atomic { \
        held_by == NOBODY && nfull(buffer[_pid]) -> \
        held_value = value; \
        held_by = _pid; \
        buffer[_pid]!LOCKED,held_value \
    }
#define give_back() if :: location == LOCKED -> held_by = NOBODY; held_value = 0 :: else fi
#endif
#define fetch_or(bits) change(memory[LOCKED] | (bits))
#define fetch_and(bits) change(memory[LOCKED] & (bits))

/* Let out the oldest store of thread n. */
#define LET_OUT(n) \
    byte location, value; \
    do \
    :: atomic { \
        buffer[n]?location,value -> \
        memory[location] = value; \
        give_back(); \
        location = 0; \
        value = 0 \
    } \
    od
