"""Edits on bursts, with tcprewrite's meaning: a source around a source.

Packets that an edit changes are copied, once, into memory that lives as long as the burst that holds them (Stage); they have no bus
address, so a driver copies them to its own bounce buffers. All others pass as they are, wherever they lie.

Checksums are told of what changed and never made anew unless that was asked for (--fixcsum) or a length changed: what was wrong stays
wrong, as replaying it should show, and one that a card is to complete stays so. docs/rewrite.md has the table of what differs from
tcprewrite, and why.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fastring.burst cimport FRAME_MORE, NO_BUFFER, NO_IOVA, Burst, BurstSource, Frame, copy_frame
from fastring.checksum cimport swap16
from fastring.rewrite_packet cimport HEADROOM, Packet
from fastring.rewrite_plan cimport (
    DESTINATION, FIXLEN_DEL, FIXLEN_KEEP, FIXLEN_PAD, FIXLEN_TRUNC, KEEP, LONGEST, SOURCE, TTL_ADD, TTL_KEEP, TTL_SET, TTL_SUB, VLAN_ADD,
    VLAN_DEL, VLAN_KEEP, AddressMap, AddressMaps, edit_packet,
)

cdef enum:
    SPARE = HEADROOM + 8            # bytes around a copy

VLAN_MODES = {None: VLAN_KEEP, "add": VLAN_ADD, "del": VLAN_DEL}
FIXLEN_MODES = {None: FIXLEN_KEEP, "pad": FIXLEN_PAD, "trunc": FIXLEN_TRUNC, "del": FIXLEN_DEL}
TTL_MODES = {None: TTL_KEEP, "": TTL_SET, "+": TTL_ADD, "-": TTL_SUB}


def checked(name, value, int least, int most):
    """`value` if it is within, KEEP for None; raises ValueError."""
    if value is None:
        return KEEP
    if not least <= value <= most:
        raise ValueError(f"{name} is {least} to {most}, not {value}")
    return value


cdef bint set_mac(uint8_t* target, bytes address) except *:
    """Keep an address, if there is one."""
    if address is not None:
        memcpy(target, <const char*>address, 6)
    return address is not None


cdef class Edits:
    """What to change in packets; without arguments, nothing. The names are tcprewrite's, with _ for -.

    `enet_dmac`, `enet_smac`: 6 bytes, or None to keep; or a pair, for packets of clients and of servers. `enet_vlan`: "add" or "del", and
    `enet_vlan_tag`, `_pri`, `_cfi`, `_proto` (0x8100 or 0x88A8). `srcipmap`, `dstipmap`: lists of (network, network) of the ipaddress
    module, both of one version; `pnat`: one such list or two, for clients' addresses and servers'. `portmap`: list of (first, last, to).
    `ttl`: ("", "+" or "-", number). `mtu`: cut what is longer (--mtu with --mtu-trunc). `seed`: of 32 bits, for other addresses.
    `fixlen`: "pad", "trunc" or "del". softnet.rewrite makes these of a command line.

    Immutable, for any number of Rewriters on any threads. Raises ValueError for what is out of range.
    """

    def __init__(self, *, enet_dmac=None, enet_smac=None, enet_vlan=None, enet_vlan_tag=None, enet_vlan_pri=None, enet_vlan_cfi=None,
                 enet_vlan_proto=0x8100, srcipmap=(), dstipmap=(), pnat=(), portmap=(), seed=None, ttl=None, tos=None, tclass=None,
                 flowlabel=None, mtu=None, fixlen=None, bint fixcsum=False, bint fixhdrlen=False, bint skipbroadcast=False,
                 bint skipl2broadcast=False):
        if self._blocks != NULL:
            raise RuntimeError("Edits are made once")
        if enet_vlan not in VLAN_MODES or fixlen not in FIXLEN_MODES:
            raise ValueError(f"enet_vlan is 'add' or 'del', and fixlen 'pad', 'trunc' or 'del', not {enet_vlan!r} and {fixlen!r}")
        if enet_vlan_proto not in (0x8100, 0x88A8):
            raise ValueError(f"enet_vlan_proto is 0x8100 or 0x88a8, not {enet_vlan_proto!r}")
        if len(pnat) > 2:
            raise ValueError(f"pnat is one list of maps, or two, not {len(pnat)}")
        memset(&self.plan, 0, sizeof(self.plan))
        self.plan.vlan = VLAN_MODES[enet_vlan]
        self.plan.vlan_tag = checked("enet_vlan_tag", enet_vlan_tag, 0, 4095)
        self.plan.vlan_priority = checked("enet_vlan_pri", enet_vlan_pri, 0, 7)
        self.plan.vlan_cfi = checked("enet_vlan_cfi", enet_vlan_cfi, 0, 1)
        self.plan.vlan_protocol = <uint16_t>swap16(enet_vlan_proto)
        self._set_addresses(srcipmap, dstipmap, pnat, seed)
        self._set_ports(portmap)
        self._set_fields(ttl, tos, tclass, flowlabel)
        self.plan.mtu = 0 if mtu is None else checked("mtu", mtu, 68, LONGEST)
        self.plan.fixlen = FIXLEN_MODES[fixlen]
        self.plan.fixcsum = fixcsum
        self.plan.fixhdrlen = fixhdrlen
        self.plan.skip_broadcast = skipbroadcast
        self.plan.skip_l2_broadcast = skipl2broadcast
        self.plan.network = (self.plan.addresses or self.plan.ports != NULL or self.plan.ttl != TTL_KEEP or self.plan.tos != KEEP
                             or self.plan.traffic_class != KEEP or self.plan.flow_label != KEEP or self.plan.mtu != 0
                             or self.plan.fixlen != FIXLEN_KEEP or fixcsum or fixhdrlen)
        self.server = self.plan
        self.server.pnat[SOURCE] = self.plan.pnat[DESTINATION]
        self.server.pnat[DESTINATION] = self.plan.pnat[SOURCE]
        self._set_macs(SOURCE, "enet_smac", enet_smac)
        self._set_macs(DESTINATION, "enet_dmac", enet_dmac)

    def __dealloc__(self):
        cdef Block* block
        while self._blocks != NULL:
            block = self._blocks
            self._blocks = block.next
            free(block)

    cdef void* _block(self, size_t size) except NULL:
        """Zeroed memory that lives as long as this."""
        cdef Block* block = <Block*>calloc(1, sizeof(Block) + size)
        if block == NULL:
            raise MemoryError()
        block.next = self._blocks
        self._blocks = block
        return block + 1

    cdef AddressMaps _maps(self, entries) except *:
        """(network, network) pairs as C has them."""
        cdef AddressMaps maps = AddressMaps(NULL, len(entries))
        cdef AddressMap* m
        if not entries:
            return maps
        maps.map = <AddressMap*>self._block(maps.count * sizeof(AddressMap))
        for i, (match, to) in enumerate(entries):
            if match.version != to.version:
                raise ValueError(f"{match} maps to {to}, of IPv{to.version}: an address is mapped to one of its own version")
            m = &maps.map[i]
            m.version = match.version
            memcpy(m.match, <const char*>match.network_address.packed, match.max_prefixlen // 8)
            memcpy(m.match_mask, <const char*>match.netmask.packed, match.max_prefixlen // 8)
            memcpy(m.network, <const char*>to.network_address.packed, match.max_prefixlen // 8)
            memcpy(m.host_mask, <const char*>to.hostmask.packed, match.max_prefixlen // 8)
        return maps

    def _set_addresses(self, srcipmap, dstipmap, pnat, seed):
        cdef uint32_t mixed
        self.plan.ipmap[SOURCE] = self._maps(srcipmap)
        self.plan.ipmap[DESTINATION] = self._maps(dstipmap)
        if pnat:
            self.plan.pnat[SOURCE] = self._maps(pnat[0])
            self.plan.pnat[DESTINATION] = self._maps(pnat[-1])
        if checked("seed", seed, 0, 0x7FFFFFFF) != KEEP:
            mixed = seed                        # tcpr_random, five times, of three steps each: only its state is used
            for _ in range(15):
                mixed = mixed * 1103515245u + 12345
            self.plan.seed = <uint32_t>swap16(mixed & 0xFFFF) << 16 | <uint32_t>swap16(mixed >> 16)
        self.plan.addresses = bool(srcipmap or dstipmap or pnat) or self.plan.seed != 0

    def _set_ports(self, portmap):
        """The table of all ports; of several maps for one port, the last holds."""
        cdef uint32_t port, begin, end
        cdef uint16_t becomes
        if not portmap:
            return
        self.plan.ports = <uint16_t*>self._block(65536 * sizeof(uint16_t))
        for port in range(65536):
            self.plan.ports[port] = port
        for first, last, to in portmap:
            for number in (first, last, to):
                checked("a port", number, 0, 65535)
            begin, end, becomes = first, last, swap16(to)
            for port in range(begin, end + 1):
                self.plan.ports[swap16(port)] = becomes

    def _set_fields(self, ttl, tos, tclass, flowlabel):
        self.plan.ttl = TTL_KEEP
        if ttl is not None:
            if ttl[0] not in TTL_MODES:
                raise ValueError(f"ttl is a number with '', '+' or '-', not {ttl[0]!r}")
            self.plan.ttl = TTL_MODES[ttl[0]]
            self.plan.ttl_value = checked("ttl", ttl[1], 0, 255)
        self.plan.tos = checked("tos", tos, 0, 255)
        self.plan.traffic_class = checked("tclass", tclass, 0, 255)
        self.plan.flow_label = checked("flowlabel", flowlabel, 0, 0xFFFFF)

    def _set_macs(self, int which, name, addresses):
        """One address for the packets of clients, or a pair."""
        clients, servers = addresses if isinstance(addresses, tuple) else (addresses, None)
        for address in (clients, servers):
            if address is not None and len(address) != 6:
                raise ValueError(f"{name} is 6 bytes, not {address!r}")
        self.plan.mac[which] = set_mac(self.plan.mac_address[which], clients)
        self.server.mac[which] = set_mac(self.server.mac_address[which], servers)

    @property
    def growth(self):
        """Bytes that a packet becomes longer at most, but for padding."""
        return 4 if self.plan.vlan == VLAN_ADD else 0

    @property
    def pads(self):
        """Whether packets that were captured short get the length back that they had on their wire."""
        return self.plan.fixlen == FIXLEN_PAD


cdef class Stage:
    """Memory for the changed packets of one burst."""

    def __dealloc__(self):
        free(self.memory)

    cdef bint make_room(self, uint64_t size) noexcept nogil:
        """Forget what was there, and have so many bytes; False if there are none to have."""
        self.used = 0
        if size > self.size:
            free(self.memory)
            self.memory = <uint8_t*>malloc(size + size // 2)
            self.size = size + size // 2 if self.memory != NULL else 0
        return self.memory != NULL or size == 0


cdef class Rewriter(BurstSource):
    """The packets of `source` with `edits`, in their order and with their times.

    `server`: they are a server's, not a client's; None: those whose Frame.queue is not 0 are, as tcpprep's cache files tell them apart.
    One thread at a time. A packet in pieces that is changed becomes one Frame. Never raises: `error` is the source's, or MemoryError.
    """

    def __init__(self, BurstSource source not None, Edits edits not None, *, server=False):
        self.source = source
        self.edits = edits
        self.plan = &edits.server if server else &edits.plan
        self.queued = server is None
        self.taken = Burst(1)

    cdef bint prepare(self, Burst burst) noexcept nogil:
        """Have a stage that the burst holds, and room there for a copy of each packet."""
        cdef uint64_t size = 0
        cdef uint32_t i
        if self.stage is None or <void*>burst.keepalive != <void*>self.stage:
            with gil:
                self.stage = Stage()            # an earlier burst keeps its own
                burst.keepalive = self.stage
        if <void*>self.stage.lent != <void*>self.taken.keepalive:
            with gil:
                self.stage.lent = self.taken.keepalive
        for i in range(self.taken.count):
            size += self.room_for(&self.taken.frames[i])
        return self.stage.make_room(size)

    cdef uint64_t room_for(self, const Frame* frame) noexcept nogil:
        """Bytes that a copy of this packet, or piece, may take: rounded, so that copies start where vectors like it."""
        cdef uint64_t length = frame.len
        if self.plan.fixlen == FIXLEN_PAD and length < frame.wire_len <= LONGEST + HEADROOM:
            length = frame.wire_len
        return (length + SPARE + 63) // 64 * 64

    cdef int fill(self, Burst burst, uint32_t most) noexcept nogil:
        cdef uint32_t first = 0, i, out = 0
        cdef int got
        burst.release()
        if most > burst.capacity:
            most = burst.capacity
        if self.taken.capacity < most or <void*>self.taken.pool != <void*>burst.pool:
            with gil:
                try:
                    self.taken = Burst(most, burst.pool)
                except MemoryError:
                    self.out_of_memory = True
                    return -1
        while out == 0:                             # all that was there may have been deleted
            got = self.source.fill(self.taken, most)
            if got <= 0:
                return got
            if not self.prepare(burst):
                self.out_of_memory = True
                return -1
            first = 0
            for i in range(self.taken.count):
                if not self.taken.frames[i].flags & FRAME_MORE:
                    out += self.rewrite(&self.taken.frames[first], i + 1 - first, &burst.frames[out])
                    first = i + 1
        burst.count = out
        return <int>out

    cdef void gather(self, Packet* p, const Frame* pieces, uint32_t n) noexcept nogil:
        """A packet in pieces, as one, in the stage."""
        cdef uint32_t i
        p.data = p.room
        p.len = 0
        for i in range(n):
            copy_frame(p.room + p.len, pieces[i].data, pieces[i].len)
            p.len += pieces[i].len

    cdef uint32_t rewrite(self, Frame* pieces, uint32_t n, Frame* target) noexcept nogil:
        """Edit one packet of n pieces; return how many Frames it is now."""
        cdef Packet p
        cdef uint64_t room = 0
        cdef uint32_t i
        memset(&p, 0, sizeof(p))
        p.data = pieces.data
        p.len = pieces.len
        p.wire_len = pieces.wire_len
        p.room = self.stage.memory + self.stage.used + HEADROOM
        if n > 1:
            self.gather(&p, pieces, n)
        if p.wire_len < p.len:
            p.wire_len = p.len
        self.packets += 1
        if not edit_packet(&self.edits.server if self.queued and pieces.queue else self.plan, &p):
            self.deleted += 1
            return 0
        self.malformed += p.malformed
        self.unchecked += p.uncheckable
        if not p.copied:
            memcpy(target, pieces, n * sizeof(Frame))
            for i in range(n):
                pieces[i].buffer = NO_BUFFER        # of a pool: the burst gives it back, and what was copied `taken` does
            return n
        for i in range(n):
            room += self.room_for(&pieces[i])
        self.stage.used += room
        self.edited += 1
        target[0] = Frame(p.data, NO_IOVA, pieces.time, p.len, NO_BUFFER, p.wire_len, pieces[n - 1].flags, pieces.queue)
        return 1

    @property
    def error(self):
        """Why `fill` failed, or None."""
        return MemoryError("no memory for the changed packets of a burst") if self.out_of_memory else self.source.error

    def __repr__(self):
        return (f"<Rewriter: {self.packets} packets, {self.edited} edited, {self.deleted} deleted, {self.malformed} malformed, "
                f"{self.unchecked} with a checksum that could not be made>")
