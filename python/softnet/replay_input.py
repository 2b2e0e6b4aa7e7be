"""ReplayInput: what a replay sends: captures, and which of their frames, how often, by which interface, with which addresses."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction

from fastring.burst import Burst, BurstSource
from fastring.capture import Capture, CaptureCursor
from fastring.capture_error import CaptureError
from fastring.capture_merge import MergedCursors
from fastring.capture_selection import SelectingCursor, Selection
from fastring.unique_ip import UniqueIpSource
from softnet.rewrite import EditedSource, Editing
from softnet.tcpprep import check_cache, parse_packet_list, read_cache


@dataclass(frozen=True)
class Choice:
    """Which frames, in tcpreplay's terms: lists of packet numbers, tcpprep's cache, pairs of files, addresses that change.

    `unique_ip`: passes until IP addresses change, None for never. `editing`: a filter, and edits. Raises ValueError for what makes no sense
    together.
    """

    include: str | None = None
    exclude: str | None = None
    cachefile: str | os.PathLike[str] | None = None
    dualfile: bool = False
    unique_ip: Fraction | None = None
    preload: bool = False
    editing: Editing | None = None

    def __post_init__(self) -> None:
        if self.include is not None and self.exclude is not None:
            raise ValueError("--include and --exclude: one of them")
        if self.cachefile is not None and self.dualfile:
            raise ValueError("--cachefile and --dualfile: one of them says what is for the second interface")
        if self.unique_ip is not None and not 0 < self.unique_ip <= 10**9:
            raise ValueError(f"--unique-ip-loops is above 0, up to 1e9, not {self.unique_ip}")

    @property
    def splits(self) -> bool:
        """Whether there are frames for a second interface."""
        return self.cachefile is not None or self.dualfile

    def selection(self) -> Selection | None:
        """The packets chosen by number, or None: all. Raises OSError and ValueError for a cache file that cannot be read."""
        listed = self.include if self.include is not None else self.exclude
        if listed is None and self.cachefile is None:
            return None
        directions, packets = (None, 0) if self.cachefile is None else read_cache(self.cachefile)
        ranges = [] if listed is None else parse_packet_list(listed)
        return Selection(ranges, excludes=self.exclude is not None, cache=directions, cached=packets)


class Feed:
    """The frames of one capture, or of two at once, in one pass. `first` and `last`: a pass begins, or ends, with it."""

    first = last = False
    edited: EditedSource | None = None

    def __init__(self, source: BurstSource, cursors: Sequence[CaptureCursor]) -> None:
        self.source = source
        self.cursors = cursors
        self._frames: MergedCursors | CaptureCursor = cursors[0]

    @classmethod
    def merged(cls, merged: MergedCursors) -> Feed:
        """Of two at once."""
        feed = cls(merged, (merged.first, merged.second))
        feed._frames = merged
        return feed

    @property
    def frames(self) -> int:
        """Frames given out."""
        return self._frames.frames

    def edit(self, editing: Editing, limit: int | None) -> None:
        """Filter and edit them; `limit` those that match the filter."""
        self.edited = EditedSource(self.source, editing, limit=limit)
        self.source = self.edited.source

    @property
    def withheld(self) -> int:
        """Of the frames given out, those that were filtered out or deleted."""
        return 0 if self.edited is None else self.edited.withheld

    @property
    def empty(self) -> int:
        """Records without a byte."""
        return sum(cursor.empty for cursor in self.cursors)

    @property
    def unselected(self) -> int:
        """Frames passed over."""
        return sum(cursor.unselected for cursor in self.cursors if isinstance(cursor, SelectingCursor))


class ReplayInput:
    """Opens and checks the captures: raises CaptureError, OSError or ValueError. `undo` closes them again."""

    def __init__(self, undo: ExitStack, paths: Sequence[str | os.PathLike[str]], choice: Choice, *, loop: int, limit: int | None) -> None:
        self.choice = choice
        self.loop = loop
        self.limit = limit
        self.passes = 0  # begun
        self.selection = choice.selection()
        if choice.dualfile and len(paths) % 2:
            raise ValueError(f"--dualfile takes captures two by two, a client's and a server's, not {len(paths)} of them")
        self.captures = [_open(undo, path) for path in paths]
        self.summaries = [capture.scan() for capture in self.captures]
        self.broken_off = [summary.broken_off for summary in self.summaries if summary.broken_off is not None]
        self._check_cache()
        if choice.preload:
            for capture in self.captures:
                capture.preload()

    def _check_cache(self) -> None:
        if self.selection is not None and self.choice.cachefile is not None:
            for capture, summary in zip(self.captures, self.summaries, strict=True):
                check_cache(self.choice.cachefile, self.selection, capture, summary)

    @property
    def total(self) -> int | None:
        """Frames there are to send at most, or None when it goes on for ever."""
        frames = sum(summary.frames for summary in self.summaries)
        if self.loop == 0 and frames:
            return self.limit
        frames *= self.loop
        return frames if self.limit is None else min(frames, self.limit)

    @property
    def longest(self) -> int:
        """Bytes of the longest frame to send, or more."""
        editing = self.choice.editing
        return max((summary.longest or 0 if editing is None else editing.longest(summary) for summary in self.summaries), default=0)

    @property
    def first_time(self) -> int:
        """The first frame's time stamp, or 0: ns since 1970."""
        return max(0, next((s.first_time for s in self.summaries if s.first_time is not None), 0))

    def feeds(self, address_of: Callable[[Capture], int]) -> Iterator[Feed]:
        """The feeds of every pass until the limit; the frames of each are counted when the next one is asked for."""
        sent = 0
        while self.loop == 0 or self.passes < self.loop:
            self.passes += 1
            before, groups = sent, self._groups()
            for number, captures in enumerate(groups):
                left = None if self.limit is None else self.limit - sent
                if left == 0:
                    return
                feed = self._feed(captures, left, address_of)
                feed.first, feed.last = number == 0, number == len(groups) - 1
                yield feed
                sent += feed.frames - feed.withheld
            if sent == before:
                return  # nothing in any of them: there never will be

    def _groups(self) -> list[tuple[Capture, ...]]:
        together = 2 if self.choice.dualfile else 1
        return [tuple(self.captures[i : i + together]) for i in range(0, len(self.captures), together)]

    def _feed(self, captures: Sequence[Capture], left: int | None, address_of: Callable[[Capture], int]) -> Feed:
        cursors = []
        editing = self.choice.editing
        matching = left
        if editing is not None and editing.program is not None:
            left = None  # of what matches alone
        for capture in captures:
            cursor = capture.cursor(limit=left) if self.selection is None else SelectingCursor(capture, self.selection, limit=left)
            cursor.dma_base = address_of(capture)
            cursors.append(cursor)
        feed = Feed(cursors[0], cursors) if len(cursors) == 1 else Feed.merged(MergedCursors(cursors[0], cursors[1], limit=left))
        if editing is not None:
            feed.edit(editing, matching)
        if self.choice.unique_ip is not None:
            feed.source = UniqueIpSource(feed.source, shift=int((self.passes - 1) / self.choice.unique_ip) % (1 << 32))
        return feed

    def problem(self) -> str | None:
        """What is wrong with a capture that shrank when its last frames had been handed out: some may have left as zeroes."""
        for capture in self.captures:
            try:
                capture.cursor(limit=0).read(Burst(1))
            except CaptureError as error:
                return str(error)
        return None


def _open(undo: ExitStack, path: str | os.PathLike[str]) -> Capture:
    """Open a capture, locked against being overwritten by what is received."""
    capture = undo.enter_context(Capture(path))
    if capture.compressed and os.fspath(path) != "-" and stat.S_ISREG(os.stat(path).st_mode):  # others hold a lock themselves
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        undo.callback(os.close, lock)
        with suppress(OSError):  # written by somebody, or a file system without locks
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return capture
