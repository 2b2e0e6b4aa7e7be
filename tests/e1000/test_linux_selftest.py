"""The Linux driver's offline self-test (`ethtool -t eth0 offline`; e1000_ethtool.c): registers, EEPROM, interrupt, loopback."""

import pytest
from linux import ALL, DESCRIPTORS, Linux
from mdio import BMCR, LOOPBACK, RESET

from e1000 import regs

PATTERNS = (0x5A5A5A5A, 0xA5A5A5A5, 0, ALL)
# Register: the bits that must read back, the bits that are written
PATTERN_TESTS = {
    "FCAL": (ALL, ALL),
    "FCAH": (0xFFFF, ALL),
    "FCT": (0xFFFF, ALL),
    "VET": (0xFFFF, ALL),
    "RDTR": (0xFFFF, ALL),
    "RDBAH": (ALL, ALL),
    "RDLEN": (0xFFF80, 0xFFFFF),
    "RDH": (0xFFFF, 0xFFFF),
    "RDT": (0xFFFF, 0xFFFF),
    "FCRTH": (0xFFF8, 0xFFF8),
    "FCTTV": (0xFFFF, 0xFFFF),
    "TIPG": (0x3FFFFFFF, 0x3FFFFFFF),
    "TDBAH": (ALL, ALL),
    "TDLEN": (0xFFF80, 0xFFFFF),
}
PATTERN_TESTS_82543 = {
    "RDBAL": (0xFFFFFFF0, ALL),
    "TXCW": (0xC000FFFF, 0xFFFF),
    "TDBAL": (0xFFFFFFF0, ALL),
    "TIDV": (0xFFFF, 0xFFFF),
}
FRAME, ROUND = 1024, 64
ROUNDS = DESCRIPTORS // ROUND * 2 + 2
EOP, IFCS, RPS = 1 << 24, 1 << 25, 1 << 28


@pytest.fixture
def linux(card):
    driver = Linux(card.bus)
    driver.probe()
    return driver


def pattern_test(linux, offset, mask, write):
    for pattern in PATTERNS:
        linux.write(offset, write & pattern)
        assert linux.read(offset) == write & pattern & mask, hex(offset)


def set_and_check(linux, offset, mask, write):
    linux.write(offset, write & mask)
    assert linux.read(offset) & mask == write & mask, hex(offset)


def register_test(linux):
    """e1000_reg_test."""
    toggle = 0xFFFFF833
    before = linux.read(regs.STATUS) & toggle
    linux.write(regs.STATUS, toggle)
    assert linux.read(regs.STATUS) & toggle == before
    linux.write(regs.STATUS, before)
    for name, (mask, write) in PATTERN_TESTS.items():
        pattern_test(linux, getattr(regs, name), mask, write)
    set_and_check(linux, regs.RCTL, ALL, 0)
    set_and_check(linux, regs.RCTL, 0x06DFB3FE, 0x003FFFFB)
    set_and_check(linux, regs.TCTL, ALL, 0)
    set_and_check(linux, regs.RCTL, 0x06DFB3FE, ALL)        # the receiver is on, its ring is what the patterns left
    for name, (mask, write) in PATTERN_TESTS_82543.items():
        pattern_test(linux, getattr(regs, name), mask, write)
    for i in range(15):
        pattern_test(linux, regs.RAH0 + 8 * i, 0x8003FFFF, ALL)
    for i in range(128):
        pattern_test(linux, regs.MTA + 4 * i, ALL, ALL)


def interrupt_test(linux, irq):
    """e1000_intr_test, the interrupt line not shared."""
    seen = 0

    def handler():
        nonlocal seen
        seen |= linux.read(regs.ICR)
        return True

    def caused(unmask, mask, set_causes):
        nonlocal seen
        seen = 0
        linux.write(regs.IMC, mask)
        linux.write(regs.IMS, unmask)
        linux.write(regs.ICS, set_causes)
        linux.flush()
        irq.handle_irq()
        return seen

    irq.request_irq(handler)
    linux.write(regs.IMC, ALL)
    linux.flush()
    for i in range(10):
        cause = 1 << i
        assert not caused(0, cause, cause) & cause
        assert caused(cause, 0, cause) & cause
        assert caused(0, ~cause & 0x7FFF, ~cause & 0x7FFF) == 0
    linux.write(regs.IMC, ALL)
    irq.free_irq()


def setup_rings(linux, card):
    """e1000_setup_desc_rings."""
    tx, rx = card.memory.alloc_coherent(4096), card.memory.alloc_coherent(4096)
    linux.write(regs.TDBAL, tx & ALL)
    linux.write(regs.TDBAH, tx >> 32)
    linux.write(regs.TDLEN, 16 * DESCRIPTORS)
    linux.write(regs.TDH, 0)
    linux.write(regs.TDT, 0)
    linux.write(regs.TCTL, regs.TCTL_PSP | regs.TCTL_EN | 15 << regs.TCTL_CT_SHIFT | 0x40 << regs.TCTL_COLD_SHIFT)
    linux.change(regs.RCTL, off=regs.RCTL_EN)
    linux.write(regs.RDBAL, rx & ALL)
    linux.write(regs.RDBAH, rx >> 32)
    linux.write(regs.RDLEN, 16 * DESCRIPTORS)
    linux.write(regs.RDH, 0)
    linux.write(regs.RDT, 0)
    linux.write(regs.RCTL, regs.RCTL_EN | regs.RCTL_BAM)
    sent, received = ([card.alloc(size) for _ in range(DESCRIPTORS)] for size in (FRAME, 2048))
    for i in range(DESCRIPTORS):
        card.addresses.write(tx + 16 * i, sent[i].to_bytes(8, "little") + (FRAME | EOP | IFCS | RPS).to_bytes(8, "little"))
        card.addresses.write(rx + 16 * i, received[i].to_bytes(16, "little"))
    return sent, received


def setup_loopback(linux):
    """e1000_integrated_phy_loopback."""
    for register, value in ((16, 0x0808), (BMCR, 0x9140), (BMCR, 0x8140)):
        linux.mdio.write(register, value)
    linux.read(regs.CTRL)
    linux.mdio.write(BMCR, 0x4140)
    force = regs.CTRL_FRCSPD | regs.CTRL_FRCDPLX | regs.CTRL_SPEED_1000 | regs.CTRL_FD | regs.CTRL_ILOS
    linux.change(regs.CTRL, on=force, off=3 << regs.CTRL_SPEED_SHIFT)
    for register, value in ((29, 0x001F), (30, 0x8FFC), (29, 0x001A), (30, 0x8FF0)):
        linux.mdio.write(register, value)


def lbtest_frame():
    """e1000_create_lbtest_frame."""
    half = FRAME // 2
    frame = bytearray(b"\xff" * half + b"\xaa" * (half - 1) + b"\xff")
    frame[half + 10], frame[half + 12] = 0xBE, 0xAF
    return bytes(frame)


def run_loopback(linux, card, sent, received):
    """e1000_run_loopback_test: ten rounds, twice around the rings and on. RDT stays where it is, so what comes after the first 255
    frames is missed, and the driver finds those of the round before.
    """
    linux.write(regs.RDT, DESCRIPTORS - 1)
    k = at = 0
    for _ in range(ROUNDS):
        for i in range(ROUND):
            card.addresses.write(sent[(k + i) % DESCRIPTORS], lbtest_frame())
        k = (k + ROUND) % DESCRIPTORS
        linux.write(regs.TDT, k)
        linux.flush()
        good = 0
        for _ in range(ROUND + 1):
            content = card.addresses.read(received[at], FRAME)
            good += (content[3], content[522], content[524]) == (0xFF, 0xBE, 0xAF)
            at = (at + 1) % DESCRIPTORS
            if good == ROUND:
                break
        assert good == ROUND
    sent, good, missed = card.counts("GPTC", "GPRC", "MPC")
    assert sent == good + missed == ROUNDS * ROUND
    assert linux.read(regs.RDH) == DESCRIPTORS - 1


def clean_up_loopback(linux):
    """e1000_loopback_cleanup."""
    linux.change(regs.RCTL, off=regs.RCTL_LBM)
    control = linux.mdio.read(BMCR)
    assert control & LOOPBACK
    linux.mdio.write(BMCR, control & ~LOOPBACK)
    linux.mdio.write(BMCR, linux.mdio.read(BMCR) | RESET)


def test_the_registers_pass(linux, card):
    register_test(linux)
    assert card.wire.sent == []


def test_the_eeprom_passes(linux):
    linux.words.clear()
    linux.validate_eeprom_checksum()


def test_interrupts_pass(linux, card):
    linux.reset()
    interrupt_test(linux, card.bus.irq)


def test_loopback_passes(linux, card):
    linux.reset()
    linux.mdio.write(BMCR, linux.mdio.read(BMCR) & ~0x0800)
    sent, received = setup_rings(linux, card)
    setup_loopback(linux)
    run_loopback(linux, card, sent, received)
    clean_up_loopback(linux)
    assert card.wire.sent == []


def test_the_whole_of_it_passes_and_leaves_a_card_that_works(linux, card):
    assert linux.watchdog()[0], "the link test"
    linux.reset()
    register_test(linux)
    linux.reset()
    linux.words.clear()
    linux.validate_eeprom_checksum()
    linux.reset()
    interrupt_test(linux, card.bus.irq)
    linux.reset()
    sent, received = setup_rings(linux, card)
    setup_loopback(linux)
    run_loopback(linux, card, sent, received)
    clean_up_loopback(linux)
    linux.reset()
    card.tx_ring()
    card.post_packets(b"\xff" * 100)
    assert card.wire.sent == [b"\xff" * 100]
