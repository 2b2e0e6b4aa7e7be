"""Loopback: what the card sends comes back to its own receiver (§13.4.22), and none of it reaches the wire.

Nothing is re-entered: receiving starts no transmission, and what the host's memory says is read before any of it is written.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from e1000.device.recorder cimport EVENT_ARRIVED, EVENT_SENT
from e1000.device.rx cimport rx_receive
from e1000.device.state cimport Card
from e1000.device.watch cimport saw_frames
from e1000.regs cimport MAX_FRAME
from fastring.burst cimport FRAME_MORE, Frame


cdef int loop_back(Card* card, Frame* frames, int n) noexcept nogil:
    """Receive the packets of n Frames one by one; takes all, and what the receiver has no room for is missed (MPC)."""
    cdef uint8_t content[MAX_FRAME]         # a copy: the receive buffer may be the one it is sent from
    cdef Frame packet
    cdef uint32_t part
    cdef int i
    saw_frames(card, EVENT_SENT, frames, n)
    packet.data = content
    packet.len = packet.flags = 0
    for i in range(n):
        part = frames[i].len if frames[i].len < MAX_FRAME - packet.len else MAX_FRAME - packet.len
        memcpy(content + packet.len, frames[i].data, part)
        packet.len += part
        packet.flags |= frames[i].flags & ~FRAME_MORE
        if not frames[i].flags & FRAME_MORE:
            saw_frames(card, EVENT_ARRIVED, &packet, 1)
            rx_receive(card, &packet, 1, False)
            packet.len = packet.flags = 0
    return n
