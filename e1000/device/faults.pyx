"""What goes wrong in a card, from a seed: its link, its interrupts, its DMA, and what it sends into a busy medium.

What arrives damaged is the wire's business: `fastring.faults.FaultyWire`. The same seed and the same events make the same faults; packets,
interrupts, write-backs of each ring and the cable have a generator each, and every event takes as many numbers, whatever the rates.

A card without faults has no Plan. One with any for its rings has GENERAL_FAULTS set, and its plain paths stand aside.
"""

import errno

from libc.stdint cimport int64_t, uint32_t, uint64_t

from e1000.desc cimport TXD_STA_EC, TXD_STA_LC, Desc
from e1000.device.interrupt cimport raise_cause, update_line, wait_until
from e1000.device.link cimport link_restart
from e1000.device.lock cimport lock_card, unlock_card
from e1000.device.pci cimport received_master_abort
from e1000.device.state cimport GENERAL_FAULTS, MOST_KEPT, NEVER, WAIT_TX_LATE, Card, DeviceLock, DROP_TX_COLLISION, WriteBack
from e1000.device.statistics cimport stat_index
from e1000.device.threshold cimport keep
from e1000.device.timers cimport cancel_timer
from e1000.device.tx cimport RING_GONE, transmit
from e1000.device.watch cimport RING_RX, RING_TX, TIMER_LINK, saw, saw_timer, saw_write_back
from e1000.regs cimport (COLC, DC, ECOL, LATECOL, MCC, SCC, STATUS, STATUS_FD, STATUS_SPEED_SHIFT, TCTL_CT_SHIFT, TCTL_RTLC, TNCRS)
from fastring.atomic cimport store_release64
from fastring.burst cimport Frame
from fastring.clock cimport Clock
from fastring.faults cimport happens, splitmix64
from fastring.memory cimport ACCESS_STORE, translate

from fastring.faults import parse_rates

cdef enum:
    COLLISIONS = 1 << SINGLE_COLLISION | 1 << MULTIPLE_COLLISIONS | 1 << EXCESSIVE_COLLISIONS | 1 << LATE_COLLISION
    MOST_COLLISIONS = 15            # of a packet that MCC counts; ECOL counts those with more
    SPEED_1000 = 2

NAMES = ("link_flap", "lost_interrupt", "delayed_dma", "single_collision", "multiple_collisions", "excessive_collisions", "late_collision",
         "deferred", "no_carrier")

cdef uint32_t STATISTIC[FAULTS]     # what counts it
STATISTIC[:] = [0, 0, 0, SCC, MCC, 0, LATECOL, DC, TNCRS]


cdef class Faults:
    """Faults of one card, for `E1000Device(faults=...)`; each rate is a probability from 0 to 1. `counts` says what happened so far.

    `link_flap`: in each second of the card's clock, that the cable comes out, for `flap_time` ns; then the link is negotiated anew.
    `lost_interrupt`: of each assertion, line or message, that the host does not get it. Its causes stay in ICR; the card asserts anew
    when they were cleared or masked meanwhile, or when software sets some itself (ICS), as a driver's watchdog does.
    `delayed_dma`: of each descriptor's write-back, that it comes `dma_delay` ns late, on the clock, and behind it in order all of that
    ring, 64 at most; its data is there before. The interrupt comes after it, with `early_interrupt` before.
    The rest befalls packets sent. In half duplex: `single_collision`, `multiple_collisions` (2 to 15), `excessive_collisions` (as many as
    TCTL.CT allows and one: given up), `late_collision` (in frames longer than a slot time; given up unless TCTL.RTLC). Of these a packet
    gets one: excessive before late, multiple and single ones, and what is more than TCTL.CT allows is excessive.
    In full duplex: `no_carrier` (§13.7.12). In either: `deferred`.
    Raises ValueError for no rate or time, TypeError for no fault; with a card, ValueError if it needs a clock for them, OSError
    EBUSY for the second card.
    """

    def __init__(self, *, uint64_t seed=0, flap_time=200_000_000, dma_delay=100_000, early_interrupt=False, **rates):
        cdef uint64_t state = seed
        if self.taken:
            raise OSError(errno.EBUSY, f"{self!r} is a card's already")
        for name, time in {"flap_time": flap_time, "dma_delay": dma_delay}.items():
            if not 0 < time <= 10**12:
                raise ValueError(f"{name}: 1 to {10**12} ns, not {time}")
        for i, rate in enumerate(parse_rates(NAMES, rates)):
            self.plan.rates[i] = rate
        self.plan.flap_time = flap_time
        self.plan.dma_delay = dma_delay
        self.plan.early_interrupt = early_interrupt
        self.plan.between_flaps = 2 * 10**9 * 2**32 // max(<object>self.plan.rates[LINK_FLAP], 1)
        self.plan.late[RING_TX].threshold = self.plan.late[RING_RX].threshold = MOST_KEPT
        self.plan.packets = splitmix64(&state)
        self.plan.interrupts = splitmix64(&state)
        self.plan.write_backs[RING_TX] = splitmix64(&state)
        self.plan.write_backs[RING_RX] = splitmix64(&state)
        self.plan.flaps = splitmix64(&state)
        self.seed = seed
        self.given = rates

    cdef int claim(self, object clock) except -1:
        """A card takes it, before anything of the card changes."""
        if self.taken:
            raise OSError(errno.EBUSY, f"{self!r} is a card's already")
        for fault in (LINK_FLAP, DELAYED_DMA):
            if clock is None and self.plan.rates[fault]:
                raise ValueError(f"{NAMES[fault]} takes time: give the card a clock, E1000Device(clock=...)")
        self.taken = True
        return 0

    cdef void attach(self, Card* card) noexcept nogil:
        """Begin: on the clock's thread."""
        cdef Plan* plan = &self.plan
        cdef int i
        card.faults = plan
        for i in range(DELAYED_DMA, FAULTS):
            if plan.rates[i]:
                card.tx_general |= GENERAL_FAULTS
        if plan.rates[DELAYED_DMA]:
            card.rx_general |= GENERAL_FAULTS
        if plan.rates[LINK_FLAP]:
            plan.flap_timer.handler = flap
            plan.flap_timer.context = card
            arm_flap(card, plan, 1 + splitmix64(&plan.flaps) % plan.between_flaps)

    @property
    def counts(self):
        """How often each fault happened. `delayed_dma`: descriptors that came late, those that waited for another included."""
        return {name: self.plan.happened[i] for i, name in enumerate(NAMES)}

    def __repr__(self):
        return f"<Faults seed={self.seed}{''.join(f', {name}={rate}' for name, rate in (self.given or {}).items())}>"


cdef void faults_cancel(Card* card) noexcept nogil:
    """Nothing goes wrong any more: before its clock is taken away."""
    if card.faults != NULL:
        cancel_timer(card, &(<Plan*>card.faults).flap_timer)
    card.faults = NULL
    card.tx_general &= ~<uint32_t>GENERAL_FAULTS
    card.rx_general &= ~<uint32_t>GENERAL_FAULTS


cdef void faults_reset(Card* card) noexcept nogil:
    """A reset: what is late never comes. The generators and the cable stay as they are."""
    cdef Plan* plan = <Plan*>card.faults
    if plan != NULL:
        plan.late[RING_TX].count = plan.late[RING_RX].count = 0
        plan.causes[RING_TX] = plan.causes[RING_RX] = 0
        plan.lost = False


cdef void faults_restored(Card* card) noexcept nogil:
    """The card is another one now, which has nothing late, and knows of no lost interrupt."""
    if card.faults != NULL:
        faults_reset(card)
        update_line(card)


# --- the cable ---

cdef void arm_flap(Card* card, Plan* plan, int64_t delay) noexcept nogil:
    cdef int64_t now = (<Clock>card.clock).now()
    if now < NEVER - delay:
        (<Clock>card.clock).arm(&plan.flap_timer, now + delay)


cdef void flap(void* context) noexcept nogil:
    """The timer: out comes the cable, if there is one, or in it goes."""
    cdef Card* card = <Card*>context
    cdef DeviceLock* lock = lock_card(card)
    cdef Plan* plan = <Plan*>card.faults
    if plan.cable_out or card.wire == NULL:
        arm_flap(card, plan, 1 + splitmix64(&plan.flaps) % plan.between_flaps)
    else:
        plan.happened[LINK_FLAP] += 1
        arm_flap(card, plan, plan.flap_time)
    if plan.cable_out or card.wire != NULL:
        saw_timer(card, TIMER_LINK)
        plan.cable_out = not plan.cable_out
        link_restart(card)
    saw(card)
    unlock_card(lock)


# --- interrupts ---

cdef bint is_heard(Card* card, bint up) noexcept nogil:
    """Whether the host gets to know that the card asserts its interrupt; `card.interrupting` is how it was."""
    cdef Plan* plan = <Plan*>card.faults
    if not up:
        plan.lost = False
    elif not card.interrupting:
        plan.lost = happens(&plan.interrupts, plan.rates[LOST_INTERRUPT])
        plan.happened[LOST_INTERRUPT] += plan.lost
    return up and not plan.lost


cdef void assert_again(Card* card) noexcept nogil:
    """Software is about to set a cause: if the last assertion was lost, that is a new one."""
    if card.faults != NULL and (<Plan*>card.faults).lost:
        card.interrupting = False


# --- write-backs ---

cdef bint delay_write_back(Card* card, uint32_t which, Desc* ring, uint32_t slot, uint64_t word) noexcept nogil:
    """Whether a descriptor is written back later; it is seen to then. What it tells of is in memory already."""
    cdef Plan* plan = <Plan*>card.faults
    cdef WriteBack* late = &plan.late[which]
    cdef int64_t now
    if not happens(&plan.write_backs[which], plan.rates[DELAYED_DMA]) and late.count == 0:
        return False
    plan.happened[DELAYED_DMA] += 1
    if late.count == 0:
        now = (<Clock>card.clock).now()
        wait_until(card, WAIT_TX_LATE + which, now + plan.dma_delay if now < NEVER - plan.dma_delay else NEVER - 1)
    if keep(late, slot, word):
        write_late(card, which, ring)
    return True


cdef void write_late(Card* card, uint32_t which, Desc* ring) noexcept nogil:
    """Write what is late, and then raise the interrupt that waited for it."""
    cdef Plan* plan = <Plan*>card.faults
    cdef WriteBack* late = &plan.late[which]
    cdef uint32_t i = 0, causes
    while i < late.count:
        store_release64(&ring[late.slots[i]].word, late.words[i])       # pairs with the driver's acquire of DD
        saw_write_back(card, which, late.slots[i], &ring[late.slots[i]], late.words[i])
        i += 1
    late.count = 0
    card.deadlines[WAIT_TX_LATE + which] = NEVER
    causes = plan.causes[which]
    plan.causes[which] = 0
    if causes:
        raise_cause(card, causes)


cdef void end_delay(Card* card, uint32_t which) noexcept nogil:
    """The delay is over. A ring that cannot be reached any more gets nothing (a master abort)."""
    cdef Plan* plan = <Plan*>card.faults
    cdef Desc* ring = NULL
    if plan.late[which].count:
        if which == RING_TX:
            ring = <Desc*>translate(card.iovas, card.tdba, card.tdlen, ACCESS_STORE, &card.tx_ring_hint)
        else:
            ring = <Desc*>translate(card.iovas, card.rdba, card.rdlen, ACCESS_STORE, &card.rx_ring_hint)
        if ring == NULL:
            received_master_abort(card)
            plan.late[which].count = 0
    write_late(card, which, ring)


# --- packets sent ---

cdef int send_befallen(Card* card, Frame* frames, uint32_t n, uint32_t length, uint64_t* status) noexcept nogil:
    """`transmit` of one packet, `length` bytes with CRC, and whatever befalls it; or GIVEN_UP. `status` gets EC and LC (§3.3.3.2).

    A packet that the wire refuses comes again, and gets the same faults then; only what is done with is counted.
    """
    cdef bint sent = befall(card, length)
    cdef int taken = transmit(card, frames, n) if sent else GIVEN_UP
    cdef Befallen* befallen = &(<Plan*>card.faults).befallen
    if taken == RING_GONE or taken == 0:
        return taken
    count(card, befallen)
    if befallen.faults & 1 << EXCESSIVE_COLLISIONS:
        status[0] |= TXD_STA_EC
    if befallen.faults & 1 << LATE_COLLISION:
        status[0] |= TXD_STA_LC
    if not sent:
        card.drops[DROP_TX_COLLISION] += 1
    return taken


cdef bint befall(Card* card, uint32_t length) noexcept nogil:
    """Draw what befalls the next packet. Returns whether it leaves all the same."""
    cdef Plan* plan = <Plan*>card.faults
    cdef Befallen* befallen = &plan.befallen
    cdef uint32_t i, faults = 0
    cdef uint64_t chance
    befallen.random = plan.packets
    befallen.collisions = 0
    chance = splitmix64(&befallen.random)
    for i in range(SINGLE_COLLISION, FAULTS):
        if happens(&befallen.random, plan.rates[i]):
            faults |= 1 << i
    if card.loopback:
        faults = 0                                      # no medium
    elif card.regs[STATUS >> 2] & STATUS_FD:
        faults &= ~<uint32_t>COLLISIONS
    else:
        faults = collide(card, faults & ~<uint32_t>(1 << NO_CARRIER), length, 2 + chance % (MOST_COLLISIONS - 1), &befallen.collisions)
    befallen.faults = faults
    if faults & 1 << LATE_COLLISION:
        return card.tctl & TCTL_RTLC != 0
    return not faults & 1 << EXCESSIVE_COLLISIONS


cdef uint32_t collide(Card* card, uint32_t faults, uint32_t length, uint32_t several, uint32_t* collisions) noexcept nogil:
    """Leave a packet one kind of collision; those before the slot time is over are counted (§13.7.10), up to TCTL.CT's limit."""
    cdef uint32_t limit = (card.tctl >> TCTL_CT_SHIFT & 0xFF) + 1, kind = 0
    if faults & 1 << EXCESSIVE_COLLISIONS:
        collisions[0] = limit
    elif faults & 1 << LATE_COLLISION and length > slot_time(card):
        kind = 1 << LATE_COLLISION
    elif faults & 1 << MULTIPLE_COLLISIONS:
        kind = 1 << MULTIPLE_COLLISIONS
        collisions[0] = several
    elif faults & 1 << SINGLE_COLLISION:
        kind = 1 << SINGLE_COLLISION
        collisions[0] = 1
    if collisions[0] >= limit:
        kind = 1 << EXCESSIVE_COLLISIONS
        collisions[0] = limit
    return faults & ~<uint32_t>COLLISIONS | kind


cdef inline uint32_t slot_time(Card* card) noexcept nogil:
    """In bytes, by the link's speed (§13.7.9); COLD pads with what is no byte of the frame."""
    return 512 if card.regs[STATUS >> 2] >> STATUS_SPEED_SHIFT & 3 == SPEED_1000 else 64


cdef void count(Card* card, const Befallen* befallen) noexcept nogil:
    """The packet is done with: count what befell it (§13.7.5 to 13.7.12)."""
    cdef Plan* plan = <Plan*>card.faults
    cdef uint32_t i
    plan.packets = befallen.random
    for i in range(SINGLE_COLLISION, FAULTS):
        if befallen.faults >> i & 1:
            plan.happened[i] += 1
            if STATISTIC[i]:
                card.stat[stat_index(STATISTIC[i])] += 1
    card.stat[stat_index(COLC)] += befallen.collisions
    card.stat[stat_index(ECOL)] += befallen.collisions > MOST_COLLISIONS
