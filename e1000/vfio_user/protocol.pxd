"""The protocol's numbers and layouts (docs/interop/vfio-user.rst, <linux/vfio.h>), for the code that handles messages in place."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:                          # commands
    CMD_VERSION = 1
    CMD_DMA_MAP
    CMD_DMA_UNMAP
    CMD_DEVICE_GET_INFO
    CMD_DEVICE_GET_REGION_INFO
    CMD_DEVICE_GET_REGION_IO_FDS
    CMD_DEVICE_GET_IRQ_INFO
    CMD_DEVICE_SET_IRQS
    CMD_REGION_READ
    CMD_REGION_WRITE
    CMD_DMA_READ
    CMD_DMA_WRITE
    CMD_DEVICE_RESET
    CMD_REGION_WRITE_MULTI = 15

cdef enum:                          # a header's flags
    TYPE_MASK = 0xF
    TYPE_COMMAND = 0
    TYPE_REPLY = 1
    NO_REPLY = 1 << 4
    ERROR = 1 << 5

cdef enum:                          # VFIO_PCI_*_REGION_INDEX
    REGION_BAR0 = 0
    REGION_BAR1 = 1
    REGION_CONFIG = 7

cdef enum:
    MAX_DATA = 1 << 20              # max_data_xfer_size: what a peer that says nothing may send, and we do
    MAX_FDS = 16                    # max_msg_fds

cdef packed struct Header:
    uint16_t id, command
    uint32_t size, flags, error

cdef packed struct RegionAccess:
    uint64_t offset
    uint32_t region, count

cdef packed struct DmaAccess:
    uint64_t address, count

cdef packed struct MultiWrite:
    uint64_t offset
    uint32_t region, count
    uint8_t data[8]

cdef packed struct IrqSet:          # struct vfio_irq_set
    uint32_t argsz, flags, index, start, count

cdef enum:
    SET_UNMASK_NOW = 1 << 0 | 1 << 4    # VFIO_IRQ_SET_DATA_NONE, VFIO_IRQ_SET_ACTION_UNMASK
