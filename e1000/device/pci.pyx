"""The PCI function around the card (§4, §6.3.3, §13.2): configuration space, and what passes through the two BARs.

Configuration space is a byte array with masks, made from one line a register. What it switches is worked out once, when it is
written (`pci_update`): the engines find the host's memory or none at all, and an access finds one flag.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from e1000.device.eeprom cimport (
    CONTROL1, CONTROL1_DEVICE_ID, CONTROL1_SUBSYSTEM, DEVICE_ID_WORD, SUBSYSTEM_VENDOR_WORD, SUBSYSTEM_WORD, VENDOR_ID_WORD,
    eeprom_is_signed,
)
from e1000.device.interrupt cimport update_line
from e1000.device.link cimport update_path
from e1000.device.mmio cimport kick_rx, kick_tx, mmio_read, mmio_write, register_peek
from e1000.device.recorder cimport SPACE_CONFIG, SPACE_IO, SPACE_MMIO
from e1000.device.reset cimport card_reset
from e1000.device.state cimport BAR0_SIZE, Card
from e1000.device.threshold cimport update_thresholds
from e1000.device.watch cimport begin_access, begin_write, end_access, end_read, lead_memory, memory_of
from e1000.regs cimport ICR, ICS, IMC, IMS
from fastring.irq cimport IrqLine
from fastring.memory cimport IovaMap

cdef enum:                          # offsets in configuration space; the capabilities lie where silicon has them
    INTEL = 0x8086
    PCI_DEVICE_ID = 0x02
    PCI_REVISION = 0x08
    PCI_SUBSYSTEM = 0x2C
    PM = 0xDC
    PM_DATA = 0xE3
    MSI = 0xF0
    MSI_CONTROL = 0xF2

cdef enum:
    D3HOT = 3
    PME_BITS = (PMCSR_PME_ENABLE | PMCSR_PME_STATUS) >> 8       # in PMCSR's high byte
    IO_ADDRESS_MASK = 0xFFFFF       # IOADDR's other bits are always 0 (§13.2.2.1)
    POWER_D0 = 15                   # tenths of a watt: EEPROM word 22h as Intel's desktop cards have it
    POWER_D3 = 4

cdef uint8_t RESET[CONFIG_SIZE]
cdef uint8_t WRITABLE[CONFIG_SIZE]
cdef uint8_t CLEARED_BY_ONE[CONFIG_SIZE]


cdef int fill_tables() except -1:
    """One line a register: offset, bytes, value after reset, bits a write changes, bits that writing 1 clears. Others read 0.

    The I/O BAR is BAR1, where QEMU and so every guest image made on it has it; silicon has it behind a BAR for Flash, which a card
    without Flash lacks. Drivers look for the first I/O BAR. There is no PCI-X capability: an 82540EM has none (§6.3.3.2).
    """
    for offset, size, reset, writable, cleared in (
            (PCI_COMMAND, 2, 0, 0x0557, 0),                 # I/O, memory, master, MWI, parity, SERR#, INTx disable
            (PCI_STATUS, 2, 0x0230, 0, 0xF900),             # capability list, 66 MHz, DEVSEL medium
            (0x09, 3, 0x020000, 0, 0),                      # class: Ethernet
            (0x0C, 1, 0, 0xFF, 0),                          # cache line size
            (0x0D, 1, 0, 0xFF, 0),                          # latency timer
            (0x10, 4, 0, 0x100000000 - BAR0_SIZE, 0),       # BAR0: memory, 32-bit, not prefetchable
            (0x14, 4, 1, 0x100000000 - IO_SIZE, 0),         # BAR1: I/O
            (0x34, 1, PM, 0, 0),                            # first capability
            (0x3C, 1, 0, 0xFF, 0),                          # interrupt line
            (0x3D, 1, 1, 0, 0),                             # interrupt pin: A
            (0x3E, 1, 0xFF, 0, 0),                          # Min_Gnt; Max_Lat is 0
            (PM, 2, MSI << 8 | 0x01, 0, 0),
            (PM + 2, 2, 0xC822, 0, 0),                      # version 2, DSI, PME# from D0, D3hot and D3cold
            (PMCSR, 2, 0, 0x1F03, 0x8000),                  # PowerState, PME_En, Data_Select; PME_Status. No_Soft_Reset is 0
            (MSI, 2, 0x05, 0, 0),                           # the last one
            (MSI_CONTROL, 2, 0x80, 1, 0),                   # 64-bit, one message
            (MSI + 4, 4, 0, 0xFFFFFFFC, 0),                 # message address
            (MSI + 8, 4, 0, 0xFFFFFFFF, 0),
            (MSI + 12, 2, 0, 0xFFFF, 0)):                   # message data
        for i in range(size):
            RESET[offset + i] = reset >> 8 * i & 0xFF
            WRITABLE[offset + i] = writable >> 8 * i & 0xFF
            CLEARED_BY_ONE[offset + i] = cleared >> 8 * i & 0xFF
    return 0


fill_tables()

# What a card reaches that is on no bus or may not be its master: every access is a master abort.
cdef IovaMap NOWHERE


# --- configuration space ---

cdef inline uint32_t config16(const Card* card, uint32_t offset) noexcept nogil:
    return card.pci.config[offset] | <uint32_t>card.pci.config[offset + 1] << 8


cdef inline uint32_t config32(const Card* card, uint32_t offset) noexcept nogil:
    return config16(card, offset) | config16(card, offset + 2) << 16


cdef inline void put16(Card* card, uint32_t offset, uint32_t value) noexcept nogil:
    card.pci.config[offset] = <uint8_t>value
    card.pci.config[offset + 1] = <uint8_t>(value >> 8)


cdef inline bint asleep(const Card* card) noexcept nogil:
    """In D3hot."""
    return card.pci.config[PMCSR] & 3 == D3HOT


cdef void pci_reset(Card* card, uint32_t command) noexcept nogil:
    """RST# for configuration space and IOADDR; `command` is what firmware writes to the command register afterwards."""
    memcpy(card.pci.config, RESET, CONFIG_SIZE)
    put16(card, PCI_COMMAND, command & 0x0557)
    card.pci.config[PCI_REVISION] = card.pci.revision
    pci_load_ids(card)
    card.pci.ioaddr = 0
    report_power(card)
    pci_update(card)


cdef void pci_load_ids(Card* card) noexcept nogil:
    """IDs from the EEPROM, as far as its CONTROL1 says that they are there (§5.6); otherwise the chip's own."""
    cdef uint16_t* words = card.eeprom.words
    cdef uint32_t loads = words[CONTROL1] if eeprom_is_signed(&card.eeprom) else 0
    put16(card, 0, words[VENDOR_ID_WORD] if loads & CONTROL1_DEVICE_ID else INTEL)
    put16(card, PCI_DEVICE_ID, words[DEVICE_ID_WORD] if loads & CONTROL1_DEVICE_ID else card.pci.device_id)
    put16(card, PCI_SUBSYSTEM, words[SUBSYSTEM_VENDOR_WORD] if loads & CONTROL1_SUBSYSTEM else INTEL)
    put16(card, PCI_SUBSYSTEM + 2, words[SUBSYSTEM_WORD] if loads & CONTROL1_SUBSYSTEM else card.pci.device_id)


cdef inline uint32_t allowed(const Card* card) noexcept nogil:
    """The command register, as far as the power state lets it act: in D3hot nothing is allowed (§6.3.3)."""
    return 0 if asleep(card) else config16(card, PCI_COMMAND)


cdef inline IovaMap* reachable(const Card* card) noexcept nogil:
    return card.host_iovas if allowed(card) & COMMAND_MASTER and card.host_iovas != NULL else &NOWHERE


cdef void pci_update(Card* card) noexcept nogil:
    """Make configuration space count: decoding, DMA, INTx and messages."""
    cdef bint regained = use_memory(card, reachable(card))
    decode(card)
    if not card.msi:
        card.pci.msi_sent = False
    elif card.irq != NULL:
        (<IrqLine>card.irq).set_level(False)
    update_line(card)
    update_thresholds(card)             # cache line size
    update_path(card)
    if regained:                        # what waited for the bus master goes on without a doorbell
        kick_tx(card)
        kick_rx(card)


cdef void decode(Card* card) noexcept nogil:
    """Work out what configuration space allows."""
    cdef uint32_t command = allowed(card)
    cdef bint messages = card.pci.config[MSI_CONTROL] & 1
    card.asleep = asleep(card)
    card.memory_off = not command & COMMAND_MEMORY
    card.pci.io_off = not command & COMMAND_IO
    card.intx_mask = 0 if messages or command & COMMAND_INTX_DISABLE or asleep(card) else 0xFFFFFFFFu
    card.msi = messages and command & COMMAND_MASTER
    card.pci.msi_address = config32(card, MSI + 4) | <uint64_t>config32(card, MSI + 8) << 32
    card.pci.msi_data = config16(card, MSI + 12)


cdef void pci_derive(Card* card) noexcept nogil:
    """Work out what follows from configuration space, and do nothing of what a write to it does."""
    lead_memory(card, reachable(card))
    decode(card)


cdef bint pci_is_possible(const Card* card) noexcept nogil:
    """Whether configuration space, as it comes out of a snapshot, has no bit that it cannot have."""
    cdef uint32_t i, fixed
    for i in range(CONFIG_SIZE):
        fixed = ~<uint32_t>(WRITABLE[i] | CLEARED_BY_ONE[i]) & 0xFF
        if i == PMCSR + 1:
            fixed &= ~0x60u                                 # Data_Scale, by Data_Select
        if not is_identity(i) and i != PM_DATA and (card.pci.config[i] ^ RESET[i]) & fixed:
            return False
    return (card.pci.config[PCI_REVISION] == card.pci.revision
            and card.pci.ioaddr <= IO_ADDRESS_MASK and 0 <= card.pci.msi_sent <= 1)


cdef inline bint is_identity(uint32_t offset) noexcept nogil:
    """Bytes that differ from card to card."""
    return offset < PCI_DEVICE_ID + 2 or offset == PCI_REVISION or PCI_SUBSYSTEM <= offset < PCI_SUBSYSTEM + 4


cdef bint use_memory(Card* card, IovaMap* iovas) noexcept nogil:
    """Where DMA leads from now on; returns whether it leads anywhere again."""
    if memory_of(card) == iovas:
        return False
    lead_memory(card, iovas)
    card.generation += 1
    return iovas != &NOWHERE


cdef void report_power(Card* card) noexcept nogil:
    """PMCSR.Data_Scale and the data register for what Data_Select asks (§6.3.3.4, §6.3.3.6)."""
    cdef uint32_t select = card.pci.config[PMCSR + 1] >> 1 & 15, watts = 0
    if select == 0 or select == 4:
        watts = POWER_D0
    elif select == 3 or select == 7:
        watts = POWER_D3
    card.pci.config[PM_DATA] = <uint8_t>watts
    card.pci.config[PMCSR + 1] &= ~0x60
    if watts:
        card.pci.config[PMCSR + 1] |= 0x20          # tenths


cdef uint32_t config_read(Card* card, uint32_t offset, uint32_t size) noexcept nogil:
    """Read 1, 2 or 4 bytes at any offset; what lies behind the end reads all ones."""
    cdef uint32_t value = 0, i, byte
    for i in range(size):
        byte = 0xFF
        if offset + i < CONFIG_SIZE:
            byte = card.pci.config[offset + i]
            if offset + i == PCI_STATUS and card.icr & card.ims:
                byte |= STATUS_INTERRUPT                    # also while INTx is disabled
        value |= byte << 8 * i
    end_read(card, SPACE_CONFIG, offset, value, size)
    return value


cdef void config_write(Card* card, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil:
    """Write 1, 2 or 4 bytes at any offset, and do what that switches. From D3hot to D0 the card resets, as No_Soft_Reset is 0."""
    cdef bint slept = asleep(card)
    cdef uint32_t i, at
    cdef uint8_t byte, mask
    begin_write(card, SPACE_CONFIG, offset, value, size)
    for i in range(size):
        at = offset + i
        if at >= CONFIG_SIZE:
            break
        byte = <uint8_t>(value >> 8 * i)
        mask = WRITABLE[at]
        if at == PMCSR and (byte & 3 == 1 or byte & 3 == 2):
            mask = 0                                        # D1 and D2 there are not: discarded
        card.pci.config[at] = ((card.pci.config[at] & ~mask) | (byte & mask)) & ~(byte & CLEARED_BY_ONE[at])
    if slept and not asleep(card):
        wake(card)
    report_power(card)
    pci_update(card)
    end_access(card)


cdef void wake(Card* card) noexcept nogil:
    """From D3hot to D0, uninitialized: all is lost but what PME# needs."""
    cdef uint8_t pme = card.pci.config[PMCSR + 1] & PME_BITS
    pci_reset(card, 0)
    card.pci.config[PMCSR + 1] |= pme
    card_reset(card)


# --- BAR1: two registers that lead to all of BAR0 before memory is mapped (§13.2.2) ---

cdef uint32_t io_read(Card* card, uint32_t offset, uint32_t size) noexcept nogil:
    """Read within one dword. Ones where nothing is: behind IODATA, past the registers (no Flash), and with I/O disabled."""
    cdef uint32_t value = 0xFFFFFFFFu
    begin_access(card)
    if not card.pci.io_off:
        if offset & ~3u == 0:
            value = card.pci.ioaddr
        elif offset & ~3u == 4 and card.pci.ioaddr < BAR0_SIZE:
            value = mmio_read(card, card.pci.ioaddr)
    value = part_of(value, offset, size)
    end_read(card, SPACE_IO, offset, value, size)
    return value


cdef void io_write(Card* card, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil:
    """Write IOADDR or IODATA; anything but a whole dword is ignored (§13.2.2.1, §13.2.2.2)."""
    begin_write(card, SPACE_IO, offset, value, size)
    if card.pci.io_off or size != 4:
        pass
    elif offset == 0:
        card.pci.ioaddr = value & IO_ADDRESS_MASK
    elif offset == 4 and card.pci.ioaddr < BAR0_SIZE:
        mmio_write(card, card.pci.ioaddr, value)
    end_access(card)


# --- BAR0 by 8 and 16 bits ---

cdef inline uint32_t part_of(uint32_t value, uint32_t offset, uint32_t size) noexcept nogil:
    """The bytes of a dword that an access at `offset` asks for."""
    value >>= 8 * (offset & 3)
    return value if size == 4 else value & ((1u << 8 * size) - 1)


cdef uint32_t memory_read(Card* card, uint32_t offset, uint32_t size) noexcept nogil:
    """Read within one dword: the whole register is read, side effects once, whichever byte enables are set."""
    cdef uint32_t value = 0xFFFFFFFFu
    begin_access(card)
    if not card.memory_off:
        value = mmio_read(card, offset)
    value = part_of(value, offset, size)
    end_read(card, SPACE_MMIO, offset, value, size)
    return value


cdef void memory_write(Card* card, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil:
    """Write within one dword. The manual asks for 32 bits at a time (§13.2.1); of fewer, byte enables change only their bytes.

    In a register where writing 1 acts, the other bytes do nothing.
    """
    cdef uint32_t at = offset & ~3u, shift = 8 * (offset & 3), mask = part_of(0xFFFFFFFFu, 0, size) << shift
    if card.memory_off:
        return
    begin_write(card, SPACE_MMIO, offset, value, size)
    value = value << shift & mask
    if at != ICR and at != ICS and at != IMS and at != IMC:
        value |= <uint32_t>register_peek(card, at) & ~mask
    mmio_write(card, at, value)
    end_access(card)
