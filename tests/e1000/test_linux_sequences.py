"""What drivers do to the card from probe to remove, replayed: Linux's, xv6's and Redox's. Each read answers what they need."""

import pytest
from cards import BROADCAST, EOP, GUARD, RS, packet
from linux import ALL, DESCRIPTORS, ENABLED, Linux
from mdio import ADVERTISE, BMCR, SECOND

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from fastring.clock import VirtualClock


class Timed:
    """A Linux driver whose waiting lets time pass for the card."""

    def __init__(self, undo, wire):
        self.clock = VirtualClock()
        self.memory = undo.enter_context(HostMemory(size=1 << 20))
        self.device = undo.enter_context(E1000Device(wire=wire, clock=self.clock))
        self.bus = undo.enter_context(LocalBus(self.device, memory=self.memory, enabled=False))
        self.linux = Linux(self.bus, wait=self.wait)

    def wait(self, seconds):
        self.clock.advance(int(seconds * SECOND))

    def open(self):
        self.linux.open(self.memory.alloc_coherent(16 * DESCRIPTORS), self.memory.alloc_coherent(16 * DESCRIPTORS))


@pytest.fixture
def linux(card):
    return Linux(card.bus)


def make_rings(card, count, buffer=2048):
    """Rings that the driver is to tell the card of; BareCard's own methods then use them."""
    card.tx_count = card.rx_count = count
    card.tx_base, card.rx_base = (card.memory.alloc_coherent(16 * count) for _ in range(2))
    card.tx_tail = card.rx_head = 0
    card.rx_buffer = buffer
    card.rx_buffers = [card.alloc(bytes([GUARD]) * (buffer + 16)) for _ in range(count)]
    for i in range(count):
        card.reset_rx(i)


def open_rings(linux, card):
    make_rings(card, DESCRIPTORS)
    linux.open(card.tx_base, card.rx_base)


# --- Linux ---


def test_linux_finds_the_card_and_its_address(linux, card):
    assert linux.probe().hex(":") == card.device.mac
    assert 8_000 < linux.accesses < 15_000
    assert card.read(regs.RAH0) == regs.RAH_AV | 0x5634
    assert card.read(regs.RCTL) == card.read(regs.IMS) == 0
    assert not card.read(regs.TCTL) & regs.TCTL_EN
    assert card.read(regs.WUC) == 0
    assert not card.bus.irq.asserted


def test_linux_resets_through_the_io_bar(linux, card):
    linux.probe()
    card.write(regs.FCTTV, 0x1234)
    linux.change(regs.CTRL, on=regs.CTRL_VME)
    linux.reset_hw()
    assert card.read(regs.FCTTV) == 0
    assert not card.read(regs.CTRL) & regs.CTRL_VME


def test_linux_keeps_its_packet_buffer_split_through_the_reset_that_makes_it_valid(linux, card):
    linux.probe()
    card.write(regs.PBA, 0x20)
    linux.reset_hw()
    assert card.read(regs.PBA) == 0x00200020


def test_linux_opens_is_interrupted_for_the_link_and_starts_to_transmit(linux, card):
    linux.probe()
    open_rings(linux, card)
    assert card.bus.irq.asserted
    assert linux.interrupt() & regs.ICR_LSC
    assert not card.bus.irq.asserted
    card.post_packets(packet(100))
    assert card.wire.sent == [], "TCTL.EN comes with the watchdog"
    link, statistics = linux.watchdog()
    assert link
    expected = {"GPTC": 1, "TPT": 1, "GOTCL": 104, "TOTL": 104, "PTC127": 1}
    assert {name: value for name, value in statistics.items() if value} == expected
    assert card.wire.sent == [packet(100)]
    assert card.read(regs.CTRL) & (regs.CTRL_RFCE | regs.CTRL_TFCE) == regs.CTRL_RFCE | regs.CTRL_TFCE
    assert linux.interrupt() & ENABLED == regs.ICR_TXDW | regs.ICR_RXDMT0


def test_linux_receives_with_the_crc_which_it_takes_off_itself(linux, card):
    linux.probe()
    open_rings(linux, card)
    linux.interrupt()
    linux.watchdog()
    linux.interrupt()
    card.receive(packet(100), packet(60, to=BROADCAST))
    assert card.bus.irq.asserted
    assert linux.interrupt() & regs.ICR_RXT0
    assert [content[:-4] for content in card.take()] == [packet(100), packet(60, to=BROADCAST)]
    statistics = linux.watchdog()[1]
    expected = {"GPRC": 2, "TPR": 2, "BPRC": 1, "GORCL": 168, "TORL": 168, "PRC64": 1, "PRC127": 1}
    assert {name: value for name, value in statistics.items() if value} == expected
    assert set(linux.watchdog()[1].values()) == {0}, "read to clear"


def test_an_interrupt_that_is_not_the_cards_reads_zero(linux):
    linux.probe()
    assert linux.interrupt() == 0


def test_unmasking_with_a_cause_pending_interrupts_again(linux, card):
    linux.probe()
    open_rings(linux, card)
    card.write(regs.IMC, ALL)
    assert not card.bus.irq.asserted
    card.write(regs.IMS, ENABLED)
    assert card.bus.irq.asserted


def test_linux_closes_and_its_link_drops_and_opens_again(linux, card):
    linux.probe()
    for _ in range(2):
        open_rings(linux, card)
        linux.interrupt()
        assert linux.watchdog()[0]
        linux.close()
        assert not card.read(regs.STATUS) & regs.STATUS_LU
        assert not linux.watchdog()[0]
    linux.remove()
    assert card.read(regs.STATUS) & regs.STATUS_LU, "the PHY's reset powered it up"


def test_on_a_clock_linux_gets_its_link_by_interrupt(undo, card):
    timed = Timed(undo, type(card.wire)())
    timed.linux.probe()
    timed.open()
    assert timed.linux.interrupt() & regs.ICR_LSC, "its own"
    assert not timed.linux.watchdog()[0]
    timed.linux.interrupt()
    timed.wait(2)
    assert timed.bus.irq.asserted
    assert timed.linux.interrupt() & regs.ICR_LSC
    assert timed.linux.watchdog()[0]
    assert timed.device.read(regs.TCTL) & regs.TCTL_EN


def test_a_powered_down_phy_stops_the_traffic_and_the_driver_gets_it_going_again(linux, card):
    linux.probe()
    open_rings(linux, card)
    linux.interrupt()
    linux.watchdog()
    linux.mdio.write(BMCR, linux.mdio.read(BMCR) | 0x0800)
    card.post_packets(packet(100))
    assert not linux.watchdog()[0]
    assert card.wire.sent == []
    linux.reset()                               # flushes what will never be sent
    linux.mdio.write(BMCR, linux.mdio.read(BMCR) & ~0x0800)
    open_rings(linux, card)
    linux.watchdog()
    card.post_packets(packet(200))
    assert card.wire.sent == [packet(200)]


# --- xv6 (6.1810's e1000_init, e1000_transmit, e1000_recv) ---


def test_xv6_sends_and_receives(card):
    count = 16
    card.write(regs.IMS, 0)
    card.write(regs.CTRL, card.read(regs.CTRL) | regs.CTRL_RST)
    card.write(regs.IMS, 0)
    make_rings(card, count)
    for offset, value in (
        (regs.TDBAL, card.tx_base),
        (regs.TDLEN, 16 * count),
        (regs.TDT, 0),
        (regs.TDH, 0),
        (regs.RDBAL, card.rx_base),
        (regs.RDH, 0),
        (regs.RDT, count - 1),
        (regs.RDLEN, 16 * count),
        (regs.RAL0, 0x12005452),
        (regs.RAH0, 0x5634 | regs.RAH_AV),
        *((regs.MTA + 4 * i, 0) for i in range(128)),
        (regs.TCTL, regs.TCTL_EN | regs.TCTL_PSP | 0x10 << regs.TCTL_CT_SHIFT | 0x40 << regs.TCTL_COLD_SHIFT),
        (regs.TIPG, 10 | 8 << 10 | 6 << 20),
        (regs.RCTL, regs.RCTL_EN | regs.RCTL_BAM | regs.RCTL_SECRC),
        (regs.RDTR, 0),
        (regs.RADV, 0),
        (regs.IMS, regs.ICR_RXT0),
    ):
        card.write(offset, value)
    sent = [packet(60 + i, seed=i) for i in range(40)]
    for i, content in enumerate(sent):
        assert card.read(regs.TDT) == i % count
        [slot] = card.post_packets(content, cmd=EOP | RS)
        assert card.tx_done(slot)
    assert card.wire.sent == sent
    for i in range(40):
        card.receive(packet(100, seed=i))
        assert card.bus.irq.asserted
        card.write(regs.ICR, ALL)
        assert not card.bus.irq.asserted
        tail = (card.read(regs.RDT) + 1) % count
        assert card.take() == [packet(100, seed=i)]
        card.write(regs.RDT, tail)


# --- Redox (drivers/net/e1000d) ---


class Redox:
    """Reads every write back, and turns one bit on or off at a time."""

    def __init__(self, card):
        self.card = card

    def write(self, register, value):
        self.card.write(register, value)
        return self.card.read(register)

    def flag(self, register, bits, on):
        value = self.card.read(register)
        return self.write(register, value | bits if on else value & ~bits)


def test_redox_enables_first_and_sizes_its_buffers_then(card):
    count = 16
    redox = Redox(card)
    assert not redox.flag(regs.CTRL, regs.CTRL_RST, True) & regs.CTRL_RST
    redox.flag(regs.CTRL, regs.CTRL_ASDE | regs.CTRL_SLU, True)
    redox.flag(regs.CTRL, 1 << 3 | regs.CTRL_PHY_RST | regs.CTRL_ILOS, False)
    for register in (regs.FCAH, regs.FCAL, regs.FCT, regs.FCTTV):
        assert redox.write(register, 0) == 0
    redox.flag(regs.CTRL, regs.CTRL_VME, False)
    mac = card.read(regs.RAL0).to_bytes(4, "little") + (card.read(regs.RAH0) & 0xFFFF).to_bytes(2, "little")
    assert mac.hex(":") == card.device.mac
    make_rings(card, count, buffer=16384)
    for which, base, tail in (("RD", card.rx_base, count - 1), ("TD", card.tx_base, 0)):
        assert redox.write(getattr(regs, which + "BAH"), base >> 32) == base >> 32
        assert redox.write(getattr(regs, which + "BAL"), base & ALL) == base & ALL
        assert redox.write(getattr(regs, which + "LEN"), 16 * count) == 16 * count
        assert redox.write(getattr(regs, which + "H"), 0) == 0
        assert redox.write(getattr(regs, which + "T"), tail) == tail
    redox.write(regs.IMS, regs.ICR_RXT0 | regs.ICR_RXDMT0 | regs.ICR_RXSEQ | regs.ICR_LSC)
    redox.flag(regs.RCTL, regs.RCTL_EN, True)
    redox.flag(regs.RCTL, regs.RCTL_UPE, True)
    redox.flag(regs.RCTL, regs.RCTL_LPE, True)
    redox.flag(regs.RCTL, regs.RCTL_LBM, False)
    redox.flag(regs.RCTL, regs.RCTL_BAM, True)
    redox.flag(regs.RCTL, 1 << regs.RCTL_BSIZE_SHIFT, True)
    redox.flag(regs.RCTL, 2 << regs.RCTL_BSIZE_SHIFT, False)
    redox.flag(regs.RCTL, regs.RCTL_BSEX, True)
    assert redox.flag(regs.RCTL, regs.RCTL_SECRC, True) == (
        regs.RCTL_EN | regs.RCTL_UPE | regs.RCTL_LPE | regs.RCTL_BAM | 1 << regs.RCTL_BSIZE_SHIFT | regs.RCTL_BSEX | regs.RCTL_SECRC
    )
    redox.flag(regs.TCTL, regs.TCTL_EN, True)
    redox.flag(regs.TCTL, regs.TCTL_PSP, True)
    assert card.read(regs.STATUS) & regs.STATUS_LU
    card.read(regs.ICR)
    card.receive(packet(9000), packet(64))
    assert card.read(regs.ICR)
    assert card.take() == [packet(9000), packet(64)]
    card.post_packets(packet(42))
    assert card.wire.sent == [packet(42) + bytes(18)]


# --- other drivers' ways to the PHY ---


def test_a_driver_that_never_touches_the_phy_has_its_link_when_the_eeprom_wants_one(card):
    assert card.read(regs.CTRL) & regs.CTRL_SLU
    assert card.read(regs.STATUS) & regs.STATUS_LU
    assert Linux(card.bus).mdio.read(ADVERTISE) == 0x0DE1
