"""The fuzzer's end of a vfio-user connection: it sends whatever it is told, and knows which replies the server owes it.

What was sent is read again as the stream it is: each command that wants an answer gets just one, in order, and the server hangs up for no
other reason than a message without a size, or one before the version.
"""

import errno
import socket
import struct
from collections import deque

HEADER = struct.Struct("=HHIII")
VERSION, REGION_READ, KNOWN = 1, 9, (*range(1, 11), 13, 15)
LONGEST = (1 << 20) + 4096              # Channel's ROOM
TYPE_MASK, NO_REPLY, ERROR = 0xF, 1 << 4, 1 << 5
REFUSALS = frozenset((
    errno.EINVAL, errno.EEXIST, errno.ENOENT, errno.EOPNOTSUPP, errno.ENOTTY, errno.E2BIG, errno.EPROTO, errno.ENOSPC,
    errno.ENODEV, errno.EACCES, errno.EPERM, errno.ENOMEM, errno.EOVERFLOW, errno.EBADF,
))


class FuzzClient:
    """A connection to `path`. `turn`: lets the server work until it is idle."""

    def __init__(self, path, turn):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.setblocking(False)
        self.turn = turn
        self.reading = True             # whether replies are taken before the end
        self.over = False               # the server hung up
        self.received = 0               # bytes
        self.owed = deque()             # (id, command, whether it is answered) of each message in the stream
        self._came = bytearray()        # of a reply that is not all there
        self._head = b""                # of a message whose header is not all there
        self._rest = 0                  # bytes of the message under way that were not sent yet
        self._message = None            # under way
        self._negotiated = self._doubtful = self._broken = self._early = False

    def send(self, data, fds=()):
        """All of it, with descriptors on its first byte; less if the server hung up."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"={len(fds)}i", *fds))] if fds else []
        stuck = 0
        while data and not self.over:
            try:
                went = self.socket.sendmsg([data], rights)
            except BlockingIOError:
                stuck += 1
                assert stuck < 1000, "the server takes nothing more"
                self.turn()
                self.read()
                continue
            except (BrokenPipeError, ConnectionResetError):
                self.read()
                self.over = True
                return
            self._note(data[:went])
            data, rights, stuck = data[went:], [], 0

    def _note(self, data):
        """Follow the stream: a message is owed its reply once it is all there, one too long at once."""
        while data and not self._broken:
            if self._rest == 0 and self._message is None:
                taken = HEADER.size - len(self._head)
                self._head, data = self._head + data[:taken], data[taken:]
                if len(self._head) < HEADER.size:
                    return
                number, command, size, flags, _ = HEADER.unpack(self._head)
                self._head = b""
                self._message = (number, command, flags & TYPE_MASK == 0 and not flags & NO_REPLY, flags & TYPE_MASK == 0)
                self._broken = size < HEADER.size
                self._rest = max(0, size - HEADER.size)
                if self._broken or size > LONGEST:
                    self._owe()
            taken = min(len(data), self._rest)
            self._rest -= taken
            data = data[taken:]
            if self._rest == 0:
                self._owe()

    def _owe(self):
        if self._message is not None:
            self.owed.append(self._message)
        self._message = None

    def read(self):
        """Take replies, and hold each against what is owed."""
        while not self.over:
            try:
                came = self.socket.recv(1 << 18)
            except BlockingIOError:
                return
            except ConnectionResetError:
                came = b""
            self.over = not came
            self.received += len(came)
            self._came += came
            self._take_replies()

    def _take_replies(self):
        while len(self._came) >= HEADER.size:
            number, command, size, flags, error = HEADER.unpack_from(self._came)
            assert HEADER.size <= size <= LONGEST, f"a reply of {size} bytes"
            if len(self._came) < size:
                return
            del self._came[:size]
            if flags & TYPE_MASK == 0:      # it asks for memory that was passed without a descriptor: it gets none, and may hang up
                assert command in (11, 12), f"a command {command} from a server"
                self._early = True
                continue
            assert flags in (1, 1 | ERROR) and bool(flags & ERROR) == bool(error), f"flags {flags:#x}, error {error}"
            assert not error or size == HEADER.size, "an error with a payload"
            assert not error or error in REFUSALS, f"errno {error}: {errno.errorcode.get(error)}"
            while self.owed and not self.owed[0][2]:
                self._pass(self.owed.popleft(), 0)
            assert self.owed, f"a reply {number} to command {command}, errno {error}, and none is owed"
            message = self.owed.popleft()
            assert message[:2] == (number, command), f"a reply {number} to command {command}, where {message[:2]} is next"
            self._pass(message, error)

    def _pass(self, message, error):
        """A message that the server has gone past."""
        _, command, answered, is_command = message
        if command == VERSION and is_command:
            self._doubtful |= not answered
            self._negotiated |= answered and not error
        elif is_command and not self._negotiated:
            assert not answered or error or self._doubtful, f"command {command} before the version was done"
            self._early |= not self._doubtful or bool(error)

    def settle(self):
        """All is read. Check that nothing is owed any more, unless the server may have hung up."""
        before = -1
        while self.received != before:
            before = self.received
            self.turn()
            self.read()
        if self.over:
            waits = not self._negotiated and any(message[3] and message[1] != VERSION for message in self.owed)
            assert self._broken or self._early or waits, f"the server hung up, {len(self.owed)} messages owed"
            return
        assert not any(message[2] for message in self.owed), f"no reply to {[m[:2] for m in self.owed if m[2]]}"
        assert not self._came, "half a reply"

    def call(self, number, command, payload):
        """One more command, between two scripts: its reply's payload."""
        self.socket.sendall(HEADER.pack(number, command, HEADER.size + len(payload), 0, 0) + payload)
        self.turn()
        answer = self.socket.recv(1 << 12)
        got, answered, size, flags, error = HEADER.unpack_from(answer)
        assert (got, answered, size, flags, error) == (number, command, len(answer), 1, 0), answer
        return answer[HEADER.size:]

    def close(self):
        """Hang up."""
        self.socket.close()
