"""A virtual machine: Debian's kernel and its e1000 driver on a served card, or on QEMU's own, with a shell to ask."""

import gzip
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from e1000.bus.qemu import qemu_folder, unpacked

HERE = Path(__file__).resolve().parent
BOOT = 120  # seconds that no boot takes
KERNEL_OPTIONS = "console=ttyS0 quiet panic=-1 net.ifnames=0"


def guest_folder():
    """Where setup.sh unpacks: $FASTRING_GUEST_ROOT, or ~/.cache/fastring/guest."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("FASTRING_GUEST_ROOT") or home / "fastring/guest")


def missing():
    """Why no guest can boot here, or None."""
    for folder, script in ((qemu_folder() / "stepped", "tests/oracle/qemu.sh"), (guest_folder() / "initramfs", "tests/guest/setup.sh")):
        if not (folder / ".made-by").exists():
            return f"{folder} is not there: {script} makes it"
    return None


def make_initrd(target, kernel, **files):
    """A cpio of the initramfs folder, our init and a kernel's modules, and `files`: bytes by name."""
    tree = target.parent / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(guest_folder() / "initramfs", tree, symlinks=True)
    shutil.copy(HERE / "init", tree / "init")
    (tree / "init").chmod(0o755)
    for module in (guest_folder() / kernel).glob("*.ko"):
        shutil.copy(module, tree)
    for name, data in files.items():
        (tree / name).write_bytes(data)
    names = sorted(path.relative_to(tree) for path in tree.rglob("*"))
    with gzip.open(target, "wb", compresslevel=1) as archive:
        for number, name in enumerate(names, 1):
            archive.write(_entry(tree / name, str(name), number))
        archive.write(_newc("TRAILER!!!", 0, 0, b""))
    shutil.rmtree(tree)


def _entry(path, name, number):
    data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
    return _newc(name, number, path.lstat().st_mode, data)


def _newc(name, number, mode, data):
    """One entry of a cpio archive in the format that the kernel unpacks (Documentation/driver-api/early-userspace)."""
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def ram(megabytes, *, shared=True):
    """QEMU's options for a machine's memory, which a served card can map if `shared`; its firmware speaks on the first serial port."""
    if not shared:
        return ["-m", megabytes, "-machine", "pc,graphics=off"]
    backend = f"memory-backend-memfd,id=ram,size={megabytes}M,share=on"
    return ["-m", megabytes, "-object", backend, "-machine", "pc,memory-backend=ram,graphics=off"]


def card_at(path, **properties):
    """QEMU's options for a card that is served at a socket."""
    return ["-device", json.dumps({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": str(path)}, **properties})]


def start_qemu(where, says, *options):
    """A QEMU in the namespace `where`; what it complains of goes into the file `says`."""
    program = unpacked(qemu_folder() / "stepped")
    with open(says, "w") as errors:
        line = (*program.line, "-nodefaults", "-display", "none", "-accel", "tcg", *options)
        return where.popen(*line, env=program.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)


class Guest:
    """A running machine, in the namespace `where`. `card`: a served one's socket, or QEMU's options for another.

    `memory`: MB, or None if `card` has the options for that; `shared`: so that the card can map it. `loads`: whether QEMU loads the
    kernel; else `card` says what is booted, and that ends with our init. `run` asks its shell.
    """

    def __init__(self, folder, card, *, where, kernel="bookworm", cpus=1, memory=512, shared=True, loads=True, options=()):
        if isinstance(card, (str, Path)):
            card = card_at(card)
        folder.mkdir(exist_ok=True)
        self.console = folder / "console"
        self.console.touch()
        boot = []
        if loads:
            make_initrd(folder / "initrd", kernel)
            boot = ["-kernel", guest_folder() / kernel / "vmlinuz", "-initrd", folder / "initrd", "-append", KERNEL_OPTIONS]
        serial, self.says = folder / "serial", folder / "qemu-says"
        ports = ["-serial", f"file:{self.console}", "-serial", "chardev:shell"]
        ports += ["-chardev", f"socket,id=shell,path={serial},server=on,wait=off"]
        memory_options = ram(memory, shared=shared) if memory else ()
        self.process = start_qemu(where, self.says, "-smp", cpus, *memory_options, *boot, *ports, *card, *options)
        self.shell = socket.socket(socket.AF_UNIX)
        self.replies = self._connect(serial)
        self._answer(BOOT)

    def _connect(self, serial):
        deadline = time.monotonic() + BOOT
        while True:
            try:
                self.shell.connect(str(serial))
                return self.shell.makefile("rb")
            except OSError:
                self.check_alive()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def check_alive(self):
        """Raises AssertionError with what QEMU said, if it has ended."""
        status = self.process.poll()
        assert status is None, f"QEMU ended with {status}: {self.says.read_text()}{self.console.read_text()[-2000:]}"

    def _answer(self, timeout):
        self.shell.settimeout(timeout)
        lines = []
        while True:
            try:
                line = self.replies.readline().decode(errors="replace")
            except TimeoutError:
                raise AssertionError(f"the guest says nothing: {self.console.read_text()[-2000:]}") from None
            if not line:
                self.check_alive()
                raise EOFError("\n".join(lines))
            line = line.rstrip("\r\n")
            if line.startswith("##"):
                return line[2:], "\n".join(lines)
            lines.append(line)

    def ask(self, command, timeout=120):
        """(status, output) of a shell command in the guest."""
        self.shell.sendall(command.encode() + b"\n")
        status, output = self._answer(timeout)
        return int(status), output

    def run(self, command, timeout=120):
        """Its output. Raises AssertionError if it failed."""
        status, output = self.ask(command, timeout)
        assert status == 0, f"{command}: status {status}: {output}"
        return output

    def reboot(self):
        """Reset the machine, and wait until its shell is there again."""
        self.shell.sendall(b"echo b > /proc/sysrq-trigger\n")
        assert self._answer(BOOT)[0] == "ready"

    def wait_for(self, command, timeout=60):
        """Ask again until it succeeds; its output."""
        deadline = time.monotonic() + timeout
        while True:
            status, output = self.ask(command)
            if status == 0:
                return output
            assert time.monotonic() < deadline, f"{command}: still status {status}: {output}"
            time.sleep(0.2)

    def close(self):
        """Kill it."""
        self.shell.close()
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
