"""A QEMU without a guest: its devices' registers, memory, interrupt line and network, driven from here by the qtest protocol.

The machine's vCPU does nothing: under the qtest accelerator there is none, under TCG the firmware is one HLT.
"""

import mmap
import os
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

TIMEOUT = 20
HALT = bytes.fromhex("fa f4 eb fd").ljust(16, b"\0").rjust(0x10000, b"\0")     # at the reset vector: cli; hlt; again


HPET_CONTROL, HPET_COUNTER, HPET_TIMER, HPET_TIMER_END = (0xFED00000 + offset for offset in (0x10, 0xF0, 0x100, 0x108))
HPET_TIMER_ON = 20 << 9 | 1 << 2        # interrupt 20, which nobody looks at
HPET_PERIOD = 10                        # nanoseconds


class QemuError(Exception):
    """QEMU died or answered something unexpected."""


def command(root, *arguments):
    """QEMU's command line and environment, run from where qemu.sh unpacked it."""
    lib = f"{root}/usr/lib/x86_64-linux-gnu"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LD_", "ASAN_", "UBSAN_"))}
    line = [f"{root}/usr/lib64/ld-linux-x86-64.so.2", "--library-path", lib, f"{root}/usr/bin/qemu-system-x86_64"]
    line += ["-L", f"{root}/usr/share/seabios", "-L", f"{root}/usr/share/qemu", *arguments]
    return line, environment | {"QEMU_MODULE_DIR": f"{lib}/qemu"}


class Qemu:
    """One process with one card. `ram`: its memory, shared. `stepped`: time stands still until `advance`; else it jumps to every timer."""

    def __init__(self, root, *, ram, device, irq, stepped):
        self.stepped, self.irq, self._pin = stepped, False, irq
        self._undo = ExitStack()
        try:
            self._start(root, ram, device)
            self._ask("irq_intercept_in ioapic")
            self.port_write(0x43, 0x30, 1)              # the PIT, whose every tick would be a line to read
            if not stepped:
                self.write(HPET_CONTROL, 1, 8)          # let it count
        except BaseException:
            self.close()
            raise

    def _start(self, root, ram, device):
        folder = Path(self._undo.enter_context(tempfile.TemporaryDirectory(prefix="oracle-")))
        control, wire = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._wire = self._undo.enter_context(wire)
        with control:
            control.bind(f"{folder}/qtest")
            control.listen(1)
            control.settimeout(TIMEOUT)
            wire.bind(f"{folder}/ours")
            wire.setblocking(False)
            (folder / "firmware").write_bytes(HALT)
            memory = os.memfd_create("oracle")
            os.truncate(memory, ram)
            self._map = mmap.mmap(memory, ram)
            self.ram = memoryview(self._map)
            accelerator = ["-accel", "qtest"] if self.stepped else ["-accel", "tcg", "-icount", "shift=0,sleep=off"]
            line, environment = command(
                root, *accelerator, "-nodefaults", "-display", "none", "-bios", f"{folder}/firmware", "-m", f"{ram >> 20}M",
                "-object", f"memory-backend-file,id=ram,size={ram},mem-path=/proc/self/fd/{memory},share=on",
                "-machine", "pc,memory-backend=ram", "-qtest", f"unix:{folder}/qtest", "-qtest-log", "/dev/null",
                "-netdev", f"dgram,id=wire,local.type=unix,local.path={folder}/qemu,remote.type=unix,remote.path={folder}/ours",
                "-device", device,
            )  # fmt: skip
            self._log = self._undo.enter_context((folder / "log").open("w+b"))
            self._process = subprocess.Popen(
                line, env=environment, pass_fds=[memory], stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT
            )
            os.close(memory)
            self._undo.callback(self._kill)
            try:
                self._qtest = self._undo.enter_context(control.accept()[0])
            except TimeoutError:
                raise QemuError(f"QEMU did not start: {self._complaint()}") from None
        self._qtest.settimeout(TIMEOUT)
        self._buffer = b""
        deadline = time.monotonic() + TIMEOUT
        while wire.connect_ex(f"{folder}/qemu") and time.monotonic() < deadline:
            time.sleep(0.001)

    def _kill(self):
        self._process.kill()
        self._process.wait()

    def _complaint(self):
        self._log.seek(0)
        return self._log.read().decode(errors="replace") or "it said nothing"

    def close(self):
        self._undo.close()

    # --- the protocol ---

    def _line(self):
        while b"\n" not in self._buffer:
            try:
                more = self._qtest.recv(1 << 16)
            except TimeoutError:
                raise QemuError(f"QEMU does not answer: {self._complaint()}") from None
            if not more:
                raise QemuError(f"QEMU is gone: {self._complaint()}")
            self._buffer += more
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode()

    def _ask(self, request):
        """One command and its answer; interrupt lines that change on the way are noted."""
        self._qtest.sendall(request.encode() + b"\n")
        while True:
            word, *rest = self._line().split()
            if word == "IRQ":
                if int(rest[1]) == self._pin:
                    self.irq = rest[0] == "raise"
            elif word == "OK":
                return int(rest[0], 0) if rest else None
            else:
                raise QemuError(f"{request}: {word} {' '.join(rest)}")

    def read(self, address, size):
        return self._ask(f"read{' bw l   q'[size]} {address:#x}")

    def write(self, address, value, size):
        self._ask(f"write{' bw l   q'[size]} {address:#x} {value:#x}")

    def port_read(self, port, size=4):
        return self._ask(f"in{' bw l'[size]} {port:#x}")

    def port_write(self, port, value, size=4):
        self._ask(f"out{' bw l'[size]} {port:#x} {value:#x}")

    def pci_read(self, slot, offset, size=4):
        self.port_write(0xCF8, 1 << 31 | slot << 11 | offset & 0xFC)
        return self.port_read(0xCFC + offset % 4, size)

    def pci_write(self, slot, offset, value, size=4):
        self.port_write(0xCF8, 1 << 31 | slot << 11 | offset & 0xFC)
        self.port_write(0xCFC + offset % 4, value, size)

    def advance(self, nanoseconds):
        """Let time pass. Where it cannot be stepped it jumps to the next timer: so a timer of the HPET's is set, and waited for."""
        if self.stepped:
            self._ask(f"clock_step {nanoseconds}")
            return
        end = self.read(HPET_COUNTER, 8) + nanoseconds // HPET_PERIOD
        self.write(HPET_TIMER, HPET_TIMER_ON, 8)
        self.write(HPET_TIMER_END, end, 8)
        deadline = time.monotonic() + TIMEOUT
        while self.read(HPET_COUNTER, 8) < end:
            if time.monotonic() > deadline:
                raise QemuError("QEMU's clock stands still")
            time.sleep(0.0002)

    # --- the wire ---

    def send(self, frame):
        """Give the card a frame. It may not want it: then QEMU keeps it, or leaves it on the wire, until it does.

        QEMU's main loop looks at wire and qtest in one go, so it has seen a frame when it answers the second question after it.
        """
        if not frame:
            raise ValueError("an empty datagram tells QEMU that the wire is gone")
        self._wire.send(frame)
        for _ in range(4):
            self._turn()

    def _turn(self):
        """One turn of QEMU's main loop: a question that changes nothing."""
        self.port_read(0x61, 1)

    def received(self):
        """The frames that came. Those beyond the datagram queue follow when that was read: ask until there are none."""
        frames, quiet = [], 0
        while quiet < 2:
            count = len(frames)
            with suppress(BlockingIOError):
                while True:
                    frames.append(self._wire.recv(1 << 17))
            self._turn()
            quiet = quiet + 1 if len(frames) == count else 0
        return frames
