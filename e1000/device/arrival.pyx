"""A frame at the door of the receive engine: what it is, whether it passes, and what of it is counted (§3.2.1, §13.7).

`judge` decides and counts nothing: a lossless wire may be told to wait and offers the frame again. `count_arrival` counts.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from e1000.device.filter cimport EXACT, INEXACT, NOT_OURS, address_match, source_match
from e1000.device.state cimport DROP_RX_CONTROL, DROP_RX_ERROR, DROP_RX_FILTERED, DROP_RX_OVERSIZE, DROP_RX_RUNT, FIFO_SIZE, Card
from e1000.device.statistics cimport count_arrivals, stat_index
from e1000.regs cimport (
    ALGNERRC, CEXTERR, CRC_LENGTH, CRCERRS, CTRL, CTRL_VME, FCAH, FCAL, ICR_RXSEQ, MAX_FRAME, MAX_STANDARD_FRAME, MIN_FRAME, RAH0, RAH_AV,
    RAL0, RCTL_CFI, RCTL_CFIEN, RCTL_DPF, RCTL_LPE, RCTL_PMCF, RCTL_SBP, RCTL_VFE, RFC, RJC, RLEC, ROC, RUC, RXERRC, SEC, SYMERRS, VFTA,
)
from fastring.burst cimport (FRAME_ALIGNMENT, FRAME_BAD_CRC, FRAME_CARRIER, FRAME_ERRORS, FRAME_MORE, FRAME_RX_ERROR, FRAME_SEQUENCE,
                             FRAME_SYMBOL, Frame)

cdef enum:
    SHORTEST_HEADER = 18            # with a tag: always there to be looked at
    JABBER = 1 << 20                # a frame is this long or longer
    PAUSE_OPCODE = 1
    TAG_CFI = 0x1000
    TAG_VLAN = 0xFFF


cdef void look_at(Arrival* frame, Frame* pieces, int n) noexcept nogil:
    """Find the frame's end, its header and its errors."""
    cdef uint64_t length = pieces.len
    frame.pieces = pieces
    frame.count = 1
    frame.errors = pieces.flags
    while pieces[frame.count - 1].flags & FRAME_MORE and frame.count < n:
        length += pieces[frame.count].len
        frame.errors |= pieces[frame.count].flags
        frame.count += 1
    frame.length = <uint32_t>length if length < JABBER else JABBER
    frame.errors &= FRAME_ERRORS
    frame.header = pieces.data
    frame.header_length = frame.length if frame.length < HEADER else HEADER
    if pieces.len < frame.header_length or frame.length < SHORTEST_HEADER:
        gather_header(frame)
    frame.destination = load_address(frame.header)


cdef void gather_header(Arrival* frame) noexcept nogil:
    cdef uint32_t have = 0, part
    cdef int i
    memset(frame.copy, 0, SHORTEST_HEADER)
    for i in range(frame.count):
        part = frame.pieces[i].len if frame.pieces[i].len < HEADER - have else HEADER - have
        memcpy(frame.copy + have, frame.pieces[i].data, part)
        have += part
    frame.header = frame.copy


# --- what passes ---

cdef void judge(Card* card, Arrival* frame) noexcept nogil:
    """Decide the frame's fate."""
    frame.match = address_match(card, frame.destination)
    if frame.match == NOT_OURS and card.source_count and source_match(card, load_address(frame.header + 6)):
        frame.match = EXACT
    frame.stripped = tag_to_strip(card, frame)
    frame.broken = what_broke(card, frame)
    frame.control = control_kind(card, frame)
    if frame.control != NO_CONTROL:
        judge_control(card, frame)
        if frame.fate != PASSES:
            return
    if frame.match == NOT_OURS or not vlan_passes(card, frame):
        frame.fate = DROP_RX_FILTERED
    elif card.rctl & RCTL_SBP and 0 < frame.length <= FIFO_SIZE:
        frame.fate = PASSES
    else:
        frame.fate = frame.broken


cdef int what_broke(Card* card, const Arrival* frame) noexcept nogil:
    """What makes it a bad frame; its length first, as statistics have it."""
    cdef uint32_t longest = MAX_FRAME if card.rctl & RCTL_LPE else MAX_STANDARD_FRAME
    if frame.length < MIN_FRAME - CRC_LENGTH:
        return DROP_RX_RUNT
    if frame.length > longest - CRC_LENGTH:
        return DROP_RX_OVERSIZE
    return DROP_RX_ERROR if frame.errors else PASSES


cdef uint32_t tag_to_strip(Card* card, const Arrival* frame) noexcept nogil:
    """Bytes of VLAN tag that do not go into the buffer (§9.2.2)."""
    if load_type(frame.header + TYPE_OFFSET) != card.vlan_type or not card.regs[CTRL >> 2] & CTRL_VME:
        return 0
    return TAG_LENGTH if frame.length >= SHORTEST_HEADER else 0


cdef bint vlan_passes(Card* card, const Arrival* frame) noexcept nogil:
    """Whether a tagged frame is of a VLAN in the filter table, and its CFI bit as wanted, if that is asked for (§9.3)."""
    cdef uint32_t tag, vlan
    if load_type(frame.header + TYPE_OFFSET) != card.vlan_type:
        return True
    tag = load_be16(frame.header + TYPE_OFFSET + 2)
    vlan = tag & TAG_VLAN
    if card.rctl & RCTL_VFE and not card.regs[(VFTA >> 2) + (vlan >> 5)] >> (vlan & 31) & 1:
        return False
    return not card.rctl & RCTL_CFIEN or (tag & TAG_CFI != 0) == (card.rctl & RCTL_CFI != 0)


cdef Control control_kind(Card* card, const Arrival* frame) noexcept nogil:
    """Three comparisons tell a MAC control frame: address, type and opcode (§8.7.3)."""
    if load_type(frame.header + TYPE_OFFSET) != card.control_type or frame.broken != PASSES:
        return NO_CONTROL
    if frame.destination != register_address(card, FCAL, FCAH) and not is_station(card, frame):
        return NO_CONTROL
    return PAUSE if load_be16(frame.header + TYPE_OFFSET + 2) == PAUSE_OPCODE else OTHER_CONTROL


cdef uint64_t register_address(Card* card, uint32_t low, uint32_t high) noexcept nogil:
    return card.regs[low >> 2] | <uint64_t>(card.regs[high >> 2] & 0xFFFF) << 32


cdef bint is_station(Card* card, const Arrival* frame) noexcept nogil:
    return card.regs[RAH0 >> 2] & RAH_AV and frame.destination == register_address(card, RAL0, RAH0)


cdef void judge_control(Card* card, Arrival* frame) noexcept nogil:
    """DPF keeps pause frames from the host; PMCF passes all other control frames, and without it none does (§8.7.4)."""
    frame.fate = PASSES
    if frame.control == PAUSE:
        if card.rctl & RCTL_DPF:
            frame.fate = DROP_RX_CONTROL
    elif not card.rctl & RCTL_PMCF:
        frame.fate = DROP_RX_CONTROL
    elif frame.match == NOT_OURS:
        frame.match = INEXACT


# --- what is counted ---

cdef void count_arrival(Card* card, const Arrival* frame, uint32_t* causes) noexcept nogil:
    """Count the frame by what it is and by its fate, but for what is counted of good ones where they are stored."""
    count_arrivals(card, 1, frame.length + CRC_LENGTH)
    if frame.errors & FRAME_SYMBOL:
        card.stat[stat_index(SYMERRS)] += 1
    if frame.errors & FRAME_SEQUENCE:
        card.stat[stat_index(SEC)] += 1
        causes[0] |= ICR_RXSEQ
    if frame.broken != PASSES and frame.fate != DROP_RX_FILTERED:
        count_broken(card, frame)
    if frame.fate != PASSES:
        card.drops[frame.fate] += 1


cdef void count_broken(Card* card, const Arrival* frame) noexcept nogil:
    """Of the right destination, but damaged or not of legal length."""
    cdef uint64_t* stat = card.stat
    cdef bint bad_crc = frame.errors & (FRAME_BAD_CRC | FRAME_ALIGNMENT) != 0
    if frame.broken == DROP_RX_RUNT:
        stat[stat_index(RLEC)] += 1
        stat[stat_index(RFC) if bad_crc else stat_index(RUC)] += 1
        return
    if frame.broken == DROP_RX_OVERSIZE:
        stat[stat_index(RLEC)] += 1
        stat[stat_index(RJC) if bad_crc else stat_index(ROC)] += 1
    stat[stat_index(CRCERRS)] += frame.errors & FRAME_BAD_CRC != 0
    stat[stat_index(ALGNERRC)] += frame.errors & FRAME_ALIGNMENT != 0
    stat[stat_index(RXERRC)] += frame.errors & FRAME_RX_ERROR != 0
    stat[stat_index(CEXTERR)] += frame.errors & FRAME_CARRIER != 0
