"""What to edit, as plain C, and each edit of tcprewrite on one packet."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from fastring.checksum cimport swap16
from fastring.rewrite_checksum cimport settle_checksums
from fastring.rewrite_packet cimport (
    ETH_P_ARP, ETH_P_IP, ETH_P_IPV6, ETHERNET_HEADER, IP6_HEADER, IPPROTO_TCP, IPPROTO_UDP, Packet, be16, be32, find_ip4_transport,
    find_ip6_transport, find_network, has, load16, load32, own, set8, set16, set32,
)

cdef enum:
    VLAN_KEEP
    VLAN_ADD
    VLAN_DEL

cdef enum:
    TTL_KEEP
    TTL_SET
    TTL_ADD
    TTL_SUB

cdef enum:
    FIXLEN_KEEP
    FIXLEN_PAD
    FIXLEN_TRUNC
    FIXLEN_DEL

cdef enum:
    KEEP = -1                       # of a field: as it is
    SOURCE = 0                      # which address, and whose map
    DESTINATION = 1
    LONGEST = 262144                # bytes of a packet that padding may make

# Addresses `match` under `match_mask` get the bits `network`, and keep those of `host_mask`. IPv4 has the first word alone.
ctypedef struct AddressMap:
    uint8_t version                 # 4 or 6
    uint32_t match[4]               # all as they lie in a packet
    uint32_t match_mask[4]
    uint32_t network[4]
    uint32_t host_mask[4]

ctypedef struct AddressMaps:
    AddressMap* map                 # [count]; the first that matches is taken
    uint32_t count

ctypedef struct EditPlan:
    bint network                    # whether anything looks past the Ethernet header
    bint addresses                  # whether anything changes IP addresses
    bint mac[2]                     # SOURCE, DESTINATION: whether it is set
    uint8_t mac_address[2][6]
    bint skip_broadcast
    bint skip_l2_broadcast
    int vlan                        # VLAN_*
    int vlan_tag, vlan_priority, vlan_cfi       # or KEEP
    uint16_t vlan_protocol          # network order
    AddressMaps ipmap[2]            # --srcipmap, --dstipmap
    AddressMaps pnat[2]             # of the source and of the destination
    uint32_t seed                   # network order; 0: none
    uint16_t* ports                 # [65536] what each becomes, both in network order; or NULL
    uint32_t mtu                    # to truncate to; 0: not
    int ttl                         # TTL_*
    int ttl_value
    int tos, traffic_class, flow_label          # or KEEP
    bint fixcsum, fixhdrlen
    int fixlen                      # FIXLEN_*


cdef inline void edit_mac(const EditPlan* plan, Packet* p, int which) noexcept nogil:
    """--enet-dmac, --enet-smac."""
    cdef uint32_t at = 6 if which == SOURCE else 0
    if plan.mac[which] and memcmp(p.data + at, plan.mac_address[which], 6) != 0 and not (plan.skip_l2_broadcast and p.data[at] & 1):
        own(p)
        memcpy(p.data + at, plan.mac_address[which], 6)


cdef inline void shift_network(Packet* p, int by) noexcept nogil:
    p.l3 += by
    p.len += by
    p.wire_len += by


cdef inline void add_vlan(const EditPlan* plan, Packet* p) noexcept nogil:
    """--enet-vlan=add: outermost, whatever tags there are; what is not said is the outermost's that was there, or 0."""
    cdef uint16_t kind = load16(p.data + 12), tci = 0
    if be16(kind) in (0x8100, 0x88A8, 0x9100) and has(p, ETHERNET_HEADER, 2):
        tci = be16(load16(p.data + ETHERNET_HEADER))
    tci = <uint16_t>((plan.vlan_tag if plan.vlan_tag != KEEP else tci & 0xFFF)
                     | (plan.vlan_priority if plan.vlan_priority != KEEP else tci >> 13) << 13
                     | (plan.vlan_cfi if plan.vlan_cfi != KEEP else tci >> 12 & 1) << 12)
    own(p)
    p.data -= 4
    memmove(p.data, p.data + 4, 12)
    tci = <uint16_t>swap16(tci)
    memcpy(p.data + 12, &plan.vlan_protocol, 2)
    memcpy(p.data + 14, &tci, 2)
    shift_network(p, 4)


cdef inline void delete_vlan(Packet* p) noexcept nogil:
    """--enet-vlan=del: the outermost tag."""
    if be16(load16(p.data + 12)) not in (0x8100, 0x88A8, 0x9100):
        return
    own(p)
    memmove(p.data + 4, p.data, 12)
    p.data += 4
    shift_network(p, -4)


cdef inline void edit_ttl(const EditPlan* plan, Packet* p) noexcept nogil:
    """--ttl: set, or changed within 1 to 255."""
    cdef uint32_t at = p.l3 + (8 if p.version == 4 else 7)
    cdef int ttl = p.data[at]
    cdef uint16_t word
    if plan.ttl == TTL_SET:
        ttl = plan.ttl_value
    elif plan.ttl == TTL_ADD:
        ttl = min(ttl + plan.ttl_value, 255)
    else:
        ttl = max(ttl - plan.ttl_value, 1)
    if p.version == 6:
        set8(p, at, <uint8_t>ttl)
        return
    word = load16(p.data + at)
    (<uint8_t*>&word)[0] = <uint8_t>ttl
    p.ip_delta += set16(p, at, word)


cdef inline void edit_tos(const EditPlan* plan, Packet* p) noexcept nogil:
    """--tos."""
    cdef uint16_t word = load16(p.data + p.l3)
    (<uint8_t*>&word)[1] = <uint8_t>plan.tos
    p.ip_delta += set16(p, p.l3, word)


cdef inline void edit_flow(const EditPlan* plan, Packet* p) noexcept nogil:
    """--tclass and --flowlabel."""
    cdef uint32_t word = be32(load32(p.data + p.l3))
    if plan.traffic_class != KEEP:
        word = (word & 0xF00FFFFFu) | <uint32_t>plan.traffic_class << 20
    if plan.flow_label != KEEP:
        word = (word & 0xFFF00000u) | <uint32_t>plan.flow_label
    set32(p, p.l3, be32(word))


cdef inline void edit_ports(const EditPlan* plan, Packet* p) noexcept nogil:
    """--portmap, of both ports."""
    if p.l4 == 0 or p.protocol not in (IPPROTO_TCP, IPPROTO_UDP):
        return
    if p.l4_length < 4 or not has(p, p.l4, 4):
        p.malformed = True
        return
    p.port_delta += set16(p, p.l4, plan.ports[load16(p.data + p.l4)])
    p.port_delta += set16(p, p.l4 + 2, plan.ports[load16(p.data + p.l4 + 2)])


cdef inline bint is_multicast(const Packet* p, uint32_t at, uint8_t version) noexcept nogil:
    """An address of many, or IPv4's limited broadcast."""
    if version == 6:
        return p.data[at] == 0xFF
    return p.data[at] >> 4 == 0xE or load32(p.data + at) == 0xFFFFFFFFu


cdef inline uint64_t map_address(const EditPlan* plan, const AddressMaps* maps, Packet* p, uint32_t at, uint8_t version) noexcept nogil:
    """Set the address at `at` to what the first map that matches makes of it; return what that adds to its sum."""
    cdef const AddressMap* m
    cdef uint32_t i, word, words = 1 if version == 4 else 4
    cdef uint64_t delta = 0
    if maps.count == 0 or (plan.skip_broadcast and is_multicast(p, at, version)):
        return 0
    for i in range(maps.count):
        m = &maps.map[i]
        if m.version != version:
            continue
        for word in range(words):
            if load32(p.data + at + 4 * word) & m.match_mask[word] != m.match[word]:
                break
        else:
            for word in range(words):
                delta += set32(p, at + 4 * word, (load32(p.data + at + 4 * word) & m.host_mask[word]) | m.network[word])
            break
    return delta


cdef inline uint64_t randomize_address(const EditPlan* plan, Packet* p, uint32_t at, uint8_t version) noexcept nogil:
    """--seed, as tcprewrite's arithmetic has it: the same seed gives the same addresses there."""
    cdef uint32_t address, new, i, words = 1 if version == 4 else 4
    cdef uint64_t delta = 0
    cdef bint multicast = is_multicast(p, at, version)
    if plan.seed == 0 or (plan.skip_broadcast and multicast):
        return 0
    for i in range(words):
        address = load32(p.data + at + 4 * i)
        new = (address ^ plan.seed) - (address & plan.seed)
        if i == 0 and version == 6 and multicast:
            (<uint8_t*>&new)[0] = 0xFF
        elif i == 0 and version == 6 and (<uint8_t*>&new)[0] == 0xFF:
            (<uint8_t*>&new)[0] = 0xAA
        delta += set32(p, at + 4 * i, new)
    return delta


cdef inline uint64_t edit_address(const EditPlan* plan, Packet* p, uint32_t at, int which, uint8_t version) noexcept nogil:
    """--srcipmap or --dstipmap, --pnat and --seed, in this order."""
    cdef uint64_t delta = map_address(plan, &plan.ipmap[which], p, at, version)
    delta += map_address(plan, &plan.pnat[which], p, at, version)
    return delta + randomize_address(plan, p, at, version)


cdef inline void edit_addresses(const EditPlan* plan, Packet* p) noexcept nogil:
    cdef uint32_t size = 4 if p.version == 4 else 16, at = p.l3 + (12 if p.version == 4 else 8)
    cdef uint64_t source = edit_address(plan, p, at, SOURCE, p.version)
    cdef uint64_t destination = edit_address(plan, p, at + size, DESTINATION, p.version)
    p.ip_delta += source + destination
    p.pseudo_delta += source if p.routed else source + destination


cdef inline void edit_arp(const EditPlan* plan, Packet* p) noexcept nogil:
    """--pnat and --seed of a request's or reply's two IPv4 addresses; --srcipmap and --dstipmap leave ARP alone, as tcprewrite's do."""
    cdef uint32_t sender, target
    if not has(p, p.l3, 8):
        p.malformed = True
        return
    if be16(load16(p.data + p.l3 + 2)) != ETH_P_IP or p.data[p.l3 + 5] != 4 or be16(load16(p.data + p.l3 + 6)) not in (1, 2):
        return
    sender = p.l3 + 8 + p.data[p.l3 + 4]
    target = sender + 4 + p.data[p.l3 + 4]
    if not has(p, target, 4):
        p.malformed = True
        return
    map_address(plan, &plan.pnat[SOURCE], p, sender, 4)
    randomize_address(plan, p, sender, 4)
    map_address(plan, &plan.pnat[DESTINATION], p, target, 4)
    randomize_address(plan, p, target, 4)


cdef inline uint32_t told_length(const Packet* p, uint32_t most) noexcept nogil:
    """What IP says its packet is long, from its header on, but `most` at most; `most`, too, if it leaves that open."""
    cdef uint32_t field = be16(load16(p.data + p.l3 + (2 if p.version == 4 else 4)))
    cdef uint32_t length = field if p.version == 4 else field + IP6_HEADER
    return length if field and length < most else most


cdef inline void set_ip_length(Packet* p, uint32_t length) noexcept nogil:
    """Let IP say its packet is so long, from its header on, if the field can; the transport's length follows."""
    cdef uint32_t end = p.l3 + length
    cdef uint64_t change
    if p.version == 6:
        length -= IP6_HEADER
    if length > 0xFFFF:
        return
    change = set16(p, p.l3 + (2 if p.version == 4 else 4), <uint16_t>swap16(length))
    if change == 0:
        return
    if p.version == 4:
        p.ip_delta += change
    p.resized = True
    if p.l4 > end:
        p.l4 = 0                                    # the transport header was cut away
    p.l4_length = end - p.l4 if p.l4 else 0


cdef inline void shorten_udp(Packet* p) noexcept nogil:
    """Let a datagram's length follow what was cut; of one in fragments, whose rest is elsewhere, the checksum goes."""
    if p.protocol != IPPROTO_UDP or p.l4 == 0 or p.l4_length < 8 or not has(p, p.l4, 8):
        return
    if p.fragment:
        if p.version == 4:
            set16(p, p.l4 + 6, 0)
    elif be16(load16(p.data + p.l4 + 4)) > p.l4_length:
        set16(p, p.l4 + 4, <uint16_t>swap16(p.l4_length))


cdef inline void truncate_to_mtu(const EditPlan* plan, Packet* p) noexcept nogil:
    """--mtu-trunc: what is longer than the MTU behind the Ethernet header and its tags."""
    cdef uint32_t longest = p.l3 + plan.mtu
    if p.wire_len <= longest:
        return
    own(p)
    p.wire_len = longest
    p.len = min(p.len, longest)
    if p.version:
        set_ip_length(p, told_length(p, plan.mtu))
        shorten_udp(p)


cdef inline void fix_captured_length(const EditPlan* plan, Packet* p) noexcept nogil:
    """--fixlen of an IP packet that was captured short: zeroes for what is missing, or headers for what is there."""
    if p.len == p.wire_len or not p.version:
        return
    if plan.fixlen == FIXLEN_PAD:
        if p.wire_len > LONGEST:
            p.malformed = True
            return
        own(p)
        memset(p.data + p.len, 0, p.wire_len - p.len)
        p.len = p.wire_len
        p.resized = True
    elif plan.fixlen == FIXLEN_TRUNC:
        own(p)
        p.wire_len = p.len
        set_ip_length(p, told_length(p, p.len - p.l3))
        shorten_udp(p)


cdef inline void edit_ip(const EditPlan* plan, Packet* p) noexcept nogil:
    if plan.ttl != TTL_KEEP:
        edit_ttl(plan, p)
    if p.version == 4 and plan.tos != KEEP:
        edit_tos(plan, p)
    if p.version == 6 and (plan.traffic_class != KEEP or plan.flow_label != KEEP):
        edit_flow(plan, p)
    if plan.ports != NULL:
        edit_ports(plan, p)
    if plan.addresses:
        edit_addresses(plan, p)


cdef inline bint edit_packet(const EditPlan* plan, Packet* p) noexcept nogil:
    """Do all edits, as tcpedit_packet of tcpreplay; return whether the packet stays."""
    if plan.fixlen == FIXLEN_DEL and p.len < p.wire_len:
        return False
    if p.len < ETHERNET_HEADER:
        p.malformed = True
        return True
    if plan.network:
        find_network(p)
        if p.ethertype == ETH_P_IP:
            find_ip4_transport(p)
        elif p.ethertype == ETH_P_IPV6:
            find_ip6_transport(p)
        if p.version:
            edit_ip(plan, p)
        elif p.ethertype == ETH_P_ARP and plan.addresses:
            edit_arp(plan, p)
        if plan.fixlen != FIXLEN_KEEP:
            fix_captured_length(plan, p)
        if plan.mtu and p.l3:
            truncate_to_mtu(plan, p)
        if p.version:
            if plan.fixhdrlen and (p.version == 6 or not p.fragment) and p.wire_len - p.l3 >= (20 if p.version == 4 else IP6_HEADER):
                set_ip_length(p, p.wire_len - p.l3)
            settle_checksums(p, plan.fixcsum)
    edit_mac(plan, p, SOURCE)
    edit_mac(plan, p, DESTINATION)
    if plan.vlan == VLAN_ADD:
        add_vlan(plan, p)
    elif plan.vlan == VLAN_DEL and has(p, ETHERNET_HEADER, 4):
        delete_vlan(p)
    return True
