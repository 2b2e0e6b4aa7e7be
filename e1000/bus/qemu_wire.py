"""QemuWire: the far end of the cable in a QEMU's card, a UNIX datagram socket with a frame a datagram."""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import termios
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from fastring.burst import Burst
from fastring.wire import Wire

BACKLOG = 4096  # frames kept for a card that takes none, and frames of its kept that nobody takes
LONGEST = 65536  # bytes; QEMU cuts off what is longer


class QemuWire(Wire):
    """A card of ours that is attached has the other card for its peer; without one `send` and `take` are the peer.

    Frames pass in `poll`, which QtestBus calls; ten at most are under way (the kernel's datagram queue). `overflows` counts those that
    found 4096 waiting: sent by a card of ours, or by QEMU's with nobody to take them.
    """

    def __init__(self, path: Path) -> None:
        self.overflows = 0
        self._sending: deque[bytes] = deque()
        self._received: deque[bytes] = deque()
        self._room = memoryview(bytearray(LONGEST))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.bind(str(path))
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise

    def connect(self, path: Path, deadline: float) -> None:
        """Find QEMU's end, which appears while it starts. Raises OSError when it has not by `deadline` (time.monotonic)."""
        while error := self._socket.connect_ex(str(path)):
            if time.monotonic() > deadline:
                raise OSError(error, f"QEMU's end of the wire does not appear: {path}")
            time.sleep(0.001)

    def send(self, frame: bytes) -> None:
        """Send a frame, without CRC, to QEMU's card. Raises ValueError for an impossible length, OSError ENOBUFS with 4096 waiting."""
        if not 0 < len(frame) <= LONGEST:
            raise ValueError(f"a frame on this wire has 1 to {LONGEST} bytes, not {len(frame)}: an empty datagram would end it")
        if len(self._sending) >= BACKLOG:
            raise OSError(errno.ENOBUFS, f"QEMU's card does not take the {BACKLOG} frames that wait for it")
        self._sending.append(frame)

    def transmit_burst(self, burst: Burst) -> None:
        """The attached card's frames."""
        for frame in burst:
            if len(self._sending) < BACKLOG and len(frame) <= LONGEST:
                self._sending.append(frame)
            else:
                self.overflows += 1

    def take(self) -> list[bytes]:
        """The frames, without CRC, that came from QEMU's card since the last call."""
        frames = list(self._received)
        self._received.clear()
        return frames

    def poll(self) -> int:
        """Pass on what can be, both ways; return how many frames it was."""
        arrived = self._pull()
        sent = 0
        with suppress(BlockingIOError):
            while self._sending:
                self._socket.send(self._sending[0])
                self._sending.popleft()
                sent += 1
        if arrived:
            self._hand_over(arrived)
        return sent + len(arrived)

    def _pull(self) -> list[bytes]:
        frames: list[bytes] = []
        with suppress(BlockingIOError):
            while True:
                length = self._socket.recv_into(self._room)
                if length:
                    frames.append(self._room[:length].tobytes())
        return frames

    def _hand_over(self, frames: list[bytes]) -> None:
        try:
            self.inject(Burst.from_packets(frames))
        except OSError as error:
            if error.errno != errno.ENOLINK:
                raise
            room = BACKLOG - len(self._received)
            self._received.extend(frames[:room])
            self.overflows += max(0, len(frames) - room)

    @property
    def unread(self) -> int:
        """What QEMU has not read yet of what was sent, in bytes of socket memory."""
        count = array.array("i", [0])
        fcntl.ioctl(self._socket, termios.TIOCOUTQ, count)
        return count[0]

    @property
    def waiting(self) -> int:
        """Frames that wait for QEMU's card."""
        return len(self._sending)

    def close(self) -> None:
        """Close the socket; again is harmless."""
        self._socket.close()

    def __repr__(self) -> str:
        return f"<QemuWire: {len(self._sending)} frames wait for QEMU's card, {len(self._received)} to be taken>"
