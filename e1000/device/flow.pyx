"""Flow control (§8.7, IEEE 802.3 annex 31B): a pause frame that arrives holds the transmitter, a filling FIFO sends them.

A pause lasts on the card's clock. Without a clock no time passes: it is over as it begins.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from e1000.device.lock cimport lock_card, unlock_card
from e1000.device.state cimport FLOW_RESUMED, FLOW_SENDS, HOLD_LINK, HOLD_PAUSE, Card, DeviceLock
from e1000.device.statistics cimport stat_index
from e1000.device.timers cimport arm_timer, cancel_timer
from e1000.device.tx cimport transmit, tx_run
from e1000.device.watch cimport TIMER_PAUSE, saw, saw_timer
from e1000.regs cimport *
from fastring.burst cimport Frame

cdef enum:
    LENGTH = MIN_FRAME - CRC_LENGTH     # of a pause frame
    QUANTUM = 512                       # bit times
    THRESHOLD = 0xFFF8                  # of FCRTL and FCRTH
    DEEPEST = 4                         # of flow_settle in itself


cdef inline bint controls(Card* card, uint32_t direction) noexcept nogil:
    """Whether CTRL enables flow control in this direction, and the link is one that has it."""
    return card.regs[CTRL >> 2] & direction and card.regs[STATUS >> 2] & STATUS_FD and not card.tx_hold & HOLD_LINK


# --- pause frames that arrive ---

cdef void flow_received(Card* card, bint pause, uint32_t quanta) noexcept nogil:
    """A MAC control frame for this card came in: a pause of so many quanta, or one of another opcode. `flow_settle` comes later."""
    if not pause:
        card.stat[stat_index(FCRUC)] += 1
        return
    card.stat[stat_index(XONRXC if quanta == XON else XOFFRXC)] += 1
    if not controls(card, CTRL_RFCE):
        return
    if quanta == XON:
        if card.tx_hold & HOLD_PAUSE:
            let_go(card)
            card.flow |= FLOW_RESUMED
    elif card.clock != NULL:
        hold(card, quanta)


cdef void hold(Card* card, uint32_t quanta) noexcept nogil:
    """Pause from now on for `quanta`, however long an earlier pause had still to go."""
    cdef int64_t length = <int64_t>quanta * QUANTUM * bit_time(card)
    card.tx_hold |= HOLD_PAUSE
    card.regs[STATUS >> 2] |= STATUS_TXOFF
    flow_resume(card, length)


cdef void flow_resume(Card* card, int64_t length) noexcept nogil:
    """End the pause in so many ns; on the card's clock, which it must have."""
    arm_timer(card, &card.pause_timer, pause_over, length)


cdef inline uint32_t bit_time(Card* card) noexcept nogil:
    """ns a bit takes at the link's speed."""
    cdef uint32_t speed = card.regs[STATUS >> 2] >> STATUS_SPEED_SHIFT & 3
    return 100 if speed == 0 else 10 if speed == 1 else 1


cdef void pause_over(void* context) noexcept nogil:
    cdef Card* card = <Card*>context
    cdef DeviceLock* lock = lock_card(card)
    saw_timer(card, TIMER_PAUSE)
    let_go(card)
    go_on(card)
    saw(card)
    unlock_card(lock)


cdef void let_go(Card* card) noexcept nogil:
    cancel_timer(card, &card.pause_timer)
    card.tx_hold &= ~<uint32_t>HOLD_PAUSE
    card.regs[STATUS >> 2] &= ~<uint32_t>STATUS_TXOFF


cdef void go_on(Card* card) noexcept nogil:
    """A pause is over, and what waits for nothing else is sent."""
    card.flow &= ~<uint32_t>FLOW_RESUMED
    if not card.tx_hold:
        card.tx_deferred = False
        if not card.threaded:
            tx_run(card)


cdef void flow_check(Card* card) noexcept nogil:
    """Link or CTRL changed: a pause ends with the flow control that brought it."""
    derive_flow(card)
    if card.tx_hold & HOLD_PAUSE and not controls(card, CTRL_RFCE):
        let_go(card)


cdef void derive_flow(Card* card) noexcept nogil:
    """Work out whether pause frames are sent: if not, the other end was told nothing."""
    if controls(card, CTRL_TFCE):
        card.flow |= FLOW_SENDS
    else:
        card.flow &= ~<uint32_t>FLOW_SENDS
        card.xoff_sent = False


cdef bint flow_is_possible(Card* card) noexcept nogil:
    """Of a card that comes out of a snapshot, what follows from others worked out: whether it can be paused as it says."""
    cdef bint paused = card.tx_hold & HOLD_PAUSE != 0
    return (0 <= card.xoff_sent <= 1 and card.flow & ~<uint32_t>(FLOW_SENDS | FLOW_RESUMED) == 0
            and paused == (card.regs[STATUS >> 2] & STATUS_TXOFF != 0) and (not paused or controls(card, CTRL_RFCE)))


cdef void flow_reset(Card* card) noexcept nogil:
    let_go(card)
    card.xoff_sent = False
    card.flow = 0


# --- pause frames that are sent ---

cdef void flow_settle(Card* card) noexcept nogil:
    """Do what receiving frames, or giving them to the host, has led to: the last thing the engine does, since the wire may answer.

    An answer that fills the FIFO is answered in turn. A pause frame may be one itself, by loopback or PMCF, and so there is an end to it.
    """
    if card.settling == DEEPEST:
        return                          # looked at again with the next frame or descriptor
    card.settling += 1
    if card.flow & FLOW_RESUMED:
        go_on(card)
    if card.flow & FLOW_SENDS:
        watch_fifo(card)
    card.settling -= 1


cdef void watch_fifo(Card* card) noexcept nogil:
    """XOFF as the FIFO reaches FCRTH, XON, if FCRTL.XONE wants it, as it falls below FCRTL (§13.4.23, §13.4.24).

    The state changes before a frame is sent: the answer may have filled the FIFO again when `send` returns.
    """
    if not card.xoff_sent:
        if card.fifo_used and card.fifo_used >= card.regs[FCRTH >> 2] & THRESHOLD:
            card.xoff_sent = True
            if not send(card, card.regs[FCTTV >> 2]):
                card.xoff_sent = False
    elif card.fifo_used == 0 or card.fifo_used < card.regs[FCRTL >> 2] & THRESHOLD:
        card.xoff_sent = False
        if card.regs[FCRTL >> 2] & FCRTL_XONE and not send(card, XON):
            card.xoff_sent = True


cdef void flow_send_by_software(Card* card) noexcept nogil:
    """TCTL.SWXOFF: one pause frame with FCTTV, whatever CTRL.TFCE says. The bit stays until the frame has left (§13.4.33)."""
    if card.tctl & TCTL_SWXOFF and send(card, card.regs[FCTTV >> 2]):
        card.tctl &= ~<uint32_t>TCTL_SWXOFF


cdef bint send(Card* card, uint32_t quanta) noexcept nogil:
    """Send a pause frame, also while paused. It is counted in totals, and as what it is, but as no good packet (§13.7)."""
    cdef uint8_t content[LENGTH]
    cdef Frame frame
    if not card.tctl & TCTL_EN or card.tx_hold & HOLD_LINK:
        return False
    memset(content, 0, LENGTH)
    put_address(content, card.regs[FCAL >> 2], card.regs[FCAH >> 2])
    put_address(content + 6, card.regs[RAL0 >> 2], card.regs[RAH0 >> 2])
    put16(content + 12, card.regs[FCT >> 2])
    put16(content + 14, PAUSE_OPCODE)
    put16(content + 16, quanta)
    frame.data = content
    frame.len = LENGTH
    frame.flags = 0
    if transmit(card, &frame, 1) == 0:
        return False                # the wire has no room
    card.stat[stat_index(XONTXC if quanta == XON else XOFFTXC)] += 1
    card.stat[stat_index(TPT)] += 1
    card.stat[stat_index(TOTL)] += MIN_FRAME
    return True


cdef inline void put_address(uint8_t* field, uint32_t low, uint32_t high) noexcept nogil:
    memcpy(field, &low, 4)
    memcpy(field + 4, &high, 2)


cdef inline void put16(uint8_t* field, uint32_t value) noexcept nogil:
    field[0] = <uint8_t>(value >> 8)
    field[1] = <uint8_t>value
