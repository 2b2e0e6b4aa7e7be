"""Segmentation (§3.5): one packet of the host's becomes many on the wire, each with the packet's header made right for it.

Segments are made in the card's stage, as many as it holds, and handed to the wire in one call. What the wire does not take is
made again when it has room: all that is kept meanwhile is how many it took (`tx_segments`). The head stays before the packet until
the last one has left.

The packet is gone through twice: once for its end and its length, once for its bytes. A host that changes descriptors in between
gets other bytes, never more of them.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from e1000.desc cimport (TXD_CMD_EOP, TXD_CMD_VLE, TXD_DATA_LENGTH, TXD_POPTS_TXSM, TXD_TUCMD_IP, TXD_TUCMD_TCP, Desc,
                         buffer_length, is_context, packet_options, special)
from e1000.device.faults cimport GIVEN_UP, Plan, send_befallen
from e1000.device.gather cimport BATCH, Batch
from e1000.device.offload cimport ADDRESSES, TAG_LENGTH, insert_checksums, insert_tag, tags_frames
from e1000.device.pci cimport received_master_abort
from e1000.device.state cimport GENERAL_FAULTS, STAGE_SIZE, Card, DROP_TX_CONTEXT, DROP_TX_DMA, DROP_TX_OVERSIZE
from e1000.device.statistics cimport count_padding, count_sent, count_sent_kind, stat_index
from e1000.device.tx cimport RING_GONE, SHORTEST, group_address, transmit
from e1000.device.watch cimport RING_TX, saw_fetch
from e1000.device.writeback cimport complete
from e1000.regs cimport CRC_LENGTH, MAX_FRAME, TCTL_PSP, TSCTC, TSCTFC
from fastring.atomic cimport load_relaxed64
from fastring.burst cimport Frame
from fastring.memory cimport translate

cdef enum:
    HEADER_ROOM = 256
    SEGMENT_COST = 64               # of a segment besides its bytes, as the budget counts
    IPV6_HEADER = 40
    TCP_FIN_PSH = 0x09

ctypedef struct Source:             # where in the packet's buffers reading has got to
    const Desc* ring
    uint32_t count, next            # descriptor to fetch next
    uint32_t descs                  # that many are still to come
    const uint8_t* data
    uint32_t left                   # bytes of this one

ctypedef struct Job:                # one packet to be segmented
    uint32_t descs                  # of the ring
    uint64_t supplied               # bytes they lead to
    bint ended                      # with EOP
    uint64_t head                   # its first descriptor's second word: only that one's options and tag count (§3.3.7.1)
    Desc context
    uint32_t header_length, mss, payload
    uint32_t options                # TXD_POPTS_*
    bint ipv4, ipv6, tcp, udp       # none of them: the header is the same for all
    bint tagged
    uint8_t header[HEADER_ROOM]
    Source source


cdef uint32_t send_segments(Card* card, Desc* ring, uint32_t count, uint32_t tail, Batch* batch) noexcept nogil:
    """Send the packet at the head by segments. Returns its descriptors once all have left, 0 if it must wait.

    It must for its end, for the wire, or for a new budget: `tx_segments` says where to go on.
    """
    cdef Job job
    cdef int trouble
    if not survey(card, ring, count, tail, &job):
        return 0
    trouble = prepare(card, ring, count, &job)
    if trouble < 0:
        trouble = make_and_send(card, &job, batch)
        if trouble == WAITS:
            return 0
    if card.generation != batch.generation:
        return 0
    if trouble >= 0:
        card.drops[trouble] += 1
    if trouble >= 0 or job.supplied != job.header_length + (job.context.word & TXD_DATA_LENGTH):
        card.stat[stat_index(TSCTFC)] += 1      # not all of PAYLEN left, or not all that was supplied
    else:
        card.stat[stat_index(TSCTC)] += 1
    complete(card, ring, count, job.descs, tail, (<Plan*>card.faults).status if card.faults != NULL else 0)
    return job.descs


cdef enum:                          # what make_and_send returns besides a drop reason
    SENT = -1
    WAITS = -2


cdef bint survey(Card* card, const Desc* ring, uint32_t count, uint32_t tail, Job* job) noexcept nogil:
    """Find the packet's end and its length; False if the end is not there yet. In a ring full of it, it never will be."""
    cdef uint32_t head = card.tdh
    cdef uint64_t word
    job.descs = 0
    job.supplied = 0
    job.ended = False
    job.head = load_relaxed64(&ring[head].word)
    while head != tail:
        word = load_relaxed64(&ring[head].word)
        saw_fetch(card, RING_TX, head, &ring[head], word)
        job.supplied += buffer_length(load_relaxed64(&ring[head].address), word)
        job.descs += 1
        head = head + 1 if head + 1 != count else 0
        if word & TXD_CMD_EOP and not is_context(word):
            job.ended = True
            return True
    return job.descs == count - 1


cdef int prepare(Card* card, const Desc* ring, uint32_t count, Job* job) noexcept nogil:
    """Take the context apart and fetch the header. Returns a drop reason, or -1."""
    cdef uint64_t word
    cdef Source* source = &job.source
    job.context = card.tx_context[1]
    word = job.context.word
    job.header_length = word >> 40 & 0xFF
    job.mss = <uint32_t>(word >> 48)
    job.options = packet_options(job.head)
    job.tagged = job.head & TXD_CMD_VLE != 0 and tags_frames(card) and job.header_length >= ADDRESSES
    if job.mss == 0 or job.header_length == 0 or job.header_length > job.supplied:
        return DROP_TX_CONTEXT
    # PAYLEN that is not what the descriptors carry ends the segmentation early (§3.3.7.1)
    job.payload = word & TXD_DATA_LENGTH
    if job.payload > job.supplied - job.header_length:
        job.payload = <uint32_t>(job.supplied - job.header_length)
    if job.mss > job.payload:
        job.mss = job.payload if job.payload else 1
    if not job.ended or job.header_length + job.mss > MAX_FRAME - CRC_LENGTH:
        return DROP_TX_OVERSIZE
    source.ring = ring
    source.count = count
    source.next = card.tdh
    source.descs = job.descs
    source.left = 0
    if not fetch(card, source, job.header, job.header_length):
        return DROP_TX_DMA
    classify(job)
    return -1


cdef void classify(Job* job) noexcept nogil:
    """What the header is, from TUCMD. Neither IP nor TCP: a header that stays as it is (§3.3.6.1), unless it is IPv6 with UDP in it."""
    cdef uint32_t ip = job.context.address & 0xFF
    job.ipv4 = job.context.word & TXD_TUCMD_IP != 0
    job.tcp = job.context.word & TXD_TUCMD_TCP != 0
    job.ipv6 = not job.ipv4 and (job.tcp or (ip < job.header_length and job.header[ip] >> 4 == 6))
    job.udp = not job.tcp and (job.ipv4 or job.ipv6)


cdef bint fetch(Card* card, Source* source, uint8_t* target, uint32_t length) noexcept nogil:
    """Copy the packet's next bytes, or pass over them (target NULL). False if a buffer is outside memory, or there are no more."""
    cdef uint32_t part
    cdef uint64_t word, address
    while length:
        if source.left == 0:
            if source.descs == 0:
                return False                # the host changed a descriptor behind our back
            word = load_relaxed64(&source.ring[source.next].word)
            address = load_relaxed64(&source.ring[source.next].address)
            source.next = source.next + 1 if source.next + 1 != source.count else 0
            source.descs -= 1
            source.left = buffer_length(address, word)
            if source.left == 0:
                continue
            source.data = translate(card.iovas, address, source.left, False, &card.tx_data_hint)
            if source.data == NULL:
                received_master_abort(card)
                return False
        part = source.left if source.left < length else length
        if target != NULL:
            memcpy(target, source.data, part)
            target += part
        source.data += part
        source.left -= part
        length -= part
    return True


cdef int make_and_send(Card* card, Job* job, Batch* batch) noexcept nogil:
    """Make segments and hand them to the wire, from `tx_segments` on. Returns SENT, WAITS or a drop reason."""
    cdef uint32_t total = (job.payload + job.mss - 1) // job.mss if job.payload else 1
    cdef uint32_t room = stage_room(job.header_length + job.mss), index = card.tx_segments, made
    cdef uint32_t most = 1 if card.tx_general & GENERAL_FAULTS else BATCH       # something may befall each by itself
    cdef int taken, trouble = SENT
    if index and not fetch(card, &job.source, NULL, index * job.mss if index < total else job.payload):
        return DROP_TX_DMA
    while index < total and trouble == SENT:
        if card.tx_hold:                    # paused, or the link was lost
            return WAITS
        if card.tx_budget == 0:
            card.tx_owed = True
            return WAITS
        made = 0
        batch.staged = 0
        while index + made < total and made < most and batch.staged + room <= STAGE_SIZE:
            if not make(card, job, batch, index + made, &batch.frames[made]):
                trouble = DROP_TX_DMA
                break
            made += 1
        if made == 0:
            break
        card.tx_budget -= batch.staged if batch.staged < card.tx_budget else card.tx_budget
        if card.generation != batch.generation:
            return WAITS
        if card.tx_general & GENERAL_FAULTS:
            taken = send_befallen_segment(card, &batch.frames[0], index)
        else:
            taken = transmit(card, batch.frames, made)
        if taken == RING_GONE:
            return WAITS
        if taken == GIVEN_UP:
            taken = 1
        else:
            count_segments(card, job, batch.frames, index, taken)
        index += taken
        card.tx_segments = index
        if <uint32_t>taken < made:
            return WAITS
    return trouble


cdef int send_befallen_segment(Card* card, Frame* frame, uint32_t index) noexcept nogil:
    """`transmit` of segment number `index`, or GIVEN_UP; the packet's last descriptor tells of all that befell its segments."""
    cdef Plan* plan = <Plan*>card.faults
    if index == 0:
        plan.status = 0
    return send_befallen(card, frame, 1, frame.len + CRC_LENGTH, &plan.status)


cdef inline uint32_t segment_length(Job* job, uint32_t index) noexcept nogil:
    """Bytes of segment number `index`, without tag and padding."""
    cdef uint32_t left = job.payload - index * job.mss
    return job.header_length + (left if left < job.mss else job.mss)


cdef inline uint32_t stage_room(uint32_t length) noexcept nogil:
    """Bytes of the stage that a segment may need, tagged and padded; what lies between two keeps them in different cache sets."""
    return (TAG_LENGTH + (length if length > SHORTEST else SHORTEST) + SEGMENT_COST) & ~7u


cdef bint make(Card* card, Job* job, Batch* batch, uint32_t index, Frame* frame) noexcept nogil:
    """Make segment number `index` in the stage; False if its bytes cannot be had."""
    cdef uint32_t offset = index * job.mss, length = segment_length(job, index)
    cdef uint32_t part = length - job.header_length
    cdef uint8_t* content = card.tx_stage + batch.staged + TAG_LENGTH
    memcpy(content, job.header, job.header_length)
    if not fetch(card, &job.source, content + job.header_length, part):
        return False
    batch.staged += stage_room(length)
    update_header(job, content, length, index, offset, offset + part == job.payload)
    insert_checksums(content, length, &job.context, job.options)
    if job.tagged:
        content = insert_tag(card, content, special(job.head))
        length += TAG_LENGTH
    if length < SHORTEST and card.tctl & TCTL_PSP:
        memset(content + length, 0, SHORTEST - length)
        length = SHORTEST
    frame.data = content
    frame.len = length
    frame.flags = 0
    return True


cdef void count_segments(Card* card, Job* job, const Frame* frames, uint32_t first, uint32_t n) noexcept nogil:
    """Statistics of n segments that left, the first of them number `first`."""
    cdef uint32_t i, group, tag = TAG_LENGTH if job.tagged else 0
    cdef uint64_t octets = 0
    if n == 0:
        return
    group = group_address(&frames[0])
    for i in range(n):
        octets += frames[i].len + CRC_LENGTH
        count_sent_kind(card, frames[i].len + CRC_LENGTH, group)
        count_padding(card, frames[i].len - tag - segment_length(job, first + i))
    count_sent(card, n, octets)


# --- the header of one segment (§3.5.9) ---

cdef inline void put16(Job* job, uint8_t* frame, uint32_t at, uint32_t value) noexcept nogil:
    """Write a big-endian word into the header; outside it nothing."""
    if at + 2 <= job.header_length:
        frame[at] = value >> 8 & 0xFF
        frame[at + 1] = value & 0xFF


cdef inline uint32_t get16(Job* job, uint32_t at) noexcept nogil:
    return <uint32_t>job.header[at] << 8 | job.header[at + 1] if at + 2 <= job.header_length else 0


cdef void update_header(Job* job, uint8_t* frame, uint32_t length, uint32_t index, uint32_t offset, bint last) noexcept nogil:
    """Make the header right for segment `index`, whose payload begins `offset` bytes into the packet's.

    An IPv6 payload length is without the 40 bytes of its header, which the manual's formula forgets.
    """
    cdef uint32_t ip = job.context.address & 0xFF, transport = job.context.address >> 32 & 0xFF, sequence, sum_at, total
    if job.ipv4:
        put16(job, frame, ip + 2, length - ip)
        put16(job, frame, ip + 4, get16(job, ip + 4) + index)
    elif job.ipv6:
        put16(job, frame, ip + 4, length - ip - IPV6_HEADER)
    if job.tcp:
        sequence = (get16(job, transport + 4) << 16 | get16(job, transport + 6)) + offset
        put16(job, frame, transport + 4, sequence >> 16)
        put16(job, frame, transport + 6, sequence)
        if not last and transport + 13 < job.header_length:
            frame[transport + 13] &= ~TCP_FIN_PSH & 0xFF
    elif job.udp:
        put16(job, frame, transport + 4, length - transport)
    if job.options & TXD_POPTS_TXSM and (job.tcp or job.udp):
        # The host's partial checksum is of the pseudo header without its length (§3.5.5)
        sum_at = job.context.address >> 40 & 0xFF
        total = get16(job, sum_at) + length - transport
        put16(job, frame, sum_at, (total & 0xFFFF) + (total >> 16))
