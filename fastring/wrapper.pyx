"""WrapperWire: a wire around another. It changes nothing; each kind overrides what it is about, and calls this for the rest."""

import errno

from fastring.burst cimport Frame
from fastring.wire cimport Wire


cdef int take(void* context, Frame* frames, int n, bint may_refuse) noexcept nogil:
    """The inner wire's receive_handler."""
    return (<WrapperWire>context).arrive(frames, n, may_refuse)


cdef void make_room(void* context) noexcept nogil:
    """The inner wire's room_handler."""
    (<WrapperWire>context).inner_has_room()


cdef void note_drop(void* context, const Frame* frames, int n, const char* reason, bint arriving) noexcept nogil:
    """The inner wire's drop_handler."""
    (<WrapperWire>context).inner_dropped(frames, n, reason, arriving)


cdef dict added(dict first, dict second):
    """Both counts by reason, as one."""
    return {reason: first.get(reason, 0) + second.get(reason, 0) for reason in first | second}


cdef class WrapperWire(Wire):
    """Base of the wires around `wire`: polling, being held up, failing and what is lost are the inner wire's.

    It takes the wire over and holds it: a card plugs into the wrapper, and closing that closes both. Raises OSError EBUSY if the wire
    has a card.
    """

    def __init__(self, Wire wire not None):
        if self.inner is not None:
            raise OSError(errno.EBUSY, f"{self!r} has its wire already")
        wire.attach(take, make_room, <void*>self, self)
        wire.dropped = note_drop
        self.inner = wire

    cdef int transmit(self, Frame* frames, int n) noexcept nogil:
        return 0 if self.inner is None else self.inner.transmit(frames, n)      # None: a subclass whose __init__ is all its own

    cdef int arrive(self, Frame* frames, int n, bint may_refuse) noexcept nogil:
        """What the inner wire delivers. Returns how many Frames were taken, as a receive_handler."""
        return self.deliver(frames, n, may_refuse)

    cdef void inner_has_room(self) noexcept nogil:
        """The inner wire, having refused frames, has room again."""
        if self.room != NULL:
            self.room(self.context)

    cdef void inner_dropped(self, const Frame* frames, int n, const char* reason, bint arriving) noexcept nogil:
        """The inner wire lost packets, and counted them."""
        self.tell_drop(frames, n, reason, arriving)

    cdef void receiver_has_room(self) noexcept nogil:
        if self.inner is not None:
            self.inner.receiver_has_room()

    cdef int poll(self, int budget) noexcept nogil:
        return 0 if self.inner is None else self.inner.poll(budget)

    @property
    def polled(self):
        """As the inner wire."""
        return self.inner is not None and self.inner.polled

    def fileno(self):
        return None if self.inner is None else self.inner.fileno()

    @property
    def held_up(self):
        return self.inner is not None and self.inner.held_up

    @property
    def waiting(self):
        return 0 if self.inner is None else self.inner.waiting

    def failure(self):
        return None if self.inner is None else self.inner.failure()

    @property
    def drops(self):
        """What was lost here, and in the inner wire."""
        return added({} if self.inner is None else self.inner.drops, super().drops)

    @property
    def rx_drops(self):
        return {} if self.inner is None else self.inner.rx_drops

    def capabilities(self):
        return super().capabilities() if self.inner is None else self.inner.capabilities()

    def close(self):
        """Let go of the inner wire, and close it."""
        if self.inner is not None:
            if self.inner.owner is self:
                self.inner.detach()
            self.inner.close()

    def __repr__(self):
        return f"<{type(self).__name__} around {self.inner!r}>"
