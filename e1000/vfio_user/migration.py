"""Migration of a served card (VFIO_USER_DEVICE_FEATURE, MIG_DATA_READ and MIG_DATA_WRITE): its states, and its state as a stream.

A stream is MAGIC, its version, how long the rest is, and a snapshot, which has a checksum and is believed in nothing: a card refuses one
that is damaged, of another build, or of no card that can be. No PRE_COPY: the state is small.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import NoReturn

from e1000.vfio_user.served import ServedCard

DEVICE_FEATURE, MIG_DATA_READ, MIG_DATA_WRITE = 16, 17, 18

# <linux/vfio.h>
FEATURE_MASK, FEATURE_GET, FEATURE_SET, FEATURE_PROBE = 0xFFFF, 1 << 16, 1 << 17, 1 << 18
FEATURE_MIGRATION, FEATURE_MIG_DEVICE_STATE = 1, 2
MIGRATION_STOP_COPY = 1 << 0
ERROR, STOP, RUNNING, STOP_COPY, RESUMING = range(5)
NAMES = ("ERROR", "STOP", "RUNNING", "STOP_COPY", "RESUMING")

FEATURE, STATE, FLAGS, DATA = struct.Struct("=2I"), struct.Struct("=2I"), struct.Struct("=Q"), struct.Struct("=2I")
MAGIC, STREAM = b"fr-moves", struct.Struct("=8s2I")
STREAM_VERSION = 1
ARCS = {  # from a state to the next one on the way to another, as vfio_mig_get_next_state has them
    RUNNING: dict.fromkeys((STOP, STOP_COPY, RESUMING), STOP),
    STOP: {RUNNING: RUNNING, STOP_COPY: STOP_COPY, RESUMING: RESUMING},
    STOP_COPY: dict.fromkeys((STOP, RUNNING, RESUMING), STOP),
    RESUMING: dict.fromkeys((STOP, RUNNING, STOP_COPY), STOP),
}

Reply = tuple[bytes, list[int]]


class Migration:
    """Of one served card. `state`: STOP, RUNNING, STOP_COPY or RESUMING. Commands raise OSError, whose errno is the reply's."""

    def __init__(self, served: ServedCard) -> None:
        self.served = served
        self.state = RUNNING
        self._data = bytearray()  # STOP_COPY: what is still to be read; RESUMING: what was written
        self.commands: dict[int, Callable[[bytes, list[int]], Reply]] = {
            DEVICE_FEATURE: self._feature,
            MIG_DATA_READ: self._read,
            MIG_DATA_WRITE: self._write,
        }

    def forget(self) -> None:
        """The client is gone, or resets the card: it runs, and does nothing that it owed."""
        self._data.clear()
        self.state = RUNNING
        self.served.start(owed=False)

    # --- features ---

    def _feature(self, payload: bytes, fds: list[int]) -> Reply:
        """As vfio_check_feature has it."""
        if len(payload) < FEATURE.size:
            _refuse(f"DEVICE_FEATURE of {len(payload)} bytes")
        argsz, flags = FEATURE.unpack_from(payload)
        feature, how = flags & FEATURE_MASK, flags & (FEATURE_GET | FEATURE_SET | FEATURE_PROBE)
        if argsz < FEATURE.size or flags != feature | how or not how or how == FEATURE_GET | FEATURE_SET:
            _refuse(f"DEVICE_FEATURE with argsz {argsz} and flags {flags:#x}")
        if feature == FEATURE_MIGRATION:
            allowed, answer = FEATURE_GET, FLAGS.pack(MIGRATION_STOP_COPY)
        elif feature == FEATURE_MIG_DEVICE_STATE:
            allowed, answer = FEATURE_GET | FEATURE_SET, STATE.pack(self.state, 0)
        else:
            _refuse(f"device feature {feature} is not supported", errno.ENOTTY)
        if how & ~(allowed | FEATURE_PROBE):
            _refuse(f"device feature {feature} cannot be set")
        if how & FEATURE_PROBE:
            return payload, []
        if how == FEATURE_GET:
            if argsz < FEATURE.size + len(answer):
                _refuse(f"argsz {argsz} has no room for {FEATURE.size + len(answer)} bytes")
            return FEATURE.pack(FEATURE.size + len(answer), flags) + answer, []
        if len(payload) != FEATURE.size + STATE.size:
            _refuse(f"a device state of {len(payload) - FEATURE.size} bytes")
        self.go_to(STATE.unpack_from(payload, FEATURE.size)[0])
        return payload, []

    # --- states ---

    def go_to(self, state: int) -> None:
        """By however many arcs. Raises OSError EINVAL for what is no state to go to, or data that is no card's: the state stays then."""
        if state not in ARCS:
            _refuse(f"state {state} is none that a card goes to")
        if self.served.messages.busy:
            _refuse("a DMA is under way", errno.EBUSY)
        while self.state != state:
            following = ARCS[self.state][state]
            self._arc(self.state, following)
            self.state = following

    def _arc(self, before: int, after: int) -> None:
        if before == RUNNING:
            self.served.stop()
        elif after == RUNNING:
            self.served.start()
        elif after == STOP_COPY:
            snapshot = self.served.snapshot()
            self._data[:] = STREAM.pack(MAGIC, STREAM_VERSION, len(snapshot)) + snapshot
        elif before == RESUMING:
            given = bytes(self._data)
            self._data.clear()
            self.served.restore(snapshot_in(given))
        else:
            self._data.clear()

    # --- data ---

    def _read(self, payload: bytes, fds: list[int]) -> Reply:
        if len(payload) != DATA.size:
            _refuse(f"MIG_DATA_READ of {len(payload)} bytes")
        argsz, size = DATA.unpack(payload)
        if self.state != STOP_COPY:
            _refuse(f"migration data is read in STOP_COPY, not in {NAMES[self.state]}")
        if argsz < DATA.size + size or size > MOST_DATA:
            _refuse(f"MIG_DATA_READ of {size} bytes with argsz {argsz}: {MOST_DATA} at a time are the most")
        data = bytes(self._data[:size])
        del self._data[:size]
        return DATA.pack(DATA.size + len(data), len(data)) + data, []

    def _write(self, payload: bytes, fds: list[int]) -> Reply:
        if len(payload) < DATA.size:
            _refuse(f"MIG_DATA_WRITE of {len(payload)} bytes")
        _, size = DATA.unpack_from(payload)
        if self.state != RESUMING:
            _refuse(f"migration data is written in RESUMING, not in {NAMES[self.state]}")
        if size != len(payload) - DATA.size:
            _refuse(f"MIG_DATA_WRITE of {size} bytes brings {len(payload) - DATA.size}")
        if len(self._data) + size > MOST_STREAM:
            _refuse(f"migration data of more than {MOST_STREAM} bytes is no card's")
        self._data += payload[DATA.size :]
        return b"", []


MOST_DATA = 1 << 20  # of one message
MOST_STREAM = 1 << 20  # a card has some 200 KB


def snapshot_in(stream: bytes) -> bytes:
    """What a stream brings. Raises OSError EINVAL for what is none, or not all of one."""
    if len(stream) < STREAM.size:
        _refuse(f"migration data of {len(stream)} bytes is incomplete")
    magic, version, size = STREAM.unpack_from(stream)
    if magic != MAGIC or version != STREAM_VERSION:
        _refuse(f"this is no migration data of a card in version {STREAM_VERSION}")
    if size != len(stream) - STREAM.size:
        _refuse(f"migration data has {len(stream) - STREAM.size} bytes, not {size}")
    return stream[STREAM.size :]


def _refuse(why: str, number: int = errno.EINVAL) -> NoReturn:
    raise OSError(number, why)
