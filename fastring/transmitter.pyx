"""Transmitter: bursts from a source through a transmit queue, with flow control, without the GIL.

The kernel's __dev_direct_xmit for bursts: no qdisc, but the queue's stop and wake are kept, and while it is stopped the softirq
runs until completions wake it. Between two bursts the softirq always runs, so receivers on this thread keep up.

On a VirtualClock that `replays`, each packet is sent at its own time: the wall clock is set to the packet's time stamp, timers
on the way fire, and what arrives is polled before the next packet leaves.

With a Pacer `play` sends each packet when it is due. Until then it sleeps and spins, timers fire, and the softirq runs, which polls the
wires. A second Transmitter, of another device, sends those packets of the same schedule that are for another queue.

Bytes are told once a burst, so a burst may overshoot the byte limit by all but its first packet. The limit settles a little below
what a burst is, so cutting bursts there makes two calls of the driver out of each: 4 % more for 60-byte packets (bench/test_softnet.py).
"""

import errno
import os
import time

from cpython.object cimport PyObject
from cython cimport final

from fastring.atomic cimport cpu_relax
from fastring.burst cimport FRAME_MORE, Burst, Frame, packets_in
from fastring.pacer cimport Pacer

cdef extern from "Python.h":
    Py_ssize_t PyList_GET_SIZE(PyObject*) nogil     # one aligned word: read without the GIL it is old at worst

cdef enum:
    IDLE_ROUNDS = 2000              # without progress, then back to Python: for signals, and the caller's patience

cdef enum:                          # what push found, besides whether anything moved
    NOT_DUE = 2

cdef enum:                          # what play_rounds found
    FAILED = -1
    ENDED = 0
    GOING = 1
    IDLE = 2
    REFUSED = -2


cdef Tally tally_of(const Frame* frames, int n) noexcept nogil:
    cdef Tally tally = Tally(packets_in(frames, n), 0)
    cdef int i
    for i in range(n):
        tally.bytes += frames[i].len
    return tally


cdef uint32_t packets_of_one_queue(Burst burst, uint32_t start) noexcept nogil:
    """How many packets from `start` on are for the same queue, or for none that is another's: 0 or not."""
    cdef uint32_t end = start
    while end < burst.count and (burst.frames[end].queue != 0) == (burst.frames[start].queue != 0):
        end += 1
    return packets_in(&burst.frames[start], end - start)


@final
cdef class Transmitter:
    """Sends to `target` through `queue`. `max_frame`: longest frame in bytes; longer ones are dropped and counted.

    As long as one of the lists `taps` has something in it, `tap` is called with the packets that the target took, as a list of
    (bytes, time in ns); what it raises, `play` and `send` raise. One thread: the one that runs `softirq`.

    `pacer`: `play` keeps its schedule; a `send` is at once. `second`: sends the packets whose Frame.queue is not 0, with a target, a queue
    and counters of its own.
    """

    def __init__(self, XmitTarget target not None, TxQueue queue not None, Softirq softirq not None, Clock clock not None, *,
                 uint32_t max_frame, uint32_t burst_size=128, bint replays=False, tuple taps=([], []), tap=None,
                 Pacer pacer=None, Transmitter second=None):
        self.target = target
        self.queue = queue
        self.softirq = softirq
        self.clock = clock
        self.stepped = clock if replays and pacer is None and isinstance(clock, VirtualClock) else None
        self.pacer = pacer
        self.second = second
        self.max_frame = max_frame
        self.taps, self.more_taps = taps
        self.tap = tap
        self.burst = Burst(burst_size)
        if pacer is not None:
            if pacer.clock is not clock:
                raise ValueError("a transmitter and its pacer go by the same clock")
            pacer.reserve(burst_size)

    cdef uint32_t sendable(self, Burst burst, uint32_t start, uint32_t most, Tally* tally) noexcept nogil:
        """End of the run of whole packets from `start` that are not too long, at most `most` of them; and their tally."""
        cdef uint32_t i = start, end = start, packets = 0, count = burst.count, longest = self.max_frame
        cdef uint64_t total = 0, bytes = 0
        cdef const Frame* frame = &burst.frames[start]
        while i < count and packets < most:
            total += frame.len
            i += 1
            if not frame.flags & FRAME_MORE:
                if total > longest:
                    break
                end = i
                bytes += total
                total = 0
                packets += 1
            frame += 1
        tally.packets = packets
        tally.bytes = bytes
        return end

    cdef uint32_t skip_oversize(self, Burst burst, uint32_t start) noexcept nogil:
        """Drop the packet at `start`; return where the next one starts."""
        self.oversize += 1
        while start < burst.count and burst.frames[start].flags & FRAME_MORE:
            start += 1
        return start + 1

    cdef int push(self, Burst burst, uint32_t* position) noexcept nogil:
        """Send on from `position`, once; run the softirq. Returns whether anything moved: 1, 0, NOT_DUE or REFUSED."""
        cdef uint32_t start = position[0], run
        cdef uint32_t most = burst.count if self.stepped is None else 1
        cdef uint64_t before = self.total()
        cdef bint paced = self.pacer is not None and burst is self.burst
        cdef int taken = NOT_DUE
        if paced:
            most = self.pacer.due(burst, start)
        if self.second is not None:
            run = packets_of_one_queue(burst, start)
            most = run if run < most else most
        if most:
            if self.second is not None and burst.frames[start].queue:
                taken = self.second.offer(burst, position, most)
            else:
                taken = self.offer(burst, position, most)
            if taken == REFUSED:
                return REFUSED
            if paced and self.total() != before:
                self.pacer.record(burst, start, position[0])
        self.clock.run_timers()
        if self.softirq.run() > 0 and taken == 0:
            return 1
        return taken

    cdef int offer(self, Burst burst, uint32_t* position, uint32_t most) noexcept nogil:
        """Give the target at most `most` packets from `position` on. Returns whether anything moved: 1, 0, or REFUSED."""
        cdef uint32_t start = position[0], end
        cdef Tally tally
        cdef int taken = self.target.refusal()
        if taken < 0:
            self.refusal = -taken
            return REFUSED
        if self.queue.stopped():
            return False
        end = self.sendable(burst, start, most, &tally)
        if end == start and start < burst.count:
            position[0] = self.skip_oversize(burst, start)
            return True
        if self.stepped is not None and end > start:
            self.stepped.step_realtime(burst.frames[start].time)
        taken = self.target.xmit_burst(&burst.frames[start], <int>(end - start))
        if taken > 0 and (PyList_GET_SIZE(<PyObject*>self.taps) or PyList_GET_SIZE(<PyObject*>self.more_taps)):
            self.show(&burst.frames[start], taken)
        if taken == 0 and not self.queue.stopped():
            self.queue.requeues += 1        # NETDEV_TX_BUSY
        if taken != <int>(end - start):
            tally = tally_of(&burst.frames[start], taken)
        self.packets += tally.packets
        self.bytes += tally.bytes
        position[0] = start + taken
        return taken > 0

    cdef uint64_t total(self) noexcept nogil:
        """Packets sent by it and by the second."""
        return self.packets if self.second is None else self.packets + self.second.packets

    cdef void show(self, const Frame* frames, int n) noexcept with gil:
        """Show taps what was sent (dev_queue_xmit_nit); they keep no Frame, so all is copied."""
        cdef int i
        cdef bytes packet = b""
        packets = []
        for i in range(n):
            packet += (<const char*>frames[i].data)[:frames[i].len]
            if not frames[i].flags & FRAME_MORE:
                packets.append((packet, frames[i].time))
                packet = b""
        try:
            self.tap(packets)
        except BaseException as error:      # push cannot raise: kept for its callers
            self.tap_error = error

    cdef int play_rounds(self, BurstSource source, uint32_t rounds) noexcept nogil:
        cdef uint32_t idle = 0
        cdef int got, moved
        if self.pacer is not None:
            self.pacer.begin_turn()
        while rounds:
            if self.position >= self.burst.count:
                rounds -= 1
                self.burst.release()
                self.position = 0
                got = source.fill(self.burst, self.burst.capacity)
                if got <= 0:
                    return FAILED if got < 0 else ENDED
                if self.pacer is not None:
                    self.pacer.schedule(self.burst)
            moved = self.push(self.burst, &self.position)
            if moved == REFUSED:
                return REFUSED
            if self.tap_error is not None or (self.second is not None and self.second.tap_error is not None):
                return GOING
            if moved == NOT_DUE:
                if self.pacer.over:
                    return ENDED
                if self.pacer.wait(self.position):
                    return GOING
            if moved:
                idle = 0
            else:
                idle += 1
                if idle == IDLE_ROUNDS:
                    return IDLE
                cpu_relax()
        return GOING

    def play(self, BurstSource source not None, *, uint32_t rounds=1000, double patience=5.0):
        """Send the next `rounds` bursts of `source`, or, paced, for 50 ms of waiting; return False at its end, or the pacer's.

        Raises TimeoutError when the queue made no progress for `patience` seconds (the kernel's watchdog_timeo), with the rest of
        the burst kept, what a handler or a poll raised meanwhile, and what the source's `error` is when it failed.
        """
        cdef int state
        deadline = None
        while True:
            sent = self.total()
            with nogil:
                state = self.play_rounds(source, rounds)
            self._raise_taps()
            self.clock._raise_error()           # a timer's callback in Python: a signal may have come to it
            if state == FAILED:
                raise source.error if source.error is not None else RuntimeError(f"{source!r} failed and does not say why")
            if state == REFUSED:
                raise self._refused()
            self.softirq.raise_error()          # a wire that has failed for good takes all it is given: nobody would be held up
            if state != IDLE:
                return state == GOING
            if self.total() != sent or deadline is None:
                deadline = time.monotonic() + patience
            elif time.monotonic() > deadline:
                raise TimeoutError(f"the transmit queue made no progress for {patience:g} s: {self._awaited()!r}")

    def send(self, Burst burst not None, *, double patience=5.0):
        """Send one burst; return how many packets the driver took. Raises TimeoutError as `play` does; the rest is not sent."""
        cdef uint32_t position = 0, idle
        cdef uint64_t before = self.total()
        cdef int moved = 0
        deadline = None
        while position < burst.count:
            with nogil:
                idle = 0
                while position < burst.count and idle < IDLE_ROUNDS and moved != REFUSED and self.tap_error is None:
                    moved = self.push(burst, &position)
                    idle = 0 if moved else idle + 1
            if self.tap_error is not None or self.second is not None:
                self._raise_taps()
            self.clock._raise_error()
            if moved == REFUSED:
                raise self._refused()
            if idle:
                self.softirq.raise_error()
                if deadline is None:
                    deadline = time.monotonic() + patience
            if idle and time.monotonic() > deadline:
                raise TimeoutError(f"the transmit queue made no progress for {patience:g} s: {self.queue!r}")
        return self.total() - before

    def _raise_taps(self):
        """Raise what a tap did."""
        error, self.tap_error = self.tap_error, None
        if error is not None:
            raise error
        if self.second is not None:
            self.second._raise_taps()

    def _awaited(self):
        """The queue whose turn it is in `play`."""
        return self.second.queue if self.second is not None and self.burst.frames[self.position].queue else self.queue

    def _refused(self):
        """What a driver's -errno means, to raise."""
        if not self.refusal and self.second is not None:
            return self.second._refused()
        if self.refusal == errno.EDEADLK:
            return OSError(self.refusal, "a device cannot transmit from inside its own transmission: its wire called back")
        return OSError(self.refusal, f"the device this sender was made for takes no packets: {os.strerror(self.refusal)}")

    def __repr__(self):
        return f"<Transmitter: {self.packets} packets, {self.bytes} bytes sent, {self.oversize} too long>"
