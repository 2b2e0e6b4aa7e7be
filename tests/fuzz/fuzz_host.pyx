"""What a guest's driver, or somebody who is none, does to the card: accesses, memory, rings, packets to send."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from e1000.device.card cimport E1000Device
from e1000.device.pci cimport config_read, config_write, io_read, io_write, memory_read, memory_write
from e1000.device.state cimport BAR0_SIZE, Card
from e1000.regs cimport *

from fuzz_guest cimport BUFFERS, LONGEST, RING_ZONE, guest_write, headers_length, take_address, take_packet, take_value, zones
from fuzz_script cimport *

from e1000 import regs

# What drivers write most; seeds.py names these by their index.
cdef uint32_t REGISTERS[64]
REGISTER_NAMES = (
    "CTRL", "STATUS", "EECD", "EERD", "CTRL_EXT", "MDIC", "FCAL", "FCAH", "FCT", "VET", "ICR", "ITR", "ICS", "IMS", "IMC", "RCTL",
    "FCTTV", "TCTL", "TIPG", "AIT", "LEDCTL", "PBA", "FCRTL", "FCRTH", "RDBAL", "RDBAH", "RDLEN", "RDH", "RDT", "RDTR", "RXDCTL", "RADV",
    "RSRPD", "TXDMAC", "TDBAL", "TDBAH", "TDLEN", "TDH", "TDT", "TIDV", "TXDCTL", "TADV", "TSPMT", "RXCSUM", "MTA", "RAL0", "RAH0", "VFTA",
    "WUC", "WUFC", "WUS", "MANC", "TXCW", "RXCW", "PBM", "GPRC", "TORH",
)
cdef int REGISTER_COUNT = len(REGISTER_NAMES)

cdef E1000Device device
cdef Card* card
cdef Script* script
cdef uint8_t packet[LONGEST + 512]


cdef object take_card(E1000Device given, Script* played):
    """The card that all of this is done to, and the script that says what."""
    global device, card, script
    device, card, script = given, given.card, played
    for i, name in enumerate(REGISTER_NAMES):
        REGISTERS[i] = getattr(regs, name)


cdef void access(uint32_t action) noexcept nogil:
    cdef uint32_t how, offset, size, _
    if action == WRITE:
        offset = REGISTERS[u8(script) % REGISTER_COUNT]
        write(offset, take_value(script))
    elif action == READ:
        _ = read(REGISTERS[u8(script) % REGISTER_COUNT])
    elif action == FLIP:
        offset = REGISTERS[u8(script) % REGISTER_COUNT]
        write(offset, read(offset) ^ 1u << (u8(script) & 31))
    elif action == NOTHING:
        return
    else:
        how = u8(script)
        size = 1 << (how & 3) if how & 3 != 3 else 4
        if action == WRITE_ANY:
            offset = (u16(script) << 2 | how >> 2 & 3 & ~(size - 1)) % BAR0_SIZE
            memory_write(card, offset, take_value(script) & (0xFFFFFFFFu >> (32 - 8 * size)), size)
        elif action == READ_ANY:
            offset = (u16(script) << 2 | how >> 2 & 3 & ~(size - 1)) % BAR0_SIZE
            _ = memory_read(card, offset, size)
        elif action == IO:
            offset = (how >> 2 & 4) | how >> 2 & 3 & ~(size - 1)
            if how & 0x80:
                io_write(card, offset, take_value(script), size)
            else:
                _ = io_read(card, offset, size)
        else:
            offset = u8(script)
            if how & 0x80:
                config_write(card, offset, take_value(script), size)
            else:
                _ = config_read(card, offset, size)


cdef void write(uint32_t offset, uint32_t value) noexcept nogil:
    device.write32(offset, value)


cdef uint32_t read(uint32_t offset) noexcept nogil:
    return device.read32(offset)


cdef void write_memory() noexcept nogil:
    cdef uint64_t address = take_address(script)
    cdef uint32_t length = u8(script), i
    for i in range(length):
        packet[i] = <uint8_t>u8(script)
    guest_write(address, packet, length)


cdef void put_packet() noexcept nogil:
    """A packet into guest memory."""
    guest_write(take_address(script), packet, take_packet(script, packet))


cdef void write_descriptor(int ring, uint32_t slot, uint64_t address, uint64_t word) noexcept nogil:
    cdef uint64_t words[2]
    words[0], words[1] = address, word
    guest_write(zones[RING_ZONE + ring].address + 16 * (slot & 255), words, 16)


cdef void write_tx_descriptors() noexcept nogil:
    """Each: kind, address, length, options."""
    cdef uint32_t slot = u8(script), count = u8(script) % 80, how, i
    cdef uint64_t address, word
    for i in range(count):
        how = u8(script)
        if ended(script):
            return
        address = take_address(script)
        word = <uint64_t>(how & 0x3F) << 24
        if how >> 6 == 0:                                   # legacy: length, CSO; CSS, special
            word |= u16(script)
            if how & 4:
                word |= <uint64_t>u8(script) << 16 | <uint64_t>u8(script) << 40
            if how & 0x10:
                word |= 1 << 30 | <uint64_t>u16(script) << 48
        elif how >> 6 == 1:                                 # data: length, options
            word |= 0x20100000 | u16(script) | <uint64_t>u8(script) << 40
            if how & 0x10:
                word |= 1 << 30 | <uint64_t>u16(script) << 48
        elif how >> 6 == 2:                                 # context: offsets in place of the address
            address = u64(script)
            word |= 0x20000000 | u16(script) | <uint64_t>u8(script) << 40 | <uint64_t>u16(script) << 48
        else:
            word = u64(script)
        if how & 1:
            word |= <uint64_t>1 << 31                       # IDE
        write_descriptor(0, slot + i, address, word)


cdef void write_rx_descriptors() noexcept nogil:
    cdef uint32_t slot = u8(script), count = u8(script), i
    for i in range(count):
        if ended(script):
            return
        write_descriptor(1, slot + i, take_address(script), 0)


cdef void set_rings() noexcept nogil:
    """Both rings, the receive one full of buffers, and the engines on: RCTL and TCTL as the script likes the rest."""
    cdef uint32_t how = u8(script), count = 8 << (how & 7) if how & 7 < 6 else 8, i, rctl, tctl
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
    rctl = take_value(script) if how & 0x10 else RCTL_BAM | RCTL_SECRC
    tctl = take_value(script) if how & 0x20 else TCTL_PSP
    write(RCTL, rctl | RCTL_EN)
    write(RDT, count - 1 if not how & 0x40 else 0)
    write(TCTL, tctl | TCTL_EN)
    if how & 0x80:
        write(IMS, 0xFFFFFFFFu)


cdef void ring_doorbell() noexcept nogil:
    cdef uint32_t how = u8(script), tail = RDT if how & 0x80 else TDT, length = RDLEN if how & 0x80 else TDLEN
    cdef uint32_t count = read(length) >> 4
    write(tail, (read(tail) + (how & 0x7F)) % count if count else how)


cdef void send_segments() noexcept nogil:
    """A packet in guest memory, its context, and data descriptors that cut it into parts, as a driver hands it over; or nearly so."""
    cdef uint32_t how = u8(script), mss = u16(script), parts = 1 + (u8(script) & 7), length = take_packet(script, packet), header, i
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
        offsets ^= <uint64_t>u8(script) << (8 * (how & 7))
    # TUCMD: TCP, IP, TSE, DEXT
    word = (length - header if length > header else 0) & 0xFFFFF
    word |= <uint64_t>((0 if udp else 1) | (0 if six else 2) | (0 if how & 8 else 4) | 0x28) << 24
    word |= <uint64_t>(header + (u8(script) if how & 0x40 else 0)) << 40 | <uint64_t>mss << 48
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


cdef void access_phy() noexcept nogil:
    cdef uint32_t how = u8(script)
    cdef uint32_t value = MDIC_OP_READ if how & 0x80 else MDIC_OP_WRITE | u16(script)
    value |= (how & 31) << MDIC_REG_SHIFT | (2 if how & 0x40 else 1) << MDIC_PHY_SHIFT
    write(MDIC, value | (MDIC_INT_EN if how & 0x20 else 0))


cdef void move_mdio() noexcept nogil:
    """A preamble, then 32 bits. `how`: bit 7 is a well-formed frame, 6 lets go of the wire for the second half, the rest the preamble."""
    cdef uint32_t how = u8(script), bits = u32(script), pins = CTRL_MDC_DIR | CTRL_MDIO_DIR | CTRL_SLU, _i, out
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


cdef void access_eeprom() noexcept nogil:
    """Raise CS, clock bits in, let go of CS. `how`: bit 7 reads them back, 6 keeps CS, 5 keeps the request."""
    cdef uint32_t how = u8(script), bits = u32(script), _i, pins = EECD_REQ | EECD_CS, _
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


cdef void reset() noexcept nogil:
    cdef uint32_t which = u8(script) & 3
    if which == 3:
        write(CTRL_EXT, CTRL_EXT_EE_RST)
    else:
        write(CTRL, read(CTRL) | (CTRL_PHY_RST if which == 1 else CTRL_RST))
