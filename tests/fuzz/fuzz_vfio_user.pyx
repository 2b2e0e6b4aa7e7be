"""libFuzzer's target for the vfio-user server: an input is a script of a client that is broken, or means harm.

Its bytes go to the socket whole or in pieces, with descriptors of every kind; between them frames arrive, time passes, files shrink under
their mappings, and clients hang up and come again. Afterwards nothing of them is left, and the next one is served.
"""

import os
import signal
import socket
import sys
import tempfile

from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from e1000.device.card cimport E1000Device
from e1000.device.state cimport FIFO_SIZE, Card
from e1000.vfio_user.line cimport EventLine
from e1000.vfio_user.served cimport ServedCard
from fastring.clock cimport VirtualClock

from fuzz_script cimport Script, ended, u8, u16, u32, u64
from fuzz_wire cimport FuzzWire, check_card

from e1000.vfio_user import VfioUserServer, control
from e1000.vfio_user.turn import take_turn
from fuzz_vfio_client import HEADER, KNOWN, REGION_READ, VERSION, FuzzClient

cpdef enum:                         # an action's first byte, modulo 16. Add behind the last: old inputs keep their sense
    MESSAGE                         # one of the protocol's, its fields anything
    RAW                             # bytes
    PIECES                          # in which what follows is sent
    AGAIN                           # the last message, so many times
    FRAMES                          # frames arrive
    CLOCK                           # time passes
    TRUNCATE                        # a file
    HANG_UP                         # and another client comes
    ANOTHER                         # one that waits for its turn
    READING                         # whether replies are read
    REGISTER                        # posted: write one
    MEMORY                          # bytes into a file
    RINGS                           # both, as a driver sets them up in the first file
    SIGNAL                          # eventfds read, or full
    DOORBELL                        # a store into the rings' registers, where the client maps them

cdef enum:
    MOST_FRAMES = 8
    LONGEST_FRAME = 2048
    MOST_RECEIVED = 4 << 20         # bytes of replies: whole regions take long to read
    MOST_AGAIN = 4

VERSIONS = (
    b'{"capabilities": {"max_msg_fds": 8, "write_multiple": true}}\0', b"", b"{}\0", b"{", b"[]\0", b'{"capabilities": 5}\0',
    b'{"capabilities": {"max_msg_fds": -1}}\0', b'{"capabilities": {"max_data_xfer_size": 1e99}}\0', b"[" * 2000 + b"\0", b"\xff\0",
    b'{"capabilities": {"migration": {"pgsize": 4096}, "max_dma_maps": 65535}}\0',
)
REGISTERS = (0x0, 0x8, 0x10, 0x14, 0x18, 0x20, 0xC0, 0xC4, 0xC8, 0xD0, 0xD8, 0x100, 0x400, 0x2800, 0x2808, 0x2810, 0x2818, 0x3800, 0x3808,
             0x3810, 0x3818, 0x5000, 0x5200, 0x5400, 0x5404)
ODD = (0xFFFFFFFF, (1 << 64) - 1, 1 << 63, 0x20000, 0x1FFFC, 0x1FFFF, 64, 63, 256, 255, 1 << 20, (1 << 20) + 1, 4096, 4095, 0x10000, 0)

cdef extern from "fuzz_lines.h" nogil:
    uint8_t fuzz_lines[8192]

cdef extern from "Python.h":
    ctypedef int (*Py_tracefunc)(PyObject*, PyObject*, int, PyObject*) except -1
    void PyEval_SetTrace(Py_tracefunc function, PyObject* object)
    int PyTrace_LINE
    int PyFrame_GetLineNumber(PyObject* frame)
    object PyFrame_GetCode(PyObject* frame)

cdef dict traced = {}               # by the server's Python files, of which libFuzzer's instrumentation sees nothing: their first counter
cdef uint32_t line_before


cdef int count_line(PyObject* unused, PyObject* frame, int what, PyObject* argument) except -1:
    global line_before
    cdef uint32_t line
    if what == PyTrace_LINE:
        base = traced.get(PyFrame_GetCode(frame).co_filename)
        if base is not None:
            line = <uint32_t>PyFrame_GetLineNumber(frame) + <uint32_t>base
            fuzz_lines[(line ^ line_before << 3) & 8191] += 1
            line_before = line
    return 0


# --- the world ---

cdef Script script
cdef Card pristine
cdef E1000Device device
cdef FuzzWire wire
cdef VirtualClock clock
cdef uint8_t packets[MOST_FRAMES * LONGEST_FRAME]
FILES = []                          # (descriptor, bytes) of what can be mapped, and cut short
PLAY = None


def make_descriptors():
    """One of each kind that a client might send."""
    for size in (1 << 16, 4096, 1 << 20, 0, 100):
        FILES.append((os.memfd_create("fuzz"), size))
    sealed = os.memfd_create("fuzz", os.MFD_ALLOW_SEALING)
    os.ftruncate(sealed, 8192)
    import fcntl
    fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE)
    semaphore = os.eventfd(3, os.EFD_SEMAPHORE)
    readable = os.open(f"/proc/self/fd/{FILES[0][0]}", os.O_RDONLY)
    others = [os.eventfd(0), os.eventfd(0, os.EFD_NONBLOCK), semaphore, sealed, readable, *os.pipe(),
              *(end.detach() for end in socket.socketpair()), os.open("/dev/null", os.O_RDWR), os.open("/dev/zero", os.O_RDWR),
              os.open("/", os.O_RDONLY), os.open("/", os.O_PATH), os.pidfd_open(os.getpid())]
    return [number for number, _ in FILES] + others


class Player:
    """Plays a script against one server."""

    def __init__(self, server, fds):
        self.server, self.fds = server, fds
        self.unraisable = []
        sys.unraisablehook = self.unraisable.append
        self.client, self.others = None, []

    def turn(self):
        """Let the server work until it is idle."""
        while not take_turn([self.server.served], [], 1, 10**9):
            self.server.look_after()
        self.server.look_after()

    def connect(self):
        """A new client, and the server's own end of it."""
        client = FuzzClient(self.server.path, self.turn)
        self.turn()
        return client

    # --- what is sent ---

    def descriptors(self, count):
        """So many, each as the script says."""
        return [self.fds[u8(&script) % len(self.fds)] for _ in range(count)]

    def number(self):
        """A field's value: small, odd, or anything."""
        cdef uint32_t kind = u8(&script)
        if kind < 128:
            return kind
        kind &= 7
        if kind < 2:
            return ODD[u8(&script) % len(ODD)]
        return (u8(&script) << 12 if kind == 2 else u8(&script) << 2 if kind == 3 else u16(&script) if kind == 4 else
                u32(&script) if kind == 5 else u64(&script) if kind == 6 else ((1 << 64) - 1) - u8(&script))

    def fields(self, layout, *usual):
        """A payload: each field what is usual, or, as a bit of the script says, a number of it."""
        cdef uint32_t odd = u8(&script), i
        values = list(usual)
        for i in range(len(values)):
            if values[i] is None or odd >> i & 1:
                values[i] = self.number()
        sizes = {"I": 0xFFFFFFFF, "Q": (1 << 64) - 1, "H": 0xFFFF}
        codes = [code for count, code in layout for _ in range(count)]
        return layout_of(codes).pack(*(value & sizes[code] for value, code in zip(values, codes, strict=True)))

    def payload(self, command):
        """Of a command, nearly as it should be."""
        if command == VERSION:
            chosen = u8(&script)
            text = VERSIONS[chosen % len(VERSIONS)] if chosen < 128 else take(chosen & 63)
            return self.fields(((2, "H"),), 0, 1) + text
        if command == control.DMA_MAP:
            return self.fields(((2, "I"), (3, "Q")), 32, 3, 0, None, None)
        if command == control.DMA_UNMAP:
            return self.fields(((2, "I"), (2, "Q")), 24, 0, None, None)
        if command in (control.DEVICE_GET_INFO, control.DEVICE_GET_REGION_IO_FDS, control.DEVICE_GET_IRQ_INFO):
            return self.fields(((4, "I"),), 16, 0, u8(&script) % 10, 0)
        if command == control.DEVICE_GET_REGION_INFO:
            return self.fields(((4, "I"), (2, "Q")), 32, 0, u8(&script) % 10, 0, 0, 0)
        if command == control.DEVICE_SET_IRQS:
            return self.fields(((5, "I"),), 20, u8(&script), u8(&script) & 1, 0, 1) + take(u8(&script) & 3)
        if command == REGION_READ:
            return self.fields(((1, "Q"), (2, "I")), REGISTERS[u8(&script) % len(REGISTERS)], self.region(), 4)
        if command == 10:
            count = u8(&script) & 31
            return self.fields(((1, "Q"), (2, "I")), REGISTERS[u8(&script) % len(REGISTERS)], self.region(), count) + take(count)
        if command == 15:
            count = u8(&script) & 7
            writes = [self.fields(((1, "Q"), (2, "I")), REGISTERS[u8(&script) % len(REGISTERS)], self.region(), 4) + take(8)
                      for _ in range(count)]
            return self.fields(((1, "Q"),), count) + b"".join(writes)
        return take(u8(&script) & 31) if command != control.DEVICE_RESET else b""

    def region(self):
        return (0, 0, 0, 1, 7, 7, 2, 9)[u8(&script) & 7]

    def message(self):
        """`how`: 1 no reply, 2 any flags, 4 a wrong size, 8 cut short, 16 longer; the two high bits: descriptors."""
        cdef uint32_t chosen = u8(&script), how = u8(&script)
        command = KNOWN[chosen % len(KNOWN)] if chosen < 240 else u16(&script)
        body = self.payload(command)
        fds = self.descriptors(how >> 6 if how >> 6 < 3 else u8(&script) % 24)
        if how & 8:
            body = body[:-(u8(&script) & 31) or None]
        if how & 16:
            body += take(u8(&script))
        flags = u8(&script) if how & 2 else (how & 1) << 4
        size = HEADER.size + len(body)
        if how & 4:
            size = (size + u8(&script) - 128) & 0xFFFFFFFF if u8(&script) & 1 else self.number() & 0xFFFFFFFF
        self.send(HEADER.pack(u16(&script), command, size, flags, 0) + body, fds)

    def send(self, data, fds=()):
        """In pieces, as is set; the server works in between."""
        self.last = data, fds
        step = self.pieces or len(data) or 1
        while data and not self.client.over:
            self.client.send(data[:step], fds)
            data, fds = data[step:], ()
            if self.glued:
                self.glued -= 1
                continue
            self.turn()
            if self.client.reading:
                self.client.read()

    def write(self, offset, value):
        """A register, posted."""
        body = layout_of("QIII").pack(offset, 0, 4, value & 0xFFFFFFFF)
        self.send(HEADER.pack(0, 10, HEADER.size + len(body), 0x10, 0) + body)

    # --- actions ---

    def act(self):
        """One."""
        cdef uint32_t action = u8(&script) & 15
        if action == MESSAGE:
            self.message()
        elif action == RAW:
            fds = self.descriptors(u8(&script) & 3)
            self.send(take(u8(&script)), fds)
        elif action == PIECES:
            self.pieces, self.glued = u8(&script) & 63, u8(&script) & 15
        elif action == AGAIN:
            self.repeated += 1
            if self.repeated <= MOST_AGAIN:
                self.glued = u8(&script) & 63
                for _ in range(u8(&script) & 63):
                    self.send(*self.last)
        elif action == FRAMES:
            frames_arrive()
        elif action == CLOCK:
            clock.advance_to(clock.now() + (<uint64_t>u8(&script) << (u8(&script) & 31)))
            self.turn()
        elif action == TRUNCATE:
            number, size = FILES[u8(&script) % len(FILES)]
            os.ftruncate(number, u16(&script) << 4)
        elif action == HANG_UP:
            self.hang_up(u8(&script))
        elif action == ANOTHER and len(self.others) < 3:
            other = FuzzClient(self.server.path, self.turn)
            other.send(take(u8(&script)), self.descriptors(u8(&script) & 1))
            self.others.append(other)
        elif action == READING:
            self.client.reading = bool(u8(&script) & 1)
        elif action == REGISTER:
            self.write(REGISTERS[u8(&script) % len(REGISTERS)] if u8(&script) & 1 else u16(&script) << 2, self.number())
        elif action == MEMORY:
            number, size = FILES[u8(&script) % 3]
            os.pwrite(number, take(u8(&script) & 63), u16(&script) << 4 & 0xFFFF)
        elif action == RINGS:
            self.set_rings()
        elif action == SIGNAL:
            number = self.fds[len(FILES) + u8(&script) % 3]
            os.set_blocking(number, False)
            try:
                os.eventfd_write(number, (1 << 64) - 2) if u8(&script) & 1 else os.eventfd_read(number)
            except BlockingIOError:
                pass
        elif action == DOORBELL:
            self.store()

    def store(self):
        """What a client does to the pages that it maps: the server only finds it there."""
        cdef ServedCard served = self.server.served
        if served.doorbells is not None:
            with memoryview(served.doorbells.mapping).cast("B") as pages:
                at = (REGISTERS[u8(&script) % len(REGISTERS)] if u8(&script) & 1 else u16(&script) << 2) % pages.nbytes & ~3
                pages[at:at + 4] = layout_of("I").pack(self.number() & 0xFFFFFFFF)
            self.turn()

    def set_rings(self):
        """The first file at bus address 0, the rings at its front, buffers behind."""
        body = layout_of("IIQQQ").pack(32, 3, 0, 0, 1 << 16)
        self.send(HEADER.pack(1, control.DMA_MAP, HEADER.size + len(body), 0, 0) + body, self.fds[:1])
        count = 8 << (u8(&script) & 3)
        number = FILES[0][0]
        for slot in range(count):
            os.pwrite(number, layout_of("QQ").pack(0x4000 + 0x400 * (slot % 32), (60 + slot) | 0x0B << 24), 16 * slot)
            os.pwrite(number, layout_of("QQ").pack(0x8000 + 0x400 * (slot % 32), 0), 0x2000 + 16 * slot)
        command = layout_of("QIIH").pack(4, 7, 2, 7)
        self.send(HEADER.pack(2, 10, HEADER.size + len(command), 0x10, 0) + command)
        rings = (0x3800, 0), (0x3808, 16 * count), (0x2800, 0x2000), (0x2808, 16 * count)
        for offset, value in (*rings, (0x100, 0x0400801A), (0x400, 0x10A), (0x2818, count - 1), (0x3818, u8(&script) % count)):
            self.write(offset, value)

    def hang_up(self, how):
        """`how`: 1 what is owed is not looked at, 2 it only stops sending."""
        client = self.client
        if how & 2 and not client.over:
            client.settle()
            if not client.over:
                client.socket.shutdown(socket.SHUT_WR)
            self.turn()
        elif not how & 1:
            client.settle()
        client.close()
        self.turn()
        self.client = self.others.pop(0) if self.others else self.connect()
        self.turn()
        if how & 4:
            self.negotiate()

    def negotiate(self):
        body = layout_of("HH").pack(0, 1) + VERSIONS[0]
        self.send(HEADER.pack(0, VERSION, HEADER.size + len(body), 0, 0) + body)

    # --- a script ---

    def play(self):
        """All of it, and what must hold then."""
        begin()
        before = sorted(os.listdir("/proc/self/fd"))
        how = u8(&script)
        self.pieces = self.glued = self.repeated = 0
        self.last = b"", ()
        (<ServedCard>self.server.served).maps_doorbells = how >> 2 & 1
        self.client = self.connect()
        if how & 1:
            self.negotiate()
        while not ended(&script) and self.client.received < MOST_RECEIVED:
            self.act()
            check_card(device.card)
        mapped = bool(self.server._memory) or how & 6
        self.client.settle()
        for client in (self.client, *self.others):
            client.close()
            self.turn()
        self.turn()
        self.client, self.others = None, []
        self.check_nothing_left(before, mapped)
        self.check_served()
        assert not self.unraisable, self.unraisable

    def check_nothing_left(self, before, mapped):
        """The clients are gone, and so is all they brought."""
        assert not self.server.connected
        assert len(self.server._memory) == 0 and self.server.served.addresses.regions == []
        now = sorted(os.listdir("/proc/self/fd"))
        assert now == before, [where(number) for number in now if number not in before]
        if mapped:
            with open("/proc/self/maps") as maps:
                left = [line for line in maps if "memfd:fuzz" in line or "bar0" in line or "/dev/zero" in line]
            assert not left, left

    def check_served(self):
        """The next client finds a card that works."""
        client = self.connect()
        client.call(1, VERSION, layout_of("HH").pack(0, 1) + VERSIONS[0])
        client.call(2, 10, layout_of("QIIH").pack(4, 7, 2, 7))
        client.call(3, 10, layout_of("QIIH").pack(0xE0, 7, 2, 0))       # PMCSR: D0
        status = int.from_bytes(client.call(4, REGION_READ, layout_of("QII").pack(8, 0, 4))[16:], "little")
        assert status != 0xFFFFFFFF
        assert client.call(5, REGION_READ, layout_of("QII").pack(0, 7, 4))[16:] == b"\x86\x80\x0e\x10"
        client.close()
        self.turn()
        assert not self.server.connected


LAYOUTS = {}


def layout_of(codes):
    """A struct.Struct."""
    codes = "".join(codes)
    if codes not in LAYOUTS:
        import struct
        LAYOUTS[codes] = struct.Struct("=" + codes)
    return LAYOUTS[codes]


def where(number):
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return number


cdef bytes take(uint32_t count):
    return bytes([u8(&script) for _ in range(count)])


cdef void begin():
    """The world as it was made."""
    memcpy(device.card, &pristine, sizeof(Card))
    memset(device.card.fifo, 0, FIFO_SIZE)
    clock.timers = NULL
    clock._now = 0
    wire.places, wire.echo, wire.acts, wire.sent = 0xFFFFFFFFu, False, 0, 0
    (<EventLine>PLAY.server.served.line).set_level(False)
    for number, size in FILES:
        os.ftruncate(number, 0)
        os.ftruncate(number, size)


cdef void frames_arrive():
    cdef uint32_t how = u8(&script), count = 1 + (how & 7), i, total = 0
    cdef uint32_t lengths[MOST_FRAMES]
    for i in range(count):
        lengths[i] = 14 + u16(&script) % (LONGEST_FRAME - 14)
        memset(packets + total, <int>(how & 0x80), lengths[i])
        packets[total] = 0xFF if how & 0x40 else 0x52
        total += lengths[i]
    wire.arrive(device.card, packets, lengths, count, 1 + (how >> 3 & 3), 0, False)


cdef int run_input(const uint8_t* data, size_t size) noexcept nogil:
    global line_before
    script.at = data
    script.end = data + size
    line_before = 0
    with gil:
        try:
            PLAY.play()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os.abort()
    return 0


def make_world():
    """A server with a card on a cable, its link up, and one client served."""
    global device, wire, clock, PLAY
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)       # as python does
    folder = tempfile.mkdtemp(prefix="fastring-fuzz-")
    clock, wire = VirtualClock(), FuzzWire()
    device = E1000Device(wire=wire, clock=clock)
    server = VfioUserServer(device, f"{folder}/card")
    server.served.messages.patience = 0.001       # for replies to its own commands, which never come
    clock.advance(5 * 10**9)
    memcpy(&pristine, device.card, sizeof(Card))
    PLAY = Player(server, make_descriptors())
    for i, module in enumerate(("control", "guest_memory", "server")):
        traced[sys.modules[f"e1000.vfio_user.{module}"].__file__] = i << 10
    PLAY.check_served()
    PyEval_SetTrace(count_line, NULL)


make_world()
ENTRY = <size_t><void*>run_input
