"""A vfio-user client whose memory a server reaches by messages: it answers them, or does what a test wants instead."""

import struct

from test_vfio_user_server import Client

from e1000 import regs

DMA_READ, DMA_WRITE = 11, 12
BASE, SIZE = 0x100000, 1 << 20
RING, RX_RING, TX_DATA, RX_DATA = 0x0, 0x1000, 0x10000, 0x40000  # in it
SLOTS = 64


class DmaClient(Client):
    """`memory` lies at BASE. `obey(command, address, count, data)` is asked before each DMA is done; False: it does not want that done."""

    def __init__(self, path, *, most=1 << 20, layout="=2Q", **options):
        version = struct.pack("=2H", 0, 1) + b'{"capabilities": {"max_msg_fds": 8, "max_data_xfer_size": %d}}\0' % most
        self.memory = bytearray(SIZE)
        self.layout = struct.Struct(layout)
        self.dma = []  # (command, address, count) of each
        self.obey = lambda *_: True
        super().__init__(path, version, **options)
        self.write(7, 4, b"\x07\0")

    def reply(self):
        """The next one; DMA that comes before is done."""
        while True:
            number, command, size, flags, error = header = struct.unpack("=HHIII", self._exactly(16))
            payload = self._exactly(size - 16)
            if flags & 0xF:
                return number, command, error, payload
            self.serve(header, payload)

    def call(self, command, payload=b"", fds=(), **options):
        """As Client's; one may be called while another, whose reply comes later, waits."""
        self.send(command, payload, fds, **options)
        mine = self.sent, command
        while True:
            number, answered, error, answer = self.reply()
            if (number, answered) == mine:
                return error, answer

    def serve(self, header, payload):
        number, command, *_ = header
        address, count = self.layout.unpack_from(payload)
        data = payload[self.layout.size :]
        if self.layout.size == 16 and count > 1 << 20:  # which one who has 64 bits for the count sees
            self.answer(number, command, error=22)
            return
        data = data[:count]
        self.dma.append((command, address, count))
        if not self.obey(command, address, count, number):
            return
        at = address - BASE
        if not 0 <= at <= SIZE - count:
            self.answer(number, command, error=14)
        elif command == DMA_READ:
            self.answer(number, command, self.layout.pack(address, count) + self.memory[at : at + count] + self.padding)
        else:
            assert len(data) == count
            self.memory[at : at + count] = data
            self.answer(number, command, b"" if self.padding else self.layout.pack(address, count))

    @property
    def padding(self):
        return bytes(16 - self.layout.size)

    def answer(self, number, command, payload=b"", error=0):
        self.socket.sendall(struct.pack("=HHIII", number, command, 16 + len(payload), 1 | (0x20 if error else 0), error) + payload)

    # --- a driver ---

    def reg(self, offset, value=None):
        if value is None:
            return struct.unpack("=I", self.read(0, offset, 4))[0]
        self.write(0, offset, struct.pack("=I", value))
        return None

    def start(self, *, ring=BASE + RING, rx_ring=BASE + RX_RING, rx_data=BASE + RX_DATA, loopback=True):
        """Both rings, buffers of 2 KiB, and what is sent comes back."""
        self.reg(regs.CTRL, 0x40)  # SLU
        for slot in range(SLOTS):
            struct.pack_into("=2Q", self.memory, RX_RING + 16 * slot, rx_data + 2048 * slot, 0)
        for base, length, head, tail, where in (
            (regs.TDBAL, regs.TDLEN, regs.TDH, regs.TDT, ring),
            (regs.RDBAL, regs.RDLEN, regs.RDH, regs.RDT, rx_ring),
        ):
            self.reg(base, where)
            self.reg(length, 16 * SLOTS)
            self.reg(head, 0)
            self.reg(tail, 0)
        self.reg(regs.RCTL, 1 << 1 | 1 << 3 | 1 << 4 | 1 << 15 | 1 << 26 | (3 << 6 if loopback else 0))  # EN UPE MPE BAM SECRC LBM
        self.reg(regs.RDT, SLOTS - 1)
        self.reg(regs.TCTL, 1 << 1)

    def place(self, slot, frame, at):
        self.memory[at : at + len(frame)] = frame
        struct.pack_into("=2Q", self.memory, RING + 16 * slot, BASE + at, len(frame) | 0x0B << 24)  # EOP IFCS RS

    def send_frames(self, frames):
        for slot, frame in enumerate(frames):
            self.place(slot, frame, TX_DATA + 2048 * slot)
        self.reg(regs.TDT, len(frames))

    def received(self, count):
        """What the receive ring's first descriptors tell of."""
        found = []
        for slot in range(count):
            address, word = struct.unpack_from("=2Q", self.memory, RX_RING + 16 * slot)
            if not word >> 32 & 1:
                break
            found.append(bytes(self.memory[address - BASE : address - BASE + (word & 0xFFFF)]))
        return found

    def done(self, count):
        return sum(self.memory[RING + 16 * slot + 12] & 1 for slot in range(count))
