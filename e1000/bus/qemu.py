"""Qemu: a QEMU with one e1000 and no guest, driven by the qtest protocol. QtestBus makes a bus of it, tests/oracle a second opinion.

QEMU's clock stands still unless it is stepped, and nothing runs in its machine but the card: the same accesses have the same effects.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from e1000.bus.base import Bus, HostMemory
from e1000.bus.qemu_wire import QemuWire
from e1000.device.arguments import parse_mac
from fastring.irq import IrqLine

RAM_BASE = 1 << 20  # where a HostMemory begins; a PC has ROM below
RAM_END = 3 << 30  # above lie devices
BAR0, IO_BAR = 0xE0000000, 0xC000  # where a driver is to put the card's BARs
SLOT, INTA = 4, 11  # the card's place on the PCI bus, and the interrupt that its INTA is routed to
PIIX3, PIRQ_ROUTES = 1, 0x60
BATCH = 64  # requests sent in one go; QEMU stops reading when some 280 answers wait
HALT = bytes.fromhex("fa f4 eb fd").ljust(16, b"\0").rjust(0x10000, b"\0")  # firmware, at the reset vector: cli; hlt; again
SIZES = {1: "b", 2: "w", 4: "l", 8: "q"}


class Program(NamedTuple):
    """How to run a QEMU: the beginning of its command line, and its environment."""

    line: list[str]
    environment: dict[str, str]


class GuestMemory(HostMemory):
    """A HostMemory that is a QEMU machine's RAM, so what lies elsewhere cannot be mapped; cards of our own may share it."""

    def map(self, buffer: object) -> int:
        """Refused: OSError EOPNOTSUPP. A driver copies packets that have no bus address."""
        raise OSError(errno.EOPNOTSUPP, "QEMU's card reaches its machine's RAM and no other memory: alloc_coherent, or let the driver copy")


def qemu_folder() -> Path:
    """Where tests/oracle/qemu.sh unpacks its QEMUs: $FASTRING_QEMU_ROOT, or ~/.cache/fastring/qemu."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("FASTRING_QEMU_ROOT") or home / "fastring/qemu")


def unpacked(root: Path) -> Program:
    """The QEMU that qemu.sh unpacked into a folder; it runs with that folder's own libraries."""
    lib = f"{root}/usr/lib/x86_64-linux-gnu"
    line = [f"{root}/usr/lib64/ld-linux-x86-64.so.2", "--library-path", lib, f"{root}/usr/bin/qemu-system-x86_64"]
    line += ["-L", f"{root}/usr/share/seabios", "-L", f"{root}/usr/share/qemu"]
    return Program(line, _environment() | {"QEMU_MODULE_DIR": f"{lib}/qemu"})


def find_qemu() -> Program:
    """$FASTRING_QEMU (a program), or the one that qemu.sh fetched, or qemu-system-x86_64 of the PATH. Raises FileNotFoundError."""
    named = os.environ.get("FASTRING_QEMU")
    if not named and (qemu_folder() / "stepped/.made-by").exists():
        return unpacked(qemu_folder() / "stepped")
    found = shutil.which(named or "qemu-system-x86_64")
    if found is None:
        raise FileNotFoundError(errno.ENOENT, f"no QEMU: no {named or 'qemu-system-x86_64'} here; tests/oracle/qemu.sh fetches one")
    return Program([found], _environment())


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("LD_", "ASAN_", "UBSAN_"))}


class Qemu:
    """One process with one card. `memory` is its RAM (64 MiB of its own by default), `wire` the far end of its cable, `irq` its INTA.

    `program`: which QEMU (`find_qemu()` by default). `timeout`: seconds until one that says nothing is given up; may be changed.
    Any thread may ask.

    It lives until `close`, at most as long as the thread that started it. Raises OSError: FileNotFoundError without a QEMU, ENODEV if it
    does not start (one without the qtest accelerator is too old) or has died meanwhile, EIO if it does not answer, EPROTO if it
    answers nonsense. After any of these it is not asked again, and every question raises the same.
    Raises ValueError for a `mac` that is none.
    """

    ACCELERATOR = ("-accel", "qtest")

    def __init__(
        self, *, memory: GuestMemory | None = None, mac: str = "52:54:00:12:34:56", program: Program | None = None, timeout: float = 20.0
    ) -> None:
        if not isinstance(memory, GuestMemory | None):
            raise TypeError(f"a Qemu's memory is a GuestMemory, in which nothing else can be mapped, not a {type(memory).__name__}")
        self.irq = IrqLine()
        self.bus: Bus | None = None  # it is on
        self.timeout = timeout
        self._undo = ExitStack()
        self._lock = threading.RLock()
        self._posted: list[str] = []
        self._error: OSError | None = None
        self._process: subprocess.Popen[bytes] | None = None
        station = parse_mac(mac).hex(":")
        try:
            self.memory = self._undo.enter_context(GuestMemory(size=1 << 26)) if memory is None else memory
            self.folder = Path(self._undo.enter_context(tempfile.TemporaryDirectory(prefix="fastring-qemu-")))
            self.wire = self._undo.enter_context(QemuWire(self.folder / "ours"))
            self._start(find_qemu() if program is None else program, station)
            self.ask("irq_intercept_in ioapic")
            self.port_write(0x43, 0x30, 1)  # the PIT, whose every tick would be a line to read
            self.pci_write(PIIX3, PIRQ_ROUTES, 0x01010101 * INTA)
            self.flush()
        except BaseException:
            self.close()
            raise

    def _start(self, program: Program, mac: str) -> None:
        control = socket.socket(socket.AF_UNIX)
        with control:
            control.bind(f"{self.folder}/qtest")
            control.listen(1)
            (self.folder / "firmware").write_bytes(HALT)
            self._log = self._undo.enter_context((self.folder / "log").open("w+b"))
            self._process = self._spawn(program, mac, self._log)
            self._undo.callback(self._kill)
            self._qtest = self._undo.enter_context(self._accept(control))
        self._buffer = b""
        self._connect_wire()

    def _connect_wire(self) -> None:
        self.wire.connect(self.folder / "qemu", time.monotonic() + self.timeout)

    def _netdev(self) -> str:
        """QEMU's end of the cable."""
        return f"dgram,id=wire,local.type=unix,local.path={self.folder}/qemu,remote.type=unix,remote.path={self.folder}/ours"

    def _spawn(self, program: Program, mac: str, log: BinaryIO) -> subprocess.Popen[bytes]:
        arena = self.memory.arena
        if self.memory.iova != RAM_BASE or RAM_BASE + len(arena) > RAM_END or len(arena) % 8192:
            raise OSError(errno.EINVAL, f"QEMU's RAM is a multiple of 8 KiB up to {RAM_END - RAM_BASE} bytes, not {len(arena)}")
        line = [
            *program.line, *self.ACCELERATOR, "-nodefaults", "-display", "none", "-bios", f"{self.folder}/firmware",
            "-m", f"{(RAM_BASE + len(arena)) >> 10}k",  # two nodes, as a bus address of ours is the arena's offset and RAM_BASE
            "-object", f"memory-backend-ram,id=low,size={RAM_BASE}", "-numa", "node,memdev=low,cpus=0",
            "-object", f"memory-backend-file,id=ram,size={len(arena)},mem-path=/proc/self/fd/{arena.fileno()},share=on",
            "-numa", "node,memdev=ram", "-machine", "pc", "-qtest", f"unix:{self.folder}/qtest", "-qtest-log", "/dev/null",
            "-netdev", self._netdev(),
            "-device", f"e1000,netdev=wire,romfile=,addr={SLOT},mac={mac}",
        ]  # fmt: skip
        if setpriv := shutil.which("setpriv"):
            line = [setpriv, "--pdeathsig", "KILL", "--", *line]  # should we be killed
        return subprocess.Popen(
            line,
            env=program.environment,
            pass_fds=[arena.fileno()],
            process_group=0,  # a Ctrl-C is for us
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def _accept(self, control: socket.socket) -> socket.socket:
        """QEMU's end of the protocol, once it is there."""
        assert self._process is not None
        control.settimeout(0.05)
        deadline = time.monotonic() + self.timeout
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                connection = control.accept()[0]
            except TimeoutError:
                continue
            return connection
        raise self._failed(errno.ENODEV, f"QEMU did not start: {self._last_words()}")

    def _last_words(self) -> str:
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip()
        if "invalid accelerator qtest" in said:
            return "it has no qtest accelerator, so its clock cannot be stepped; tests/oracle/qemu.sh fetches one that has"
        return said or "it said nothing"

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _failed(self, number: int, reason: str) -> OSError:
        """Never ask again: the answers would no longer be those to the questions. The cause is gone with the card."""
        self._error = OSError(number, reason)
        self._posted.clear()
        self._kill()
        self.irq.lower_irq()
        return OSError(number, reason)

    def close(self) -> None:
        """End the process; again is harmless. Its memory stays its owner's."""
        with self._lock:
            if self._error is None:
                self._failed(errno.ENODEV, "this QEMU was closed")
            self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "starting" if self._process is None else f"process {self._process.pid}"
        return f"<Qemu: {state if self._error is None else self._error.strerror}>"

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    # --- the protocol ---

    def post(self, request: str) -> None:
        """Send a request whose answer tells nothing, some time before the next one that is asked; up to 64 go at once."""
        with self._lock:
            if self._error is None:
                self._posted.append(request)
                if len(self._posted) == BATCH:
                    self.flush()

    def flush(self) -> None:
        """Wait until all that was posted is done."""
        with self._lock:
            if self._posted:
                self.ask(self._posted.pop())

    def ask(self, request: str) -> int:
        """Send a request behind those posted; its answer, or 0 if that is nothing but OK."""
        with self._lock:
            if self._error is not None:
                raise OSError(*self._error.args)
            requests, self._posted = [*self._posted, request], []
            answer = 0
            self._qtest.settimeout(self.timeout)
            try:
                self._qtest.sendall(("\n".join(requests) + "\n").encode())
                for asked, (word, *rest) in zip(requests, self._answers(), strict=False):
                    if word != "OK":
                        raise self._failed(errno.EPROTO, f"QEMU answers {asked!r} by {' '.join((word, *rest))!r}")
                    answer = int(rest[0], 0) if rest else 0
            except TimeoutError:
                # Not ETIMEDOUT: from ndo_stop that is a poll that did not end, and a device that is still up.
                raise self._failed(errno.EIO, f"QEMU does not answer for {self.timeout:g} s: {self._last_words()}") from None
            except (ConnectionError, EOFError):
                raise self._died() from None
            except KeyboardInterrupt:
                self._failed(errno.EINTR, "this QEMU was interrupted in the middle of an answer")
                raise
            return answer

    def _answers(self) -> Iterator[list[str]]:
        """Lines that answer, one a time; those between them, of interrupt lines that changed, are noted."""
        deadline = time.monotonic() + self.timeout
        while True:
            while b"\n" not in self._buffer:
                if time.monotonic() > deadline:
                    raise TimeoutError
                more = self._qtest.recv(1 << 16)
                if not more:
                    raise EOFError
                self._buffer += more
            line, self._buffer = self._buffer.split(b"\n", 1)
            words = line.decode(errors="replace").split() or [""]
            if words[0] != "IRQ":
                yield words
            elif words[2:] == [str(INTA)]:
                self.irq.raise_irq() if words[1] == "raise" else self.irq.lower_irq()

    def _died(self) -> OSError:
        assert self._process is not None
        try:
            status = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return self._failed(errno.ENODEV, f"QEMU hung up: {self._last_words()}")
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        return self._failed(errno.ENODEV, f"QEMU is gone, {how}: {self._last_words()}")

    def read(self, address: int, size: int = 4) -> int:
        """Read 1, 2, 4 or 8 bytes of physical memory."""
        return self.ask(f"read{SIZES[size]} {address:#x}")

    def write(self, address: int, value: int, size: int = 4) -> None:
        """Write physical memory; posted."""
        self.post(f"write{SIZES[size]} {address:#x} {value:#x}")

    def port_read(self, port: int, size: int = 4) -> int:
        """IN."""
        return self.ask(f"in{SIZES[size]} {port:#x}")

    def port_write(self, port: int, value: int, size: int = 4) -> None:
        """OUT; posted."""
        self.post(f"out{SIZES[size]} {port:#x} {value:#x}")

    def pci_read(self, slot: int, offset: int, size: int = 4) -> int:
        """Read a device's configuration space."""
        with self._lock:
            self.port_write(0xCF8, 1 << 31 | slot << 11 | offset & 0xFC)
            return self.port_read(0xCFC + offset % 4, size)

    def pci_write(self, slot: int, offset: int, value: int, size: int = 4) -> None:
        """Write a device's configuration space; posted."""
        with self._lock:
            self.port_write(0xCF8, 1 << 31 | slot << 11 | offset & 0xFC)
            self.port_write(0xCFC + offset % 4, value, size)

    def advance(self, nanoseconds: int) -> None:
        """Let time pass, at least 1 ns: otherwise it stands still."""
        self.ask(f"clock_step {nanoseconds}")

    def turn(self) -> None:
        """One turn of QEMU's main loop, which looks at the wire, too: a question that changes nothing."""
        self.port_read(0x61, 1)

    def exchange(self) -> None:
        """Let frames pass on the wire, both ways, until it is quiet or the interrupt line is up; what the card does not take waits."""
        with self._lock:
            moved, unread, quiet = self.wire.poll(), self.wire.unread, 0
            if not (moved or unread or self.wire.waiting):
                return
            while quiet < 2 and not self.irq.asserted:
                self.turn()
                before = unread
                moved, unread = self.wire.poll(), self.wire.unread
                quiet = 0 if moved or unread != before else quiet + 1
