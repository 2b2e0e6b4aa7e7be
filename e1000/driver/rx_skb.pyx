"""RxSkbs: received packets as SkBuffs for the stack, with what the card found out about each (e1000_receive_skb, e1000_rx_checksum)."""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cython cimport final
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from e1000.desc cimport RXD_ERROR_TCPE, RXD_SPECIAL_SHIFT, RXD_STAT_IXSM, RXD_STAT_TCPCS, RXD_STAT_VP
from fastring.burst cimport FRAME_MORE, Burst, Frame

from softnet import skbuff
from softnet.ethernet import eth_type_trans
from softnet.receive import netif_receive_skb
from softnet.skbuff import SkBuff

cdef object CHECKSUM_UNNECESSARY = skbuff.CHECKSUM_UNNECESSARY
cdef uint32_t PAD = skbuff.NET_SKB_PAD


@final
cdef class RxSkbs(BurstSink):
    """The sink of an RxRing of which somebody wants packets one by one; `attach` makes it fit a ring. Softirq."""

    def attach(self, receiver, errors, uint32_t count):
        """Let packets go to the device and the GRO of `receiver`, an SkbReceiver, `count` Frames at a time.

        `errors.error` is set to what a handler raises. Raises MemoryError.
        """
        free(self.words)
        self.words = <uint64_t*>calloc(count, sizeof(uint64_t))
        if self.words == NULL:
            raise MemoryError()
        self.receiver = receiver
        self.errors = errors

    def __dealloc__(self):
        free(self.words)

    cdef int deliver(self, Burst burst) noexcept nogil:
        with gil:
            try:
                self.receive(burst)
            except BaseException as error:
                self.errors.error = error
                return -1
        return 0

    cdef int receive(self, Burst burst) except -1:
        """Each packet to GRO, or past it; an error of one does not keep the others."""
        cdef uint32_t first = 0
        device, gro = self.receiver.device, self.receiver.gro
        pass_up = netif_receive_skb if gro is None else gro.receive
        while first < burst.count:
            skb = build_skb(&burst.frames[first])
            self.describe(skb, self.words[first])
            skb.protocol = eth_type_trans(skb, device)
            try:
                pass_up(skb)
            except BaseException as error:
                self.failed += 1
                self.errors.error = error
            while burst.frames[first].flags & FRAME_MORE:
                first += 1
            first += 1
        if gro is not None and gro.napi is None:        # else its NAPI flushes it, when that completes
            gro.flush()
        return 0

    cdef int describe(self, skb, uint64_t word) except -1:
        """Tag and checksum, by the descriptor. Of the tag the kernel's driver keeps the VLAN alone, and loses the priority."""
        if word & RXD_STAT_VP:
            skb.vlan_tci = word >> RXD_SPECIAL_SHIFT
        if word & RXD_STAT_IXSM:
            return 0
        if word & RXD_ERROR_TCPE:
            self.csum_errors += 1           # the stack shall look for itself
        elif word & RXD_STAT_TCPCS:
            skb.ip_summed = CHECKSUM_UNNECESSARY
            self.csum_good += 1
        return 0

    def __repr__(self):
        return f"<RxSkbs: {self.csum_good} checksums good, {self.csum_errors} bad>"


cdef object build_skb(const Frame* frame):
    """An SkBuff with a copy of the packet that begins with this Frame (napi_alloc_skb)."""
    cdef const Frame* piece = frame
    cdef uint32_t length = frame.len
    cdef char* target
    while piece.flags & FRAME_MORE:
        piece += 1
        length += piece.len
    head = PyByteArray_FromStringAndSize(NULL, PAD + length)
    target = PyByteArray_AS_STRING(head)
    memset(target, 0, PAD)
    target += PAD
    piece = frame
    while True:
        memcpy(target, piece.data, piece.len)
        target += piece.len
        if not piece.flags & FRAME_MORE:
            break
        piece += 1
    skb = SkBuff.__new__(SkBuff)
    skb.head = head
    skb.data_offset = PAD
    skb.tail_offset = PAD + length
    skb.tstamp = frame.time
    return skb
