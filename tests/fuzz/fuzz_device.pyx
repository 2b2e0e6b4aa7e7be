"""libFuzzer's target: an input is a script of what a hostile guest, a peer and a clock do to one card.

After each action the card's indexes are in range and no frame is unaccounted for; at the end CTRL.RST gives a card that works.
Memory errors are AddressSanitizer's to find: each zone of guest memory, each frame and each buffer is a block of its own.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport fprintf, stderr
from libc.string cimport memcmp, memcpy, memset

from e1000.bus.base cimport HostMemory
from e1000.device.card cimport E1000Device
from e1000.device.faults cimport Faults, Plan, faults_cancel, settle
from e1000.device.link cimport link_restart
from e1000.device.pci cimport COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY, PCI_COMMAND, config_read, config_write, io_read, io_write
from e1000.device.pci cimport memory_read, memory_write
from e1000.device.recorder cimport Recorder
from e1000.device.snapshot cimport ACCEPTED, Refusal, Snapshot, checksum, load, save
from e1000.device.state cimport BAR0_SIZE, FIFO_SIZE, Card
from e1000.device.watch cimport RING_RX, RING_TX, start_recording, stop_recording
from e1000.regs cimport *
from fastring.burst cimport FRAME_ERRORS, Frame
from fastring.clock cimport VirtualClock

from fuzz_guest cimport (
    BUFFERS, LONGEST, RING_ZONE, clear_zones, guest, guest_write, headers_length, map_zones, read_only_intact, take_address, take_packet,
    take_value, zones,
)
from fuzz_script cimport *
from fuzz_wire cimport FuzzWire, check, check_card

cdef enum:
    MOST_FRAMES = 8
    DEEPEST = 2                     # actions inside of the wire inside of an action

# What drivers write most; seeds.py names these by their index.
cdef uint32_t REGISTERS[64]
REGISTER_NAMES = (
    "CTRL", "STATUS", "EECD", "EERD", "CTRL_EXT", "MDIC", "FCAL", "FCAH", "FCT", "VET", "ICR", "ITR", "ICS", "IMS", "IMC", "RCTL",
    "FCTTV", "TCTL", "TIPG", "AIT", "LEDCTL", "PBA", "FCRTL", "FCRTH", "RDBAL", "RDBAH", "RDLEN", "RDH", "RDT", "RDTR", "RXDCTL", "RADV",
    "RSRPD", "TXDMAC", "TDBAL", "TDBAH", "TDLEN", "TDH", "TDT", "TIDV", "TXDCTL", "TADV", "TSPMT", "RXCSUM", "MTA", "RAL0", "RAH0", "VFTA",
    "WUC", "WUFC", "WUS", "MANC", "TXCW", "RXCW", "PBM", "GPRC", "TORH",
)
cdef int REGISTER_COUNT = len(REGISTER_NAMES)


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
cdef uint8_t* packet = packets      # the first of them


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
        guest_write(take_address(&script), packet, take_packet(&script, packet))
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


cdef void access(uint32_t action) noexcept nogil:
    cdef uint32_t how, offset, size, _
    if action == WRITE:
        offset = REGISTERS[u8(&script) % REGISTER_COUNT]
        write(offset, take_value(&script))
    elif action == READ:
        _ = read(REGISTERS[u8(&script) % REGISTER_COUNT])
    elif action == FLIP:
        offset = REGISTERS[u8(&script) % REGISTER_COUNT]
        write(offset, read(offset) ^ 1u << (u8(&script) & 31))
    elif action == NOTHING:
        return
    else:
        how = u8(&script)
        size = 1 << (how & 3) if how & 3 != 3 else 4
        if action == WRITE_ANY:
            offset = (u16(&script) << 2 | how >> 2 & 3 & ~(size - 1)) % BAR0_SIZE
            memory_write(card, offset, take_value(&script) & (0xFFFFFFFFu >> (32 - 8 * size)), size)
        elif action == READ_ANY:
            offset = (u16(&script) << 2 | how >> 2 & 3 & ~(size - 1)) % BAR0_SIZE
            _ = memory_read(card, offset, size)
        elif action == IO:
            offset = (how >> 2 & 4) | how >> 2 & 3 & ~(size - 1)
            if how & 0x80:
                io_write(card, offset, take_value(&script), size)
            else:
                _ = io_read(card, offset, size)
        else:
            offset = u8(&script)
            if how & 0x80:
                config_write(card, offset, take_value(&script), size)
            else:
                _ = config_read(card, offset, size)


cdef inline void write(uint32_t offset, uint32_t value) noexcept nogil:
    device.write32(offset, value)


cdef inline uint32_t read(uint32_t offset) noexcept nogil:
    return device.read32(offset)


cdef void write_memory() noexcept nogil:
    cdef uint64_t address = take_address(&script)
    cdef uint32_t length = u8(&script), i
    for i in range(length):
        packet[i] = <uint8_t>u8(&script)
    guest_write(address, packet, length)


cdef void write_descriptor(int ring, uint32_t slot, uint64_t address, uint64_t word) noexcept nogil:
    cdef uint64_t words[2]
    words[0], words[1] = address, word
    guest_write(zones[RING_ZONE + ring].address + 16 * (slot & 255), words, 16)


cdef void write_tx_descriptors() noexcept nogil:
    """Each: kind, address, length, options."""
    cdef uint32_t slot = u8(&script), count = u8(&script) % 80, how, i
    cdef uint64_t address, word
    for i in range(count):
        how = u8(&script)
        if ended(&script):
            return
        address = take_address(&script)
        word = <uint64_t>(how & 0x3F) << 24
        if how >> 6 == 0:                                   # legacy: length, CSO; CSS, special
            word |= u16(&script)
            if how & 4:
                word |= <uint64_t>u8(&script) << 16 | <uint64_t>u8(&script) << 40
            if how & 0x10:
                word |= 1 << 30 | <uint64_t>u16(&script) << 48
        elif how >> 6 == 1:                                 # data: length, options
            word |= 0x20100000 | u16(&script) | <uint64_t>u8(&script) << 40
            if how & 0x10:
                word |= 1 << 30 | <uint64_t>u16(&script) << 48
        elif how >> 6 == 2:                                 # context: offsets in place of the address
            address = u64(&script)
            word |= 0x20000000 | u16(&script) | <uint64_t>u8(&script) << 40 | <uint64_t>u16(&script) << 48
        else:
            word = u64(&script)
        if how & 1:
            word |= <uint64_t>1 << 31                       # IDE
        write_descriptor(0, slot + i, address, word)


cdef void write_rx_descriptors() noexcept nogil:
    cdef uint32_t slot = u8(&script), count = u8(&script), i
    for i in range(count):
        if ended(&script):
            return
        write_descriptor(1, slot + i, take_address(&script), 0)


cdef void set_rings() noexcept nogil:
    """Both rings, the receive one full of buffers, and the engines on: RCTL and TCTL as the script likes the rest."""
    cdef uint32_t how = u8(&script), count = 8 << (how & 7) if how & 7 < 6 else 8, i, rctl, tctl
    for i in range(count):
        write_descriptor(1, i, zones[BUFFERS].address + 0x10000 + 0x180 * i if how & 8 else zones[BUFFERS].address + 0x800 * (i & 31), 0)
    write(TDBAL, <uint32_t>zones[RING_ZONE].address)
    write(TDBAH, 0)
    write(TDLEN, 16 * count)
    write(TDT, 0)
    write(TDH, 0)
    write(RDBAL, <uint32_t>zones[RING_ZONE + 1].address)
    write(RDBAH, 0)
    write(RDLEN, 16 * count)
    write(RDT, 0)
    write(RDH, 0)
    rctl = take_value(&script) if how & 0x10 else RCTL_BAM | RCTL_SECRC
    tctl = take_value(&script) if how & 0x20 else TCTL_PSP
    write(RCTL, rctl | RCTL_EN)
    write(RDT, count - 1 if not how & 0x40 else 0)
    write(TCTL, tctl | TCTL_EN)
    if how & 0x80:
        write(IMS, 0xFFFFFFFFu)


cdef void ring_doorbell() noexcept nogil:
    cdef uint32_t how = u8(&script), tail = RDT if how & 0x80 else TDT, length = RDLEN if how & 0x80 else TDLEN
    cdef uint32_t count = read(length) >> 4
    write(tail, (read(tail) + (how & 0x7F)) % count if count else how)


cdef void access_phy() noexcept nogil:
    cdef uint32_t how = u8(&script)
    cdef uint32_t value = MDIC_OP_READ if how & 0x80 else MDIC_OP_WRITE | u16(&script)
    value |= (how & 31) << MDIC_REG_SHIFT | (2 if how & 0x40 else 1) << MDIC_PHY_SHIFT
    write(MDIC, value | (MDIC_INT_EN if how & 0x20 else 0))


cdef void access_eeprom() noexcept nogil:
    """Raise CS, clock bits in, let go of CS. `how`: bit 7 reads them back, 6 keeps CS, 5 keeps the request."""
    cdef uint32_t how = u8(&script), bits = u32(&script), _i, pins = EECD_REQ | EECD_CS, _
    write(EECD, EECD_REQ)
    write(EECD, pins)
    for _i in range(how & 31):
        write(EECD, pins | (EECD_DI if bits >> 31 else 0))
        write(EECD, pins | EECD_SK | (EECD_DI if bits >> 31 else 0))
        if how & 0x80:
            _ = read(EECD)
        bits <<= 1
    if not how & 0x40:
        write(EECD, EECD_REQ)
    if not how & 0x20:
        write(EECD, 0)


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


cdef void move_mdio() noexcept nogil:
    """A preamble, then 32 bits. `how`: bit 7 is a well-formed frame, 6 lets go of the wire for the second half, the rest the preamble."""
    cdef uint32_t how = u8(&script), bits = u32(&script), pins = CTRL_MDC_DIR | CTRL_MDIO_DIR | CTRL_SLU, _i, out
    if how & 0x80:                                          # start, read or write, PHY 1, turnaround
        bits = bits & 0x107CFFFF | 0x40820000 | (0x20000000 if bits & 0x10000000 else 0x10000000)
    for _i in range((how & 63) + 32):
        out = CTRL_MDIO if _i < how & 63 or bits >> 31 else 0
        if _i >= how & 63:
            bits <<= 1
        if how & 0x40 and _i >= (how & 63) + 14:
            pins &= ~<uint32_t>CTRL_MDIO_DIR
        write(CTRL, pins | out)
        write(CTRL, pins | out | CTRL_MDC)
    out = read(CTRL)


cdef void reset() noexcept nogil:
    cdef uint32_t which = u8(&script) & 3
    if which == 3:
        write(CTRL_EXT, CTRL_EXT_EE_RST)
    else:
        write(CTRL, read(CTRL) | (CTRL_PHY_RST if which == 1 else CTRL_RST))


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


cdef void send_segments() noexcept nogil:
    """A packet in guest memory, its context, and data descriptors that cut it into parts, as a driver hands it over; or nearly so."""
    cdef uint32_t how = u8(&script), mss = u16(&script), parts = 1 + (u8(&script) & 7), length = take_packet(&script, packet), header, i
    cdef uint32_t slot = read(TDT) & 0xFF, ip = 18 if packet[12] == 0x81 else 14, part, done = 0, udp
    cdef uint64_t offsets, word, options
    cdef bint six = packet[ip - 2] == 0x86
    guest_write(zones[BUFFERS].address, packet, length)
    header = headers_length(packet)
    udp = packet[ip + (6 if six else 9)] == 17
    part = header - (8 if udp else 20)                      # where the transport header starts
    offsets = ip | <uint64_t>(ip + 10) << 8 | <uint64_t>(part - 1) << 16
    offsets |= <uint64_t>part << 32 | <uint64_t>(part + (6 if udp else 16)) << 40
    if how & 0x80:
        offsets ^= <uint64_t>u8(&script) << (8 * (how & 7))
    # TUCMD: TCP, IP, TSE, DEXT
    word = (length - header if length > header else 0) & 0xFFFFF
    word |= <uint64_t>((0 if udp else 1) | (0 if six else 2) | (0 if how & 8 else 4) | 0x28) << 24
    word |= <uint64_t>(header + (u8(&script) if how & 0x40 else 0)) << 40 | <uint64_t>mss << 48
    write_descriptor(0, slot, offsets, word)
    options = (0 if six else 1) | 2
    for i in range(parts):
        part = length // parts if i + 1 < parts else length - done
        word = part | 0x00100000 | <uint64_t>((0 if how & 8 else 4) | 0x2A | (how >> 4 & 3 if i + 1 == parts else 0)) << 24 | options << 40
        if i + 1 == parts and not how & 0x20:
            word |= 1 << 24                                 # EOP
        write_descriptor(0, slot + 1 + i, zones[BUFFERS].address + done, word)
        done += part
    i = read(TDLEN) >> 4
    write(TDT, (slot + 1 + parts) % i if i else 0)


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
    from e1000 import regs
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
    for i, name in enumerate(REGISTER_NAMES):
        REGISTERS[i] = getattr(regs, name)
    watch(0)
    memcpy(&pristine, card, sizeof(Card))
    return world


WORLD = make_world()
ENTRY = <size_t><void*>run_input
