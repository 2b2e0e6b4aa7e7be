"""Forwarder: packets that arrive, changed and sent on, by bursts: testpmd's forwarding modes (app/test-pmd/macswap.c and its neighbours).

What a mode changes is copied first: a packet received lies in memory that is another's. What the sending device has no room for is dropped
and counted, as testpmd's fwd_dropped: whoever is shown a burst cannot wait.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memmove, memset

from fastring.burst cimport FRAME_ERRORS, FRAME_MORE, NO_BUFFER, NO_IOVA, packets_in
from fastring.rewrite_checksum cimport settle_checksums
from fastring.rewrite_packet cimport (
    ETH_P_8021AD, ETH_P_8021Q, ETH_P_ARP, ETH_P_IP, ETH_P_IPV6, IPPROTO_ICMP, Packet, find_ip4_transport, find_ip6_transport,
    find_network,
)

cdef enum:
    ETH_HLEN = 14
    VLAN_HLEN = 4
    ROOM = 1 << 19                  # bytes of changed packets
    LONGEST = 1 << 17               # bytes of a packet that is changed


cdef inline uint32_t get16(const uint8_t* data) noexcept nogil:
    return data[0] << 8 | data[1]


cdef inline void put16(uint8_t* data, uint32_t value) noexcept nogil:
    data[0] = <uint8_t>(value >> 8)
    data[1] = <uint8_t>value


cdef inline bint is_tag(uint32_t ethertype) noexcept nogil:
    return ethertype == ETH_P_8021Q or ethertype == ETH_P_8021AD


cdef inline void swap(uint8_t* a, uint8_t* b, uint32_t length) noexcept nogil:
    """Let two fields change places; 16 bytes at most."""
    cdef uint8_t kept[16]
    memcpy(kept, a, length)
    memcpy(a, b, length)
    memcpy(b, kept, length)


cdef uint32_t network_header(const uint8_t* packet, uint32_t length, uint32_t* ethertype) noexcept nogil:
    """Offset of what follows the Ethernet header and its tags, and what that is; 0 if the packet ends before."""
    cdef uint32_t offset = ETH_HLEN
    ethertype[0] = get16(packet + 12)
    while is_tag(ethertype[0]):
        if length < offset + VLAN_HLEN:
            return 0
        ethertype[0] = get16(packet + offset + 2)
        offset += VLAN_HLEN
    return offset


cdef void renew_checksums(uint8_t* data, uint32_t length) noexcept nogil:
    """Make the checksums of an IP packet anew, as far as all they are of is there."""
    cdef Packet packet
    memset(&packet, 0, sizeof(packet))
    packet.data = data
    packet.len = packet.wire_len = length
    packet.copied = True
    find_network(&packet)
    if packet.ethertype == ETH_P_IP:
        find_ip4_transport(&packet)
    elif packet.ethertype == ETH_P_IPV6:
        find_ip6_transport(&packet)
    if packet.version:
        settle_checksums(&packet, True)


cdef bint answer_arp(uint8_t* packet, uint8_t* arp, uint32_t length, const uint8_t* own) noexcept nogil:
    """Make a request the reply that `own` has the address asked for, whatever it is (reply_to_icmp_echo_rqsts)."""
    if length < 28 or memcmp(arp, b"\0\1\x08\0\6\4\0\1", 8):       # Ethernet, IPv4, request
        return False
    memcpy(packet, packet + 6, 6)
    memcpy(packet + 6, own, 6)
    put16(arp + 6, 2)
    memcpy(arp + 18, arp + 8, 6)        # the target is who asked
    swap(arp + 14, arp + 24, 4)
    memcpy(arp + 8, own, 6)
    return True


cdef bint answer_echo(uint8_t* packet, uint8_t* ip, uint32_t length) noexcept nogil:
    """Make an echo request its reply; the checksum is patched, so a wrong one stays wrong."""
    cdef uint32_t header, total, check
    cdef uint8_t* icmp
    if length < 20 or ip[0] >> 4 != 4:
        return False
    header = 4 * (ip[0] & 15)
    total = get16(ip + 2)
    if header < 20 or total < header + 8 or length < total or ip[9] != IPPROTO_ICMP or get16(ip + 6) & 0x3FFF:
        return False
    icmp = ip + header
    if icmp[0] != 8 or icmp[1] != 0 or ip[16] >> 4 == 14:           # a group is asked: whoever answers does so from its own address
        return False
    swap(packet, packet + 6, 6)
    swap(ip + 12, ip + 16, 4)
    icmp[0] = 0
    check = get16(icmp + 2) + 0x0800
    put16(icmp + 2, (check & 0xFFFF) + (check >> 16))
    return True


cdef bint answer(uint8_t* packet, uint32_t length, const uint8_t* own) noexcept nogil:
    """Turn a request into its answer; False if it is none."""
    cdef uint32_t ethertype, offset = network_header(packet, length, &ethertype)
    if offset == 0:
        return False
    if ethertype == ETH_P_ARP:
        return answer_arp(packet, packet + offset, length - offset, own)
    return ethertype == ETH_P_IP and answer_echo(packet, packet + offset, length - offset)


cdef class Forwarder(BurstSink):
    """Sends on what it is given to `target`, the XmitTarget of a device that is up, in one of the modes FORWARD_*.

    `source`: the sending port's address; `peer`: whom FORWARD_MAC sends to. `vlan_pop`: take the outermost tag off, if there is one;
    then `vlan_push`: put one with this TCI on. The softirq's thread. `rx_packets` = `tx_packets` + the sum of `drops`.
    Raises ValueError for what makes no sense.
    """

    def __init__(self, XmitTarget target, int mode, *, bytes source=bytes(6), bytes peer=b"\2\0\0\0\0\0", vlan_push=None, vlan_pop=False):
        if not FORWARD_IO <= mode <= FORWARD_RXONLY:
            raise ValueError(f"there is no forwarding mode {mode}")
        if target is None and mode != FORWARD_RXONLY:
            raise ValueError("who forwards needs somebody who sends")
        if len(source) != 6 or len(peer) != 6:
            raise ValueError(f"addresses have 6 bytes, not {len(source)} and {len(peer)}")
        if vlan_push is not None and not 0 <= vlan_push <= 0xFFFF:
            raise ValueError(f"a tag's TCI is 0 to 65535, not {vlan_push}")
        if self.room != NULL:
            raise RuntimeError("a Forwarder is made once")
        self.room = <uint8_t*>malloc(ROOM)
        if self.room == NULL:
            raise MemoryError()
        self.target = target
        self.mode = mode
        memcpy(self.source, <const uint8_t*>source, 6)
        memcpy(self.peer, <const uint8_t*>peer, 6)
        self.tag = -1 if vlan_push is None else vlan_push
        self.pops = vlan_pop

    def __dealloc__(self):
        free(self.room)

    cdef int deliver(self, Burst burst) noexcept nogil:
        """Send the burst's packets on. Never fails: what goes nowhere is counted."""
        cdef uint32_t first = 0, i
        if self.room == NULL:
            return -1                           # never initialised
        for i in range(burst.count):
            self.rx_bytes += burst.frames[i].len
            if burst.frames[i].flags & FRAME_MORE and i + 1 < burst.count:
                continue
            self.rx_packets += 1
            self.pass_on(burst.frames + first, <int>(i + 1 - first))
            first = i + 1
        self.flush()
        return 0

    cdef void pass_on(self, const Frame* frames, int pieces) noexcept nogil:
        """Queue a packet to be sent, or drop it."""
        cdef uint64_t length = 0
        cdef int i
        for i in range(pieces):
            length += frames[i].len
        if self.mode == FORWARD_RXONLY:
            return
        if self.mode == FORWARD_IO and self.tag < 0 and not self.pops and pieces <= OUT:
            self.append(frames, pieces)
        elif length < ETH_HLEN:
            self.dropped.runt += 1
        elif length > LONGEST:
            self.dropped.no_room += 1
        else:
            self.change(frames, pieces, length)

    cdef void change(self, const Frame* frames, int pieces, uint64_t length) noexcept nogil:
        """Copy a packet, with room for a tag before it; change and queue it."""
        cdef uint8_t* packet
        cdef uint8_t* target
        cdef uint32_t left = <uint32_t>length
        cdef Frame frame
        cdef int i
        if self.used + VLAN_HLEN + left > ROOM:
            self.flush()
        packet = target = self.room + self.used + VLAN_HLEN
        for i in range(pieces):
            memcpy(target, frames[i].data, frames[i].len)
            target += frames[i].len
        if self.mode == FORWARD_MAC:
            memcpy(packet, self.peer, 6)
            memcpy(packet + 6, self.source, 6)
        elif self.mode == FORWARD_MACSWAP or self.mode == FORWARD_CSUM:
            swap(packet, packet + 6, 6)
            if self.mode == FORWARD_CSUM:
                renew_checksums(packet, left)
        elif self.mode == FORWARD_ICMPECHO and not answer(packet, left, self.source):
            self.dropped.no_request += 1
            return
        self.used += VLAN_HLEN + left
        if self.pops and is_tag(get16(packet + 12)) and left >= ETH_HLEN + VLAN_HLEN:
            memmove(packet + VLAN_HLEN, packet, 12)
            packet += VLAN_HLEN
            left -= VLAN_HLEN
        if self.tag >= 0:
            memmove(packet - VLAN_HLEN, packet, 12)
            packet -= VLAN_HLEN
            left += VLAN_HLEN
            put16(packet + 12, ETH_P_8021Q)
            put16(packet + 14, self.tag)
        frame = Frame(packet, NO_IOVA, frames[0].time, left, NO_BUFFER, left, 0, 0)
        self.append(&frame, 1)

    cdef void append(self, const Frame* frames, int pieces) noexcept nogil:
        cdef int i
        if self.waiting + pieces > OUT:
            self.flush()
        for i in range(pieces):
            self.out[self.waiting] = frames[i]
            self.out[self.waiting].flags &= ~FRAME_ERRORS
            self.waiting += 1

    cdef void flush(self) noexcept nogil:
        """Send what waits; what the device does not take is dropped."""
        cdef int sent = 0, taken = 1, i
        while sent < self.waiting and taken > 0:
            taken = self.target.xmit_burst(&self.out[sent], self.waiting - sent)
            if taken > 0:
                sent += taken
        self.tx_packets += packets_in(self.out, sent)
        for i in range(sent):
            self.tx_bytes += self.out[i].len
        self.dropped.tx_full += packets_in(&self.out[sent], self.waiting - sent)
        self.waiting = 0
        self.used = 0

    def on_burst(self, Burst burst not None):
        """`deliver`, from Python."""
        self.deliver(burst)

    @property
    def drops(self):
        """Packets that were not sent on, by reason: `tx_full` is the sending device's; `no_request` is what icmpecho has no answer to."""
        counts = {"tx_full": self.dropped.tx_full, "runt": self.dropped.runt, "no_request": self.dropped.no_request,
                  "too_long": self.dropped.no_room, "rx_only": self.rx_packets if self.mode == FORWARD_RXONLY else 0}
        return {reason: count for reason, count in counts.items() if count}

    def __repr__(self):
        return f"<Forwarder: {self.rx_packets} packets received, {self.tx_packets} sent on>"
