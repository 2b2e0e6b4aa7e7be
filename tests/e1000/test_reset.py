"""What a reset keeps and reloads: the EEPROM's words, configuration space, and the registers that only power-up clears."""

import struct

import pytest
from cards import MAC, STATION, RecordingWire, packet
from mdio import BMCR, Mdio
from microwire import WRITE, Microwire

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device, eeprom_image

CONTROL1 = 0x640B


def image(**words):
    """A new card's EEPROM with other words: w0A=0x640B."""
    content = list(struct.unpack("<64H", eeprom_image.build(STATION)))
    for name, value in words.items():
        content[int(name[1:], 16)] = value
    return struct.pack("<64H", *content)


def write_word(device, address, value):
    wire = Microwire(device)
    wire.do(0b00, 0b110000)
    wire.do(WRITE, address, value)


@pytest.mark.parametrize("how", ["power-up", "RST", "EE_RST"])
@pytest.mark.parametrize(
    ("control1", "expected"),
    [
        (CONTROL1, regs.CTRL_FD),
        (CONTROL1 & ~0x0400, 0),
        (CONTROL1 | 0x0800, regs.CTRL_FD | regs.CTRL_FRCSPD),
        (CONTROL1 & 0x3FFF | 0x8000, regs.CTRL_FD),         # no signature
    ],
)
def test_ctrls_defaults_are_the_eeproms(how, control1, expected):
    device = E1000Device(eeprom=image(w0A=control1 if how == "power-up" else CONTROL1))
    if how != "power-up":
        write_word(device, 0x0A, control1)
        device.write(*(regs.CTRL, regs.CTRL_RST) if how == "RST" else (regs.CTRL_EXT, regs.CTRL_EXT_EE_RST))
    signed = control1 >> 14 == 1
    assert device.read(regs.CTRL) == expected | 2 << regs.CTRL_SPEED_SHIFT | (regs.CTRL_SLU if signed else 0)


def test_ids_in_configuration_space_are_the_eeproms_as_its_control_word_says():
    words = {"w0B": 0x1111, "w0C": 0x2222, "w0D": 0x3333, "w0E": 0x4444}
    for control1, ids, subsystem in (
        (CONTROL1, 0x33334444, 0x11112222),
        (CONTROL1 & ~1, 0x100E8086, 0x11112222),
        (CONTROL1 & ~2, 0x33334444, 0x100E8086),
        (CONTROL1 & 0x3FFF, 0x100E8086, 0x100E8086),
    ):
        device = E1000Device(eeprom=image(w0A=control1, **words))
        assert (device.config_read(0), device.config_read(0x2C)) == (ids, subsystem), hex(control1)


def test_a_device_id_is_written_into_the_eeprom():
    device = E1000Device(device_id=0x100F, mac=MAC)
    assert device.config_read(0) == 0x100F8086
    assert device.eeprom_checksum == 0xBABA
    assert E1000Device(eeprom=device.eeprom).config_read(0) == 0x100F8086


def test_ids_are_loaded_by_ee_rst_and_not_by_ctrl_rst():
    device = E1000Device()
    write_word(device, 0x0B, 0x7777)
    device.write(regs.CTRL, regs.CTRL_RST)
    assert device.config_read(0x2C) == 0x001E8086
    device.write(regs.CTRL_EXT, regs.CTRL_EXT_EE_RST)
    assert device.config_read(0x2C) == 0x77778086


def test_pba_takes_what_is_left_of_64_kib_for_transmission_and_outlives_a_reset(card):
    for written in (0x30, 0x10, 0x38):
        card.write(regs.PBA, written)
        expected = written | (64 - written) << 16
        assert card.read(regs.PBA) == expected
        card.write(regs.CTRL, regs.CTRL_RST)
        assert card.read(regs.PBA) == expected


def test_ctrl_is_at_its_second_address_too(card):
    card.write(regs.CTRL_DUP, regs.CTRL_SLU | regs.CTRL_VME)
    assert card.read(regs.CTRL) == card.read(regs.CTRL_DUP) == regs.CTRL_SLU | regs.CTRL_VME
    card.write(regs.FCTTV, 1)
    card.write(regs.CTRL_DUP, regs.CTRL_RST)
    assert card.read(regs.FCTTV) == 0


def test_the_semaphore_of_later_cards_can_be_taken_and_is_free_after_a_reset(card):
    """U-Boot's driver reads the EEPROM of no card without."""
    card.write(regs.SWSM, 2)
    assert card.read(regs.SWSM) == 2
    card.write(regs.CTRL, regs.CTRL_RST)
    assert card.read(regs.SWSM) == 0


def test_packet_buffer_memory_keeps_what_is_written_and_is_no_way_into_the_fifo(card):
    card.rx_ring(64, give=0)
    card.receive(packet(100))
    for offset in (0, 4, 0xFFFC):
        card.write(regs.PBM + offset, 0xFFFFFFFF)
        assert card.read(regs.PBM + offset) == 0xFFFFFFFF
    card.give(10)
    assert card.take() == [packet(100)]


def test_a_reset_leaves_the_phy_and_phy_rst_does_not(card):
    Mdio(card).write(4, 0x0061)
    card.write(regs.CTRL, regs.CTRL_RST)
    assert Mdio(card).read(4) == 0x0061
    card.write(regs.CTRL, regs.CTRL_PHY_RST | regs.CTRL_SLU)
    assert not card.read(regs.CTRL) & regs.CTRL_PHY_RST
    assert Mdio(card).read(4) == 0x0DE1
    assert Mdio(card).read(BMCR) == 0x1140


def test_a_card_with_an_empty_eeprom_works_once_its_driver_says_who_it_is():
    wire = RecordingWire()
    with HostMemory(size=1 << 20) as memory, E1000Device(eeprom=b"\xff" * 128, wire=wire) as device, LocalBus(device, memory=memory):
        assert not device.read(regs.STATUS) & regs.STATUS_LU
        assert device.read(regs.RAH0) == 0
        device.write(regs.CTRL, regs.CTRL_SLU)
        assert device.read(regs.STATUS) & regs.STATUS_LU
