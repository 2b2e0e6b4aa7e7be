"""What a vfio-user client settles with its server before the first register access: version, what the device is, memory, interrupts.

The server may say anything: each answer is checked whole. Raises OSError: EPROTO for what breaks the protocol, ENODEV for a device that
is no card of ours, and what the server refuses with.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from e1000 import regs
from e1000.vfio_user import control
from fastring.file_mapping import FileMapping

if TYPE_CHECKING:
    from e1000.vfio_user.client import Client

BAR0, IO_BAR, CONFIG = 0, 1, 7
BAR0_SIZE, IO_BAR_SIZE, CONFIG_SIZE = 1 << 17, 8, 256  # the least that there must be
ACCESS = control.REGION_READ | control.REGION_WRITE
TAILS = regs.RDT, regs.TDT
MOST_REGION_INFO = 4096  # bytes, with its capabilities


@dataclass
class Mapped:
    """What is mapped of BAR0, from `start` on: both tails are in it."""

    start: int
    mapping: FileMapping


@dataclass
class Device:
    """What a server has. `resets`: it takes DEVICE_RESET; `masks`: its INTx is masked once it has fired."""

    resets: bool
    masks: bool
    sizes: dict[int, int] = field(default_factory=dict)  # of BAR0, the I/O BAR and configuration space
    mapped: Mapped | None = None


def connect(path: str, timeout: float) -> socket.socket:
    """A connection to a server. Raises OSError."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.settimeout(timeout)
        client.connect(path)
    except OSError as error:
        client.close()
        raise OSError(error.errno or errno.ETIMEDOUT, f"{path}: no vfio-user server: {error.strerror or error}") from None
    return client


def negotiate(client: Client, map_doorbells: bool) -> dict[str, int]:
    """Agree on a version. Returns where in BAR0 words lie that are no registers, by name, if the server has them."""
    ours = {"max_msg_fds": control.MAX_MSG_FDS, "max_data_xfer_size": control.MAX_DATA_XFER_SIZE, "write_multiple": True}
    if map_doorbells:
        ours[control.DOORBELLS] = True
    data = json.dumps({"capabilities": ours}).encode() + b"\0"
    answer = client.call(control.VERSION, struct.pack("=2H", control.MAJOR, control.MINOR) + data, what="our version")
    if len(answer) < 4:
        raise client.protocol_error(f"a version reply of {len(answer)} bytes")
    major, minor = struct.unpack_from("=2H", answer)
    if major != control.MAJOR or minor > control.MINOR:
        raise client.protocol_error(f"the server answers version {control.MAJOR}.{control.MINOR} with {major}.{minor}")
    try:
        theirs = control.capabilities_of(answer[4:])
    except OSError as error:
        raise client.protocol_error(f"the server's version: {error.strerror}") from None
    if theirs.get("max_msg_fds", 1) < 1 or theirs.get("max_dma_maps", 1) < 1:
        raise OSError(errno.EOPNOTSUPP, f"{client.name}: the server takes no memory: max_msg_fds or max_dma_maps is 0")
    words = theirs.get(control.DOORBELLS)
    found = words.items() if isinstance(words, dict) else ()
    return {name: at for name, at in found if type(at) is int and 0 <= at < BAR0_SIZE and at % 4 == 0}


def examine(client: Client, map_doorbells: bool) -> Device:
    """What the device is; it has what a driver of ours needs."""
    _, flags, regions, irqs = _ask(client, control.DEVICE_GET_INFO, control.INFO, (control.INFO.size, 0, 0, 0), "device info")
    if not flags & control.DEVICE_FLAGS_PCI or regions <= CONFIG or irqs <= control.INTX:
        raise _no_card(client, f"no PCI device: flags {flags:#x}, {regions} regions, {irqs} interrupts")
    sizes, mapped = {}, None
    for index in (BAR0, IO_BAR, CONFIG):
        sizes[index], areas, fd = _region(client, index)
        if fd is not None:
            try:
                mapped = _map_tails(areas, fd) if index == BAR0 and map_doorbells else None
            finally:
                os.close(fd)
    for index, least, name in ((BAR0, BAR0_SIZE, "BAR0"), (CONFIG, CONFIG_SIZE, "configuration space")):
        if sizes[index] < least:
            raise _no_card(client, f"{name} of {sizes[index]} bytes to read and write, where {least} are needed")
    return Device(bool(flags & control.DEVICE_FLAGS_RESET), _interrupt(client), sizes, mapped)


def _region(client: Client, index: int) -> tuple[int, list[tuple[int, int, int]], int | None]:
    """Its bytes, 0 if it cannot be read and written; the areas of it that can be mapped, (start, size, place in the file); the file."""
    what = f"info on region {index}"
    rights: list[int] = []
    request = control.REGION_INFO.pack(MOST_REGION_INFO, 0, index, 0, 0, 0)
    answer = client.call(control.DEVICE_GET_REGION_INFO, request, what=what, rights=rights)
    try:
        if len(answer) < control.REGION_INFO.size:
            raise client.protocol_error(f"{what} of {len(answer)} bytes, not {control.REGION_INFO.size}")
        _, flags, answered, capability, size, place = control.REGION_INFO.unpack_from(answer)
        if answered != index:
            raise client.protocol_error(f"asked for region {index}, the server tells of {answered}")
        if flags & ACCESS != ACCESS:
            return 0, [], None
        if not flags & control.REGION_MMAP or not rights:
            return size, [], None
        areas = _sparse_areas(answer, capability) if flags & control.REGION_CAPS else [(0, size)]
        return size, [(start, length, place + start) for start, length in areas if start + length <= size], rights.pop(0)
    finally:
        for fd in rights:
            os.close(fd)


def _sparse_areas(answer: bytes, at: int) -> list[tuple[int, int]]:
    """The areas of a region that can be mapped, (start, size) each; none for a chain of capabilities that leads nowhere."""
    seen: set[int] = set()
    while at not in seen and control.REGION_INFO.size <= at <= len(answer) - control.SPARSE_MMAP.size:
        seen.add(at)
        kind, _, following, count, _ = control.SPARSE_MMAP.unpack_from(answer, at)
        if kind == control.REGION_CAP_SPARSE_MMAP:
            areas = answer[at + control.SPARSE_MMAP.size :][: count * control.SPARSE_AREA.size]
            return list(control.SPARSE_AREA.iter_unpack(areas[: len(areas) // control.SPARSE_AREA.size * control.SPARSE_AREA.size]))
        at = following
    return []


def _map_tails(areas: list[tuple[int, int, int]], fd: int) -> Mapped | None:
    """What both tails are in, mapped; None if they cannot be, or not without harm: then doorbells are messages. Raises OSError."""
    for start, size, place in areas:
        if start <= min(TAILS) and max(TAILS) + 4 <= start + size and start % 4 == place % 4 == 0:
            mapping = FileMapping(fd, size, offset=place, writable=True)
            return Mapped(start, mapping) if mapping.guarded else None
    return None


def _interrupt(client: Client) -> bool:
    """Whether INTx, which there must be, is masked once it has fired."""
    request = (control.IRQ_INFO.size, 0, control.INTX, 0)
    _, flags, answered, count = _ask(client, control.DEVICE_GET_IRQ_INFO, control.IRQ_INFO, request, "info on INTx")
    if answered != control.INTX:
        raise client.protocol_error(f"asked for interrupt {control.INTX}, the server tells of {answered}")
    if not count or not flags & control.IRQ_EVENTFD:
        raise _no_card(client, "no INTx that fires an eventfd")
    return bool(flags & (control.IRQ_MASKABLE | control.IRQ_AUTOMASKED))


def reset(client: Client) -> None:
    """VFIO_USER_DEVICE_RESET."""
    client.call(control.DEVICE_RESET, what="a reset")


def map_memory(client: Client, fd: int | None, address: int, size: int) -> None:
    """Let the device read and write the first bytes of a file; without a descriptor by messages, which the client answers."""
    request = control.MAP.pack(control.MAP.size, 3, 0, address, size)
    client.call(control.DMA_MAP, request, [] if fd is None else [fd], what=f"{size} bytes of memory at {address:#x}")


def unmap_memory(client: Client, address: int, size: int) -> None:
    """And no more: on return nothing of it is in use."""
    client.call(control.DMA_UNMAP, control.UNMAP.pack(control.UNMAP.size, 0, address, size), what="to let go of memory")


def assign_interrupt(client: Client, fd: int) -> None:
    """Have INTx signal an eventfd."""
    request = control.SET_IRQS.pack(control.SET_IRQS.size, control.SET_DATA_EVENTFD | control.SET_TRIGGER, control.INTX, 0, 1)
    client.call(control.DEVICE_SET_IRQS, request, [fd], what="an eventfd for INTx")


def disable_interrupt(client: Client) -> None:
    """No interrupts any more."""
    request = control.SET_IRQS.pack(control.SET_IRQS.size, control.SET_DATA_NONE | control.SET_TRIGGER, control.INTX, 0, 0)
    client.call(control.DEVICE_SET_IRQS, request, what="to disable INTx")


def _ask(client: Client, command: int, layout: struct.Struct, request: tuple[int, ...], what: str) -> tuple[int, ...]:
    """A request whose reply begins as it does: argsz first. What is longer brings capabilities, which nobody here needs."""
    answer = client.call(command, layout.pack(*request), what=what)
    if len(answer) < layout.size:
        raise client.protocol_error(f"{what} of {len(answer)} bytes, not {layout.size}")
    return layout.unpack_from(answer)


def _no_card(client: Client, why: str) -> OSError:
    return OSError(errno.ENODEV, f"{client.name}: {why}")
