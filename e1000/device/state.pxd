"""Card: the whole state of one 82540EM in one plain struct, so that engines need no Python object."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from e1000.desc cimport Desc
from e1000.device.eeprom cimport Eeprom
from e1000.device.mdio cimport Mdio
from e1000.device.phy cimport Phy
from fastring.clock cimport Timer
from fastring.memory cimport IovaMap

cdef enum:
    BAR0_SIZE = 0x20000
    REG_WORDS = 0x8000              # 32-bit registers in it
    RAR_ENTRIES = 16
    STATS = 64                      # 32-bit slots from 0x4000; a 64-bit statistic lives in its low half's slot
    FIFO_SIZE = 0x10000             # packet buffer: 64 KiB, split by PBA
    STAGE_SIZE = 0x10000

cdef enum:                          # frames that reached the card and went nowhere; the manual counts only some of them
    DROP_RX_DISABLED                # RCTL.EN clear or link down: nobody listens
    DROP_RX_FILTERED                # not for this address or VLAN
    DROP_RX_CONTROL                 # a MAC control frame, for the card alone
    DROP_RX_RUNT                    # RUC, RFC
    DROP_RX_OVERSIZE                # ROC, RJC
    DROP_RX_ERROR                   # damaged on its wire: CRCERRS, ALGNERRC, RXERRC
    DROP_RX_MISSED                  # MPC: FIFO full
    DROP_RX_DMA                     # buffer or ring outside mapped memory
    DROP_TX_DMA
    DROP_TX_EMPTY                   # a packet of no bytes
    DROP_TX_OVERSIZE                # longer than the packet buffer can ever send
    DROP_TX_CONTEXT                 # a segmentation whose context makes no sense: no MSS, no header, or more header than data
    DROP_TX_COLLISION               # given up after collisions: ECOL, LATECOL
    DROP_REASONS

cdef enum:                          # why a packet may not take the plain path: bits of tx_general and rx_general
    GENERAL_FAULTS = 1 << 0         # errors are injected
    GENERAL_VLAN = 1 << 2
    GENERAL_CHECKSUM = 1 << 3
    GENERAL_PAUSE = 1 << 4          # flow control
    GENERAL_WRITEBACK = 1 << 7      # descriptors are written back some at a time
    GENERAL_SMALL = 1 << 8          # small packets are told apart (RSRPD)
    GENERAL_PROCESS = GENERAL_FAULTS    # of these, what is no state of the card

cdef enum:                          # what the card waits for
    WAIT_THROTTLE                   # ITR: the next interrupt may come
    WAIT_RX_PACKET                  # RDTR
    WAIT_RX_ABSOLUTE                # RADV
    WAIT_TX_PACKET                  # TIDV
    WAIT_TX_ABSOLUTE                # TADV
    WAIT_TX_LATE                    # delayed DMA, by ring
    WAIT_RX_LATE
    WAITS

cdef enum:
    MOST_KEPT = 64                  # descriptors in the card's own buffer

cdef extern from *:
    """
    #define FASTRING_NEVER INT64_MAX
    """
    const int64_t NEVER "FASTRING_NEVER"

cdef enum:
    NO_TYPE = 0x10000               # no 16-bit Ethernet type equals it

cdef enum:                          # why the transmitter waits, its packets in the ring: bits of tx_hold
    HOLD_LINK = 1 << 0              # no link
    HOLD_PAUSE = 1 << 1             # the other end sent XOFF

cdef enum:                          # flow control: bits of flow
    FLOW_SENDS = 1 << 0             # CTRL.TFCE is in effect
    FLOW_RESUMED = 1 << 1           # XON came: the transmitter goes on once the receive engine is done

cdef enum:                          # bits of stalled
    STALL_WAITS = 1 << 0            # the card waits for memory that is elsewhere, its host accesses registers: no engine is started
    STALL_TX = 1 << 1               # this one would have been
    STALL_RX = 1 << 2
    STALL_STOPPED = 1 << 3          # the card is stopped

cdef enum:                          # why no frame from the wire reaches the receiver: bits of rx_gate
    GATE_LINK = 1 << 0
    GATE_LOOPBACK = 1 << 1
    GATE_OFF = 1 << 2               # RCTL.EN is clear, or the card in D3: a frame may wake the host up

ctypedef struct DeviceLock:         # see lock.pxd
    uint64_t owner                  # pthread_self of its holder: atomic
    uint32_t held                   # atomic
    uint32_t depth

ctypedef struct Pci:                # the PCI function (device/pci.pyx)
    uint8_t config[256]             # configuration space
    uint16_t device_id              # the chip's own, for an EEPROM that has none
    uint8_t revision
    bint io_off                     # I/O accesses are not answered
    uint32_t ioaddr
    uint64_t msi_address            # MSI's registers, as pci_update found them
    uint32_t msi_data, msi_hint
    bint msi_sent                   # for the causes that are pending

ctypedef struct WriteBack:          # descriptors done with, whose status the host has not been told (device/threshold.pyx)
    uint32_t threshold              # so many are written together; 0: each at once
    uint32_t count
    uint32_t slots[MOST_KEPT]
    uint64_t words[MOST_KEPT]       # what is written to them

ctypedef struct Card:
    # Transmit engine. tdt may be written by the driver's thread: atomic.
    IovaMap* iovas                  # host_iovas, or nothing while the card may not do DMA
    uint64_t tdba
    uint32_t tdlen, tdh, tdt, tctl
    uint32_t tx_ring_hint, tx_data_hint
    bint tx_running, tx_again
    uint32_t tx_hold                # HOLD_*
    bint tx_deferred                # DC has counted what waits
    bint loopback                   # what is sent is received here, and nowhere else
    uint32_t tx_general             # GENERAL_*: 0 as long as the plain path will do
    Desc tx_context[2]              # the last context descriptors: for checksums, and (TSE) for segmentation
    uint32_t tx_segments            # of the packet at the head, these the wire has taken already
    uint64_t tx_budget              # bytes of segments that this run may still make
    bint tx_owed                    # it ran out before the ring was done with
    Timer tx_timer                  # armed while something is owed
    uint8_t* tx_stage               # [STAGE_SIZE]: packets the card works on; nothing outlives a call to the wire
    void* wire                      # a fastring.wire.Wire, held by the E1000Device

    # Receive engine. rdt may be written by the driver's thread: atomic.
    uint64_t rdba
    uint32_t rdlen, rdh, rdt, rctl
    uint32_t rx_ring_hint, rx_data_hint
    uint32_t rx_buffer_size         # from RCTL.BSIZE and BSEX
    uint32_t rx_general             # GENERAL_*: 0 as long as the plain path will do
    uint32_t rx_gate                # GATE_*
    uint32_t flow                   # FLOW_*
    uint32_t settling               # flow_settle runs so many times in itself
    bint xoff_sent                  # the other end was told to pause, and not yet to go on
    bint rx_refused                 # a lossless wire waits for room
    bint rx_checksums               # RXCSUM was written since the reset: somebody looks
    uint32_t vlan_type, control_type    # Ethernet types that tags and MAC control frames have, as loaded; NO_TYPE: no matter
    uint32_t ra_count               # entries of ra that may match
    uint64_t ra[RAR_ENTRIES]        # station addresses, first byte lowest
    uint32_t source_count           # those to be matched with a frame's source (RAH.AS)
    uint64_t source[RAR_ENTRIES]

    # Interrupts
    uint32_t icr, ims
    uint32_t intx_mask              # 0: the line stays down
    bint msi                        # interrupts are messages
    void* irq                       # a fastring.irq.IrqLine, held by the E1000Device
    bint interrupting               # the line is up, or the message sent
    int64_t interrupted             # when that began last, while ITR throttles
    int64_t deadlines[WAITS]        # on the clock; NEVER
    Timer wait_timer                # armed for the first of them, or before; a DeviceThread looks by itself
    WriteBack tx_kept, rx_kept

    # Threads: set when a DeviceThread runs the engines, and then whoever touches the card takes the lock
    bint threaded
    bint memory_off                 # accesses to BAR0 are not answered
    void* watch                     # a Watch (watch.pxd), held by the E1000Device; NULL: nobody looks
    void* faults                    # a Plan (faults.pxd), held by the E1000Device; NULL: nothing goes wrong
    bint asleep                     # in D3hot
    DeviceLock* lock
    uint32_t stalled                # STALL_*
    uint32_t generation             # changes when ring or memory are taken away: an engine that called out looks

    uint64_t stat[STATS]
    uint64_t drops[DROP_REASONS]
    uint64_t tx_padded, tx_pad_bytes

    # Receive FIFO: a byte ring of records, see rx_fifo.pyx
    uint8_t* fifo
    uint32_t fifo_size, fifo_read, fifo_used

    Pci pci
    IovaMap* host_iovas             # the memory of the bus the card is on, or NULL
    Eeprom eeprom

    # Link
    Phy phy
    Mdio mdio
    void* clock                     # a fastring.clock.Clock, held by the E1000Device; NULL: a link takes no time
    Timer link_timer                # armed while the PHY is about to have a link
    Timer pause_timer               # armed while transmission is paused

    uint32_t regs[REG_WORDS]         # registers that only store


cdef inline uint32_t ring_count(uint32_t length) noexcept nogil:
    """Descriptors in a ring of `length` bytes."""
    return length >> 4
