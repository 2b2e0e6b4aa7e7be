"""Switch: a learning, VLAN-aware bridge of wires, by the rules of the kernel's (net/bridge, with vlan_filtering) and IEEE 802.1Q.

A port is a wire for a card to plug into, or has a wire of its own plugged in: a TAP, a socket, the end of a pair. Packets go through
without being copied; only tags are put between their pieces or left out.
"""

import errno
import select
from contextlib import ExitStack

from cpython.ref cimport PyObject
from libc.errno cimport EIO
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastring.address_table cimport NOBODY, AddressTable
from fastring.burst cimport FRAME_ERRORS, FRAME_MORE, NO_BUFFER, NO_IOVA, Frame, packets_in
from fastring.wrapper cimport added

cdef enum:
    HEADER = 14
    TAG = 4
    ADDRESSES = 12                  # bytes before a tag
    SHORTEST = 60
    DEEPEST = 8                     # as the kernel's XMIT_RECURSION_LIMIT: two ports on one cable are a loop

cdef uint64_t MAC = 0xFFFFFFFFFFFFu
cdef uint64_t GROUP = 0x010000000000u
cdef uint64_t RESERVED = 0x0180C2000000u        # to 0F: link-local, not forwarded, but for 0 (nobody here speaks STP)
cdef uint8_t ZEROES[SHORTEST]
memset(ZEROES, 0, SHORTEST)


cdef int take(void* context, Frame* frames, int n, bint may_refuse) noexcept nogil:
    """The receive_handler of a member wire: into the switch."""
    return (<SwitchPort>context).transmit(frames, n)


cdef void no_matter(void* context) noexcept nogil:
    """The room_handler of a member wire, which it has as a card does: so it pads what is too short for Ethernet."""


cdef inline uint64_t address(const uint8_t* bytes) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(6):
        value = value << 8 | bytes[i]
    return value


cdef int copy_head(uint8_t* head, int most, const Frame* pieces, int n) noexcept nogil:
    """Copy the first bytes of a packet; return how many there are."""
    cdef int done = 0, i, length
    for i in range(n):
        length = <int>pieces[i].len if pieces[i].len < <uint32_t>(most - done) else most - done
        memcpy(head + done, pieces[i].data, length)
        done += length
    return done


cdef void add_slice(Outgoing* out, const Frame* pieces, int n, uint32_t start, uint32_t stop) noexcept nogil:
    """Gather the bytes [start, stop) of a packet."""
    cdef uint32_t at = 0, low, high
    cdef int i
    for i in range(n):
        low = start if start > at else at
        high = stop if stop < at + pieces[i].len else at + pieces[i].len
        if low < high:
            out.frames[out.count] = pieces[i]
            out.frames[out.count].data = pieces[i].data + (low - at)
            out.frames[out.count].len = high - low
            out.frames[out.count].flags = FRAME_MORE
            out.frames[out.count].wire_len = 0
            out.count += 1
        at += pieces[i].len


cdef void add_bytes(Outgoing* out, uint8_t* data, uint32_t length) noexcept nogil:
    cdef Frame* frame = &out.frames[out.count]
    memset(frame, 0, sizeof(Frame))
    frame.data = data
    frame.len = length
    frame.iova = NO_IOVA
    frame.buffer = NO_BUFFER
    frame.flags = FRAME_MORE
    out.count += 1


cdef class Switch:
    """A switch on `clock`. Its `port`s are wires for cards, and it `connect`s wires of other kinds.

    `vlan_filtering`: VLANs are told apart, by each port's `vlan` and `trunk`; without it tags are the packets' own affair.
    `ageing`: seconds for which an address is remembered. `limit`: addresses remembered at most; others are not learned (counted in
    `table.unlearned`) and their packets flooded, so a flood of addresses costs no memory.

    A port that takes no more drops what it is sent, as real switches do: nobody is held up, and `drops` says where and why.
    One thread: that of the engines of all cards on it, and of the softirq. Raises ValueError.
    """

    def __init__(self, *, Clock clock not None, bint vlan_filtering=False, double ageing=300.0, limit=1024):
        if self.table is not None:
            raise OSError(errno.EBUSY, "a Switch is made once")
        self.table = AddressTable(limit=limit, ageing=ageing)
        self.clock, self.vlan_filtering = clock, vlan_filtering
        self._ports = []

    # --- forwarding ---

    cdef void forward(self, SwitchPort source, Frame* frames, int n) noexcept nogil:
        """What came in at a port, all of it."""
        cdef Outgoing out
        cdef Arrived packet
        cdef int64_t now = self.clock.now()
        cdef int first = 0, end
        if self.depth >= DEEPEST:
            source.lose(frames, n, &source.looped, b"loop")
            return
        self.depth += 1
        self.table.age(now)
        out.port, out.count, out.tag_count = NOBODY, 0, 0
        while first < n:
            end = first + 1
            while end < n and frames[end - 1].flags & FRAME_MORE:
                end += 1
            packet.pieces = frames + first
            packet.count = end - first
            if self.admit(source, &packet):
                self.forward_one(source, &packet, now, &out)
            first = end
        self.send(&out)
        self.depth -= 1

    cdef bint admit(self, SwitchPort source, Arrived* packet) noexcept nogil:
        """br_handle_frame and br_allowed_ingress: whether it may come in, and what it is."""
        cdef uint8_t header[HEADER + TAG]
        cdef int head = copy_head(header, sizeof(header), packet.pieces, packet.count), i
        packet.length = 0
        for i in range(packet.count):
            packet.length += packet.pieces[i].len
        if head < HEADER or packet.pieces[packet.count - 1].flags & FRAME_ERRORS:
            return source.lose(packet.pieces, packet.count, &source.malformed, b"malformed")
        memset(header + head, 0, sizeof(header) - head)
        packet.target = address(header)
        packet.sender = address(header + 6)
        if packet.sender & GROUP or packet.sender == 0:
            return source.lose(packet.pieces, packet.count, &source.bad_source, b"bad source address")
        if RESERVED < packet.target <= RESERVED + 15:
            return source.lose(packet.pieces, packet.count, &source.reserved, b"reserved address")
        packet.vlan = packet.tci = packet.tag_length = 0
        if self.vlan_filtering and not self.classify(source, packet, header):
            return source.lose(packet.pieces, packet.count, &source.no_vlan, b"no such VLAN here")
        source.rx_packets += 1
        source.rx_bytes += packet.length
        return True

    cdef bint classify(self, SwitchPort source, Arrived* packet, const uint8_t* header) noexcept nogil:
        """Which VLAN a packet is of; whether the port is. A tag of VLAN 0 has a priority alone."""
        if header[12] == 0x81 and header[13] == 0x00 and packet.length >= HEADER + TAG:
            packet.tag_length = TAG
            packet.tci = header[14] << 8 | header[15]
        packet.vlan = packet.tci & 0xFFF
        if packet.vlan == 0:
            packet.vlan = source.pvid
            packet.tci |= source.pvid
        packet.target |= <uint64_t>packet.vlan << 48
        packet.sender |= <uint64_t>packet.vlan << 48
        return packet.vlan != 0 and source.allowed[packet.vlan]

    cdef void forward_one(self, SwitchPort source, Arrived* packet, int64_t now, Outgoing* out) noexcept nogil:
        """br_handle_frame_finish."""
        cdef int entry, port
        self.table.learn(packet.sender, source.number, now)
        entry = NOBODY if packet.target & GROUP else self.table.find(packet.target)
        if entry == NOBODY:
            self.flood(source, packet, out)
            return
        port = self.table.entries[entry].port
        if port == source.number or not self.passes(port, packet.vlan):
            source.lose(packet.pieces, packet.count, &source.filtered, b"filtered")
            return
        if out.port != port:
            self.send(out)
            out.port = port
        self.gather(<SwitchPort>self.ports[port], packet, out)

    cdef void flood(self, SwitchPort source, Arrived* packet, Outgoing* out) noexcept nogil:
        """To every other port of its VLAN, behind what is gathered."""
        cdef int number
        self.flooded += 1
        self.send(out)
        for number in range(self.port_count):
            if number != source.number and self.passes(number, packet.vlan):
                out.port = number
                self.gather(<SwitchPort>self.ports[number], packet, out)
                self.send(out)

    cdef bint passes(self, int number, int vlan) noexcept nogil:
        """Whether there is a port of that number, and packets of the VLAN may leave there."""
        return self.ports[number] != NULL and (not self.vlan_filtering or (<SwitchPort>self.ports[number]).allowed[vlan])

    cdef void gather(self, SwitchPort target, Arrived* packet, Outgoing* out) noexcept nogil:
        """Put a packet behind those for a port, with or without a tag, as it leaves there."""
        cdef bint tagged = packet.tag_length != 0
        cdef bint wanted = self.vlan_filtering and not target.untagged[packet.vlan]
        cdef uint32_t length = packet.length, behind = ADDRESSES
        cdef uint8_t* tag
        if out.count + packet.count + 3 > OUT:
            self.send(out)
            out.port = target.number
            if packet.count + 3 > OUT:
                target.lose(packet.pieces, packet.count, &target.pieces, b"too many pieces")
                return
        if not self.vlan_filtering or (not tagged and not wanted):
            memcpy(&out.frames[out.count], packet.pieces, packet.count * sizeof(Frame))
            out.count += packet.count
            return
        add_slice(out, packet.pieces, packet.count, 0, ADDRESSES)
        if tagged:
            behind += TAG
            length -= TAG
        if wanted:
            tag = out.tags[out.tag_count]
            out.tag_count += 1
            tag[0], tag[1], tag[2], tag[3] = 0x81, 0x00, <uint8_t>(packet.tci >> 8), <uint8_t>packet.tci
            add_bytes(out, tag, TAG)
            length += TAG
        add_slice(out, packet.pieces, packet.count, behind, packet.length)
        if length < SHORTEST <= packet.length:          # as a MAC pads what has become too short
            add_bytes(out, ZEROES, SHORTEST - length)
        out.frames[out.count - 1].flags = 0

    cdef void send(self, Outgoing* out) noexcept nogil:
        """Let what is gathered leave; what its port does not take is dropped there."""
        if out.count and self.ports[out.port] != NULL:
            (<SwitchPort>self.ports[out.port]).leave(out.frames, out.count)
        out.count = out.tag_count = 0
        out.port = NOBODY

    # --- ports ---

    cdef int poll_members(self, int budget) noexcept nogil:
        """Let what waits at member wires come in. -EIO once there were some and all have failed."""
        cdef int moved = 0, some, alive = 0, failed = 0, number
        for number in range(self.port_count):
            if self.ports[number] != NULL and (<SwitchPort>self.ports[number]).member_polled:
                some = (<SwitchPort>self.ports[number]).member.poll(budget)
                failed += some < 0
                if some >= 0:
                    alive += 1
                    moved += some
        return -EIO if failed and not alive else moved

    cdef SwitchPort _add(self, Wire member, name, vlan, trunk, bint closes_switch):
        cdef SwitchPort port = SwitchPort.__new__(SwitchPort)
        number = next((i for i in range(MOST_PORTS) if self.ports[i] == NULL), None)
        if number is None:
            raise OSError(errno.ENOSPC, f"a switch has at most {MOST_PORTS} ports")
        port.name, port.number, port.closes_switch = name or f"port{number}", number, closes_switch
        port._join_vlans(self.vlan_filtering, vlan, tuple(trunk))
        if member is not None:
            member.attach(take, no_matter, <void*>port, port)
            port.member, port.member_polled = member, member.polled
            if member.polled and member.fileno() is not None:
                if self.epoll is None:
                    self.epoll = select.epoll()
                self.epoll.register(member.fileno(), select.EPOLLIN)
        port.switch = self
        self._ports.append(port)
        self.ports[number] = <PyObject*>port
        self.port_count = max(self.port_count, number + 1)
        return port

    def port(self, name=None, *, vlan=None, trunk=(), closes_switch=False):
        """A new port for a card: a wire. `vlan`: of packets without a tag; `trunk`: VLANs whose packets have one there.

        With neither it is VLAN 1, as in the kernel; with a trunk alone, packets without a tag are not let in. `closes_switch`: its close
        is the switch's. Raises ValueError for VLANs that are none (1 to 4094), or without vlan_filtering; OSError ENOSPC.
        """
        return self._add(None, name, vlan, trunk, closes_switch)

    def connect(self, Wire wire not None, name=None, *, vlan=None, trunk=()):
        """Plug a wire in at a new port, which is returned; closing that closes both. Wires that have to be polled come before cards.

        Raises as `port`; OSError EBUSY if the wire has a card.
        """
        return self._add(wire, name or repr(wire), vlan, trunk, False)

    cdef _remove(self, SwitchPort port):
        if self.ports[port.number] == <PyObject*>port:
            self.ports[port.number] = NULL
            self._ports.remove(port)
            self.table.forget_port(port.number)

    @property
    def addresses(self):
        """What is remembered, the longest unheard first: (address, VLAN, port's name, seconds since it was heard)."""
        now = self.clock.now()
        return [
            ((key & MAC).to_bytes(6).hex(":"), key >> 48, (<SwitchPort>self.ports[<int>port]).name, (now - heard) / 1e9)
            for key, port, heard in self.table.list_entries(now)
        ]

    @property
    def port_list(self):
        """Its ports."""
        return tuple(self._ports)

    @property
    def drops(self):
        """What was lost, by port and reason."""
        return {port.name: port.drops for port in self._ports if port.drops}

    def close(self):
        """Close all ports, and the wires plugged in; again is harmless. Raises the first OSError."""
        with ExitStack() as undo:
            for port in reversed(self._ports):
                undo.callback(port._close)
        if self.epoll is not None:
            self.epoll.close()
            self.epoll = None

    def __repr__(self):
        return f"<Switch: {len(self._ports)} ports, {self.table.learned} addresses>"


cdef class SwitchPort(Wire):
    """A port, made by `Switch.port` or `Switch.connect`: what is sent to it goes into the switch."""

    cdef int transmit(self, Frame* frames, int n) noexcept nogil:
        if self.switch is None:
            self.lost += packets_in(frames, n)
        else:
            self.switch.forward(self, frames, n)
        return n

    cdef void leave(self, Frame* frames, int n) noexcept nogil:
        """Out of the switch: to the wire that is plugged in, or the card."""
        cdef int taken = self.deliver(frames, n, False) if self.member is None else self.member.transmit(frames, n)
        self.tx_packets += packets_in(frames, taken)
        if taken < n:
            self.lose(frames + taken, n - taken, &self.full, b"port full")

    cdef bint lose(self, const Frame* frames, int n, uint64_t* counter, const char* reason) noexcept nogil:
        """Drop packets, for a reason. Returns False."""
        counter[0] += packets_in(frames, n)
        self.tell_drop(frames, n, reason, False)
        return False

    cdef int poll(self, int budget) noexcept nogil:
        return 0 if self.switch is None else self.switch.poll_members(budget)

    cdef _join_vlans(self, bint filtering, vlan, tuple trunk):
        if not filtering:
            if vlan is not None or trunk:
                raise ValueError("VLANs of a port are for a switch with vlan_filtering")
            return
        for one in (*trunk, *(() if vlan is None else (vlan,))):
            if not isinstance(one, int) or not 1 <= one <= 4094:
                raise ValueError(f"a VLAN is 1 to 4094, not {one!r}")
        if vlan is None and not trunk:
            vlan = 1
        for one in trunk:
            self.allowed[one] = True
        if vlan is not None:
            self.pvid = vlan
            self.allowed[vlan] = self.untagged[vlan] = True

    @property
    def polled(self):
        """Whether a wire plugged into the switch has to be polled."""
        return self.switch is not None and self.switch.epoll is not None

    def fileno(self):
        return None if self.switch is None or self.switch.epoll is None else self.switch.epoll.fileno()

    def failure(self):
        """Why nothing comes from outside any more, when all wires plugged in that it came from have failed."""
        polled = [port.member.failure() for port in self.switch.port_list if port.member is not None and port.member.polled]
        return polled[0] if polled and all(failure is not None for failure in polled) else None

    @property
    def drops(self):
        lost = {"no_vlan": self.no_vlan, "bad_source": self.bad_source, "reserved": self.reserved, "malformed": self.malformed,
                "filtered": self.filtered, "port_full": self.full, "loop": self.looped, "too_many_pieces": self.pieces}
        own = super().drops | {reason: packets for reason, packets in lost.items() if packets}
        return added(own, {} if self.member is None else self.member.drops)

    def _close(self):
        if self.switch is not None:
            (<Switch>self.switch)._remove(self)
        if self.member is not None:
            if self.member.owner is self:
                self.member.detach()
            self.member.close()

    def close(self):
        """Leave the switch, and close the wire that is plugged in; again is harmless."""
        if self.closes_switch:
            self.switch.close()
        else:
            self._close()

    def __repr__(self):
        return f"<SwitchPort {self.name}>"
