"""Interrupt moderation: RDTR and RADV, RSRPD, TIDV and TADV (§3.2.7, §3.4.3, §13.4.30 to 13.4.32, §13.4.41, §13.4.44).

A deadline is a number in the card, and one timer is armed for the first of them, or earlier: moving one on, as every packet does
under RDTR, then touches no list. Where a DeviceThread runs the engines no timer is armed, and it looks at the numbers.
Without a clock nothing waits: an interrupt comes at once.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from e1000.desc cimport TXD_STA_DD
from e1000.device.faults cimport settle
from e1000.device.interrupt cimport update_line, wait_until
from e1000.device.lock cimport lock_card, unlock_card
from e1000.device.state cimport (GENERAL_SMALL, NEVER, WAIT_RX_ABSOLUTE, WAIT_RX_LATE, WAIT_RX_PACKET, WAIT_THROTTLE, WAIT_TX_ABSOLUTE,
                                 WAIT_TX_LATE, WAIT_TX_PACKET, WAITS, Card, DeviceLock)
from e1000.device.threshold cimport flush_receive, flush_transmit, keep, update_thresholds
from e1000.device.timers cimport cancel_timer
from e1000.device.watch cimport RING_RX, RING_TX, TIMER_RECEIVE, TIMER_THROTTLE, TIMER_TRANSMIT, saw, saw_timer
from e1000.regs cimport (ICR_RXT0, ICR_SRPD, ICR_TXDW, ITR, RADV, RDTR, RDTR_DELAY, RDTR_FPD, RSRPD, TADV, TIDV)
from fastring.clock cimport Clock

cdef enum:
    DELAY_UNIT = 1024               # ns
    LONGEST_INTERVAL = 0x10000 * 256
    LONGEST_WAIT = 0x10000 * DELAY_UNIT


# --- the timer ---

cdef void moderation_reset(Card* card) noexcept nogil:
    """Nothing is waited for, and nothing kept; the registers are reset already."""
    cdef int i
    for i in range(WAITS):
        card.deadlines[i] = NEVER
    card.interrupted = -LONGEST_INTERVAL    # so long ago that the next one need not wait
    card.tx_kept.count = card.rx_kept.count = 0
    card.rx_general &= ~<uint32_t>GENERAL_SMALL
    update_thresholds(card)
    card.wait_timer.handler = wait_timer
    card.wait_timer.context = card
    cancel_timer(card, &card.wait_timer)


cdef void moderation_resume(Card* card) noexcept nogil:
    """Arm the timer for what is waited for. The clock's thread."""
    cdef int i
    for i in range(WAITS):
        wait_until(card, i, card.deadlines[i])


cdef void wait_timer(void* context) noexcept nogil:
    cdef Card* card = <Card*>context
    cdef DeviceLock* lock = lock_card(card)
    expire_waits(card)
    moderation_resume(card)
    saw(card)
    unlock_card(lock)


cdef void expire_waits(Card* card) noexcept nogil:
    """Do what is due."""
    cdef int64_t now = (<Clock>card.clock).now()
    if card.deadlines[WAIT_RX_PACKET] <= now or card.deadlines[WAIT_RX_ABSOLUTE] <= now:
        saw_timer(card, TIMER_RECEIVE)
        receive_timer(card)
    if card.deadlines[WAIT_TX_PACKET] <= now or card.deadlines[WAIT_TX_ABSOLUTE] <= now:
        saw_timer(card, TIMER_TRANSMIT)
        transmit_timer(card)
    if card.deadlines[WAIT_RX_LATE] <= now:
        settle(card, RING_RX)
    if card.deadlines[WAIT_TX_LATE] <= now:
        settle(card, RING_TX)
    if card.deadlines[WAIT_THROTTLE] <= now:
        saw_timer(card, TIMER_THROTTLE)
        card.deadlines[WAIT_THROTTLE] = NEVER
        update_line(card)


cdef inline void start(Card* card, int wait, int64_t now, uint32_t delay) noexcept nogil:
    """Wait for a delay register's time; when the clock ends before, to its end."""
    cdef int64_t ns = <int64_t>DELAY_UNIT * delay
    wait_until(card, wait, now + ns if now < NEVER - ns else NEVER - 1)


# --- receive ---

cdef uint32_t delay_receive(Card* card, uint32_t causes) noexcept nogil:
    """Packets were stored: start or restart the timers in place of RXT0. Returns the causes that are left.

    A small packet ends the wait (§3.2.7.2).
    """
    cdef int64_t now
    if not causes & ICR_RXT0:
        return causes
    if card.clock == NULL or causes & ICR_SRPD:
        end_receive(card)
        return causes
    now = (<Clock>card.clock).now()
    start(card, WAIT_RX_PACKET, now, card.regs[RDTR >> 2])
    if card.regs[RADV >> 2] and card.deadlines[WAIT_RX_ABSOLUTE] == NEVER:
        start(card, WAIT_RX_ABSOLUTE, now, card.regs[RADV >> 2])
    return causes & ~<uint32_t>ICR_RXT0


cdef void end_receive(Card* card) noexcept nogil:
    """What is used goes to the host before the interrupt that tells of it, and one timer stops the other."""
    card.deadlines[WAIT_RX_PACKET] = card.deadlines[WAIT_RX_ABSOLUTE] = NEVER
    flush_receive(card)


cdef void receive_timer(Card* card) noexcept nogil:
    end_receive(card)
    raise_written(card, RING_RX, ICR_RXT0)


# --- transmit ---

cdef uint32_t keep_sent(Card* card, uint32_t slot, uint64_t word, uint32_t causes) noexcept nogil:
    """Keep a transmit descriptor with RS back, or write all that are kept. Returns the causes after it."""
    cdef uint32_t i
    if keep(&card.tx_kept, slot, word | TXD_STA_DD):
        for i in range(card.tx_kept.count):
            causes = written_back(card.tx_kept.words[i], causes)
        flush_transmit(card)
        return causes
    return causes | (TXDW_LATER if word & TXD_CMD_IDE else TXDW_KEPT)


cdef uint32_t delay_transmit(Card* card, uint32_t causes) noexcept nogil:
    """Start or restart the timers in place of TXDW. Returns the causes that are left. A TXDW at once stops them (§13.4.44).

    IDE restarts TIDV's each time; for descriptors that are only kept, the first one starts it (§3.4.2).
    """
    cdef bint restart = causes & TXDW_LATER != 0, kept = card.tx_kept.count != 0
    cdef int64_t now
    causes &= ~<uint32_t>(TXDW_LATER | TXDW_KEPT)
    if causes & ICR_TXDW:
        end_transmit(card)
    if not restart and not kept:
        return causes
    if card.clock == NULL or card.regs[TIDV >> 2] == 0:
        end_transmit(card)
        return causes | ICR_TXDW
    now = (<Clock>card.clock).now()
    if restart or card.deadlines[WAIT_TX_PACKET] == NEVER:
        start(card, WAIT_TX_PACKET, now, card.regs[TIDV >> 2])
    if restart and card.regs[TADV >> 2] and card.deadlines[WAIT_TX_ABSOLUTE] == NEVER:
        start(card, WAIT_TX_ABSOLUTE, now, card.regs[TADV >> 2])
    return causes


cdef inline void end_transmit(Card* card) noexcept nogil:
    card.deadlines[WAIT_TX_PACKET] = card.deadlines[WAIT_TX_ABSOLUTE] = NEVER


cdef void transmit_timer(Card* card) noexcept nogil:
    end_transmit(card)
    flush_transmit(card)
    raise_written(card, RING_TX, ICR_TXDW)


# --- registers ---

cdef void write_moderation(Card* card, uint32_t offset, uint32_t value) noexcept nogil:
    """ITR, RDTR, RSRPD, RXDCTL, TIDV, TXDCTL. A timer that runs is not changed by its register, except that 0 ends the wait."""
    card.regs[offset >> 2] = value & RDTR_DELAY if offset == RDTR else value
    if offset == ITR:
        update_line(card)
        return
    if offset == RSRPD:
        derive_moderation(card)
        return
    update_thresholds(card)
    if offset == RDTR and (value & RDTR_FPD or value == 0 and card.deadlines[WAIT_RX_PACKET] != NEVER):
        receive_timer(card)
    elif offset == TIDV and value == 0 and card.deadlines[WAIT_TX_PACKET] != NEVER:
        transmit_timer(card)


# --- snapshots: times are relative to now ---

cdef void derive_moderation(Card* card) noexcept nogil:
    """Work out what follows from registers."""
    card.rx_general = card.rx_general & ~<uint32_t>GENERAL_SMALL | (GENERAL_SMALL if card.regs[RSRPD >> 2] else 0)


cdef void times_to_waits(Card* card, int64_t now) noexcept nogil:
    """Of a card that is saved: how long each wait still is, and how long ago the last interrupt was."""
    cdef int i
    for i in range(WAITS):
        if card.deadlines[i] != NEVER:
            card.deadlines[i] = card.deadlines[i] - now if card.deadlines[i] > now else 0
    card.interrupted = -LONGEST_INTERVAL if card.interrupted < now - LONGEST_INTERVAL else card.interrupted - now


cdef void waits_to_times(Card* card, int64_t now) noexcept nogil:
    """Of a card that is restored."""
    cdef int i
    for i in range(WAITS):
        if card.deadlines[i] != NEVER:
            card.deadlines[i] = now + card.deadlines[i] if now < NEVER - card.deadlines[i] else NEVER - 1
    card.interrupted += now


cdef bint waits_are_possible(const Card* card) noexcept nogil:
    cdef int i
    for i in range(WAITS):
        if card.deadlines[i] != NEVER and not 0 <= card.deadlines[i] <= LONGEST_WAIT:
            return False
    if card.deadlines[WAIT_RX_LATE] != NEVER or card.deadlines[WAIT_TX_LATE] != NEVER:
        return False                    # a fault's: no state of a card
    return -LONGEST_INTERVAL <= card.interrupted <= 0 and 0 <= card.interrupting <= 1
