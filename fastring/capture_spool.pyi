"""Turning what cannot be mapped (gzip, FIFOs, devices) into an unlinked temporary file that can."""

from os import PathLike
from typing import IO

from fastring.capture_error import PCAP_MAGIC as PCAP_MAGIC
from fastring.capture_error import SECTION_MAGIC as SECTION_MAGIC

CHUNK: int
SPOOL_LIMIT: int
FREE_MARGIN: int
GZIP_MAGIC: bytes
FIRST_RECORD: int

def hopeless(head: bytes) -> bool: ...

class Spool:
    filename: str
    limit: int
    directory: str
    file: IO[bytes]
    size: int
    head: bytes
    hopeless: bool
    def __init__(self, filename: str, directory: str | None, limit: int) -> None: ...
    def append(self, data: bytes) -> None: ...

def open_source(path: str | bytes | PathLike[str] | PathLike[bytes]) -> tuple[str, int]: ...
def open_mappable(filename: str, fd: int, directory: str | None, limit: int) -> tuple[int, bool, str | None]: ...
def read_exactly(fd: int, size: int) -> bytes: ...
def copy(fd: int, head: bytes, spool: Spool) -> None: ...
def gunzip(fd: int, data: bytes, spool: Spool) -> str | None: ...
