"""Watch: who looks at a card from outside. A card that nobody looks at has none, and pays one test an access.

Engines tell what no access shows through the `saw_` functions. What can be seen from outside is not told but noticed: drops, the
interrupt line, and DMA, which passes through a tap in the map of memory; so the plain paths, which use no map, stand aside by themselves.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from e1000.desc cimport Desc
from e1000.device.recorder cimport EVENT_FETCH, EVENT_WRITE_BACK, Space
from e1000.device.state cimport DROP_REASONS, Card
from fastring.burst cimport Frame
from fastring.memory cimport IovaMap

cdef enum:                          # rings, in events
    RING_TX
    RING_RX

cdef enum TimerName:
    TIMER_LINK
    TIMER_RECEIVE                   # RDTR or RADV
    TIMER_TRANSMIT                  # TIDV or TADV
    TIMER_THROTTLE                  # ITR
    TIMER_PAUSE                     # the end of a pause that the other end asked for

ctypedef struct Watch:              # pointers are NULL when that is off, and all held by the E1000Device
    void* handlers                  # a Handlers: Python in place of registers
    void* recorder                  # a Recorder
    void* strict                    # a Strict
    uint8_t number                  # the card's, in the recorder's events
    IovaMap tap                     # between the card and its memory while there is a recorder
    bint narrow                     # an access by another way than a dword of BAR0 is under way
    bint line                       # interrupt line, and drops, as last told
    uint64_t drops[DROP_REASONS]

cdef uint32_t watched_read(Card* card, uint32_t offset) noexcept nogil
cdef void watched_write(Card* card, uint32_t offset, uint32_t value) noexcept nogil

# Accesses that may lead to the former: 8 and 16 bits, the I/O BAR, configuration space
cdef void begin_access(Card* card) noexcept nogil
cdef void begin_write(Card* card, Space space, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil
cdef void end_access(Card* card) noexcept nogil
cdef void end_read(Card* card, Space space, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil

cdef void record_descriptor(Card* card, uint32_t kind, uint32_t which, uint32_t index, const Desc* desc, uint64_t word) noexcept nogil
cdef void record_frames(Card* card, uint32_t kind, const Frame* frames, int n) noexcept nogil
cdef void record_refusal(Card* card, const Frame* frames, int n) noexcept nogil
cdef void record_timer(Card* card, uint32_t name) noexcept nogil
cdef void settle(Card* card) noexcept nogil
cdef void notice_restore(Card* card) noexcept nogil
cdef void start_recording(Card* card, Watch* watch, void* recorder, uint8_t number) noexcept nogil
cdef void stop_recording(Card* card, Watch* watch) noexcept nogil


cdef inline void saw_fetch(Card* card, uint32_t which, uint32_t index, const Desc* desc, uint64_t word) noexcept nogil:
    """A descriptor was fetched; `word` is its second half."""
    if card.watch != NULL:
        record_descriptor(card, EVENT_FETCH, which, index, desc, word)


cdef inline void saw_write_back(Card* card, uint32_t which, uint32_t index, const Desc* desc, uint64_t word) noexcept nogil:
    """A descriptor is done with; `word` as written back, or for transmit as fetched."""
    if card.watch != NULL:
        record_descriptor(card, EVENT_WRITE_BACK, which, index, desc, word)


cdef inline void saw_frames(Card* card, uint32_t kind, const Frame* frames, int n) noexcept nogil:
    """Frames were sent (EVENT_SENT) or arrived."""
    if card.watch != NULL:
        record_frames(card, kind, frames, n)


cdef inline void saw_refusal(Card* card, const Frame* frames, int n) noexcept nogil:
    """Of the frames told of last, these come again: the card has no room, and the wire waits."""
    if card.watch != NULL and n > 0:
        record_refusal(card, frames, n)


cdef inline void saw_timer(Card* card, TimerName name) noexcept nogil:
    """A timer of the card's fires."""
    if card.watch != NULL:
        record_timer(card, name)


cdef inline void saw_restore(Card* card) noexcept nogil:
    """It is another card now: nothing that differs from before has happened to it."""
    if card.watch != NULL:
        notice_restore(card)


cdef inline void saw(Card* card) noexcept nogil:
    """An engine is done: something may have happened that can be noticed, and what was recorded goes to its sink."""
    if card.watch != NULL:
        settle(card)


cdef inline IovaMap* memory_of(Card* card) noexcept nogil:
    """The map the card reaches memory by, without the tap in it."""
    return card.iovas.behind if card.iovas != NULL and card.iovas.behind != NULL else card.iovas


cdef inline void lead_memory(Card* card, IovaMap* iovas) noexcept nogil:
    """Have the card reach memory by another map, the tap staying in between."""
    if card.iovas != NULL and card.iovas.behind != NULL:
        card.iovas.behind = iovas
    else:
        card.iovas = iovas
