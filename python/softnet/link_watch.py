"""LinkWatch: whether an interface of the host has its carrier, told as it changes, by rtnetlink(7)."""

from __future__ import annotations

import errno
import socket
import struct

from fastring.packet import PacketWire
from fastring.tap import TapWire
from fastring.wire import Wire
from fastring.wrapper import WrapperWire
from fastring.xdp import XdpWire

# <linux/rtnetlink.h>, <linux/netlink.h>
RTMGRP_LINK = 1
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
NLM_F_REQUEST = 1
HEADER, IFINFO = struct.Struct("=IHHII"), struct.Struct("=BxHiII")
IFF_LOWER_UP = 1 << 16  # up, and with a carrier, at once (dev_get_flags); IFF_RUNNING follows later
MOST = 1 << 16  # bytes of a message


def interface_of(wire: Wire) -> str | None:
    """The host's interface at the end of a wire, in whatever wraps it; None if it ends elsewhere."""
    while isinstance(wire, WrapperWire):
        wire = wire.inner
    return wire.name if isinstance(wire, (TapWire, PacketWire, XdpWire)) else None


class LinkWatch:
    """Watch `interface`, of this network namespace. Never blocks; `fileno` is readable when there is something to look at.

    Raises OSError if there is no such interface, or there may be no netlink socket.
    """

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self.index = socket.if_nametoindex(interface)
        self.carrier: bool | None = None  # None: not known, or the interface is gone
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        try:
            self._socket.bind((0, RTMGRP_LINK))
            self._ask()
        except BaseException:
            self._socket.close()
            raise

    def _ask(self) -> None:
        """The kernel answers as it tells of a change."""
        size = HEADER.size + IFINFO.size
        self._socket.send(HEADER.pack(size, RTM_GETLINK, NLM_F_REQUEST, 0, 0) + IFINFO.pack(0, 0, self.index, 0, 0))

    def fileno(self) -> int:
        """To wait at."""
        return self._socket.fileno()

    def look(self) -> bool:
        """Take in what the kernel has told; whether `carrier` is another then."""
        before = self.carrier
        while True:
            try:
                told = self._socket.recv(MOST)
            except BlockingIOError:
                return self.carrier != before
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # it told more than was listened to: ask anew
                    raise
                self._ask()
            else:
                self._take(told)

    def _take(self, told: bytes) -> None:
        at = 0
        while at + HEADER.size <= len(told):
            size, kind, _, _, _ = HEADER.unpack_from(told, at)
            if size < HEADER.size:
                return
            if kind in (RTM_NEWLINK, RTM_DELLINK) and size >= HEADER.size + IFINFO.size:
                family, _, index, flags, _ = IFINFO.unpack_from(told, at + HEADER.size)
                if index == self.index and family == socket.AF_UNSPEC:  # a bridge tells of its ports, too, as its own
                    self.carrier = bool(flags & IFF_LOWER_UP) if kind == RTM_NEWLINK else None
            at += size + 3 & ~3

    def close(self) -> None:
        """Watch no more; again is harmless."""
        self._socket.close()

    def __repr__(self) -> str:
        state = {True: "carrier", False: "no carrier", None: "unknown"}[self.carrier]
        return f"<LinkWatch of {self.interface}: {state}>"
