"""A card that somebody looks at: its register accesses, and what it does, as events of a Recorder."""

from libc.stdint cimport uint16_t
from libc.string cimport memcpy, memset

from e1000.desc cimport TXD_CMD_RPS, TXD_CMD_RS, TXD_STA_DD
from e1000.device.handlers cimport Handlers
from e1000.device.mmio cimport register_read, register_write
from e1000.device.recorder cimport (EVENT_DMA_READ, EVENT_DMA_WRITE, EVENT_DROPPED, EVENT_LINE, EVENT_MESSAGE, EVENT_READ,
                                    EVENT_REFUSED, EVENT_TIMER, EVENT_WRITE, Event, Recorder, SPACE_MMIO)
from e1000.device.strict cimport Strict
from fastring.atomic cimport load_relaxed64
from fastring.burst cimport FRAME_MORE
from fastring.irq cimport IrqLine

cdef enum:
    HEAD = 16                       # bytes of a frame in its event


cdef uint32_t watched_read(Card* card, uint32_t offset) noexcept nogil:
    """mmio_read: `offset` is a register's."""
    cdef Watch* watch = <Watch*>card.watch
    cdef uint32_t value
    cdef bint whole = not watch.narrow
    watch.narrow = False            # whatever a handler accesses is an access of its own
    if watch.handlers == NULL or not (<Handlers>watch.handlers).read(offset, &value):
        value = register_read(card, offset)
    if watch.strict != NULL:
        (<Strict>watch.strict).check_read(card, offset, value)
    if whole:
        record_access(card, EVENT_READ, SPACE_MMIO, offset, value, 4)
        settle(card)
    return value


cdef void watched_write(Card* card, uint32_t offset, uint32_t value) noexcept nogil:
    """mmio_write: `offset` is a register's."""
    cdef Watch* watch = <Watch*>card.watch
    cdef bint whole = not watch.narrow
    watch.narrow = False
    if whole:
        record_access(card, EVENT_WRITE, SPACE_MMIO, offset, value, 4)
    if watch.strict != NULL:
        (<Strict>watch.strict).check_write(card, offset, value)
    if watch.handlers == NULL or not (<Handlers>watch.handlers).write(offset, value):
        register_write(card, offset, value)
    if whole:
        settle(card)


cdef void begin_access(Card* card) noexcept nogil:
    if card.watch != NULL:
        (<Watch*>card.watch).narrow = True


cdef void begin_write(Card* card, Space space, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil:
    if card.watch != NULL:
        check_access(card, space, True, offset, value, size)
        record_access(card, EVENT_WRITE, space, offset, value, size)
        begin_access(card)


cdef void end_access(Card* card) noexcept nogil:
    if card.watch != NULL:
        (<Watch*>card.watch).narrow = False
        settle(card)


cdef void end_read(Card* card, Space space, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil:
    if card.watch != NULL:
        check_access(card, space, False, offset, value, size)
        record_access(card, EVENT_READ, space, offset, value, size)
        end_access(card)


cdef void check_access(Card* card, Space space, bint write, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil:
    cdef Watch* watch = <Watch*>card.watch
    if watch.strict != NULL:
        (<Strict>watch.strict).check_size(card, space, write, offset, value, size)


# --- events ---

cdef inline void record(Card* card, Event* event) noexcept nogil:
    cdef Watch* watch = <Watch*>card.watch
    if watch != NULL and watch.recorder != NULL:        # a sink, or a wire, may end the recording within
        event.card = watch.number
        (<Recorder>watch.recorder).push(event)


cdef inline void clear(Event* event, uint32_t kind) noexcept nogil:
    memset(event, 0, sizeof(Event))
    event.kind = <uint8_t>kind


cdef void record_access(Card* card, uint32_t kind, uint32_t space, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil:
    cdef Event event
    clear(&event, kind)
    event.address = offset
    event.value = value
    event.extra = card.pci.ioaddr
    event.length = size
    event.detail = <uint16_t>space
    record(card, &event)


cdef void record_descriptor(Card* card, uint32_t kind, uint32_t which, uint32_t index, const Desc* desc, uint64_t word) noexcept nogil:
    cdef Event event
    if kind == EVENT_WRITE_BACK and which == RING_TX:
        if not word & (TXD_CMD_RS | TXD_CMD_RPS):
            return
        word |= TXD_STA_DD
    clear(&event, kind)
    event.address = load_relaxed64(&desc.address)
    event.value = word
    event.extra = which
    event.length = index
    record(card, &event)


cdef void record_frames(Card* card, uint32_t kind, const Frame* frames, int n) noexcept nogil:
    """One event a packet, with its length and first bytes."""
    cdef Event event
    cdef unsigned char head[HEAD]
    cdef uint32_t have, part
    cdef int i = 0
    notice(card)
    while i < n:
        clear(&event, kind)
        memset(head, 0, HEAD)
        have = 0
        while True:
            part = frames[i].len if frames[i].len < HEAD - have else HEAD - have
            memcpy(head + have, frames[i].data, part)
            have += part
            event.length += frames[i].len
            i += 1
            if not frames[i - 1].flags & FRAME_MORE or i == n:
                break
        memcpy(&event.address, head, 8)
        memcpy(&event.value, head + 8, 8)
        record(card, &event)


cdef void record_timer(Card* card, uint32_t name) noexcept nogil:
    cdef Event event
    clear(&event, EVENT_TIMER)
    event.detail = <uint16_t>name
    record(card, &event)


cdef void record_refusal(Card* card, const Frame* frames, int n) noexcept nogil:
    cdef Event event
    cdef int i
    clear(&event, EVENT_REFUSED)
    for i in range(n):
        event.value += not frames[i].flags & FRAME_MORE
    record(card, &event)


cdef void notice(Card* card) noexcept nogil:
    """Tell what has changed since the last time: frames dropped, and the interrupt line."""
    cdef Watch* watch = <Watch*>card.watch
    cdef Event event
    cdef uint32_t i
    cdef bint line = card.irq != NULL and (<IrqLine>card.irq).level
    if watch == NULL or watch.recorder == NULL:
        return
    for i in range(DROP_REASONS):
        if card.drops[i] != watch.drops[i]:
            clear(&event, EVENT_DROPPED)
            event.value = card.drops[i] - watch.drops[i]
            event.detail = <uint16_t>i
            watch.drops[i] = card.drops[i]
            record(card, &event)
    if line != watch.line:
        clear(&event, EVENT_LINE)
        event.address = card.ims
        event.value = card.icr
        event.detail = line
        watch.line = line
        record(card, &event)


cdef void settle(Card* card) noexcept nogil:
    """What was under way is over, and nobody has a pointer to anything: the recorder's sink may be called, which may do anything."""
    cdef Watch* watch = <Watch*>card.watch
    notice(card)
    if watch != NULL and watch.recorder != NULL:
        (<Recorder>watch.recorder).deliver()


cdef void notice_restore(Card* card) noexcept nogil:
    cdef Watch* watch = <Watch*>card.watch
    memcpy(watch.drops, card.drops, sizeof(watch.drops))
    if watch.strict != NULL:
        (<Strict>watch.strict).look_back(card)
    settle(card)


cdef void tapped(void* context, uint64_t iova, uint64_t length, bint write, bint reached) noexcept nogil:
    """The tap: DMA as events. A ring's address is worked out as a whole; what is read and written of it is told by descriptor."""
    cdef Card* card = <Card*>context
    cdef Event event
    notice(card)
    if reached and (iova == card.tdba and length == card.tdlen or iova == card.rdba and length == card.rdlen):
        return
    clear(&event, EVENT_DMA_WRITE if write else EVENT_DMA_READ)
    if write and card.msi and iova == card.pci.msi_address and length == 4:
        event.kind = EVENT_MESSAGE
        event.value = card.pci.msi_data
    event.address = iova
    event.length = <uint32_t>length
    event.detail = not reached
    record(card, &event)


cdef void start_recording(Card* card, Watch* watch, void* recorder, uint8_t number) noexcept nogil:
    """Put the tap in; the caller sees to card.watch."""
    watch.recorder = recorder
    watch.number = number
    watch.line = card.irq != NULL and (<IrqLine>card.irq).level
    memcpy(watch.drops, card.drops, sizeof(watch.drops))
    memset(&watch.tap, 0, sizeof(IovaMap))
    watch.tap.tap = tapped
    watch.tap.tap_context = card
    watch.tap.behind = memory_of(card)
    card.iovas = &watch.tap


cdef void stop_recording(Card* card, Watch* watch) noexcept nogil:
    """Take it out."""
    card.iovas = memory_of(card)
    watch.recorder = NULL
