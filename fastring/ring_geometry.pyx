"""What both sides of a ring must agree on, and where it lies in the shared block.

The shared block, in units of two cache lines:

    0     magic, version, geometry      512   read head
    128   write index                   640   lock
    256   read index                    768   armed: a consumer waits for items
    384   write head                    896   armed: a producer waits for room
    1024  owners (fastring.segment)     1152  slots
"""

NAMES = {("lamport", None): LAMPORT, ("cached", None): CACHED, ("batched", None): BATCHED, ("slotflag", None): SLOTFLAG,
         ("mpmc", None): MPMC, ("headtail", "mt"): HEADTAIL_MT, ("headtail", "rts"): HEADTAIL_RTS, ("headtail", "hts"): HEADTAIL_HTS,
         ("locked", None): LOCKED}
BY_NUMBER = {number: name for name, number in NAMES.items()}
STRATEGIES = tuple(dict.fromkeys(strategy for strategy, _ in NAMES))
WAITS = {"poll": POLL, "futex": FUTEX, "eventfd": EVENTFD}
MAGIC = int.from_bytes(b"fastring", "little")


cdef uint32_t units_of(const Geometry* geometry) noexcept:
    """Units of 8 bytes in an item."""
    return max(1, geometry.item_size // 8)


cdef uint32_t stride_of(const Geometry* geometry) noexcept:
    """Units of 8 bytes from slot to slot: a sequence number takes one, and 16 bytes with one are rounded up to a half cache line."""
    if geometry.strategy in (SLOTFLAG, MPMC):
        return 2 if geometry.item_size == 8 else 4
    return units_of(geometry)


cdef uint64_t block_size(const Geometry* geometry) noexcept:
    return SLOTS + 8 * <uint64_t>geometry.capacity * stride_of(geometry)


cdef int check_geometry(const Geometry* geometry, bint records) except -1:
    cdef uint32_t capacity = geometry.capacity
    if not 0 < capacity <= MOST or capacity & (capacity - 1):
        raise ValueError(f"a ring's capacity is a power of two up to {MOST}, not {capacity}")
    if records != (geometry.item_size == 1):
        raise ValueError("this ring has records of any length: it is a RecordRing" if geometry.item_size == 1
                         else f"this ring has items of {geometry.item_size} bytes: it is a Ring")
    if geometry.item_size not in (1, 8, 16):
        raise ValueError(f"a ring's items have 8 or 16 bytes, not {geometry.item_size}; for records of any length there is RecordRing")
    if geometry.strategy not in BY_NUMBER:
        raise ValueError(f"there is no ring strategy number {geometry.strategy}: a newer fastring may know it")
    if records and geometry.strategy not in (LAMPORT, CACHED, BATCHED):
        raise ValueError(f"records go by lamport, cached or batched, not by {BY_NUMBER[geometry.strategy][0]}")
    if geometry.wait > EVENTFD:
        raise ValueError(f"there is no way of waiting number {geometry.wait}: a newer fastring may know it")
    if (geometry.strategy == BATCHED) != (geometry.batch > 0) or geometry.batch > capacity:
        raise ValueError(f"a batch is 1 to {capacity} items, the capacity, and for `batched` alone: not {geometry.batch}")
    return 0


def strategy_number(strategy, sync):
    """The number of a strategy in the shared header; ValueError for a name that is none."""
    if strategy not in STRATEGIES:
        raise ValueError(f"there is no ring strategy {strategy!r}: choose among {', '.join(STRATEGIES)}")
    if strategy == "headtail" and sync is None:
        sync = "mt"
    if (strategy, sync) not in NAMES:
        raise ValueError(f"`sync` is mt, rts or hts, and for headtail alone: not {sync!r} for {strategy}")
    return NAMES[strategy, sync]
