"""start_xmit: one SkBuff to the transmit ring, and what the card is to do for it.

After the kernel's e1000_xmit_frame, e1000_tso, e1000_tx_csum, e1000_tx_map and e1000_tx_queue. A packet's bytes lie where no bus address
leads. So each piece is copied: to its descriptor's own buffer, or if that is too small, to memory that is taken until it is completed (as
swiotlb does for a device that cannot reach a packet). The context descriptor is written only when it is another than the card has.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from e1000.desc cimport (TXD_CMD_DEXT, TXD_CMD_EOP, TXD_CMD_IFCS, TXD_CMD_TSE, TXD_CMD_VLE, TXD_DTYP_DATA, TXD_POPTS_IXSM, TXD_POPTS_TXSM,
                         TXD_TUCMD_IP, TXD_TUCMD_TCP)
from e1000.driver.txring cimport SKB_SHIFT, START, STOP, Chunk, TxBuffer, TxRing, free_slots, report
from e1000.regs cimport MAX_TX_BUFFER, TDT
from fastring.atomic cimport store_release32

from softnet import ethernet, gso, skbuff
from softnet.gso import GsoError, gso_headers, pseudo_checksum
from softnet.netdev_ops import NetdevTx
from softnet.skbuff import DropReason
from softnet.validate_xmit import ChecksumError, skb_checksum_help

cdef enum:
    MAX_JUMBO_FRAME_SIZE = 16128    # of a packet that is not to be cut
    SENTINEL = 4                    # bytes of one to be cut that are in a last descriptor of their own
    OFFSET = 0xFF                   # a context descriptor has offsets of eight bits, and so HDRLEN
    NO_INDEX = 0xFFFFFFFF

MAX_OFFSET = OFFSET

cdef object OK = NetdevTx.OK, BUSY = NetdevTx.BUSY, CHECKSUM_PARTIAL = skbuff.CHECKSUM_PARTIAL
cdef uint32_t ETH_P_IP = ethernet.ETH_P_IP, IPPROTO_TCP = gso.IPPROTO_TCP, TCP_SUM = gso.CHECKSUM_AT[gso.IPPROTO_TCP]
cdef uint32_t LARGEST_GSO = skbuff.GSO_MAX_SIZE - 1

ctypedef struct Offload:            # what the card is to do for a packet
    uint64_t context[2]             # the context descriptor it needs
    uint64_t word                   # of all its data descriptors, but their length
    uint32_t header                 # to be cut: bytes that each segment begins with; else 0
    uint32_t segments


def start_xmit(TxRing ring not None, skb):
    """Send one packet: OK, and it is ours, or dropped (counted in `dropped`); or BUSY, and it is not.

    BUSY while the ring is being reset, from inside its own transmission by way of a wire in Python, or without room although the queue
    was awake (counted in `busy`, and the queue is stopped). Xmit thread, queue's lock held.
    """
    cdef uint32_t needed
    if not ring.running and not ring.resetting:
        return drop(ring, skb, DropReason.DEV_READY)
    if not ring.running or ring.transmitting:
        return BUSY
    needed = descriptors(skb)
    if needed > STOP:
        return drop(ring, skb, DropReason.PKT_TOO_BIG if len(skb) else DropReason.PKT_TOO_SMALL)
    if ring.unused() < needed and ring.queue.maybe_stop(free_slots, <void*>ring, needed, START) == 0:
        ring.busy += 1
        ring_doorbell(ring)
        return BUSY
    try:
        put(ring, skb)
    except GsoError:
        return drop(ring, skb, DropReason.SKB_GSO_SEG)
    except ChecksumError:
        return drop(ring, skb, DropReason.SKB_CSUM)
    except OSError:                 # dma_map_single failed
        return drop(ring, skb, DropReason.NOMEM)
    return OK


cdef object drop(TxRing ring, skb, reason):
    """It was ours to send, and cannot be. Those before it that were not told of may be the last: the doorbell."""
    ring.dropped += 1
    skb.kfree(reason)
    ring_doorbell(ring)
    return OK


cdef int ring_doorbell(TxRing ring) except -1:
    if ring.unrung and ring.running and not ring.transmitting:
        ring.transmitting = True
        with nogil:
            ring.unrung = False
            ring.bus.write32(TDT, ring.next_to_use)
        ring.transmitting = False
    return 0


cdef uint32_t descriptors(skb):
    """How many it takes at most; more than any has to have if it is empty or too long for the card (TXD_USE_COUNT)."""
    cdef uint32_t count, length = len(skb)
    cdef bint cut
    if skb._shared is None:
        if 0 < length <= MAX_JUMBO_FRAME_SIZE:
            return 2                # with a context
        return NO_INDEX
    cut = skb.gso_size
    if length == 0 or length > (LARGEST_GSO if cut else MAX_JUMBO_FRAME_SIZE):
        return NO_INDEX
    count = 1 + cut + pages(skb.headlen)
    for piece in skb.frags:
        count += pages(len(piece))
    return count


cdef inline uint32_t pages(uint32_t length) noexcept:
    """Descriptors for so many bytes in a row."""
    return (length + MAX_TX_BUFFER - 1) // MAX_TX_BUFFER


# --- into the ring ---


cdef int put(TxRing ring, skb) except -1:
    """Write a packet's descriptors and hand them over. Raises GsoError, ChecksumError, OSError ENOMEM, with nothing done."""
    cdef Offload offload
    cdef TxBuffer buffer = TxBuffer()
    cdef uint32_t use = ring.next_to_use, last, length
    cdef bint more = skb.xmit_more, context = False
    cdef Chunk chunk
    buffer.skb = skb
    buffer.mapped = []
    offload.word = TXD_CMD_IFCS
    offload.header = 0
    if skb._shared is not None or skb.ip_summed == CHECKSUM_PARTIAL or skb.vlan_tci is not None:
        context = prepare(skb, &offload)
        context = context and (offload.context[0] != ring.context[0] or offload.context[1] != ring.context[1])
    length = len(skb)
    if context:
        ring.desc[use].address = offload.context[0]
        ring.desc[use].word = offload.context[1]
        use = after(ring, use)
    try:
        last = tx_map(ring, buffer, skb, use, &offload)
    except BaseException:
        for iova in buffer.mapped:
            ring.bus.memory.free_coherent(iova)
        raise
    if context:
        ring.context[:] = [offload.context[0], offload.context[1]]
    if offload.header:
        buffer.more_packets = offload.segments - 1
        buffer.more_bytes = buffer.more_packets * offload.header
    chunk.packets = 1 | <uint32_t>1 << SKB_SHIFT
    chunk.bytes = length
    ring.skbs.append(buffer)
    ring.transmitting = True
    with nogil:
        report(ring, last, &chunk)
        tx_queue(ring, after(ring, last), length, more)
    ring.transmitting = False
    return 0


cdef inline uint32_t after(TxRing ring, uint32_t index) noexcept nogil:
    return index + 1 if index + 1 != ring.count else 0


cdef uint32_t tx_map(TxRing ring, TxBuffer buffer, skb, uint32_t use, const Offload* offload) except? NO_INDEX:
    """Copy its pieces to where the card reaches them and write their descriptors from `use` on; returns the last. Raises OSError."""
    cdef const uint8_t[::1] piece
    cdef bytearray head = skb.head
    cdef uint32_t start = skb.data_offset, length = skb.tail_offset - start, last = use
    if length:
        last = map_piece(ring, buffer, use, <const uint8_t*>PyByteArray_AS_STRING(head) + start, length, offload.word)
        use = after(ring, last)
    if skb._shared is not None:
        for frag in skb._shared.frags:
            piece = frag
            if piece.shape[0]:
                last = map_piece(ring, buffer, use, &piece[0], <uint32_t>piece.shape[0], offload.word)
                use = after(ring, last)
    if offload.header and ring.desc[last].word & 0xFFFFF > 2 * SENTINEL:
        length = (ring.desc[last].word & 0xFFFFF) - SENTINEL
        ring.desc[last].word -= SENTINEL
        ring.desc[use].address = ring.desc[last].address + length
        ring.desc[use].word = offload.word | SENTINEL
        last = use
    ring.desc[last].word |= TXD_CMD_EOP
    return last


cdef uint32_t map_piece(TxRing ring, TxBuffer buffer, uint32_t use, const uint8_t* data, uint32_t length, uint64_t word) except? NO_INDEX:
    """Copy one piece and write its descriptors; returns the last of them. Raises OSError ENOMEM."""
    cdef uint64_t address = ring.bounce_iova + <uint64_t>use * ring.bounce_size
    cdef uint8_t* target = ring.bounce + <uint64_t>use * ring.bounce_size
    cdef uint32_t part
    if length > ring.bounce_size:
        address = ring.bus.memory.alloc_coherent(length, align=64)
        buffer.mapped.append(address)
        target = ring.bus.memory.arena.at(address - ring.bus.memory.iova, length)
    memcpy(target, data, length)
    ring.bounced += 1
    while True:
        part = min(length, <uint32_t>MAX_TX_BUFFER)
        ring.desc[use].address = address
        ring.desc[use].word = word | part
        length -= part
        if length == 0:
            return use
        address += part
        use = after(ring, use)


cdef void tx_queue(TxRing ring, uint32_t use, uint32_t length, bint more) noexcept nogil:
    """Byte limit, index, maybe stop; and the doorbell, unless another packet follows at once."""
    ring.queue.sent(length)
    store_release32(&ring.next_to_use, use)
    ring.unrung = True
    ring.queue.maybe_stop(free_slots, <void*>ring, STOP, START)
    if not more or ring.queue.stopped():
        ring.unrung = False
        ring.bus.write32(TDT, use)                                  # releases the descriptors to the device


# --- what the card is to do ---


cdef bint prepare(skb, Offload* offload) except -1:
    """Fill in `offload` (its word begins with what it has); returns whether it needs its context. Raises GsoError, ChecksumError."""
    cdef bint context = False
    if skb.gso_size:
        context = tso(skb, offload)
    elif skb.ip_summed == CHECKSUM_PARTIAL:
        context = tx_csum(skb, offload)
    if skb.vlan_tci is not None:
        offload.word |= TXD_CMD_VLE | <uint64_t>skb.vlan_tci << 48
    return context


cdef bint tso(skb, Offload* offload) except -1:
    """e1000_tso: the card cuts it. Of its headers, made its own, the lengths are 0, and so in the pseudo header's sum (§3.5.5)."""
    cdef uint32_t network, transport, header, protocol, kind
    cdef uint64_t command = TXD_CMD_DEXT | TXD_CMD_TSE | TXD_TUCMD_TCP
    network, transport, header, protocol, kind = gso_headers(skb, bytes(skb))
    if kind != IPPROTO_TCP or header > OFFSET:
        raise GsoError(f"the card cuts TCP with headers of at most {OFFSET} bytes, not IP protocol {kind} with {header}")
    skb.may_pull(header)
    skb.cow_head()
    data = skb.data
    data[transport + 16 : transport + 18] = pseudo_checksum(data, network, protocol, kind, 0).to_bytes(2, "big")
    offload.context[0] = network | <uint64_t>(network + 10) << 8 | <uint64_t>transport << 32 | <uint64_t>(transport + 16) << 40
    offload.word |= TXD_CMD_DEXT | TXD_DTYP_DATA | TXD_CMD_TSE | <uint64_t>TXD_POPTS_TXSM << 40
    if protocol == ETH_P_IP:
        data[network + 2 : network + 4] = data[network + 10 : network + 12] = b"\0\0"
        command |= TXD_TUCMD_IP
        offload.context[0] |= <uint64_t>(transport - 1) << 16
        offload.word |= <uint64_t>TXD_POPTS_IXSM << 40
    else:
        data[network + 4 : network + 6] = b"\0\0"
    offload.context[1] = command | <uint64_t>(len(skb) - header) | <uint64_t>header << 40 | <uint64_t>skb.gso_size << 48
    offload.header = header
    offload.segments = (<uint32_t>len(skb) - header + <uint32_t>skb.gso_size - 1) // <uint32_t>skb.gso_size
    return True


cdef bint tx_csum(skb, Offload* offload) except -1:
    """e1000_tx_csum: the card sums from csum_start to the packet's end. What its context cannot say is summed here."""
    cdef int64_t start = skb.csum_start - skb.data_offset, at = start + skb.csum_offset
    if not 0 <= start <= at <= len(skb) - 2:
        raise ChecksumError(f"the checksum from byte {start} would go to byte {at} of {len(skb)}")
    if at > OFFSET:
        skb_checksum_help(skb)
        return False
    offload.context[0] = <uint64_t>start << 32 | <uint64_t>at << 40
    offload.context[1] = TXD_CMD_DEXT | (TXD_TUCMD_TCP if skb.csum_offset == TCP_SUM else 0)
    offload.word |= TXD_CMD_DEXT | TXD_DTYP_DATA | <uint64_t>TXD_POPTS_TXSM << 40
    return True
