"""PacketStream: packets made of a template, with fields that vary and checksums that are right.

What does not vary of a checksum is summed once, for each size there is; a packet then costs the sum of the 16-bit words that do vary
(RFC 1624, with the old words taken out beforehand: so there is no -0 to beware of). Prior art: the kernel's pktgen, TRex's field engine.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdlib cimport calloc, free

from fastring.headers cimport IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP, Headers, find_headers

MOST_FIELDS = 256
LONGEST = 16384                     # bytes of a frame

SIGNATURE_BYTES = SIGNATURE

CHECK_AT = {IPPROTO_TCP: 16, IPPROTO_UDP: 6, IPPROTO_ICMP: 2, IPPROTO_ICMPV6: 2}
KINDS = {"step": STEP, "cycle": CYCLE, "random": RANDOM}


cdef void* allocate(PacketStream stream, int which, uint64_t size) except NULL:
    stream.allocated[which] = calloc(max(size, 1), 1)
    if stream.allocated[which] == NULL:
        raise MemoryError()
    return stream.allocated[which]


cdef class PacketStream:
    """Packets from `template`, a frame without its CRC; the same `seed` and arguments make the same packets.

    `fields`: (bit, bits, kind, low, step, values, every): bits of the frame counted from its first, 1 to 64 of them; kind "step" and
    "random" go from `low` through values = how many there are (step: 0 to that), "cycle" through the list `values`; a value stays for
    `every` packets. `lengths`: of frames; `order`: indexes of `lengths`, gone through over and over, or None: drawn. The template has
    the longest length. `trailer`: bytes behind the IP packet. `random_from`: offset from which the payload is drawn. `signature`: offset
    of one, see fastring.stream_sink. `count`: packets in all.

    Lengths and checksums of IPv4, UDP, TCP, ICMP and ICMPv6 are worked out, whatever the template has there: they cannot be fields.
    Raises ValueError.
    """

    def __init__(self, bytes template not None, *, uint32_t number=0, fields=(), lengths=None, order=(0,), uint32_t trailer=0,
                 uint32_t random_from=0, uint32_t signature=0, uint64_t seed=0, uint64_t count=(1 << 64) - 1):
        cdef StreamState* state = &self.state
        cdef uint32_t i
        if state.image != NULL:
            raise ValueError("a PacketStream is made once")
        lengths = [len(template)] if lengths is None else list(lengths)
        if not lengths or not 14 <= min(lengths) or max(lengths) != len(template) or len(template) > LONGEST or len(lengths) > 0xFFFF:
            raise ValueError(f"frames have 14 to {LONGEST} bytes, the template as many as the longest of them")
        if len(fields) > MOST_FIELDS:
            raise ValueError(f"{len(fields)} fields: a stream has {MOST_FIELDS} at most")
        if number > 0xFFFF:
            raise ValueError(f"a stream's number is 0 to 65535, not {number}")
        self.number = number
        self.template = template
        self.image = bytearray(template)
        self.kept = []
        self.places = []
        state.image = <const uint8_t*>PyByteArray_AS_STRING(self.image)
        state.longest = len(template)
        state.n_sizes = len(lengths)
        state.sizes = <Size*>allocate(self, 0, state.n_sizes * sizeof(Size))
        for i in range(state.n_sizes):
            state.sizes[i].length = lengths[i]
        self._set_order(order)
        state.left = count
        state.signature = signature
        state.random_from = random_from
        self._set_seeds(seed)
        self._set_fields(fields, seed)
        self._set_sums(trailer)

    def __dealloc__(self):
        for i in range(5):
            free(self.allocated[i])

    def _set_order(self, order):
        """How sizes follow each other."""
        cdef uint32_t i
        cdef uint16_t* table
        if order is None:
            return
        if not order or not all(0 <= index < self.state.n_sizes for index in order):
            raise ValueError("the order is of indexes of lengths")
        table = <uint16_t*>allocate(self, 1, len(order) * sizeof(uint16_t))
        self.state.n_order = len(order)
        for i in range(self.state.n_order):
            table[i] = order[i]
        self.state.order = table

    def _set_seeds(self, uint64_t seed):
        self.state.size_random = splitmix64(&seed)
        self.state.payload_random = splitmix64(&seed)

    def _set_fields(self, fields, uint64_t seed):
        cdef Field* field = <Field*>allocate(self, 2, len(fields) * sizeof(Field))
        cdef uint64_t* list_of
        cdef uint32_t i
        self.state.fields = field
        for bit, bits, kind, low, step, values, every in fields:
            field.kind = KINDS[kind]
            field.low = low
            field.every = every
            field.left = 1
            if field.kind == CYCLE:
                packed = bytearray(8 * len(values))
                list_of = <uint64_t*>PyByteArray_AS_STRING(packed)
                for i in range(<uint32_t>len(values)):
                    list_of[i] = values[i]
                self.kept.append(packed)
                field.values = list_of
                field.range = len(values)
                largest = max(values, default=0)
            else:
                field.range = values & 0xFFFFFFFFFFFFFFFF
                largest = low + values - 1
                field.step = step % max(values, 1)
                seed += 1
                field.position = 0 if field.kind == STEP else splitmix64(&seed)
            if not every or not values or largest >> bits:
                raise ValueError(f"a field of {bits} bits takes 1 or more values below {1 << bits}, each for 1 or more packets")
            self._place_field(field, bit, bits)
            self.places.append((bit, bits))
            self.state.n_fields += 1
            field += 1

    cdef int _place_field(self, Field* field, uint32_t bit, uint32_t bits) except -1:
        """Where and how the field is written."""
        cdef uint32_t last = (bit + bits - 1) // 8, shortest = min(self.state.sizes[i].length for i in range(self.state.n_sizes))
        if not 1 <= bits <= 64 or last >= shortest or last - bit // 8 >= 8:
            raise ValueError(f"a field has 1 to 64 bits, in 8 bytes at most, of a frame that has {shortest}: not {bits} from bit {bit} on")
        if bit % 8 == 0 and bits in (8, 16, 32, 64):
            field.offset = bit // 8
            field.width = bits // 8
            return 0
        field.offset = last - 7 if last >= 7 else 0
        field.shift = 8 * (field.offset + 8) - bit - bits
        field.mask = (<uint64_t>-1 >> (64 - bits)) << field.shift
        return 0

    def _set_sums(self, uint32_t trailer):
        """Find the checksums and lengths, what of them varies, and the sum of what does not."""
        cdef StreamState* state = &self.state
        cdef Headers found
        cdef uint32_t i, shortest = min(state.sizes[i].length for i in range(state.n_sizes))
        find_headers(state.image, state.longest, &found)
        least = found.payload + trailer + (SIGNATURE if state.signature else 0)
        if shortest < least:
            raise ValueError(f"its headers{' and the signature' if state.signature else ''} take {least} bytes, and a frame has {shortest}")
        if trailer and (state.n_sizes > 1 or state.random_from):
            raise ValueError("a packet with bytes behind it has one size, and its payload is the template's")
        if state.signature:
            if state.signature < found.payload or state.signature % 2 or state.signature + SIGNATURE + trailer > shortest:
                raise ValueError(f"a signature lies in the payload at an even offset, not at {state.signature}")
            self.image[state.signature:state.signature + 4] = SIGNATURE_MAGIC.to_bytes(2, "big") + self.number.to_bytes(2, "big")
            self.image[state.signature + 4:state.signature + SIGNATURE] = bytes(SIGNATURE - 4)
        worked_out = self._worked_out(&found)
        vary = self._varying(worked_out)
        still = bytearray(self.image)
        for word in vary:
            still[word:word + 2] = bytes(len(still[word:word + 2]))
        for start, end in worked_out.values():
            if end - start == 16 and start >= 8 * found.l3 > 0:
                still[start // 8:end // 8] = b"\0\0"
        if found.l3:
            self._sum_ip(&found, vary, still, trailer)
        if found.l4:
            self._sum_transport(&found, vary, still, trailer)

    cdef dict _worked_out(self, const Headers* found):
        """What cannot be a field: names, and the bits from one to before another. Sets where checksums are."""
        cdef StreamState* state = &self.state
        cdef uint32_t l3 = found.l3 * 8, l4 = found.l4 * 8
        bits = {"the type of its header": (96, 112)}
        for i in range(found.vlans):
            bits[f"the type behind VLAN tag {i}"] = (8 * found.vlan[i] + 16, 8 * found.vlan[i] + 32)
        if found.version == 4:
            state.ip_check = found.l3 + 10
            bits |= {"the IPv4 version and header length": (l3, l3 + 8), "the IPv4 length": (l3 + 16, l3 + 32),
                     "the IPv4 fragment offset": (l3 + 50, l3 + 64), "the IPv4 protocol": (l3 + 72, l3 + 80),
                     "the IPv4 checksum": (l3 + 80, l3 + 96)}
        elif found.version == 6:
            bits |= {"the IPv6 version": (l3, l3 + 4), "the IPv6 length": (l3 + 32, l3 + 48), "the IPv6 next header": (l3 + 48, l3 + 56)}
        if found.l4:
            state.udp = found.protocol == IPPROTO_UDP
            state.l4_check = found.l4 + CHECK_AT[found.protocol]
            bits["the checksum"] = (8 * state.l4_check, 8 * state.l4_check + 16)
            if state.udp:
                bits["the UDP length"] = (l4 + 32, l4 + 48)
            elif found.protocol == IPPROTO_TCP:
                bits["the TCP header length"] = (l4 + 96, l4 + 100)
        if state.signature:
            bits["the signature"] = (8 * state.signature, 8 * (state.signature + SIGNATURE))
        return bits

    cdef set _varying(self, dict worked_out):
        """Offsets of the 16-bit words that fields and sequence numbers change. Raises ValueError for a field that cannot be one."""
        cdef StreamState* state = &self.state
        vary = set()
        for start, bits in self.places:
            for name, (first, end) in worked_out.items():
                if start < end and first < start + bits:
                    raise ValueError(f"a field cannot lie over {name}, which is worked out: {bits} bits from bit {start} on")
            vary |= {byte & ~1 for byte in range(start // 8, (start + bits + 7) // 8)}
        if state.signature:
            vary |= set(range(state.signature + SEQUENCE_AT, state.signature + STAMP_AT, 2))
        if state.random_from:
            vary = {word for word in vary if word < (state.random_from & ~1)}
        return vary

    cdef int _sum_ip(self, const Headers* found, set vary, bytearray still, uint32_t trailer) except -1:
        """Its length in each size; of IPv4 the checksum."""
        cdef StreamState* state = &self.state
        cdef uint32_t i, start = found.l3 + (0 if found.version == 4 else 40), length_at = found.l3 + (2 if found.version == 4 else 4)
        cdef uint32_t header = (state.image[found.l3] & 15) * 4
        cdef const uint8_t* bytes_of = <const uint8_t*>PyByteArray_AS_STRING(still)
        for i in range(state.n_sizes):
            state.sizes[i].ip_length = swap16_of(<uint16_t>(state.sizes[i].length - trailer - start))
            if state.ip_check:
                state.sizes[i].ip_sum = fold(sum_words(bytes_of + found.l3, header) + state.sizes[i].ip_length)
        memcpy(PyByteArray_AS_STRING(self.image) + length_at, &state.sizes[0].ip_length, 2)
        if state.n_sizes > 1:
            state.ip_length_at = length_at
        if state.ip_check:
            runs = self._runs({word for word in vary if found.l3 <= word < found.l3 + header}, found.l3 + header)
            state.n_ip_spans = len(runs)
            state.ip_spans = self._spans(3, runs)
        return 0

    cdef int _sum_transport(self, const Headers* found, set vary, bytearray still, uint32_t trailer) except -1:
        """The checksum above IP, with its pseudo-header, and the length of UDP."""
        cdef StreamState* state = &self.state
        cdef uint32_t i, end, addresses = found.l3 + (12 if found.version == 4 else 8), most = state.longest - trailer
        cdef uint32_t addresses_end = addresses + (8 if found.version == 4 else 32)
        cdef uint16_t length
        cdef uint64_t total
        cdef const uint8_t* bytes_of = <const uint8_t*>PyByteArray_AS_STRING(still)
        pseudo = found.protocol != IPPROTO_ICMP
        for i in range(state.n_sizes):
            end = state.sizes[i].length - trailer
            length = swap16_of(<uint16_t>(end - found.l4))
            state.sizes[i].l4_length = length
            if state.random_from and end > (state.random_from & ~1u):
                end = state.random_from & ~1u
            total = sum_words(bytes_of + found.l4, end - found.l4)
            if state.udp:
                total += length
            if pseudo:
                total += sum_words(bytes_of + addresses, addresses_end - addresses) + swap16_of(found.protocol) + length
            state.sizes[i].l4_sum = fold(total)
        if state.udp:
            memcpy(PyByteArray_AS_STRING(self.image) + found.l4 + 4, &state.sizes[0].l4_length, 2)
            if state.n_sizes > 1:
                state.udp_length_at = found.l4 + 4
        words = {word for word in vary if found.l4 <= word < most or (pseudo and addresses <= word < addresses_end)}
        runs = self._runs(words, most)
        if state.random_from:
            runs.append((state.random_from & ~1, TO_THE_END))
        state.n_l4_spans = len(runs)
        state.l4_spans = self._spans(4, runs)
        return 0

    def _runs(self, words, end):
        """Words that follow each other, as (offset, length); none beyond `end`."""
        runs = []
        for word in sorted(words):
            length = min(2, end - word)
            if runs and runs[-1][0] + runs[-1][1] == word:
                runs[-1] = (runs[-1][0], runs[-1][1] + length)
            else:
                runs.append((word, length))
        return runs

    cdef Span* _spans(self, int which, list runs) except NULL:
        cdef Span* spans = <Span*>allocate(self, which, len(runs) * sizeof(Span))
        cdef uint32_t i = 0
        for spans[i].offset, spans[i].length in runs:
            i += 1
        return spans

    def make(self, uint32_t count, *, uint64_t time=0):
        """The next packets, up to `count`, as bytes, stamped with `time` in ns: for tests and for looking at a stream."""
        cdef uint64_t l4_sum = 0, stamp = swap64(time << 16)
        cdef uint32_t length, stamp_sum = fold(sum_words(<const uint8_t*>&stamp, 6))
        cdef uint8_t* packet
        packets = []
        room = bytearray(self.state.longest + 8)
        packet = <uint8_t*>PyByteArray_AS_STRING(room)
        while self.state.left and len(packets) < count:
            length = write_packet(&self.state, packet, &l4_sum)
            finish_packet(&self.state, packet, l4_sum, stamp, stamp_sum)
            self.state.left -= 1
            packets.append(bytes(room[:length]))
        return packets

    @property
    def made(self):
        """Packets made so far; the sequence number of the next."""
        return self.state.sequence

    @property
    def left(self):
        """Packets still to come."""
        return self.state.left

    @property
    def signature(self):
        """Offset of the signature, or None."""
        return self.state.signature or None

    def __repr__(self):
        return f"<PacketStream {self.number}: {self.state.sequence} packets made, {self.state.n_fields} fields>"
