"""Registers that Python functions answer for, instead of the card: slow ones, such as those of EEPROM and PHY.

A handler runs inside the access, on the thread that makes it. It may use the card; the register it stands for is then the card's own.
"""

import threading

from e1000.device.unraisable cimport unraisable

cdef enum:
    REPLACES_READ = 1
    REPLACES_WRITE = 2


cdef class Handlers:

    def __cinit__(self):
        self.readers = {}
        self.writers = {}
        self.running = set()

    cdef void set(self, bint write, uint32_t offset, object function):
        if write:
            self.writers[offset] = function
        else:
            self.readers[offset] = function
        self.replaced[offset >> 2] |= REPLACES_WRITE if write else REPLACES_READ

    cdef void forget(self, uint32_t offset):
        self.replaced[offset >> 2] = 0
        self.readers.pop(offset, None)
        self.writers.pop(offset, None)

    cdef bint read(self, uint32_t offset, uint32_t* value) noexcept nogil:
        """Whether a handler answered the read; all ones, as of a card that is gone, if it failed."""
        if not self.replaced[offset >> 2] & REPLACES_READ:
            return False
        with gil:
            function = self.readers.get(offset)
            if function is None or (offset, threading.get_ident()) in self.running:
                return False
            try:
                answer = self.call(function, offset, (offset,))
                if not 0 <= answer <= 0xFFFFFFFF:
                    raise ValueError(f"a register holds 0 to 0xffffffff, not {answer:#x}")
                value[0] = answer
            except BaseException as error:
                value[0] = 0xFFFFFFFFu
                unraisable(error, function)
            return True

    cdef bint write(self, uint32_t offset, uint32_t value) noexcept nogil:
        """Whether a handler took the write; it is lost if that failed."""
        if not self.replaced[offset >> 2] & REPLACES_WRITE:
            return False
        with gil:
            function = self.writers.get(offset)
            if function is None or (offset, threading.get_ident()) in self.running:
                return False
            try:
                self.call(function, offset, (offset, value))
            except BaseException as error:
                unraisable(error, function)
            return True

    cdef object call(self, object function, uint32_t offset, tuple arguments):
        key = offset, threading.get_ident()
        self.running.add(key)
        try:
            return function(*arguments)
        finally:
            self.running.discard(key)
