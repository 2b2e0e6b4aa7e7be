"""Wake-up (§12.3, §13.6): what a packet or a link change does to a card whose host sleeps.

APM knows one packet, the magic one; ACPI's filters (WUFC) know eleven kinds. Both look at packets while the receiver is off or the
card in D3: a driver that runs receives them itself. The first that matches is kept (WUPM) until software clears WUS.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from e1000.device.filter cimport ADDRESS_BITS, NOT_OURS, address_match
from e1000.device.pci cimport PMCSR, PMCSR_PME_ENABLE, PMCSR_PME_STATUS
from e1000.device.state cimport Card
from e1000.regs cimport *
from fastring.burst cimport FRAME_ERRORS, FRAME_MORE, Frame

cdef enum:
    KEPT = 128                      # bytes of the packet in WUPM, and that flexible filters look at
    LONGEST_TOLD = 2047             # in WUPL
    COPIES = 16                     # of the station address in a magic packet
    ADDRESS = 6
    IPV4_FILTERS = 4
    FLEXIBLE_FILTERS = 4
    RECEIVED = WUFC_MAG | WUFC_EX | WUFC_MC | WUFC_BC | WUFC_ARP | WUFC_IPV4 | WUFC_IPV6 | WUFC_FLEXIBLE

ctypedef struct Packet:
    const uint8_t* content
    uint32_t length
    uint64_t destination
    uint32_t type                   # Ethernet type, behind a VLAN tag and a SNAP header
    uint32_t payload                # where its payload begins


cdef void wake_by_frames(Card* card, Frame* frames, int n) noexcept nogil:
    """Packets that the receiver does not take."""
    cdef uint8_t content[MAX_FRAME]
    cdef uint32_t length = 0, errors = 0, part
    cdef int i
    if not card.regs[WUC >> 2] & WUC_APME and not card.regs[WUFC >> 2] & RECEIVED or card.regs[WUS >> 2] & RECEIVED:
        return
    for i in range(n):
        part = frames[i].len if frames[i].len < MAX_FRAME - length else MAX_FRAME - length
        memcpy(content + length, frames[i].data, part)
        length += part
        errors |= frames[i].flags & FRAME_ERRORS
        if not frames[i].flags & FRAME_MORE:
            if not errors and length >= MIN_FRAME - CRC_LENGTH and wake_by_packet(card, content, length):
                return
            length = errors = 0


cdef bint wake_by_packet(Card* card, const uint8_t* content, uint32_t length) noexcept nogil:
    """Wake the host if the packet is one to wake it; say whether it is."""
    cdef uint32_t matches
    cdef Packet packet
    packet.content = content
    packet.length = length
    packet.destination = 0
    memcpy(&packet.destination, content, ADDRESS)
    find_payload(card, &packet)
    matches = matching(card, &packet)
    if matches == 0:
        return False
    card.regs[WUS >> 2] |= matches
    card.regs[WUPL >> 2] = length if length < LONGEST_TOLD else LONGEST_TOLD
    memset(&card.regs[WUPM >> 2], 0, KEPT)
    memcpy(&card.regs[WUPM >> 2], content, length if length < KEPT else KEPT)
    set_pme(card)
    return True


cdef void wake_by_link(Card* card) noexcept nogil:
    """The link came or went; the driver is told the next time when it has cleared LNKC."""
    if card.regs[WUFC >> 2] & WUFC_LNKC and not card.regs[WUS >> 2] & WUFC_LNKC:
        card.regs[WUS >> 2] |= WUFC_LNKC
        set_pme(card)


# --- filters ---

cdef uint32_t matching(Card* card, const Packet* packet) noexcept nogil:
    """The kinds of packet it is, of those that are wanted: bits of WUFC."""
    cdef uint32_t wanted = card.regs[WUFC >> 2] & RECEIVED, matches = 0
    if card.regs[WUC >> 2] & WUC_APME and (is_station(card, packet) or packet.destination == ADDRESS_BITS) and is_magic(card, packet):
        matches = WUFC_MAG
    if not wanted or address_match(card, packet.destination) == NOT_OURS:
        return matches
    matches |= address_kind(card, packet) | flexible_matches(card, packet)
    if wanted & WUFC_MAG and is_magic(card, packet):
        matches |= WUFC_MAG
    if is_arp_request(card, packet):
        matches |= WUFC_ARP
    if packet.type == 0x0800 and version(packet) == 4 and is_ipv4_address(card, packet, packet.payload + 16):
        matches |= WUFC_IPV4
    if packet.type == 0x86DD and version(packet) == 6 and is_ipv6_address(card, packet, packet.payload + 24):
        matches |= WUFC_IPV6
    return matches & (wanted | (matches & WUFC_MAG))


cdef inline bint is_station(Card* card, const Packet* packet) noexcept nogil:
    return packet.destination == (card.regs[RAL0 >> 2] | <uint64_t>(card.regs[RAH0 >> 2] & 0xFFFF) << 32)


cdef inline uint32_t be16(const Packet* packet, uint32_t offset) noexcept nogil:
    return <uint32_t>packet.content[offset] << 8 | packet.content[offset + 1]


cdef inline uint32_t version(const Packet* packet) noexcept nogil:
    return packet.content[packet.payload] >> 4 if packet.payload < packet.length else 0


cdef inline bint has(const Packet* packet, uint32_t offset, const void* bytes, uint32_t size) noexcept nogil:
    """Whether these bytes are there."""
    return offset + size <= packet.length and memcmp(packet.content + offset, bytes, size) == 0


cdef void find_payload(Card* card, Packet* packet) noexcept nogil:
    """Skip a VLAN tag (VET) and a SNAP header. A packet has 60 bytes at least."""
    packet.payload = 14
    if be16(packet, 12) == card.regs[VET >> 2]:
        packet.payload = 18
    if be16(packet, packet.payload - 2) <= 1500 and has(packet, packet.payload, b"\xaa\xaa\x03\0\0\0", 6):
        packet.payload += 8
    packet.type = be16(packet, packet.payload - 2)


cdef bint is_magic(Card* card, const Packet* packet) noexcept nogil:
    """Six bytes of ones and sixteen times the station address, anywhere behind the Ethernet header."""
    cdef uint8_t address[ADDRESS]
    cdef uint32_t at, copy
    memcpy(address, &card.regs[RAL0 >> 2], 4)
    memcpy(address + 4, &card.regs[RAH0 >> 2], 2)
    for at in range(14, packet.length):
        if not has(packet, at, b"\xff\xff\xff\xff\xff\xff", ADDRESS):
            continue
        for copy in range(1, COPIES + 1):
            if not has(packet, at + copy * ADDRESS, address, ADDRESS):
                break
        else:
            return True
    return False


cdef uint32_t address_kind(Card* card, const Packet* packet) noexcept nogil:
    """Exact, multicast or broadcast; nothing for a packet that only promiscuous mode lets in."""
    cdef uint32_t i
    if packet.destination == ADDRESS_BITS:
        return WUFC_BC
    if packet.destination & 1:
        return WUFC_MC
    for i in range(card.ra_count):
        if card.ra[i] == packet.destination:
            return WUFC_EX
    return 0


cdef bint is_arp_request(Card* card, const Packet* packet) noexcept nogil:
    """A question for one of the IPv4 addresses."""
    return (packet.type == 0x0806 and has(packet, packet.payload, b"\0\x01\x08\0\x06\x04\0\x01", 8)
            and is_ipv4_address(card, packet, packet.payload + 24))


cdef bint is_ipv4_address(Card* card, const Packet* packet, uint32_t offset) noexcept nogil:
    """Whether one of IP4AT's valid addresses lies at `offset`."""
    cdef uint32_t i
    for i in range(IPV4_FILTERS):
        if card.regs[IPAV >> 2] & IPAV_V40 << i and has(packet, offset, &card.regs[(IP4AT >> 2) + 2 * i], 4):
            return True
    return False


cdef bint is_ipv6_address(Card* card, const Packet* packet, uint32_t offset) noexcept nogil:
    return card.regs[IPAV >> 2] & IPAV_V60 and has(packet, offset, &card.regs[IP6AT >> 2], 16)


cdef uint32_t flexible_matches(Card* card, const Packet* packet) noexcept nogil:
    """Flexible filters: packets as long as FFLT, whose bytes that FFMT names are FFVT's (§13.6.12 to §13.6.14)."""
    cdef uint32_t i, n, length, matches = 0
    for n in range(FLEXIBLE_FILTERS):
        length = card.regs[(FFLT >> 2) + 2 * n]
        if packet.length < length:
            continue
        for i in range(length if length < KEPT else KEPT):
            if (card.regs[(FFMT >> 2) + 2 * i] >> n & 1
                    and card.regs[(FFVT >> 2) + 2 * i] >> 8 * n & 0xFF != packet.content[i]):
                break
        else:
            matches |= WUFC_FLX0 << n
    return matches


# --- PME ---

cdef void set_pme(Card* card) noexcept nogil:
    card.pci.config[PMCSR + 1] |= PMCSR_PME_STATUS >> 8


cdef bint pme_asserted(Card* card) noexcept nogil:
    """Whether PME# is asserted: until software clears PME_Status or PME_En. APM needs no PME_En, but WUC.APMPME."""
    cdef uint32_t apm = WUC_APME | WUC_APMPME
    if not card.pci.config[PMCSR + 1] & PMCSR_PME_STATUS >> 8:
        return False
    return (card.pci.config[PMCSR + 1] & PMCSR_PME_ENABLE >> 8
            or card.regs[WUC >> 2] & apm == apm and card.regs[WUS >> 2] & WUFC_MAG)


cdef uint32_t read_wuc(Card* card) noexcept nogil:
    """WUC: PME_En and PME_Status are those of configuration space (§13.6.1)."""
    cdef uint32_t value = card.regs[WUC >> 2], pmcsr = <uint32_t>card.pci.config[PMCSR + 1] << 8
    return value | (WUC_PME_EN if pmcsr & PMCSR_PME_ENABLE else 0) | (WUC_PME_STATUS if pmcsr & PMCSR_PME_STATUS else 0)


cdef void write_wuc(Card* card, uint32_t value) noexcept nogil:
    """PME_Status is cleared by writing 1."""
    cdef uint8_t* pmcsr = &card.pci.config[PMCSR + 1]
    card.regs[WUC >> 2] = value & (WUC_APME | WUC_APMPME)
    pmcsr[0] = pmcsr[0] & ~<uint8_t>(PMCSR_PME_ENABLE >> 8) | (PMCSR_PME_ENABLE >> 8 if value & WUC_PME_EN else 0)
    if value & WUC_PME_STATUS:
        pmcsr[0] &= ~<uint8_t>(PMCSR_PME_STATUS >> 8)
