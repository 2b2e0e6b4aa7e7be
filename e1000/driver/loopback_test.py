"""The self-test's last part: packets through both rings, the PHY sending them back (the kernel's e1000_loopback_test)."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from e1000 import regs
from e1000.driver.hw import PHY_CTRL, Hw, PhyError
from e1000.driver.phy import M88_PHY_SPEC_CTRL, MII_CR_RESET

M88_PAGE, M88_PAGE_DATA = 29, 30
MDI_FIXED = 0x0808
LOOPBACK_1000 = (0x9140, 0x8140, 0x4140)  # reset; reset without negotiation; loopback, full duplex
RECEIVER_OFF = ((0x1F, 0x8FFC), (0x1A, 0x8FF0))  # pages: no cable disturbs it

COUNT, ROUND, ROUNDS = 256, 64, 10
FRAME, BUFFER, CRC = 1024, 2048, 4
TXD_EOP, TXD_IFCS, TXD_RPS = 1 << 24, 1 << 25, 1 << 28
RXD_DONE = 0x03  # DD and EOP
NO_MEMORY, NO_LOOPBACK, WRONG = 2, 8, 13  # e1000_setup_desc_rings', e1000_set_phy_loopback's and e1000_check_lbtest_frame's
WAIT, PATIENCE = 50e-6, 1.0  # seconds between two looks, and for a round


def loopback_test(hw: Hw) -> int:
    """The card is reset, and its PHY has power. Interrupts stay masked. All memory is given back, and the PHY as it was, but reset."""
    memory = hw.bus.memory
    blocks: list[int] = []
    try:
        try:
            for size in (16 * COUNT, 16 * COUNT, FRAME, BUFFER * COUNT):
                blocks.append(memory.alloc_coherent(size))
        except OSError:
            return NO_MEMORY
        try:
            with _phy_loopback(hw):
                return _Rings(hw, *blocks).run()
        except PhyError:
            return NO_LOOPBACK
    finally:
        try:
            hw.if_present(hw.reset)  # off the rings
        finally:
            for block in blocks:
                memory.free_coherent(block)


@contextmanager
def _phy_loopback(hw: Hw) -> Iterator[None]:
    """e1000_integrated_phy_loopback, and e1000_loopback_cleanup."""
    control, specific = hw.read_phy(PHY_CTRL), hw.read_phy(M88_PHY_SPEC_CTRL)
    pages = [(page, _read_page(hw, page)) for page, _ in RECEIVER_OFF]
    try:
        hw.write_phy(M88_PHY_SPEC_CTRL, MDI_FIXED)
        for value in LOOPBACK_1000:
            hw.write_phy(PHY_CTRL, value)
        forced = regs.CTRL_FRCSPD | regs.CTRL_FRCDPLX | regs.CTRL_SPEED_1000 | regs.CTRL_FD | regs.CTRL_ILOS | regs.CTRL_SLU
        hw.bus.write(regs.CTRL, hw.read(regs.CTRL) & ~(3 << regs.CTRL_SPEED_SHIFT) | forced)
        for page, value in RECEIVER_OFF:
            _write_page(hw, page, value)
        yield
    finally:
        for page, value in pages:
            _write_page(hw, page, value)
        hw.write_phy(M88_PHY_SPEC_CTRL, specific)
        hw.write_phy(PHY_CTRL, control | MII_CR_RESET)


def _read_page(hw: Hw, page: int) -> int:
    hw.write_phy(M88_PAGE, page)
    return hw.read_phy(M88_PAGE_DATA)


def _write_page(hw: Hw, page: int, value: int) -> None:
    hw.write_phy(M88_PAGE, page)
    hw.write_phy(M88_PAGE_DATA, value)


class _Rings:
    """Rings of 256 in memory that the caller has; every transmit descriptor leads to the same frame."""

    def __init__(self, hw: Hw, tx: int, rx: int, frame: int, buffers: int) -> None:
        self.hw, self.bus, self.addresses = hw, hw.bus, hw.bus.memory.addresses
        self.tx, self.rx, self.frame, self.buffers = tx, rx, frame, buffers
        self.content = b"\xff" * (FRAME // 2) + b"\xaa" * 10 + b"\xbe\xaa\xaf" + b"\xaa" * (FRAME // 2 - 14) + b"\xff"

    def run(self) -> int:
        """e1000_run_loopback_test, twice around and on; unlike there, frames are compared whole, and each buffer is given once."""
        self._setup()
        taken = 0
        for i in range(1, ROUNDS + 1):
            self._post(ROUND * (i - 1) % COUNT)
            self.bus.write(regs.TDT, ROUND * i % COUNT)
            self.bus.read(regs.STATUS)
            deadline = time.monotonic() + PATIENCE
            while taken < ROUND * i:
                if self._take(taken % COUNT):
                    taken += 1
                elif time.monotonic() > deadline:
                    return WRONG
                else:
                    self.hw.read(regs.STATUS)  # it may have gone
                    time.sleep(WAIT)
            self.bus.write(regs.RDT, (taken - 1) % COUNT)
        return 0

    def _setup(self) -> None:
        """e1000_setup_desc_rings."""
        bus, write = self.bus, self.bus.write
        self.addresses.write(self.frame, self.content)
        for i in range(COUNT):
            self._give(i)
        for base, low in ((self.tx, regs.TDBAL), (self.rx, regs.RDBAL)):
            write(low, base & 0xFFFFFFFF)
            write(low + 4, base >> 32)  # BAH, LEN, H and T follow as in the manual's table
            write(low + 8, 16 * COUNT)
            write(low + 16, 0)
            write(low + 24, 0)
        write(regs.TCTL, regs.TCTL_PSP | regs.TCTL_EN | 15 << regs.TCTL_CT_SHIFT | 0x40 << regs.TCTL_COLD_SHIFT)
        bus.write(regs.RCTL, regs.RCTL_EN | regs.RCTL_BAM)
        bus.write(regs.RDT, COUNT - 1)

    def _post(self, slot: int) -> None:
        """A round's descriptors, as one that is done must not be given as it is."""
        descriptor = struct.pack("<QQ", self.frame, FRAME | TXD_EOP | TXD_IFCS | TXD_RPS)
        self.addresses.write(self.tx + 16 * slot, descriptor * ROUND)

    def _give(self, slot: int) -> None:
        self.addresses.write(self.rx + 16 * slot, struct.pack("<QQ", self.buffers + BUFFER * slot, 0))

    def _take(self, slot: int) -> bool:
        """Whether the frame is there, whole. Its buffer is made ready again."""
        length, status = struct.unpack("<8xHxxBxxx", self.addresses.read(self.rx + 16 * slot, 16))
        buffer = self.buffers + BUFFER * slot
        if status & RXD_DONE != RXD_DONE or length != FRAME + CRC or self.addresses.read(buffer, FRAME) != self.content:
            return False
        self.addresses.write(buffer, bytes(FRAME))
        self._give(slot)
        return True
