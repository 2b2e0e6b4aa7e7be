"""MeterWire: how much passes a wire, each way, for whoever looks: from any thread, and nothing waits for who looks."""

from libc.stdint cimport uint64_t

from fastring.atomic cimport load_relaxed64, store_relaxed64
from fastring.burst cimport Frame, packets_in
from fastring.wire cimport Wire


cdef inline void add(uint64_t* packets, uint64_t* bytes, const Frame* frames, int n) noexcept nogil:
    """Count n Frames. The only writer of both."""
    cdef uint64_t length = 0
    cdef int i
    for i in range(n):
        length += frames[i].len
    store_relaxed64(packets, packets[0] + packets_in(frames, n))
    store_relaxed64(bytes, bytes[0] + length)


cdef class MeterWire(WrapperWire):
    """`wire`, counting the packets and bytes it takes from the card (tx) and the card from it (rx), without CRC.

    `clock`: what rates are by. What is refused and offered again counts once. `read` and `rates` may be called from any thread.
    """

    def __init__(self, Wire wire not None, *, Clock clock not None):
        super().__init__(wire)
        self.clock = clock

    cdef int transmit(self, Frame* frames, int n) noexcept nogil:
        cdef int sent = WrapperWire.transmit(self, frames, n)
        add(&self.tx_packet_count, &self.tx_byte_count, frames, sent)
        return sent

    cdef int arrive(self, Frame* frames, int n, bint may_refuse) noexcept nogil:
        cdef int taken = self.deliver(frames, n, may_refuse)
        add(&self.rx_packet_count, &self.rx_byte_count, frames, taken)
        return taken

    def read(self):
        """What passed so far, and when this was read, in ns of the clock."""
        return {
            "time": self.clock.now(),
            "tx_packets": load_relaxed64(&self.tx_packet_count),
            "tx_bytes": load_relaxed64(&self.tx_byte_count),
            "rx_packets": load_relaxed64(&self.rx_packet_count),
            "rx_bytes": load_relaxed64(&self.rx_byte_count),
        }

    def rates(self, earlier):
        """Packets and bits a second since `earlier`, which `read` returned; all 0 if no time has passed."""
        now = self.read()
        passed = now["time"] - earlier["time"]
        per_second = 1e9 / passed if passed > 0 else 0.0
        return {
            f"{way}_{rate}": per_second * times * (now[f"{way}_{what}"] - earlier[f"{way}_{what}"])
            for way in ("tx", "rx") for rate, what, times in (("pps", "packets", 1), ("bps", "bytes", 8))
        }
