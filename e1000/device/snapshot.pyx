"""A card's whole state as bytes, and back: what continues from them continues byte for byte.

All of the Card struct is in it but what belongs to this process, which `keep_process` names: a field that is added to the card is
saved without further ado, and a pointer that is not named there fails a test. What follows from other fields is worked out anew.

A snapshot may come from anywhere: nothing in it is used before it was found possible, and a card that refuses one is unchanged.
"""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from e1000.device.eeprom cimport eeprom_is_possible
from e1000.device.faults cimport faults_restored, has_cable, settle
from e1000.device.flow cimport LONGEST_PAUSE, flow_is_possible, flow_resume
from e1000.device.interrupt cimport update_line
from e1000.device.link cimport derive_link, link_is_possible, link_restart, link_resume
from e1000.device.lock cimport lock_card, unlock_card
from e1000.device.mdio cimport mdio_is_possible
from e1000.device.mmio cimport derive, registers_are_possible
from e1000.device.moderation cimport moderation_resume, times_to_waits, waits, waits_are_possible, waits_to_times
from e1000.device.pci cimport pci_derive, pci_is_possible
from e1000.device.phy cimport PHY_NEGOTIATION_TIME, phy_is_possible
from e1000.device.rx cimport packet_buffer_is_possible
from e1000.device.rx_fifo cimport fifo_is_possible
from e1000.device.state cimport GENERAL_PROCESS, HOLD_PAUSE, NEVER, Card, DeviceLock
from e1000.device.threshold cimport kept_are_possible
from e1000.device.timers cimport cancel_timers
from e1000.device.tx cimport TX_PAUSE, tx_resume
from e1000.device.watch cimport RING_RX, RING_TX, saw_restore
from fastring.clock cimport Clock, Timer
from fastring.crc cimport crc32_update

cdef extern from *:
    """
    #include <stdint.h>
    #ifndef FASTRING_LAYOUT
    #error "setup.py defines FASTRING_LAYOUT"
    #endif
    """
    const uint64_t LAYOUT "FASTRING_LAYOUT"

cdef Card NOTHING                   # zeroes

REFUSED = (
    None,
    "not a snapshot of a card",
    "a snapshot of another version",
    "a snapshot from a build whose card is laid out differently",
    "a snapshot cut short, or with something behind it",
    "damaged: its checksum is wrong",
    "it holds what no snapshot holds, addresses of a process",
    "its registers hold what they cannot",
    "its rings or heads are no card's",
    "its FIFO is inconsistent",
    "its EEPROM is in no possible state",
    "its PHY is in no possible state",
    "its configuration space holds what it cannot",
    "its link or its flow control is in no possible state",
    "it keeps descriptors back that it cannot",
    "its timers run for longer than they can",
    "a timer runs in it, and this card has no clock",
    "the card is transmitting: a wire or a sink cannot do that from inside",
)


cdef bytes take_snapshot(Card* card, object device):
    """The card as new bytes of a Snapshot's size, for E1000Device.snapshot; `device` is named in errors.

    What is late is written back first, for a snapshot holds no faults. With the GIL, on the clock's thread if there is one; locks the card
    and lets go of the GIL meanwhile. Raises RuntimeError from inside the card's own transmission.
    """
    cdef bytes out = PyBytes_FromStringAndSize(NULL, sizeof(Snapshot))
    cdef Snapshot* snapshot = <Snapshot*>PyBytes_AsString(out)
    cdef DeviceLock* lock
    cdef Refusal refusal
    with nogil:
        lock = lock_card(card)
        if not card.tx_running:
            settle(card, RING_TX)
            settle(card, RING_RX)
        refusal = save(card, snapshot)
        unlock_card(lock)
    if refusal != ACCEPTED:
        raise RuntimeError(f"{device!r} cannot be saved now: {REFUSED[refusal]}")
    return out


cdef int restore_snapshot(Card* card, object snapshot, object device) except -1:
    """Make it the card in `snapshot`, any object with a buffer of bytes, which is copied; for E1000Device.restore.

    As `take_snapshot`. Raises RuntimeError from inside the card's own transmission, ValueError for what `load` refuses, with its reason
    from REFUSED, the card unchanged; MemoryError.
    """
    cdef const uint8_t[::1] given = snapshot
    cdef uint64_t size = given.shape[0]
    cdef uint8_t* content = <uint8_t*>malloc(sizeof(Snapshot))       # aligned, and out of reach of who gave it
    cdef Card* scratch = <Card*>malloc(sizeof(Card))
    cdef DeviceLock* lock
    cdef Refusal refusal
    try:
        if content == NULL or scratch == NULL:
            raise MemoryError()
        if size:
            memcpy(content, &given[0], min(size, sizeof(Snapshot)))
        with nogil:
            lock = lock_card(card)
            refusal = load(card, content, size, scratch)
            if refusal == ACCEPTED:
                faults_restored(card)
            unlock_card(lock)
    finally:
        free(content)
        free(scratch)
    if refusal == BUSY:
        raise RuntimeError(f"{device!r} cannot be restored now: {REFUSED[refusal]}")
    if refusal != ACCEPTED:
        raise ValueError(f"cannot restore a card from this: {REFUSED[refusal]}")
    return 0


cdef void keep_process(Card* to, const Card* source) noexcept nogil:
    """Copy what belongs to the process and not to the card: pointers, what they lead to, threads, an engine's run."""
    to.iovas, to.host_iovas = source.iovas, source.host_iovas
    to.tx_ring_hint, to.tx_data_hint = source.tx_ring_hint, source.tx_data_hint
    to.rx_ring_hint, to.rx_data_hint = source.rx_ring_hint, source.rx_data_hint
    to.pci.msi_hint = source.pci.msi_hint
    to.tx_running, to.tx_again = source.tx_running, source.tx_again
    to.tx_stage, to.fifo = source.tx_stage, source.fifo
    to.tx_budget, to.settling = source.tx_budget, source.settling
    to.wire, to.irq, to.clock, to.watch, to.faults = source.wire, source.irq, source.clock, source.watch, source.faults
    to.threaded, to.lock = source.threaded, source.lock
    to.generation, to.stalled = source.generation, source.stalled
    to.link_timer, to.wait_timer, to.tx_timer, to.pause_timer = source.link_timer, source.wait_timer, source.tx_timer, source.pause_timer
    to.tx_general = to.tx_general & ~<uint32_t>GENERAL_PROCESS | source.tx_general & GENERAL_PROCESS
    to.rx_general = to.rx_general & ~<uint32_t>GENERAL_PROCESS | source.rx_general & GENERAL_PROCESS


cdef inline int64_t now_of(const Card* card) noexcept nogil:
    return (<Clock>card.clock).now() if card.clock != NULL else 0


cdef inline int64_t wait_of(const Timer* timer, int64_t now) noexcept nogil:
    if not timer.armed:
        return NEVER
    return timer.deadline - now if timer.deadline > now else 0


cdef inline bint is_wait(int64_t wait, int64_t most) noexcept nogil:
    """Whether a timer may have so long to go."""
    return wait == NEVER or 0 <= wait <= most


cdef Refusal save(const Card* card, Snapshot* snapshot) noexcept nogil:
    """Write the card into `snapshot`, the caller's, all of it. The card locked, its clock's thread; times become ns to go.

    Returns ACCEPTED, or BUSY from inside its own transmission, `snapshot` then untouched.
    """
    cdef int64_t now = now_of(card)
    if card.tx_running:
        return BUSY
    memset(snapshot, 0, sizeof(Snapshot))
    memcpy(snapshot.magic, b"fr-e1000", 8)
    snapshot.version = VERSION
    snapshot.size = sizeof(Snapshot)
    snapshot.layout = LAYOUT
    snapshot.cable = has_cable(card)
    snapshot.link_wait = wait_of(&card.link_timer, now)
    snapshot.tx_wait = wait_of(&card.tx_timer, now)
    snapshot.pause_wait = wait_of(&card.pause_timer, now)
    memcpy(snapshot.fifo, card.fifo, sizeof(snapshot.fifo))
    memcpy(&snapshot.card, card, sizeof(Card))
    keep_process(&snapshot.card, &NOTHING)
    times_to_waits(&snapshot.card, now)
    snapshot.checksum = checksum(snapshot)
    return ACCEPTED


cdef uint32_t checksum(const Snapshot* snapshot) noexcept nogil:
    cdef const uint8_t* first = <const uint8_t*>&snapshot.checksum + sizeof(snapshot.checksum)
    return crc32_update(0, first, <uint32_t>(<const uint8_t*>snapshot + sizeof(Snapshot) - first))


cdef Refusal load(Card* card, const uint8_t* content, uint64_t size, Card* scratch) noexcept nogil:
    """Make the card what `content` says; or leave it alone, and say why.

    `content`: `size` bytes, at least sizeof(Snapshot) readable, aligned as one, and nobody else's; it is believed in nothing. `scratch`:
    to work in. Both stay the caller's. The card locked, its clock's thread, and timers run on from now.
    """
    cdef const Snapshot* snapshot = <const Snapshot*>content
    cdef Refusal refusal
    if card.tx_running:
        return BUSY
    refusal = check_frame(snapshot, size)
    if refusal != ACCEPTED:
        return refusal
    memcpy(scratch, &snapshot.card, sizeof(Card))
    refusal = check_card(card, scratch, snapshot)
    if refusal != ACCEPTED:
        return refusal
    cancel_timers(card)
    keep_process(scratch, card)
    scratch.generation += 1
    memcpy(card, scratch, sizeof(Card))
    memcpy(card.fifo, snapshot.fifo, sizeof(snapshot.fifo))
    pci_derive(card)
    waits_to_times(card, now_of(card))
    moderation_resume(card)
    if snapshot.link_wait != NEVER:
        link_resume(card, snapshot.link_wait)
    if snapshot.tx_wait != NEVER:
        tx_resume(card, snapshot.tx_wait)
    if snapshot.pause_wait != NEVER:
        flow_resume(card, snapshot.pause_wait)
    if has_cable(card) != (snapshot.cable != 0):
        link_restart(card)              # plugged in, or pulled, since
    update_line(card)
    saw_restore(card)
    return ACCEPTED


cdef Refusal check_frame(const Snapshot* snapshot, uint64_t size) noexcept nogil:
    """What comes before the card."""
    if size < 8 + 2 * sizeof(uint32_t) or memcmp(snapshot.magic, b"fr-e1000", 8) != 0:
        return NO_SNAPSHOT
    if snapshot.version != VERSION:
        return OTHER_VERSION
    if size < 8 + 2 * sizeof(uint32_t) + sizeof(uint64_t):
        return OTHER_SIZE
    if snapshot.layout != LAYOUT:
        return OTHER_LAYOUT
    if size != sizeof(Snapshot) or snapshot.size != sizeof(Snapshot):
        return OTHER_SIZE
    return ACCEPTED if snapshot.checksum == checksum(snapshot) else DAMAGED


cdef Refusal check_card(const Card* card, Card* saved, const Snapshot* snapshot) noexcept nogil:
    """Whether the card in the snapshot is one that can be; `saved` is a copy of it, to be played with."""
    keep_process(saved, &NOTHING)
    if memcmp(saved, &snapshot.card, sizeof(Card)) != 0:
        return BAD_PROCESS
    if not registers_are_possible(saved):
        return BAD_REGISTERS
    if saved.tdh > 0xFFFF or saved.tdt > 0xFFFF or saved.rdh > 0xFFFF or saved.rdt > 0xFFFF or not (
            0 <= saved.tx_owed <= 1 and 0 <= saved.tx_deferred <= 1 and 0 <= saved.rx_refused <= 1 and 0 <= saved.rx_checksums <= 1):
        return BAD_RINGS
    if not packet_buffer_is_possible(saved) or not fifo_is_possible(saved, snapshot.fifo):
        return BAD_FIFO
    if not eeprom_is_possible(&saved.eeprom):
        return BAD_EEPROM
    if not phy_is_possible(&saved.phy) or not mdio_is_possible(&saved.mdio):
        return BAD_PHY
    if not pci_is_possible(saved):
        return BAD_PCI
    if snapshot.cable > 1 or not link_is_possible(saved, snapshot.cable, snapshot.link_wait != NEVER):
        return BAD_LINK
    if card.clock == NULL and (snapshot.link_wait != NEVER or snapshot.tx_wait != NEVER or snapshot.pause_wait != NEVER or waits(saved)):
        return NO_CLOCK
    saved.clock = card.clock            # without one nothing is kept back
    pci_derive(saved)
    derive(saved)
    derive_link(saved)
    if not kept_are_possible(saved):
        return BAD_WRITE_BACK
    if not flow_is_possible(saved):
        return BAD_LINK
    if not waits_are_possible(saved) or not is_wait(snapshot.link_wait, PHY_NEGOTIATION_TIME) or not (
            is_wait(snapshot.tx_wait, TX_PAUSE) and is_wait(snapshot.pause_wait, <int64_t>1_000_000 * LONGEST_PAUSE)) or (
            snapshot.pause_wait != NEVER) != (saved.tx_hold & HOLD_PAUSE != 0):
        return BAD_TIMES
    return ACCEPTED
