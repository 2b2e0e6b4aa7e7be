"""pump: bursts from a source straight into a sink, with no card between them."""

from libc.stdint cimport uint32_t

from fastring.burst cimport Burst, BurstSink, BurstSource


def pump(BurstSource source not None, BurstSink sink not None, Burst burst not None, *, uint32_t rounds=1000):
    """Hand on the next `rounds` bursts, in `burst`; return False at the source's end. The GIL is released.

    Raises what the source's or the sink's `error` is when one fails; packets that the sink took before stay taken. One thread at a time.
    """
    cdef int got = 0, status = 0
    with nogil:
        while rounds and status == 0:
            got = source.fill(burst, burst.capacity)
            if got <= 0:
                break
            status = sink.deliver(burst)
            rounds -= 1
    burst.clear()
    if status < 0:
        error, sink.error = sink.error, None
        raise error if error is not None else RuntimeError(f"{sink!r} failed and does not say why")
    if got < 0:
        raise source.error if source.error is not None else RuntimeError(f"{source!r} failed and does not say why")
    return got > 0
