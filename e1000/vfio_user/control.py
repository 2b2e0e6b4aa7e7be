"""What a vfio-user client asks of a served card besides its registers: what it is, its memory, its interrupts, a reset.

Each message is checked whole before anything of it is done; one that makes no sense raises OSError, whose errno is the reply's.
"""

from __future__ import annotations

import errno
import json
import mmap
import struct
from collections.abc import Callable
from typing import Any, NoReturn

from e1000.vfio_user.doorbells import SIZE, START, WORDS
from e1000.vfio_user.guest_memory import GuestMemory
from e1000.vfio_user.migration import Migration
from e1000.vfio_user.served import ServedCard

MAJOR, MINOR = 0, 1
MAX_MSG_FDS, MAX_DATA_XFER_SIZE = 16, 1 << 20
MOST_VERSION_DATA = 4096  # bytes of JSON

VERSION, DMA_MAP, DMA_UNMAP, DEVICE_GET_INFO, DEVICE_GET_REGION_INFO, DEVICE_GET_REGION_IO_FDS = 1, 2, 3, 4, 5, 6
DEVICE_GET_IRQ_INFO, DEVICE_SET_IRQS, DEVICE_RESET = 7, 8, 13

# <linux/vfio.h>
DEVICE_FLAGS_RESET, DEVICE_FLAGS_PCI = 1 << 0, 1 << 1
REGION_READ, REGION_WRITE, REGION_MMAP, REGION_CAPS = (1 << n for n in range(4))
REGION_CAP_SPARSE_MMAP = 1
IRQ_EVENTFD, IRQ_MASKABLE, IRQ_AUTOMASKED, IRQ_NORESIZE = 1 << 0, 1 << 1, 1 << 2, 1 << 3
SET_DATA_NONE, SET_DATA_BOOL, SET_DATA_EVENTFD, SET_MASK, SET_UNMASK, SET_TRIGGER = (1 << n for n in range(6))
NUM_REGIONS, NUM_IRQS = 9, 5  # VFIO_PCI_NUM_REGIONS, VFIO_PCI_NUM_IRQS
REGION_SIZES = {0: 1 << 17, 1: 64, 7: 256}  # BAR0, the I/O BAR, configuration space
INTX, MSI = 0, 1
IRQ_FLAGS = {INTX: IRQ_EVENTFD | IRQ_MASKABLE | IRQ_AUTOMASKED, MSI: IRQ_EVENTFD | IRQ_NORESIZE}
UNMAP_ALL = 1 << 1

BAR0 = 0
DOORBELLS = "fastring_doorbells"  # a capability of ours: offered by a client that heeds these words in the pages, and then where they are

INFO, REGION_INFO, REGION_IO_FDS, IRQ_INFO = struct.Struct("=4I"), struct.Struct("=4I2Q"), struct.Struct("=4I"), struct.Struct("=4I")
SPARSE_MMAP, SPARSE_AREA = struct.Struct("=2H3I"), struct.Struct("=2Q")  # the first with its vfio_info_cap_header
MAP, UNMAP, SET_IRQS = struct.Struct("=2I3Q"), struct.Struct("=2I2Q"), struct.Struct("=5I")

Reply = tuple[bytes, list[int]]
EMPTY: Reply = (b"", [])


class Control:
    """The control messages of one served card. `capabilities`: what its client said it can do, once it has."""

    def __init__(self, served: ServedCard, memory: GuestMemory) -> None:
        self.served = served
        self.memory = memory
        self.capabilities: dict[str, Any] = {}
        self.maps_unheard = False  # the client was given the doorbells' pages, and does not know how to wake the server
        self.migration = Migration(served)
        self._commands: dict[int, Callable[[bytes, list[int]], Reply]] = {
            VERSION: self._version,
            DMA_MAP: self._dma_map,
            DMA_UNMAP: self._dma_unmap,
            DEVICE_GET_INFO: self._get_info,
            DEVICE_GET_REGION_INFO: self._get_region_info,
            DEVICE_GET_REGION_IO_FDS: self._get_region_io_fds,
            DEVICE_GET_IRQ_INFO: self._get_irq_info,
            DEVICE_SET_IRQS: self._set_irqs,
            DEVICE_RESET: self._reset,
            **self.migration.commands,
        }

    def __call__(self, command: int, payload: bytes, fds: list[int]) -> Reply:
        """Do it. Descriptors that are kept are taken out of `fds`. Raises OSError."""
        handler = self._commands.get(command)
        if handler is None:
            _refuse(f"command {command} is none, or not for a server", errno.EOPNOTSUPP)
        return handler(payload, fds)

    def forget(self) -> None:
        """The client is gone: its memory is unmapped, its descriptors closed. The card keeps its state."""
        self.memory.clear()
        self.migration.forget()
        self.served.line.forget()
        self.capabilities = {}
        self.maps_unheard = False

    # --- negotiation ---

    def _version(self, payload: bytes, fds: list[int]) -> Reply:
        if self.served.negotiated:
            _refuse("the version is negotiated once")
        if len(payload) < 4:
            _refuse(f"a version message of {len(payload)} bytes")
        major, minor = struct.unpack_from("=2H", payload)
        if major != MAJOR:
            _refuse(f"version {major}.{minor}, and this is {MAJOR}.{MINOR}")
        self.capabilities = capabilities_of(payload[4:])
        self.memory.messages.limit(self.capabilities.get("max_data_xfer_size", MAX_DATA_XFER_SIZE))
        self.served.negotiated = True
        ours: dict[str, Any] = {"max_msg_fds": MAX_MSG_FDS, "max_data_xfer_size": MAX_DATA_XFER_SIZE, "max_dma_maps": self.memory.most}
        ours["migration"] = {"pgsize": mmap.PAGESIZE}  # of dirty bitmaps, were there any
        if self.capabilities.get("write_multiple"):
            ours["write_multiple"] = True
        if self.served.doorbells is not None and self.capabilities.get(DOORBELLS):
            ours[DOORBELLS] = WORDS
        data = json.dumps({"capabilities": ours}).encode() + b"\0"
        return struct.pack("=2H", major, min(minor, MINOR)) + data, []

    # --- memory ---

    def _dma_map(self, payload: bytes, fds: list[int]) -> Reply:
        argsz, flags, offset, address, size = _unpack(MAP, payload)
        if argsz < MAP.size or flags & ~3 or len(fds) > 1:
            _refuse(f"DMA_MAP with argsz {argsz}, flags {flags:#x} and {len(fds)} descriptors")
        self.memory.map(address, size, fd=fds[0] if fds else None, offset=offset, readable=bool(flags & 1), writable=bool(flags & 2))
        return EMPTY

    def _dma_unmap(self, payload: bytes, fds: list[int]) -> Reply:
        argsz, flags, address, size = _unpack(UNMAP, payload[: UNMAP.size])
        if argsz < UNMAP.size:
            _refuse(f"DMA_UNMAP with argsz {argsz}")
        if flags & ~UNMAP_ALL:
            _refuse(f"DMA_UNMAP with flags {flags:#x}", errno.EOPNOTSUPP)
        if flags & UNMAP_ALL:
            if address or size:
                _refuse(f"DMA_UNMAP of all, and of {size} bytes at {address:#x}")
            self.memory.clear()
        else:
            self.memory.unmap(address, size)
        return payload[: UNMAP.size], []

    # --- what the device is ---

    def _get_info(self, payload: bytes, fds: list[int]) -> Reply:
        argsz, *_ = _unpack(INFO, payload)
        _check_argsz(argsz, INFO)
        return INFO.pack(INFO.size, DEVICE_FLAGS_RESET | DEVICE_FLAGS_PCI, NUM_REGIONS, NUM_IRQS), []

    def _get_region_info(self, payload: bytes, fds: list[int]) -> Reply:
        argsz, _, index, *_ = _unpack(REGION_INFO, payload)
        _check_argsz(argsz, REGION_INFO)
        _check_index(index, NUM_REGIONS, "region")
        size = REGION_SIZES.get(index, 0)
        if index == BAR0 and self.served.doorbells is not None:
            reply = _mappable(argsz, index, size, self.served.doorbells.fileno())
            self.maps_unheard = bool(reply[1]) and not self.capabilities.get(DOORBELLS)
            return reply
        return REGION_INFO.pack(REGION_INFO.size, REGION_READ | REGION_WRITE if size else 0, index, 0, size, 0), []

    def _get_region_io_fds(self, payload: bytes, fds: list[int]) -> Reply:
        """None: a client that has them would use them past the order of its other accesses."""
        argsz, flags, index, count = _unpack(REGION_IO_FDS, payload)
        _check_argsz(argsz, REGION_IO_FDS)
        _check_index(index, NUM_REGIONS, "region")
        if flags or count:
            _refuse(f"flags {flags:#x} and count {count} in a request are 0")
        return REGION_IO_FDS.pack(REGION_IO_FDS.size, 0, index, 0), []

    def _get_irq_info(self, payload: bytes, fds: list[int]) -> Reply:
        argsz, _, index, _ = _unpack(IRQ_INFO, payload)
        _check_argsz(argsz, IRQ_INFO)
        _check_index(index, NUM_IRQS, "interrupt")
        return IRQ_INFO.pack(IRQ_INFO.size, IRQ_FLAGS.get(index, 0), index, int(index in IRQ_FLAGS)), []

    # --- interrupts ---

    def _set_irqs(self, payload: bytes, fds: list[int]) -> Reply:
        """As vfio_set_irqs_validate_and_prepare and vfio_pci_set_irqs_ioctl have it."""
        argsz, flags, index, start, count = _unpack(SET_IRQS, payload[: SET_IRQS.size])
        data = payload[SET_IRQS.size :]
        kind, action = flags & 7, flags & 0x38
        _check_index(index, NUM_IRQS, "interrupt")
        if argsz < SET_IRQS.size or flags & ~0x3F or kind.bit_count() != 1 or action.bit_count() != 1:
            _refuse(f"SET_IRQS with argsz {argsz} and flags {flags:#x}")
        if start + count > int(index in IRQ_FLAGS):
            _refuse(f"SET_IRQS for {count} interrupts from {start} on, of index {index}")
        if len(data) != (count if kind == SET_DATA_BOOL else 0) or len(fds) > (count if kind == SET_DATA_EVENTFD else 0):
            _refuse(f"SET_IRQS for {count} interrupts with {len(data)} bytes and {len(fds)} descriptors")
        if kind == SET_DATA_EVENTFD:
            self._assign(index, action, count, fds)
        elif count == 0:
            if kind != SET_DATA_NONE or action != SET_TRIGGER:
                _refuse("SET_IRQS for no interrupt")
            if index in IRQ_FLAGS:
                self.served.line.assign(index, None)
        elif kind == SET_DATA_NONE or data[0]:
            self._act(index, action)
        return EMPTY

    def _assign(self, index: int, action: int, count: int, fds: list[int]) -> None:
        if action != SET_TRIGGER:  # as in the kernel: the card never masks by itself
            _refuse("eventfds for masking and unmasking are not supported", errno.ENOTTY)
        if count:
            self.served.line.assign(index, fds[0] if fds else None)
            fds.clear()

    def _act(self, index: int, action: int) -> None:
        line = self.served.line
        if action == SET_TRIGGER:
            line.trigger(index)
        elif index != INTX:
            _refuse("only INTx can be masked", errno.ENOTTY)
        else:
            line.mask(action == SET_MASK)

    def _reset(self, payload: bytes, fds: list[int]) -> Reply:
        if payload:
            _refuse(f"DEVICE_RESET with a payload of {len(payload)} bytes")
        self.migration.forget()
        self.served.reset()
        return EMPTY


def _mappable(argsz: int, index: int, size: int, fd: int) -> Reply:
    """A region of which the doorbells' pages can be mapped; a client whose argsz has no room for that is told how much it takes."""
    whole = REGION_INFO.size + SPARSE_MMAP.size + SPARSE_AREA.size
    access = REGION_READ | REGION_WRITE | REGION_MMAP | REGION_CAPS
    if argsz < whole:
        return REGION_INFO.pack(whole, access, index, REGION_INFO.size, size, 0), []  # QEMU checks the offset even here
    capability = SPARSE_MMAP.pack(REGION_CAP_SPARSE_MMAP, 1, 0, 1, 0) + SPARSE_AREA.pack(START, SIZE)
    return REGION_INFO.pack(whole, access, index, REGION_INFO.size, size, 0) + capability, [fd]


def _refuse(why: str, number: int = errno.EINVAL) -> NoReturn:
    raise OSError(number, why)


def _unpack(layout: struct.Struct, payload: bytes) -> tuple[int, ...]:
    if len(payload) != layout.size:
        _refuse(f"a payload of {len(payload)} bytes, not {layout.size}")
    return layout.unpack(payload)


def _check_argsz(argsz: int, layout: struct.Struct) -> None:
    if argsz < layout.size:
        _refuse(f"argsz {argsz} has no room for {layout.size} bytes")


def _check_index(index: int, count: int, what: str) -> None:
    if index >= count:
        _refuse(f"{what} {index} of {count}")


def capabilities_of(data: bytes) -> dict[str, Any]:
    """What a version message offers. Raises OSError EINVAL for what is no such JSON."""
    if not data:
        return {}
    if len(data) > MOST_VERSION_DATA or data[-1]:
        _refuse(f"version data of {len(data)} bytes that are too many, or do not end with NUL")
    try:
        told = json.loads(data[:-1].decode())
    except (ValueError, RecursionError):
        _refuse("version data that is no JSON")
    found = told.get("capabilities", {}) if isinstance(told, dict) else None
    if not isinstance(found, dict):
        _refuse("version data without an object of capabilities")
    for name in ("max_msg_fds", "max_data_xfer_size", "max_dma_maps", "pgsizes"):
        value = found.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            _refuse(f"{name} is {value!r}")
    if not isinstance(found.get("write_multiple", False), bool):
        _refuse(f"write_multiple is {found['write_multiple']!r}")
    return found
