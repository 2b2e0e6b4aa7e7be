"""IrqLine: a level-triggered interrupt line between a device and the CPU that runs its handler."""

from libc.stdint cimport uint32_t, uint64_t

ctypedef void (*irq_handler)(void* context) noexcept nogil

cdef class IrqLine:
    cdef uint32_t level             # written by the device, read by the CPU: atomic
    cdef readonly uint64_t raised   # low-to-high changes
    cdef readonly uint64_t handled  # times the handler ran
    cdef uint32_t ran_in_vain       # times since the line was last down
    cdef readonly bint nobody_cared     # shut off: its handler never quiets the device
    cdef irq_handler handler
    cdef void* context
    cdef object owner               # keeps context alive
    cdef public object error        # what a Python handler raised last, for whoever runs the loop
    cdef void set_level(self, bint level) noexcept nogil                # device side
    cdef bint take_message(self, uint64_t address, uint32_t data) noexcept nogil   # device side: an interrupt by message
    cdef void look(self) noexcept nogil                                 # CPU side: ask how the line is, where it does not tell by itself
    cdef bint service(self) noexcept nogil                              # CPU side: run the handler while the line is up, once
    cdef void request(self, irq_handler handler, void* context, object owner)    # request_irq
    cdef void shut_off(self) noexcept nogil
    cdef void release(self)                                             # free_irq
