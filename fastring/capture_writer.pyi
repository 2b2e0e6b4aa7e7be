"""CaptureWriter: the end of a path that writes what it is given to a pcap or pcapng file."""

import builtins
import os
from types import TracebackType
from typing import Literal, Self

from typing_extensions import disjoint_base

from fastring.burst import Burst, BurstSink
from fastring.clock import Clock

@disjoint_base
class CaptureWriter(BurstSink):
    @property
    def filename(self) -> str: ...
    @property
    def format(self) -> Literal["pcap", "pcapng"]: ...
    @property
    def snaplen(self) -> int: ...
    @property
    def linktype(self) -> int: ...
    @property
    def clock(self) -> Clock | None: ...
    @property
    def packets(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def truncated(self) -> int: ...
    @property
    def unstampable(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        format: Literal["pcap", "pcapng"] | None = None,
        snaplen: int = 262144,
        linktype: int = 1,
        clock: Clock | None = None,
    ) -> None: ...
    def write(
        self,
        packet: builtins.bytes | bytearray | memoryview,
        time: int | None = None,
        wire_len: int | None = None,
        *,
        direction: Literal["in", "out"] | None = None,
        comment: str | None = None,
    ) -> None: ...
    def on_burst(self, burst: Burst) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None = None, exc: BaseException | None = None, traceback: TracebackType | None = None
    ) -> None: ...
