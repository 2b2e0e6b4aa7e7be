"""libFuzzer's target: an input is a script of what a hostile guest, a peer and a clock do to one card.

After each action the card's indexes are in range and no frame is unaccounted for; at the end CTRL.RST gives a card that works.
Memory errors are AddressSanitizer's to find: each zone of guest memory, each frame and each buffer is a block of its own.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdio cimport fprintf, stderr
from libc.string cimport memcmp, memcpy, memset

from e1000.bus.base cimport HostMemory
from e1000.device.card cimport E1000Device
from e1000.device.faults cimport Faults, Plan, faults_cancel, settle
from e1000.device.link cimport link_restart
from e1000.device.pci cimport COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY, PCI_COMMAND, config_write
from e1000.device.recorder cimport Recorder
from e1000.device.snapshot cimport ACCEPTED, Refusal, Snapshot, checksum, load, save
from e1000.device.state cimport FIFO_SIZE, Card
from e1000.device.watch cimport RING_RX, RING_TX, start_recording, stop_recording
from e1000.regs cimport *
from fastring.burst cimport FRAME_ERRORS, Frame
from fastring.clock cimport VirtualClock

from fuzz_guest cimport BUFFERS, LONGEST, RING_ZONE, clear_zones, guest, guest_write, map_zones, read_only_intact, take_packet, zones
from fuzz_host cimport (
    access, access_eeprom, access_phy, move_mdio, put_packet, read, reset, ring_doorbell, send_segments, set_rings, take_card, write,
    write_descriptor, write_memory, write_rx_descriptors, write_tx_descriptors,
)
from fuzz_script cimport *
from fuzz_wire cimport FuzzWire, check, check_card

cdef enum:
    MOST_FRAMES = 8
    DEEPEST = 2                     # actions inside of the wire inside of an action

cdef int64_t SECONDS = 5 * 10**9    # time enough for a link
cdef Card* card
cdef Card pristine                  # as it was made: where every script begins
cdef E1000Device device
cdef Recorder recorder
cdef Faults faults
cdef Plan no_faults_yet
cdef FuzzWire wire
cdef VirtualClock clock
cdef Script script
cdef Snapshot snapshot, again
cdef int snapshots_left
cdef Card scratch
cdef int depth                      # of act() in itself
cdef uint8_t packets[MOST_FRAMES * (LONGEST + 512)]


# --- actions ---

cdef bint act() noexcept nogil:
    """Do what the script says next. Called by the wire, inside of itself: returns whether that may happen once more."""
    global depth, snapshots_left
    cdef uint32_t action = u8(&script) & 31
    if depth > DEEPEST:
        return False
    depth += 1
    if action <= CONFIG:
        access(action)
    elif action == MEMORY:
        write_memory()
    elif action == TX_DESCRIPTORS:
        write_tx_descriptors()
    elif action == RX_DESCRIPTORS:
        write_rx_descriptors()
    elif action == RINGS:
        set_rings()
    elif action == DOORBELL:
        ring_doorbell()
    elif action == FRAMES:
        frames_arrive()
    elif action == PACKET:
        put_packet()
    elif action == TSO:
        send_segments()
    elif action == CLOCK:
        clock.advance_to(clock.now() + (<int64_t>u8(&script) << (u8(&script) & 31)))
    elif action == WIRE:
        set_wire()
    elif action == CABLE:
        card.wire = <void*>wire if u8(&script) & 1 else NULL
        link_restart(card)
    elif action == PHY:
        access_phy()
    elif action == EEPROM:
        access_eeprom()
    elif action == WATCH:
        watch(u8(&script))
    elif action == MDIO:
        move_mdio()
    elif action == RESET:
        reset()
    elif (action == SNAPSHOT or action == FORGE) and snapshots_left:
        snapshots_left -= 1             # they take far longer than anything else
        if action == SNAPSHOT:
            save_and_restore()
        else:
            restore_forged()
    depth -= 1
    return depth < DEEPEST


cdef void watch(uint32_t how) noexcept nogil:
    """Bit 0 records, bit 1 is strict mode, bit 2 makes faults: what E1000Device.record, strict= and faults= do."""
    if how & 1 and device.watch.recorder == NULL:
        start_recording(card, &device.watch, <void*>recorder, 0)
    elif not how & 1 and device.watch.recorder != NULL:
        stop_recording(card, &device.watch)
    device.watch.strict = <void*>device.strict if how & 2 else NULL
    card.watch = &device.watch if how & 3 else NULL
    if how & 4 and card.faults == NULL and not card.tx_running:
        faults.attach(card)
    elif not how & 4 and card.faults != NULL and not card.tx_running:
        settle_both()
        faults_cancel(card)
        faults.plan.cable_out = False
        link_restart(card)


cdef void settle_both() noexcept nogil:
    """Before a snapshot: what is late is written now."""
    if not card.tx_running:
        settle(card, RING_TX)
        settle(card, RING_RX)


cdef void save_and_restore() noexcept nogil:
    cdef Refusal refusal
    settle_both()
    refusal = save(card, &snapshot)
    check((refusal == ACCEPTED) != card.tx_running, "a card that cannot be saved")
    if refusal == ACCEPTED:
        refusal = load(card, <uint8_t*>&snapshot, sizeof(Snapshot), &scratch)
        if refusal != ACCEPTED:
            fprintf(stderr, "fuzz: refusal %d\n", refusal)
        check(refusal == ACCEPTED, "a card that was saved cannot be restored")
        save(card, &again)
        check(memcmp(&snapshot, &again, sizeof(Snapshot)) == 0, "a restored card differs")


cdef void restore_forged() noexcept nogil:
    """Each change: where, what. Most of a card is registers and FIFO: every other one is changed elsewhere."""
    cdef uint32_t how = u8(&script), i, at, small = <uint32_t>(<uint8_t*>card.regs - <uint8_t*>card)
    cdef uint8_t* content = <uint8_t*>&snapshot.card
    if snapshot.version == 0:
        settle_both()
        save(card, &snapshot)
    for i in range(how & 7):
        at = u16(&script)
        if how & 8 << (i & 1):
            at = (at & 0x7FFF) << 2 | u8(&script) & 3
            (<uint8_t*>snapshot.card.regs)[at] = u8(&script)
        elif how & 0x20:
            snapshot.fifo[at] = u8(&script)
        else:
            content[at % small] = u8(&script)
    if how & 0x40:
        snapshot.link_wait = u32(&script)
        snapshot.tx_wait = u16(&script)
    snapshot.checksum = checksum(&snapshot)
    load(card, <uint8_t*>&snapshot, sizeof(Snapshot) - (how >> 7), &scratch)


cdef void set_wire() noexcept nogil:
    cdef uint32_t how = u8(&script)
    wire.places = 0xFFFFFFFFu if how & 7 == 7 else how & 7
    wire.echo = how >> 3 & 1
    wire.acts = how >> 4 & 3
    if how & 0x40:
        wire.room(wire.context)


cdef void frames_arrive() noexcept nogil:
    """Frames from the wire. A lossless one takes back what was refused, and forgets it."""
    cdef uint32_t how = u8(&script), count = 1 + (how & 7), i, total = 0, errors = 0
    if how & 0x80:
        errors = u8(&script) & FRAME_ERRORS
    cdef uint32_t lengths[MOST_FRAMES]
    for i in range(count):
        lengths[i] = take_packet(&script, packets + total)
        total += lengths[i]
    wire.arrive(card, packets, lengths, count, 1 + (how >> 3 & 7), errors, how >> 6 & 1)


# --- between scripts ---

cdef void works_after_reset() noexcept nogil:
    """CTRL.RST, the PHY and PCI as firmware leaves them, and then a frame goes each way."""
    cdef Frame frame
    cdef uint8_t content[100]
    cdef uint8_t* descriptor
    cdef int i
    watch(0)
    wire.places, wire.echo, wire.acts = 0xFFFFFFFFu, False, 0
    config_write(card, 0xE0, 0, 2)                          # PMCSR: D0
    config_write(card, PCI_COMMAND, COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER, 2)
    config_write(card, 0xF2, 0, 2)                          # MSI off
    write(CTRL, CTRL_RST)
    write(CTRL, CTRL_PHY_RST)
    card.wire = <void*>wire
    link_restart(card)
    write(CTRL, CTRL_SLU | CTRL_FD)
    clock.advance_to(clock.now() + SECONDS)
    check(read(STATUS) & STATUS_LU != 0, "no link after a reset")
    clear_zones()
    memcpy(content, STATION, 6)
    for i in range(6, 100):
        content[i] = i
    write(RAL0, 0x12005452)
    write(RAH0, 0x80005634)
    write_descriptor(0, 0, zones[BUFFERS].address, 100 | 0x0B << 24)
    guest_write(zones[BUFFERS].address, content, 100)
    write_descriptor(1, 0, zones[BUFFERS].address + 0x1000, 0)
    write(TDBAL, <uint32_t>zones[RING_ZONE].address)
    write(TDLEN, 128)
    write(RDBAL, <uint32_t>zones[RING_ZONE + 1].address)
    write(RDLEN, 128)
    write(RCTL, RCTL_EN | RCTL_SECRC)
    write(RDT, 1)
    write(TCTL, TCTL_EN | TCTL_PSP)
    wire.sent = 0
    write(TDT, 1)
    frame.data = content
    frame.len = frame.wire_len = 100
    frame.flags = frame.queue = 0
    check(wire.deliver(&frame, 1, False) == 1, "a frame was refused after a reset")
    clock.advance_to(clock.now() + SECONDS)           # write-back and interrupts may take their time
    descriptor = guest(zones[RING_ZONE + 1].address, 16)
    check(descriptor[8] == 100 and descriptor[9] == 0, "no frame received after a reset")
    check(descriptor[12] & 3 == 3 and descriptor[13] == 0, "a frame received with errors after a reset")
    check(memcmp(guest(zones[BUFFERS].address + 0x1000, 100), content, 100) == 0, "another frame received after a reset")
    check(wire.sent == 1, "no frame sent after a reset")
    check(guest(zones[RING_ZONE].address, 16)[12] & 1, "no status written back after a reset")
    check(read(GPRC) == 1 and read(GPTC) == 1, "a frame not counted after a reset")


cdef uint8_t STATION[6]
STATION[:] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56]


cdef void begin() noexcept nogil:
    """The world as it was made."""
    global snapshots_left
    watch(0)
    memcpy(card, &pristine, sizeof(Card))
    memcpy(&faults.plan, &no_faults_yet, sizeof(Plan))
    memset(card.fifo, 0, FIFO_SIZE)
    clock.timers = NULL
    clock._now = 0
    wire.places, wire.echo, wire.acts, wire.sent = 0xFFFFFFFFu, False, 0, 0
    snapshot.version = 0
    snapshots_left = 3
    clear_zones()


cdef int run_input(const uint8_t* data, size_t size) noexcept nogil:
    begin()
    script.at = data
    script.end = data + size
    while not ended(&script):
        act()
        check_card(card)
        check(read_only_intact(), "read-only memory was written")
    works_after_reset()
    check_card(card)
    return 0


def make_world():
    """A card on a bus and a cable, its link up."""
    global device, wire, clock, card, recorder, faults
    from e1000.bus import LocalBus
    cdef HostMemory memory = HostMemory(size=4096)
    memory.addresses.unmap(memory.iova)
    map_zones(memory.addresses)
    clock = VirtualClock()
    wire = FuzzWire()
    wire.act = act
    recorder = Recorder(lambda events: None, clock=clock)
    device = E1000Device(wire=wire, clock=clock, strict=True)
    faults = Faults(seed=1, link_flap=0.1, lost_interrupt=0.1, delayed_dma=0.3, single_collision=0.1, multiple_collisions=0.1,
                    excessive_collisions=0.1, late_collision=0.1, deferred=0.1, no_carrier=0.1)
    memcpy(&no_faults_yet, &faults.plan, sizeof(Plan))
    world = LocalBus(device, memory=memory)
    card = device.card
    clock.advance(SECONDS)
    take_card(device, &script)
    watch(0)
    memcpy(&pristine, card, sizeof(Card))
    return world


WORLD = make_world()
ENTRY = <size_t><void*>run_input
