"""Interrupts as messages (MSI, §4.1.3.1)."""

from libc.string cimport memcpy

from e1000.device.pci cimport received_master_abort
from e1000.device.state cimport Card
from fastring.atomic cimport fence_full
from fastring.memory cimport translate


cdef void update_message(Card* card) noexcept nogil:
    """Send one message when an unmasked cause becomes pending: a 32-bit write to host memory, behind all data written before."""
    cdef bint pending = (card.icr & card.ims) != 0
    cdef unsigned char* target
    if pending and not card.pci.msi_sent:
        target = translate(card.iovas, card.pci.msi_address, 4, True, &card.pci.msi_hint)
        if target == NULL:
            received_master_abort(card)
        else:
            fence_full()
            memcpy(target, &card.pci.msi_data, 4)
    card.pci.msi_sent = pending
