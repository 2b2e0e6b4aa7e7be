"""Turning what cannot be mapped (gzip, FIFOs, devices) into an unlinked temporary file that can.

Memory stays at a few chunks whatever the input; the disk is guarded by a limit and by a margin of free space.
"""

import errno
import fcntl
import os
import stat
import struct
import tempfile
import zlib

from fastring.capture_records cimport MAXIMUM_SNAPLEN

from fastring.capture_error import PCAP_MAGIC, SECTION_MAGIC, CaptureError

CHUNK = 1 << 20
SPOOL_LIMIT = 64 << 30          # bytes: the default for one capture
FREE_MARGIN = 256 << 20         # bytes of the temporary directory's file system that are left alone
GZIP_MAGIC = b"\x1f\x8b"
FIRST_RECORD = 40               # bytes: a pcap's header and that of its first record


def hopeless(head):
    """Whether a file that begins with `head`, up to 40 bytes of it, can hold no record: what follows need not be spooled."""
    if len(head) < 4:
        return False
    if head.startswith(SECTION_MAGIC):
        return len(head) >= 12 and head[8:12] not in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d")
    for order in "<>":
        if struct.unpack_from(order + "I", head)[0] in PCAP_MAGIC:
            return len(head) >= FIRST_RECORD and min(struct.unpack_from(order + "II", head, 32)) > MAXIMUM_SNAPLEN
    return True


class Spool:
    """An unlinked temporary file being filled. Raises CaptureError past the limit or when the disk gets full.

    `hopeless`: what is there is no capture, whatever follows; whoever opens it says why.
    """

    def __init__(self, filename, directory, limit):
        self.filename = filename
        self.limit = limit
        self.directory = directory or tempfile.gettempdir()
        self.file = tempfile.TemporaryFile(dir=self.directory, buffering=0)
        self.size = 0
        self.head = b""
        self.hopeless = False

    def append(self, data):
        """Write `data` after what is there."""
        if self.size + len(data) > self.limit:
            raise CaptureError(self.filename, self.size,
                               f"more than {self.limit} bytes once unpacked, the limit; spool_limit= allows more")
        space = os.statvfs(self.directory)
        if space.f_bavail * space.f_frsize < FREE_MARGIN + len(data):
            raise CaptureError(self.filename, self.size, f"unpacking it would leave less than {FREE_MARGIN >> 20} MiB free in "
                                                         f"{self.directory}; TMPDIR (or spool_directory=) names another place")
        view = memoryview(data)
        while view:
            view = view[self.file.write(view):]
        self.size += len(data)
        if len(self.head) < FIRST_RECORD:
            self.head += data[:FIRST_RECORD - len(self.head)]
            self.hopeless = hopeless(self.head)


def open_source(path):
    """Open a capture for reading, locked against a CaptureWriter; return (filename, descriptor). `-` is standard input.

    Raises OSError (with filename), and ValueError where standard input is a terminal.
    """
    filename = os.fsdecode(path)
    if filename == "-":
        filename = "standard input"
        if os.isatty(0):
            raise ValueError("standard input is a terminal: pipe a capture in, or name a file")
        try:
            fd = os.dup(0)
        except OSError as error:
            error.filename = filename
            raise
    else:
        fd = os.open(filename, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), filename)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            pass                # somebody writes it, or the file system has no locks: it can be read all the same
    except BaseException:
        os.close(fd)
        raise
    return filename, fd


def open_mappable(filename, int fd, directory, limit):
    """Return (descriptor to map, gzip?, reason it breaks off or None) for the open file `fd`, which stays the caller's.

    A regular file that is not gzip is returned as it is (the descriptor duplicated), unless somebody has read some of it.
    Raises CaptureError, and OSError (with filename) where reading fails.
    """
    regular = stat.S_ISREG(os.fstat(fd).st_mode) and os.lseek(fd, 0, os.SEEK_CUR) == 0
    try:
        head = read_exactly(fd, len(GZIP_MAGIC))
        gzipped = head == GZIP_MAGIC
        if regular and not gzipped:
            return os.dup(fd), False, None
        spool = Spool(filename, directory, limit)
        with spool.file:
            reason = gunzip(fd, head, spool) if gzipped else copy(fd, head, spool)
            return os.dup(spool.file.fileno()), gzipped, reason
    except OSError as error:
        error.filename = error.filename or filename
        raise


def read_exactly(int fd, size):
    """`size` bytes, or what there is before the end."""
    data = b""
    while len(data) < size and (piece := os.read(fd, size - len(data))):
        data += piece
    return data


def copy(int fd, head, spool):
    """Spool all of a stream, or as much as shows that it is no capture."""
    while head and not spool.hopeless:
        spool.append(head)
        head = os.read(fd, CHUNK)


def gunzip(int fd, data, spool):
    """Spool the decompressed members, one after the other; return why the last one breaks off, or None (RFC 1952).

    Ends early at what is no capture.
    """
    inflate = zlib.decompressobj(wbits=31)
    between = False             # after a whole member
    while True:
        try:
            unpacked = inflate.decompress(data, CHUNK)
        except zlib.error as error:
            raise CaptureError(spool.filename, spool.size, f"damaged gzip data behind this offset ({error}), and `gzip -t` must accept "
                                                           "a compressed capture") from None
        spool.append(unpacked)
        if spool.hopeless:
            return None
        data = inflate.unconsumed_tail
        if inflate.eof:
            data = inflate.unused_data
            inflate = zlib.decompressobj(wbits=31)
            between = True
        elif len(unpacked) == CHUNK:
            continue            # there may be more where that came from
        data = data or os.read(fd, CHUNK)
        while between and data and not data.strip(b"\0"):
            data = os.read(fd, CHUNK)           # zero padding behind a member: gzip(1) skips it, too
        if not data:
            return None if between else "the gzip data breaks off"
        if between:
            data = data.lstrip(b"\0")
            between = False
