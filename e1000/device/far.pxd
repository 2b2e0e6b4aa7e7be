"""Memory that is not in this process (fastring.memory's `far`): when what the card wrote to it has to be there."""

from libc.stdint cimport uint32_t

from e1000.device.state cimport Card


cdef inline bint write_out(Card* card) noexcept nogil:
    """Have what the card wrote be where it belongs, before head and interrupt tell of it. True: ring or memory were taken away meanwhile.

    The host may access registers while this waits, and engines that it would start are `stalled`.
    """
    cdef uint32_t generation = card.generation
    if card.host_iovas == NULL or card.host_iovas.far == NULL:
        return False
    card.host_iovas.far_write_out(card.host_iovas.far_context)
    return card.generation != generation
