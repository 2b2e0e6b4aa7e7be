"""IrqLine: a level-triggered interrupt line between a device and the CPU that runs its handler.

As PCI's INTx: the device holds the line up as long as a cause is pending and not masked, and the handler runs as long as it
is up. Nothing is queued, so nothing can be lost or doubled; a handler that fails to quiet its device just runs again.
"""

import errno

from fastring.atomic cimport load_acquire32, store_release32

cdef enum:
    STORM = 100_000                 # runs of a handler in vain


cdef class IrqLine:
    """One line. The device's thread alone sets the level; the CPU's thread alone services, requests and releases."""

    cdef void set_level(self, bint level) noexcept nogil:
        """Drive the line; device thread only. Publishes what the device wrote before (pairs with the acquire in service)."""
        if not level:
            self.ran_in_vain = 0
        elif not self.level:
            self.raised += 1
        store_release32(&self.level, level)

    cdef bint take_message(self, uint64_t address, uint32_t data) noexcept nogil:
        """Deliver an interrupt by message (MSI), for a host whose messages are no writes to its memory; return whether this is one."""
        return False

    cdef void look(self) noexcept nogil:
        """Bring `level` up to date, for a line whose device has to be asked; `service` does it, too. CPU thread only."""

    cdef bint service(self) noexcept nogil:
        """Run the handler once if the line is up; return whether it ran. CPU thread only.

        After 100,000 runs without the line going down it is shut off, as the kernel does it ("nobody cared"); request_irq opens it again.
        """
        if self.handler == NULL or self.nobody_cared or not load_acquire32(&self.level):
            return False
        self.ran_in_vain += 1
        if self.ran_in_vain > STORM:
            self.shut_off()
            return False
        self.handled += 1
        self.handler(self.context)
        return True

    cdef void request(self, irq_handler handler, void* context, object owner):
        """Set the handler, replacing any other; `owner` keeps context alive until release."""
        self.owner = owner
        self.context = context
        self.ran_in_vain = 0
        self.nobody_cared = False
        self.error = None               # of the handler before
        self.handler = handler

    cdef void shut_off(self) noexcept nogil:
        self.nobody_cared = True
        with gil:
            self.error = OSError(errno.EIO, f"nobody cared: the line stayed up through {STORM:,} runs of its handler, and is shut off")

    cdef void release(self):
        """Forget the handler."""
        self.handler = NULL
        self.context = NULL
        self.owner = None

    def raise_irq(self):
        """Drive the line up, as the device does."""
        self.set_level(True)

    def lower_irq(self):
        """Let the line down, as the device does."""
        self.set_level(False)

    def request_irq(self, handler):
        """Call `handler()` whenever the line is serviced while up. Raises OSError EBUSY while there is a handler.

        What it raises is kept in `error`, and raised by Softirq.net_rx_action and by `handle_irq`.
        """
        if not callable(handler):
            raise TypeError(f"an interrupt handler must be callable, not {type(handler).__name__}")
        if self.handler != NULL:
            raise OSError(errno.EBUSY, "the interrupt line has a handler already: free_irq first")
        self.request(_call_handler, <void*>self, handler)

    def free_irq(self):
        """Forget the handler; harmless when there is none."""
        self.release()

    def handle_irq(self):
        """Run the handler once if the line is up; return whether it ran. Raises what a Python handler raised."""
        cdef bint ran
        with nogil:
            ran = self.service()
        error, self.error = self.error, None
        if error is not None:
            raise error
        return ran

    @property
    def wire(self):
        """What from outside the process makes the device raise this line, for who waits for it; or None.

        A wire whose frames do, or the line itself, if another process drives it: its `fileno` wakes who waits.
        """
        return None

    @property
    def requested(self):
        """Whether it has a handler."""
        return self.handler != NULL

    @property
    def asserted(self):
        """Whether the line is up."""
        return bool(load_acquire32(&self.level))

    def __repr__(self):
        return f"<IrqLine: {'up' if self.asserted else 'down'}, raised {self.raised} times, handled {self.handled}>"


cdef void _call_handler(void* context) noexcept nogil:
    with gil:
        line = <IrqLine>context
        try:
            line.owner()
        except BaseException as error:      # a handler cannot raise: kept for whoever runs the loop
            line.error = error
