"""DoorbellPages: the pages of BAR0 with the rings' registers, as memory that a client maps, so that a doorbell is a store.

The card cannot see a store as it happens: the server looks at the pages between messages and packets, and does what differs from what
the card put there as the register write that it is. So a store counts in the order of its looks: before the next message, and before a
tail that was stored after it. A register that has its value already is not written again, which is what writing a tail, a base, a
length or a delay with its own value comes to.

Whoever sleeps is not woken by a store: before it sleeps the server says so in the word at WAKEUP, looks once more, and a client that
knows of that word (it was told in the version reply) sends a message after a store that found it set. Such a client also finds at
INTERRUPTS how often INTx was signalled, and makes no system call to learn that it was not.
"""

import fcntl
import os

from e1000.device.mmio cimport register_peek
from e1000.device.state cimport BAR0_SIZE
from e1000.regs cimport RDH, RDT, TDH, TDT
from fastring.atomic cimport compare_exchange32, fence_full, load_acquire32, store_release32

from e1000 import regmap

START, SIZE = PAGES_START, PAGES_SIZE
WORDS = {"interrupts": INTERRUPTS, "wakeup": WAKEUP}

cdef enum:
    TAILS = 2                       # at the end of `offsets`: RDT, TDT
    HEADS = 2                       # before them: RDH, TDH


cdef class DoorbellPages:
    """For one client of `device`: it keeps its mapping as long as it likes, and may store anything. The server's thread alone.

    `fileno()`: a memfd laid out as BAR0, of which these pages are there; sealed, so that nobody cuts it short. Raises OSError.
    """

    def __cinit__(self):
        self.fd = -1

    def __init__(self, E1000Device device not None):
        last = [RDH, TDH, RDT, TDT]
        there = [offset for offset in regmap.expand() if PAGES_START <= offset < PAGES_START + PAGES_SIZE and offset not in last]
        self.device = device
        self.fd = os.memfd_create("e1000-bar0", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, BAR0_SIZE)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        self.mapping = FileMapping(self.fd, PAGES_SIZE, offset=PAGES_START, writable=True)
        self.pages = <uint32_t*>self.mapping.base
        for offset in there + last:
            self.offsets[self.count] = offset
            self.count += 1
        self.show()

    def __dealloc__(self):
        self.close()

    cdef uint32_t* slot(self, uint32_t offset) noexcept nogil:
        return self.pages + ((offset - PAGES_START) >> 2)

    cdef bint tails_moved(self) noexcept nogil:
        """Whether a doorbell was rung: the look that is cheap enough for every round."""
        return load_acquire32(self.slot(TDT)) != self.shown[self.count - 1] or load_acquire32(self.slot(RDT)) != self.shown[self.count - 2]

    cdef bint stored(self) noexcept nogil:
        """Whether the client stored anything."""
        cdef uint32_t i
        for i in range(self.count):
            if load_acquire32(self.slot(self.offsets[i])) != self.shown[i]:
                return True
        return False

    cdef bint take_stores(self) noexcept nogil:
        """Do what the client stored; whether that was anything."""
        cdef uint32_t i, value
        cdef bint found = False
        for i in range(self.count):
            value = load_acquire32(self.slot(self.offsets[i]))
            if value != self.shown[i]:
                self.stores += 1
                self.device.write32(self.offsets[i], value)
                self.put(i, value)
                found = True
        return found

    cdef void put(self, uint32_t i, uint32_t there) noexcept nogil:
        """Show the register as it is, unless the client has stored over what was `there`: that is found at the next look."""
        cdef uint32_t value = <uint32_t>register_peek(self.device.card, self.offsets[i])
        self.shown[i] = value
        if value != there:
            compare_exchange32(self.slot(self.offsets[i]), &there, value)

    cdef void show(self) noexcept nogil:
        """Show all registers as they are, after whatever may have changed them."""
        cdef uint32_t i
        for i in range(self.count):
            self.put(i, self.shown[i])

    cdef void show_heads(self) noexcept nogil:
        """Show what the card changes by itself."""
        cdef uint32_t i
        for i in range(self.count - TAILS - HEADS, self.count - TAILS):
            self.put(i, self.shown[i])

    def fileno(self):
        """What a client maps."""
        return self.fd

    def sleep(self):
        """Say that stores have to be told from now on; False, and nothing said, if there was one just now."""
        store_release32(self.slot(WAKEUP), 1)
        fence_full()                    # pairs with the client's, between its store and its look at the word
        if not self.stored():
            return True
        self.wake()
        return False

    def wake(self):
        """Say that they are looked for."""
        store_release32(self.slot(WAKEUP), 0)

    def close(self):
        """Forget the descriptor; again is harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __repr__(self):
        return f"<DoorbellPages: {self.stores} stores>"
