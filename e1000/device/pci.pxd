"""The PCI function around the card (§4, §6.3.3, §13.2): configuration space, and what passes through the two BARs."""

from libc.stdint cimport uint32_t

from e1000.device.state cimport Card
from e1000.device.watch cimport memory_of

cdef enum:
    CONFIG_SIZE = 256
    IO_SIZE = 64

cdef enum:                          # offsets in configuration space
    PCI_COMMAND = 0x04
    PCI_STATUS = 0x06
    PMCSR = 0xE0

cdef enum:
    PMCSR_PME_ENABLE = 1 << 8
    PMCSR_PME_STATUS = 1 << 15

cdef enum:
    COMMAND_IO = 1 << 0
    COMMAND_MEMORY = 1 << 1
    COMMAND_MASTER = 1 << 2
    COMMAND_INTX_DISABLE = 1 << 10
    STATUS_INTERRUPT = 1 << 3
    STATUS_MASTER_ABORT = 1 << 13

cdef void pci_reset(Card* card, uint32_t command) noexcept nogil
cdef void pci_load_ids(Card* card) noexcept nogil
cdef void pci_update(Card* card) noexcept nogil
cdef void pci_derive(Card* card) noexcept nogil
cdef bint pci_is_possible(const Card* card) noexcept nogil
cdef uint32_t config_read(Card* card, uint32_t offset, uint32_t size) noexcept nogil
cdef void config_write(Card* card, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil
cdef uint32_t io_read(Card* card, uint32_t offset, uint32_t size) noexcept nogil
cdef void io_write(Card* card, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil
cdef uint32_t memory_read(Card* card, uint32_t offset, uint32_t size) noexcept nogil
cdef void memory_write(Card* card, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil


cdef inline void received_master_abort(Card* card) noexcept nogil:
    """Note in the status register that DMA led nowhere; a card that may not do DMA did none."""
    if memory_of(card) == card.host_iovas:
        card.pci.config[PCI_STATUS + 1] |= STATUS_MASTER_ABORT >> 8
