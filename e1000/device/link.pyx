"""The link: the PHY makes it of a cable, in its own time on a clock; STATUS tells what PHY and CTRL agree on (§13.4.2)."""

from libc.stdint cimport int64_t, uint16_t, uint32_t

from e1000.device.faults cimport has_cable
from e1000.device.flow cimport derive_flow, flow_check, flow_send_by_software
from e1000.device.interrupt cimport raise_cause
from e1000.device.lock cimport lock_card, unlock_card
from e1000.device.mdio cimport mdio_clock
from e1000.device.phy cimport (
    PHY_ADDRESS, PHY_REGISTERS, phy_drop_link, phy_interrupts, phy_link_delay, phy_loops_back, phy_make_link, phy_read, phy_reset,
    phy_write,
)
from e1000.device.recorder cimport EVENT_ARRIVED
from e1000.device.rx cimport rx_receive
from e1000.device.state cimport DROP_RX_DISABLED, GATE_LINK, GATE_LOOPBACK, GATE_OFF, HOLD_LINK, HOLD_PAUSE, Card, DeviceLock
from e1000.device.timers cimport arm_timer, cancel_timer
from e1000.device.tx cimport tx_run
from e1000.device.wakeup cimport wake_by_frames, wake_by_link
from e1000.device.watch cimport TIMER_LINK, saw, saw_frames, saw_refusal, saw_timer
from e1000.regs cimport *
from fastring.burst cimport Frame, packets_in

cdef enum:
    MDIC_OP = MDIC_OP_READ | MDIC_OP_WRITE
    SPEED_MASK = 3
    SPEED_1000 = 2


cdef void link_restart(Card* card) noexcept nogil:
    """The link is lost, by whatever happened, and is made anew if it can be: at once without a clock."""
    cdef int64_t delay
    cancel_timer(card, &card.link_timer)
    phy_drop_link(&card.phy)
    delay = phy_link_delay(&card.phy, has_cable(card))
    if delay == 0 or delay > 0 and card.clock == NULL:
        phy_make_link(&card.phy)
    elif delay > 0:
        link_resume(card, delay)
    link_changed(card)


cdef void link_resume(Card* card, int64_t delay) noexcept nogil:
    """Wait so many ns for the link; on the card's clock, which it must have."""
    arm_timer(card, &card.link_timer, link_timer, delay)


cdef void link_timer(void* context) noexcept nogil:
    cdef Card* card = <Card*>context
    cdef DeviceLock* lock = lock_card(card)
    saw_timer(card, TIMER_LINK)
    phy_make_link(&card.phy)
    link_changed(card)
    saw(card)
    unlock_card(lock)


cdef void link_changed(Card* card) noexcept nogil:
    update_status(card)
    if phy_interrupts(&card.phy):
        raise_cause(card, ICR_PHYINT)


cdef void update_status(Card* card) noexcept nogil:
    """STATUS: the link is up if the PHY has one and CTRL.SLU lets the MAC see it; LSC tells when that changes.

    Speed and duplex are the PHY's unless CTRL forces them; without a link they are 1000 Mbit/s, full duplex, as after reset.
    """
    cdef bint was_up = (card.regs[STATUS >> 2] & STATUS_LU) != 0, up = derive_status(card)
    if up != was_up:
        raise_cause(card, ICR_LSC)
        if card.asleep:
            wake_by_link(card)
    update_path(card)


cdef bint derive_status(Card* card) noexcept nogil:
    """Work STATUS out, and do nothing of what a change of it does. Returns whether the link is up."""
    cdef uint32_t ctrl = card.regs[CTRL >> 2]
    cdef uint32_t* status = &card.regs[STATUS >> 2]
    cdef uint32_t speed = card.phy.speed if card.phy.link else SPEED_1000
    cdef bint full_duplex = card.phy.full_duplex or not card.phy.link
    cdef bint up = card.phy.link and ctrl & CTRL_SLU != 0
    if ctrl & CTRL_FRCSPD:
        speed = ctrl >> CTRL_SPEED_SHIFT & SPEED_MASK
    if ctrl & CTRL_FRCDPLX:
        full_duplex = (ctrl & CTRL_FD) != 0
    status[0] &= ~<uint32_t>(STATUS_LU | STATUS_FD | SPEED_MASK << STATUS_SPEED_SHIFT)
    status[0] |= speed << STATUS_SPEED_SHIFT | (STATUS_FD if full_duplex else 0) | (STATUS_LU if up else 0)
    return up


cdef void update_path(Card* card) noexcept nogil:
    """Where frames go changes, and with it flow control; a transmitter that waits for nothing any more goes on."""
    cdef uint32_t held = card.tx_hold
    derive_path(card)
    flow_check(card)
    if held and not card.tx_hold:
        card.tx_deferred = False
        flow_send_by_software(card)
        if not card.threaded:
            tx_run(card)


cdef void derive_path(Card* card) noexcept nogil:
    """Where frames go, as link, PHY and RCTL.LBM have it: without a link the transmitter waits, and nothing is received."""
    cdef uint32_t mode = card.rctl & RCTL_LBM
    cdef bint up = (card.regs[STATUS >> 2] & STATUS_LU) != 0
    cdef bint mac_loops = mode == RCTL_LBM_MAC or mode == RCTL_LBM_PHY      # the latter needs no bit in the PHY, nor a link
    card.loopback = mac_loops or up and phy_loops_back(&card.phy)
    card.rx_gate = (0 if up else GATE_LINK) | (GATE_LOOPBACK if card.loopback else 0)
    if card.asleep or not card.rctl & RCTL_EN:
        card.rx_gate |= GATE_OFF
    card.tx_hold = card.tx_hold & HOLD_PAUSE | (0 if up or card.loopback else HOLD_LINK)


cdef void derive_link(Card* card) noexcept nogil:
    """Of a card that comes out of a snapshot: what follows from PHY, CTRL, RCTL and power state, and nothing else changes."""
    derive_status(card)
    derive_path(card)
    derive_flow(card)


cdef bint link_is_possible(const Card* card, bint cable, bint awaited) noexcept nogil:
    """Of a card that comes out of a snapshot: whether its PHY can have, or wait for, the link it says. STATUS has no other bits."""
    cdef uint32_t other = STATUS_LU | STATUS_FD | STATUS_TXOFF | SPEED_MASK << STATUS_SPEED_SHIFT | SPEED_MASK << STATUS_ASDV_SHIFT
    if card.regs[STATUS >> 2] & ~other or awaited and card.phy.link:
        return False
    return phy_link_delay(&card.phy, cable) >= 0 or not card.phy.link and not awaited


cdef void link_room(void* card) noexcept nogil:
    """The wire's room_handler."""
    if not (<Card*>card).threaded:
        tx_run(<Card*>card)
        saw(<Card*>card)


cdef int link_receive(void* context, Frame* frames, int n, bint may_refuse) noexcept nogil:
    """The wire's receive_handler, from whichever thread."""
    cdef Card* card = <Card*>context
    cdef DeviceLock* lock = lock_card(card)
    cdef int taken
    saw_frames(card, EVENT_ARRIVED, frames, n)
    taken = let_in(card, frames, n, may_refuse)
    saw_refusal(card, frames + taken, n - taken)
    saw(card)
    unlock_card(lock)
    return taken


cdef int let_in(Card* card, Frame* frames, int n, bint may_refuse) noexcept nogil:
    """Frames for the receiver, if any may come to it."""
    if card.rx_gate:
        if card.rx_gate == GATE_OFF:
            wake_by_frames(card, frames, n)
        card.drops[DROP_RX_DISABLED] += packets_in(frames, n)
        return n
    return rx_receive(card, frames, n, may_refuse)


cdef void detect_speed(Card* card) noexcept nogil:
    """CTRL_EXT.ASDCHK: the MAC tells by the PHY's clock which speed the link has (STATUS.ASDV, §13.4.2)."""
    cdef uint32_t* status = &card.regs[STATUS >> 2]
    if card.phy.link:
        status[0] = status[0] & ~<uint32_t>(SPEED_MASK << STATUS_ASDV_SHIFT) | card.phy.speed << STATUS_ASDV_SHIFT


cdef void reset_phy(Card* card) noexcept nogil:
    """Power-up, and CTRL.PHY_RST (§13.4.1)."""
    phy_reset(&card.phy)
    link_restart(card)


cdef void write_mdic(Card* card, uint32_t value) noexcept nogil:
    """MDIC: one access to a PHY register, done at once (§13.4.7).

    Where no PHY answers, a read finds the bus pulled up and is an error; a write goes nowhere and nobody notices.
    """
    cdef uint32_t register = value >> MDIC_REG_SHIFT & (PHY_REGISTERS - 1)
    cdef bint present = (value >> MDIC_PHY_SHIFT & 31) == PHY_ADDRESS
    cdef uint32_t done = value & ~<uint32_t>MDIC_ERROR | MDIC_READY
    cdef bint restart = False
    if value & MDIC_OP == MDIC_OP_READ:
        done = done & ~0xFFFFu | (phy_read(&card.phy, register) if present else 0xFFFFu)
        if not present:
            done |= MDIC_ERROR
    elif value & MDIC_OP == MDIC_OP_WRITE:
        restart = present and phy_write(&card.phy, register, <uint16_t>value)
    else:
        done |= MDIC_ERROR          # neither operation
    card.regs[MDIC >> 2] = done
    if restart:
        link_restart(card)
    if value & MDIC_INT_EN:
        raise_cause(card, ICR_MDAC)


cdef void move_mdio(Card* card, uint32_t old) noexcept nogil:
    """CTRL was written: with MDC_DIR set software moves the PHY's wires, as drivers of the 82543 do. A wire not driven is pulled up."""
    cdef uint32_t ctrl = card.regs[CTRL >> 2]
    cdef bint bit = not ctrl & CTRL_MDIO_DIR or ctrl & CTRL_MDIO
    if ctrl & CTRL_MDC_DIR and ctrl & CTRL_MDC and not old & CTRL_MDC and mdio_clock(&card.mdio, &card.phy, bit):
        link_restart(card)


cdef uint32_t read_ctrl(Card* card) noexcept nogil:
    """CTRL, with MDIO as the PHY drives it while software moves MDC and leaves MDIO alone."""
    cdef uint32_t ctrl = card.regs[CTRL >> 2]
    if ctrl & (CTRL_MDC_DIR | CTRL_MDIO_DIR) != CTRL_MDC_DIR:
        return ctrl
    return ctrl | CTRL_MDIO if card.mdio.output else ctrl & ~<uint32_t>CTRL_MDIO
