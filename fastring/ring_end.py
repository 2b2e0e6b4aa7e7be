"""RingEnd: one side of a ring in a Segment, claimed; Peer: who has the other."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from fastring.record_ring import RecordRing
    from fastring.ring import Ring
    from fastring.segment import Segment

LOOK_EVERY = 0.1  # seconds between two looks at whether the other side is alive


class PeerGone(RuntimeError):
    """Whoever had the other side is dead, and what is waited for cannot come until somebody claims it again."""


class Peer:
    """A process that has a place in a segment: ``pid``, ``alive``, ``heartbeat_age``. ``pid`` is 0 if its place is another's by now."""

    def __init__(self, segment: Segment, ticket: int, pid: int) -> None:
        self.segment, self.ticket, self.pid = segment, ticket, pid

    @property
    def alive(self) -> bool:
        """Whether it still runs and has not closed the segment."""
        return self.segment.is_alive(self.ticket)

    @property
    def heartbeat_age(self) -> float:
        """Seconds since it last called ``Segment.beat``: alive and silent is hung, or stopped."""
        return max(0.0, time.monotonic() - self.segment.heartbeat(self.ticket))

    def pidfd(self) -> int:
        """A descriptor that turns readable when it dies, for select; the caller closes it. Raises ProcessLookupError if it is dead."""
        if self.pid == 0:
            raise ProcessLookupError("that process is gone, and its number forgotten")
        descriptor = os.pidfd_open(self.pid)
        if not self.alive:  # or it is of a later process with its number
            os.close(descriptor)
            raise ProcessLookupError(f"process {self.pid} is gone")
        return descriptor

    def __repr__(self) -> str:
        return f"<Peer: process {self.pid}, {'alive' if self.alive else 'gone'}>"


class RingEnd:
    """A claimed side of the ring `name`: ``ring`` is for this side's calls alone. Close it to let others claim the side.

    Made by ``Segment.producer`` and ``Segment.consumer``. One thread's, as the side of the ring is.
    """

    def __init__(self, segment: Segment, name: str, ring: Ring | RecordRing, *, producer: bool, owned: bool) -> None:
        self.segment, self.name, self.ring, self.is_producer, self._owned = segment, name, ring, producer, owned
        self._pid = os.getpid()

    @property
    def peer(self) -> Peer | None:
        """Who has the other side; None before anybody has claimed it, after it was closed, and where several may have it."""
        return self.segment.owner(self.name, producer=not self.is_producer)

    def wait(self, n: int = 1, *, timeout: float | None = None, spin: float = 50e-6) -> bool:
        """Wait for n items, as a consumer, or n free slots; whether they are there. Ends early when the other side has died.

        Raises PeerGone then, unless there are n; BrokenRing.
        """
        until = None if timeout is None else time.monotonic() + timeout
        wait = self.ring.wait_for_room if self.is_producer else self.ring.wait_for_items
        while True:
            left = LOOK_EVERY if until is None else min(LOOK_EVERY, max(0.0, until - time.monotonic()))
            if wait(n, timeout=left, spin=spin):
                return True
            peer = self.peer
            if peer is not None and not peer.alive and not wait(n, timeout=0, spin=0):
                who = f", process {peer.pid}," if peer.pid else ""
                raise PeerGone(f"the {'consumer' if self.is_producer else 'producer'} of ring {self.name!r}{who} is gone")
            if until is not None and time.monotonic() >= until:
                return False

    def close(self) -> None:
        """Publish what `batched` has kept, and let others claim the side. Again is harmless."""
        if self.ring.capacity == 0:
            return
        if self._pid == os.getpid():  # else a forked child's copy, whose indexes are old
            self.ring.flush()
        self.ring.close()
        if self._owned:
            self.segment.give_up(self.name, producer=self.is_producer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RingEnd: {'producer' if self.is_producer else 'consumer'} of {self.name!r}, {self.ring!r}>"
