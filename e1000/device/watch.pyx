"""Register accesses of a card that somebody looks at."""

from e1000.device.handlers cimport Handlers
from e1000.device.mmio cimport register_read, register_write


cdef uint32_t watched_read(Card* card, uint32_t offset) noexcept nogil:
    """mmio_read: `offset` is a register's."""
    cdef Watch* watch = <Watch*>card.watch
    cdef uint32_t value
    if watch.handlers == NULL or not (<Handlers>watch.handlers).read(offset, &value):
        value = register_read(card, offset)
    return value


cdef void watched_write(Card* card, uint32_t offset, uint32_t value) noexcept nogil:
    """mmio_write: `offset` is a register's."""
    cdef Watch* watch = <Watch*>card.watch
    if watch.handlers == NULL or not (<Handlers>watch.handlers).write(offset, value):
        register_write(card, offset, value)
