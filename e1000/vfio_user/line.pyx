"""EventLine: a card's interrupts as eventfds of a vfio-user client.

INTx is level-triggered and an eventfd is not: it fires once as the line goes up, is masked from then on (VFIO_IRQ_INFO_AUTOMASKED), and
fires again at the client's unmask if the line is still up, or at its next rise.
"""

import errno
import os

from libc.stdint cimport uint32_t

from fastring.atomic cimport load_acquire32, store_release32
from fastring.socket_calls cimport c_close, c_write


cdef class EventLine(IrqLine):
    """The line of a served card, and its messages. Descriptors handed to it are its own. The server's thread alone."""

    def __cinit__(self):
        self.fds[IRQ_INTX] = self.fds[IRQ_MSI] = -1

    def __dealloc__(self):
        self.forget()

    cdef void set_level(self, bint level) noexcept nogil:
        IrqLine.set_level(self, level)
        self.look_again()

    cdef bint take_message(self, uint64_t address, uint32_t data) noexcept nogil:
        self.fire(IRQ_MSI)
        return True

    cdef void look_again(self) noexcept nogil:
        """Fire INTx if the line is up and nothing masks it."""
        if load_acquire32(&self.level) and not self.masked and not self.muted and self.fds[IRQ_INTX] >= 0:
            self.masked = True
            self.fire(IRQ_INTX)

    cdef void unmask(self) noexcept nogil:
        self.masked = self.muted = False
        self.look_again()

    cdef void fire(self, int kind) noexcept nogil:
        cdef uint64_t one = 1
        if self.fds[kind] >= 0:
            self.signalled += 1
            if kind == IRQ_INTX and self.rung != NULL:
                store_release32(self.rung, load_acquire32(self.rung) + 1)
            c_write(self.fds[kind], &one, sizeof(one))      # a counter that is full has been signalled

    def assign(self, int kind, fd):
        """Signal IRQ_INTX or IRQ_MSI on `fd`, an eventfd, from now on; None: on none. Raises OSError EINVAL for another descriptor."""
        if fd is not None:
            self._check(fd)
        if self.fds[kind] >= 0:
            c_close(self.fds[kind])
        self.fds[kind] = -1 if fd is None else fd
        if kind == IRQ_INTX:
            self.masked = self.muted = False
            self.look_again()

    def _check(self, int fd):
        """A write to it must not block, and mean what it should."""
        if os.readlink(f"/proc/self/fd/{fd}") != "anon_inode:[eventfd]":
            raise OSError(errno.EINVAL, f"descriptor {fd} is no eventfd")
        os.set_blocking(fd, False)

    def mask(self, bint masked):
        """INTx: fire no more, or again, at once if the line is up."""
        if masked:
            self.muted = True
        else:
            self.unmask()

    def trigger(self, int kind):
        """Signal it without a cause, as a client asks for to try its eventfd."""
        self.fire(kind)

    def assigned(self, int kind):
        """Whether it has an eventfd."""
        return self.fds[kind] >= 0

    cpdef void forget(self):
        """Close the descriptors: the client is gone."""
        cdef int i
        for i in range(IRQ_KINDS):
            if self.fds[i] >= 0:
                c_close(self.fds[i])
            self.fds[i] = -1
        self.masked = self.muted = False
