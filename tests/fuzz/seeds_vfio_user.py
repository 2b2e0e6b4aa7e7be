"""Where the fuzzer of the vfio-user server starts: what QEMU says, by hand, and what our own driver said to a server, recorded."""

import array
import os
import re
import socket
import struct
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parent
TEXT = (HERE / "fuzz_vfio_user.pyx").read_text()
ACTIONS = {name: i for i, name in enumerate(re.findall(r"^    ([A-Z_]+) +#", TEXT.partition("cpdef enum:")[2].partition("\n\n")[0], re.M))}
NEGOTIATED = b"\x03"
MEMORY, EVENT = 2, 5  # of its descriptors: a file of 1 MB, the first eventfd
LONGEST = 4096  # bytes of an input
HEADER = struct.Struct("=HHIII")


def do(action, *content):
    """One action; what follows it as ints of one byte, or bytes."""
    return bytes([ACTIONS[action]]) + b"".join(c if isinstance(c, bytes) else bytes([c]) for c in content)


def raw(message, *descriptors):
    """A message, byte for byte."""
    told = do("PIECES", 0, 1) if len(message) > 255 else b""
    for start in range(0, len(message), 255):
        part = message[start : start + 255]
        told += do("RAW", len(descriptors), *descriptors, len(part), part)
        descriptors = ()
    return told


def command(number, layout, *fields, data=b"", flags=0, fds=()):
    body = struct.pack(f"={layout}", *fields) + data
    return raw(HEADER.pack(7, number, HEADER.size + len(body), flags, 0) + body, *fds)


def read(offset, region=0, count=4):
    return command(9, "QII", offset, region, count)


def write(offset, value, region=0, count=4, flags=0x10):
    return command(10, "QII", offset, region, count, data=value.to_bytes(count, "little"), flags=flags)


def dma_map(address, size, fd, offset=0):
    return command(2, "IIQQQ", 32, 3, offset, address, size, fds=() if fd is None else (fd,))


def irqs(flags, index=0, start=0, count=1, fds=()):
    return command(8, "5I", 20, flags, index, start, count, fds=fds)


VERSION = command(1, "HH", 0, 1, data=b'{"capabilities": {"max_msg_fds": 16, "max_data_xfer_size": 1048576, "write_multiple": true}}\0')
QEMU = (
    b"\x02" + VERSION + command(4, "4I", 16, 0, 0, 0) + b"".join(command(5, "4I2Q", 32, 0, i, 0, 0, 0) for i in range(9))
    + b"".join(command(7, "4I", 16, 0, i, 0) for i in range(5)) + command(13, "") + b"".join(read(i, 7) for i in range(0, 64, 4))
)
MAPS = dma_map(0, 0xA0000, MEMORY) + dma_map(0xC0000, 0x10000, None) + dma_map(0x100000, 0x10000, 0, 4096)
FRAMES = do("FRAMES", 0x47, *[100, 0] * 8)
UNMAP = command(3, "IIQQ", 24, 0, 0, 0xA0000)
SEEDS = {
    "qemu": QEMU,
    "qemu memory": NEGOTIATED + MAPS + UNMAP + dma_map(0, 0x80000, MEMORY) + command(3, "IIQQ", 24, 2, 0, 0) + UNMAP,
    "qemu interrupts": NEGOTIATED + irqs(0x24, fds=(EVENT,)) + write(4, 7, 7, 2) + write(0xD0, 4) + write(0xC8, 4) + irqs(0x11)
    + read(0xC0) + irqs(0x9) + irqs(0x12) + irqs(0x24, 1, fds=(EVENT + 1,)) + write(0xF2, 0x81, 7, 2) + write(0xC8, 4) + irqs(0x21, 1)
    + irqs(0x21, 0, 0, 0),
    "several writes": NEGOTIATED + write(4, 7, 7, 2)
    + command(15, "Q", 3, data=b"".join(struct.pack("=QIIQ", 0x5200 + 4 * i, 0, 4, i) for i in range(3))) + read(0x5200, 0, 64),
    "traffic": NEGOTIATED + do("RINGS", 1, 5) + FRAMES + do("TRUNCATE", 0, 0, 1) + FRAMES + do("CLOCK", 100, 20) + do("HANG_UP", 4)
    + do("RINGS", 0, 7),
    "doorbells": b"\x07" + do("RINGS", 1, 5) + FRAMES + b"".join(do("DOORBELL", 1, n, n) for n in range(12, 21)) + FRAMES + read(0x3810),
    "in pieces": NEGOTIATED + do("PIECES", 5, 0) + MAPS + do("PIECES", 17, 9) + read(8) + read(0, 1, 64) + do("READING", 0)
    + read(0, 0, 0x20000) + do("AGAIN", 0, 20) + do("READING", 1) + do("HANG_UP", 2) + VERSION,
    "more than one": b"\x01" + do("ANOTHER", 20, HEADER.pack(1, 4, 32, 0, 0), bytes(4), 0) + do("HANG_UP", 1) + do("HANG_UP", 5),
    "descriptors": NEGOTIATED + b"".join(dma_map(n << 20, 4096, n) for n in range(19)) + b"".join(irqs(0x24, fds=(n,)) for n in range(19)),
}


class Relay(threading.Thread):
    """Between a client and the server at `path`, both ways: `messages` are what the client sent, each with how many descriptors."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"{path}-relay")
        self.listener.listen()
        self.path, self.messages = path, []

    def run(self):
        client, server = self.listener.accept()[0], socket.socket(socket.AF_UNIX)
        server.connect(self.path)
        back = threading.Thread(target=self.pass_on, args=(server, client), daemon=True)
        back.start()
        self.pass_on(client, server, self.messages)
        back.join()

    @staticmethod
    def pass_on(source, target, kept=None):
        """Until it hangs up."""
        rest = b""
        with suppress(OSError):
            while True:
                data, fds, *_ = socket.recv_fds(source, 1 << 16, 16)
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
                files = [EVENT if "eventfd" in os.readlink(f"/proc/self/fd/{fd}") else MEMORY for fd in fds]
                for fd in fds:
                    os.close(fd)
                rest += data
                while kept is not None and len(rest) >= HEADER.size and len(rest) >= (size := HEADER.unpack_from(rest)[2]):
                    kept.append((rest[:size], files))
                    rest, files = rest[size:], []


def session():
    """(message, its descriptors) of our driver, from probe to remove."""
    from e1000.bus import VfioUserBus
    from e1000.device import E1000Device
    from e1000.driver import probe, remove
    from e1000.vfio_user import SharedMemory, VfioUserServer, serve
    from fastring.burst import Burst
    from fastring.wire import NullWire
    from softnet import Stack

    with tempfile.TemporaryDirectory() as folder, E1000Device(wire=NullWire()) as card, VfioUserServer(card, f"{folder}/card") as server:
        wake, stopped = os.eventfd(0), []
        serving = threading.Thread(target=serve, args=([server],), kwargs={"until": lambda: bool(stopped), "wake": wake})
        serving.start()
        relay = Relay(server.path)
        relay.start()
        with SharedMemory(size=1 << 20) as memory, Stack() as stack, VfioUserBus(f"{server.path}-relay", memory=memory) as bus:
            device = probe(bus, stack, rx_descriptors=80, tx_descriptors=80)
            device.register()
            device.open()
            device.xmit(Burst.from_packets([bytes(range(60))] * 10))
            stack.run()
            remove(device)
        relay.join(60)
        stopped.append(True)
        os.eventfd_write(wake, 1)
        serving.join(60)
        os.close(wake)
        return relay.messages


def recorded():
    """(name, input): that session's beginning, and pieces of what follows, each behind it."""
    pieces = []
    for message, descriptors in session():
        _, number, _, flags, _ = HEADER.unpack_from(message)
        if number == 10 and flags == 0x10 and message[24:32] == struct.pack("=2I", 0, 4):
            offset, value = struct.unpack("=Q8xI", message[16:])
            pieces.append(do("REGISTER", 0, struct.pack("=H", offset >> 2), 0x85, struct.pack("=I", value)))
        else:
            pieces.append(raw(message, *descriptors))
    head, lines = b"\x02" + b"".join(pieces[:12]), [b""]
    for piece in pieces[12:]:
        if len(head) + len(lines[-1]) + len(piece) > LONGEST:
            lines.append(b"")
        lines[-1] += piece
    kept = [*lines[:4], *lines[-2:]] if len(lines) > 6 else lines
    for i, line in enumerate(kept):
        yield f"our-driver-{i}", head + line


def inputs():
    """(name, input) of all."""
    yield from SEEDS.items()
    yield from recorded()
