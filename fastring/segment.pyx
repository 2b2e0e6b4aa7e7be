"""Segment: an Arena that processes share, with rings by name, and who uses it: who is alive, and which side of a ring is whose.

The maker creates it, makes rings in it and hands its descriptor to whoever connects to a UNIX socket (`fastring.handover`); others attach
and claim sides. A side for one producer or one consumer has one owner; the next may claim it when that one has closed it, or is dead.

    with Segment.create("packets", size=1 << 20) as segment:
        ring = segment.create_ring("rx", 1024)
        with segment.listen("/run/packets.sock"):
            ...

    with Segment.attach("/run/packets.sock") as segment, segment.consumer("rx") as rx:
        rx.ring.pop()

Who dies leaves its place behind, not its items: what it had published is there, and whoever claims its side goes on where it was. A
process is told from a later one with the same number by when it was started, and its death is seen by a pidfd. All of that is for honest
peers of one PID namespace: one that lies can claim to be anybody, and harm what goes through the segment, never memory.

A forked child has none of it: it attaches for itself, and leaves what it inherited alone.

What a segment is not: locked, or safe from a peer that writes over it. Each count and offset in the header is read once and bounded.
"""

import os
import time

from libc.string cimport memcpy, memset

from fastring.atomic cimport (
    compare_exchange32,
    load_acquire32,
    load_acquire64,
    load_relaxed64,
    store_relaxed64,
    store_release32,
    store_release64,
)
from fastring.ring_geometry cimport OWNERS, SLOTS
from fastring.ring_memory cimport RingMemory

from fastring.record_ring import RecordRing
from fastring.ring import Ring
from fastring.ring_end import Peer, RingEnd

cdef enum:
    VERSION = 1
    KIND_RING = 1
    KIND_RECORDS = 2

cdef uint64_t MAGIC = int.from_bytes(b"fr-segmt", "little")
SHARED_SIDES = ("mpmc", "headtail", "locked")


class SegmentError(ValueError):
    """A segment that cannot be attached to, or used as asked."""


class ForeignSegment(SegmentError):
    """Memory that is no segment of fastring's."""


class MismatchedSegment(SegmentError):
    """A segment of another version, or whose header does not fit its memory."""


class StaleSegment(SegmentError):
    """A segment that its maker has closed, or left behind."""


def start_time(int pid):
    """When a process was started, in clock ticks after boot; None if it is gone, or only a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in b"ZX" else int(fields[19])


cdef class Segment:
    """Shared memory with rings by name. ``create`` it, or ``attach`` to one; closing it gives up this process's place in it."""

    def __cinit__(self, Arena arena not None, str name, *, bint _maker=False, dict _eventfds=None):
        self.arena = arena
        self.name = name
        self.is_maker = _maker
        self._eventfds = _eventfds or {}
        self._pid = os.getpid()
        self._made = {}
        self.header = <SegmentHeader*>arena.at(0, sizeof(SegmentHeader))
        self._pin = memoryview(arena)

    @staticmethod
    def create(str name="fastring", *, size=1 << 20):
        """A new segment with room for about `size` bytes of rings. Raises OSError ENOMEM."""
        arena = Arena(size + sizeof(SegmentHeader), name=name)
        arena.alloc(sizeof(SegmentHeader))
        cdef Segment segment = Segment(arena, name, _maker=True)
        segment.header.version = VERSION
        segment.header.size = arena.size
        segment._join()
        segment.header.maker = segment.ticket
        store_release64(&segment.header.magic, MAGIC)       # whole before it can be attached: acquired in attach_arena
        return segment

    @staticmethod
    def attach(path, *, double timeout=5.0, bint orphaned=False):
        """The segment that is handed out at UNIX socket `path`, or on a connected socket. Waits up to `timeout` seconds for it.

        `orphaned`: go on with one whose maker is gone. Raises ForeignSegment, MismatchedSegment, StaleSegment; OSError for the socket.
        """
        from fastring.handover import receive

        name, arena, eventfds = receive(path, timeout)
        try:
            return Segment.attach_arena(arena, name=name, orphaned=orphaned, eventfds=eventfds)
        except BaseException:
            for descriptors in eventfds.values():
                for descriptor in descriptors:
                    os.close(descriptor)
            raise

    @staticmethod
    def attach_arena(Arena arena not None, *, str name="attached", bint orphaned=False, dict eventfds=None):
        """The segment in `arena`, however that came here; `eventfds` of its rings that wait by them, by name. Errors as attach."""
        if arena.size < sizeof(SegmentHeader) or not arena.writable:
            raise ForeignSegment(f"{arena!r} is no segment: too small, or not writable")
        cdef Segment segment = Segment(arena, name, _eventfds=eventfds)
        cdef SegmentHeader* header = segment.header
        if load_acquire64(&header.magic) != MAGIC:
            raise ForeignSegment(f"{arena!r} is no segment of fastring's")
        if header.version != VERSION:
            raise MismatchedSegment(f"segment {name!r} has version {header.version}; this fastring speaks version {VERSION}")
        if header.size != arena.size:
            raise MismatchedSegment(f"segment {name!r} says it has {header.size} bytes; its memory has {arena.size}")
        if load_acquire32(&header.closed):
            raise StaleSegment(f"segment {name!r} was closed by its maker")
        if not orphaned and not segment.is_alive(header.maker):
            raise StaleSegment(f"the maker of segment {name!r} is gone; attach with orphaned=True to go on with what it left")
        segment._join()
        return segment

    # --- who is here

    cdef int _join(self) except -1:
        """Take a place among the participants: a free one, or that of a dead one."""
        cdef Participant* place
        cdef uint32_t i, ticket, free = 0
        self._clear_the_dead()
        for i in range(PARTICIPANTS):
            place = &self.header.participants[i]
            place_ticket = place.last + PARTICIPANTS if place.last else PARTICIPANTS + i
            ticket = place_ticket & 0xFFFFFFFF or PARTICIPANTS + i
            free = 0
            if compare_exchange32(&place.taken, &free, ticket):
                place.last = ticket
                place.started = start_time(os.getpid()) or 0
                store_release32(&place.pid, os.getpid())
                self.ticket = ticket
                self.beat()
                return 0
        raise SegmentError(f"segment {self.name!r} has its {PARTICIPANTS} participants already, all alive")

    def _clear_the_dead(self):
        """Free their places: first the number, so that whoever takes one is never taken for the dead one."""
        cdef Participant* place
        cdef uint32_t i, taken, pid
        for i in range(PARTICIPANTS):
            place = &self.header.participants[i]
            taken, pid = load_acquire32(&place.taken), load_acquire32(&place.pid)
            if taken and pid and not self.is_alive(taken) and compare_exchange32(&place.pid, &pid, 0):
                compare_exchange32(&place.taken, &taken, 0)

    def is_alive(self, uint32_t ticket):
        """Whether the participant with that ticket is still here."""
        cdef Participant* place
        cdef uint32_t pid
        self._check_open()
        place = &self.header.participants[ticket % PARTICIPANTS]
        if ticket == 0 or load_acquire32(&place.taken) != ticket:
            return False
        pid = load_acquire32(&place.pid)
        if pid == 0:
            return True             # it is just coming
        return 0 < pid < 1 << 30 and start_time(pid) == place.started

    def peer(self, uint32_t ticket):
        """Who has that ticket, as a Peer; None if nobody has it any more."""
        self._check_open()
        cdef Participant* place = &self.header.participants[ticket % PARTICIPANTS]
        if ticket == 0 or load_acquire32(&place.taken) != ticket:
            return None
        return Peer(self, ticket, load_acquire32(&place.pid))

    @property
    def participants(self):
        """All who have a place here, dead ones included, as Peers."""
        self._check_open()
        tickets = [load_acquire32(&self.header.participants[i].taken) for i in range(PARTICIPANTS)]
        return [peer for peer in map(self.peer, tickets) if peer is not None]

    def beat(self):
        """Tell the others that this process is not only alive but at work: now and then, from its main loop."""
        self._check_open()
        store_relaxed64(&self.header.participants[self.ticket % PARTICIPANTS].heartbeat, time.monotonic_ns())

    def heartbeat(self, uint32_t ticket):
        """When that participant last beat, in seconds of time.monotonic."""
        self._check_open()
        return load_relaxed64(&self.header.participants[ticket % PARTICIPANTS].heartbeat) / 1e9

    # --- what is in it

    def create_ring(self, str name not None, uint32_t capacity, **options):
        """A new Ring in the segment, by that name; options as Ring's. The maker's alone; it may use it, as who claims a side."""
        return self._make(Ring.create, KIND_RING, name, capacity, options)

    def create_record_ring(self, str name not None, uint64_t capacity, **options):
        """A new RecordRing of `capacity` bytes in the segment, by that name; as create_ring."""
        return self._make(RecordRing.create, KIND_RECORDS, name, capacity, options)

    def _make(self, create, uint32_t kind, str name, capacity, dict options):
        cdef RingMemory ring
        self._check_open()
        if not self.is_maker:
            raise SegmentError(f"only its maker makes rings in segment {self.name!r}")
        if name in self.contents:
            raise SegmentError(f"segment {self.name!r} has a ring {name!r} already")
        if not 0 < len(name.encode()) < NAME or "\0" in name or self.header.entry_count == ENTRIES:
            raise SegmentError(f"a segment has up to {ENTRIES} rings, whose names have 1 to {NAME - 1} bytes, none of them 0: not {name!r}")
        ring = create(capacity, arena=self.arena, **options)
        self._made[name] = ring
        if ring.eventfds is not None:
            self._eventfds[name] = ring.eventfds
        self._add(name, kind, ring.offset)
        return ring

    cdef int _add(self, str name, uint32_t kind, uint64_t offset) except -1:
        cdef Entry* entry = &self.header.entries[self.header.entry_count]
        cdef bytes encoded = name.encode()
        memset(entry, 0, sizeof(Entry))
        memcpy(entry.name, <const char*>encoded, len(encoded))
        entry.kind, entry.offset = kind, offset
        store_release32(&self.header.entry_count, self.header.entry_count + 1)      # the entry is whole: acquired in contents
        return 0

    @property
    def contents(self):
        """Names of the rings."""
        cdef uint32_t i, count
        self._check_open()
        count = min(load_acquire32(&self.header.entry_count), <uint32_t>ENTRIES)
        return [self._name(i) for i in range(count)]

    def _name(self, uint32_t i):
        return (<const uint8_t*>self.header.entries[i].name)[:NAME].partition(b"\0")[0].decode(errors="replace")

    cdef Entry _entry(self, str name) except *:
        names = self.contents
        if name not in names:
            raise SegmentError(f"segment {self.name!r} has no ring {name!r}: it has {', '.join(names) or 'none'}")
        return self.header.entries[<uint32_t>names.index(name)]

    def ring(self, str name not None, *, double patience=1.0):
        """The Ring or RecordRing of that name, attached. It is the caller's to close; sides are claimed by `producer` and `consumer`."""
        cdef Entry entry = self._entry(name)
        if entry.kind not in (KIND_RING, KIND_RECORDS):
            raise MismatchedSegment(f"{name!r} in segment {self.name!r} is of a kind ({entry.kind}) that this fastring does not know")
        kind = Ring if entry.kind == KIND_RING else RecordRing
        try:
            return kind.attach(self.arena, entry.offset, eventfds=self._eventfds.get(name), patience=patience)
        except (ValueError, IndexError) as error:
            raise MismatchedSegment(f"ring {name!r} of segment {self.name!r}: {error}") from None

    # --- whose side it is

    def producer(self, str name not None, **options):
        """Claim the producer's side of a ring; a RingEnd. SegmentError if a living process has it. Options as `ring`'s."""
        return self._claim(name, True, options)

    def consumer(self, str name not None, **options):
        """Claim the consumer's side of a ring; as producer."""
        return self._claim(name, False, options)

    cdef uint32_t* _owner(self, uint64_t offset, bint producer) except NULL:
        return <uint32_t*>(self.arena.at(offset, SLOTS) + OWNERS + (0 if producer else 64))

    def _claim(self, str name, bint producer, dict options):
        cdef Entry entry = self._entry(name)
        cdef uint32_t* owner = self._owner(entry.offset, producer)
        cdef uint32_t holder = load_acquire32(owner)
        probe = self.ring(name)
        shared = probe.strategy in SHARED_SIDES
        probe.close()
        if not shared:
            side = "producer" if producer else "consumer"
            if self.is_alive(holder):
                raise SegmentError(f"ring {name!r} has a {side}: process {self.peer(holder).pid}, which is alive")
            if not compare_exchange32(owner, &holder, self.ticket):
                raise SegmentError(f"ring {name!r} just got another {side}")
        try:
            return RingEnd(self, name, self.ring(name, **options), producer=producer, owned=not shared)
        except BaseException:
            self.give_up(name, producer=producer)
            raise

    def owner(self, str name not None, *, bint producer):
        """The Peer that has that side of a ring, or died having it; None if nobody has, or several may."""
        ticket = load_acquire32(self._owner(self._entry(name).offset, producer))
        if ticket == 0:
            return None
        return self.peer(ticket) or Peer(self, ticket, 0)       # its place is another's by now, the side still its own

    def give_up(self, str name not None, *, bint producer):
        """Let others claim a side that is ours. RingEnd.close calls it."""
        cdef uint32_t own = self.ticket
        if self._pid != os.getpid():
            return                              # a forked child's copy: the claim is its parent's
        compare_exchange32(self._owner(self._entry(name).offset, producer), &own, 0)

    # --- handing out, and the end

    def listen(self, path, *, mode=0o600):
        """Hand the segment to whoever connects to a new UNIX socket at `path`: a context manager, on a thread of its own."""
        from fastring.handover import Handover

        self._check_open()
        return Handover(self, path, mode)

    @property
    def eventfds(self):
        """Of rings that wait by them: name -> the two descriptors."""
        return dict(self._eventfds)

    cdef int _check_open(self) except -1:
        if self.header == NULL:
            raise ValueError(f"segment {self.name!r} is closed")
        return 0

    def close(self):
        """Give up our place; the maker's close makes the segment stale for who comes later. Again is harmless. Ends are closed before.

        Raises BufferError if one is not, and gives up nothing. A forked child's is a copy: it only lets go.
        """
        cdef uint32_t own = self.ticket
        if self.header == NULL:
            return
        if self._pid != os.getpid():            # closing its rings would wipe its parent's
            self.header = NULL
            self._made = {}
            self._pin.release()
            return
        if self.arena._exports > 1 + sum([ring.capacity > 0 for ring in self._made.values()]):      # our own, and each ring's
            raise BufferError(f"an end, a ring or a view of segment {self.name!r} is still open: it is closed after them")
        if self.is_maker:
            store_release32(&self.header.closed, 1)
        for ring in self._made.values():
            ring.close()
        if not self.is_maker:
            for descriptors in self._eventfds.values():
                for descriptor in descriptors:
                    os.close(descriptor)
        self.header.participants[own % PARTICIPANTS].pid = 0
        compare_exchange32(&self.header.participants[own % PARTICIPANTS].taken, &own, 0)
        self.header = NULL
        self._pin.release()
        self.arena.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        if self.header == NULL:
            return f"<Segment {self.name!r}: closed>"
        return f"<Segment {self.name!r}: {', '.join(self.contents) or 'no rings'}; {len(self.participants)} participants>"
