"""The PHY over CTRL's pins, bit by bit, as Linux's e1000_hw.c does it on an 82543."""

import pytest
from mdio import ADVERTISE, BMCR, ID1, ID2, POWER_DOWN, Mdio, Plugged

from e1000 import regs

MDIO, MDC, MDIO_DIR, MDC_DIR = regs.CTRL_MDIO, regs.CTRL_MDC, regs.CTRL_MDIO_DIR, regs.CTRL_MDC_DIR
READ, WRITE, START, TURNAROUND = 2, 1, 1, 2


class Pins:
    """A driver's side of MDC and MDIO."""

    def __init__(self, card, *, phy=1, preamble=32):
        self.card, self.phy, self.preamble = card, phy, preamble

    def change(self, *, on=0, off=0):
        self.card.write(regs.CTRL, self.card.read(regs.CTRL) & ~off | on)

    def clock(self):
        self.change(on=MDC)
        value = self.card.read(regs.CTRL)
        self.change(off=MDC)
        return bool(value & MDIO)

    def out(self, value, count):
        self.change(on=MDIO_DIR | MDC_DIR)
        for i in reversed(range(count)):
            self.change(on=MDIO if value >> i & 1 else 0, off=MDIO)
            self.clock()

    def read(self, register):
        self.out((1 << self.preamble) - 1, self.preamble)
        self.out(START << 12 | READ << 10 | self.phy << 5 | register, 14)
        self.change(off=MDIO_DIR | MDIO)
        self.clock()
        value = 0
        for _ in range(16):
            value = value << 1 | self.clock()
        self.clock()
        return value

    def write(self, register, value):
        self.out((1 << self.preamble) - 1, self.preamble)
        self.out(START << 30 | WRITE << 28 | self.phy << 23 | register << 18 | TURNAROUND << 16 | value, 32)


@pytest.fixture
def plugged():
    return Plugged()


@pytest.mark.parametrize("preamble", [0, 1, 32])
def test_registers_are_read_and_written_by_the_pins(plugged, preamble):
    pins = Pins(plugged.device, preamble=preamble)
    for _ in range(2):
        assert (pins.read(ID1), pins.read(ID2)) == (0x0141, 0x0C20)
    for value in (0xA5A1, 0x5A5E, 0x0DE1):
        pins.write(ADVERTISE, value)
        expected = plugged.mdio.read(ADVERTISE)
        assert pins.read(ADVERTISE) == expected
        assert expected & 0xBFFF == value & 0xBFFF


def test_a_write_by_the_pins_does_what_it_does_over_mdic(plugged):
    pins = Pins(plugged.device)
    pins.write(BMCR, POWER_DOWN)
    assert not plugged.up()
    pins.write(BMCR, 0x1140)
    assert plugged.up()


def test_another_phy_does_not_answer_and_hears_no_write(plugged):
    pins = Pins(plugged.device, phy=2)
    assert pins.read(ID1) == 0xFFFF
    pins.write(ADVERTISE, 0)
    assert plugged.mdio.read(ADVERTISE) == 0x0DE1


def test_without_mdc_as_an_output_the_bits_are_what_they_are_called_on_this_card(plugged):
    device = plugged.device
    for _ in range(100):
        device.write(regs.CTRL, regs.CTRL_SLU | regs.CTRL_ADVD3WUC | MDC)
        assert device.read(regs.CTRL) & (regs.CTRL_ADVD3WUC | MDC) == regs.CTRL_ADVD3WUC | MDC
        device.write(regs.CTRL, regs.CTRL_SLU)
    assert Mdio(device).read(ADVERTISE) == 0x0DE1


def test_a_reset_amid_a_frame_forgets_it(plugged):
    pins = Pins(plugged.device, preamble=0)
    pins.out(START << 12 | WRITE << 10 | 1 << 5 | ADVERTISE, 14)
    plugged.device.write(regs.CTRL, regs.CTRL_RST)
    assert pins.read(ID1) == 0x0141
