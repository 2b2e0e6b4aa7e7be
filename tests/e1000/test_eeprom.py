"""The EEPROM through EECD and EERD, and what the card loads from it (§5, §13.4.3, §13.4.4)."""

import struct

import pytest
from cards import MAC, STATION
from hypothesis import given, settings
from hypothesis import strategies as st
from microwire import ERAL, ERASE, EWDS, EWEN, EXTENDED, READ, WRAL, WRITE, Microwire

from e1000 import regs
from e1000.device import E1000Device

NEW_MAC = "02:11:22:33:44:55"


@pytest.fixture
def chip(card):
    return Microwire(card)


def words(device):
    return list(struct.unpack("<64H", device.eeprom))


def eerd(card, address):
    card.write(regs.EERD, regs.EERD_START | address << regs.EERD_ADDR_SHIFT)
    value = card.read(regs.EERD)
    assert value & regs.EERD_DONE
    assert not value & regs.EERD_START
    assert value >> regs.EERD_ADDR_SHIFT & 0xFF == address
    return value >> regs.EERD_DATA_SHIFT


def loaded_mac(card):
    return card.read(regs.RAL0), card.read(regs.RAH0)


def as_registers(mac):
    raw = bytes.fromhex(mac.replace(":", ""))
    return int.from_bytes(raw[:4], "little"), int.from_bytes(raw[4:], "little") | regs.RAH_AV


# --- reading ---


def test_a_linux_probe_reads_all_words_and_they_sum_to_baba(card, chip):
    content = [chip.read_word(i) for i in range(64)]
    assert content == words(card.device)
    assert sum(content) & 0xFFFF == 0xBABA
    assert b"".join(word.to_bytes(2, "little") for word in content[:3]) == STATION
    assert content[4] in (0, 0xFFFF)                    # ID LED: the driver's default
    assert content[0x0A] >> 14 == 1                     # signature
    assert content[0x0D:0x0F] == [0x100E, 0x8086]
    assert content[0x0F] & 0x3000 == 0x3000             # pause
    assert content[0x24] & 0x0400                       # APM
    assert chip.writes == 72 * 64                       # or this is not what Linux does


def test_after_the_last_address_bit_comes_a_zero_and_then_d15(card, chip):
    chip.acquire()
    chip.command(READ, 0x0A)                            # 0x640B
    assert not chip.read() & regs.EECD_DO
    assert chip.bits_in(2) == 0b01
    chip.release()


def test_reading_on_gives_the_next_words_round_the_end(card, chip):
    chip.acquire()
    chip.command(READ, 62)
    content = words(card.device)
    assert [chip.bits_in() for _ in range(68)] == (content[62:] + content + content)[:68]
    chip.release()


def test_zeros_before_the_start_bit_are_ignored(card, chip):
    chip.acquire()
    chip.bits_out(0, 7)
    chip.command(READ, 0x0D)
    assert chip.bits_in() == 0x100E


def test_taking_cs_away_ends_an_instruction_wherever_it_is(card, chip):
    for bits in range(1, 9):
        chip.acquire()
        chip.bits_out(0x1FF >> 9 - bits, bits)
        chip.standby()
        chip.command(READ, 0x0D)
        assert chip.bits_in() == 0x100E
        chip.release()


def test_eerd_reads_every_word(card):
    assert [eerd(card, i) for i in range(64)] == words(card.device)


def test_eerd_sends_six_address_bits(card):
    assert eerd(card, 0x4D) == eerd(card, 0x0D) == 0x100E


def test_eerd_without_start_does_nothing(card):
    card.write(regs.EERD, 0x0D << regs.EERD_ADDR_SHIFT | 0xFFFF0000 | regs.EERD_DONE)
    assert card.read(regs.EERD) == 0x0D << regs.EERD_ADDR_SHIFT


def test_eerd_waits_while_the_host_holds_the_pins(card):
    card.write(regs.EECD, regs.EECD_REQ)
    card.write(regs.EERD, regs.EERD_START | 0x0D << regs.EERD_ADDR_SHIFT)
    assert not card.read(regs.EERD) & regs.EERD_DONE
    card.write(regs.EECD, 0)
    assert card.read(regs.EERD) == 0x100E0000 | 0x0D << regs.EERD_ADDR_SHIFT | regs.EERD_DONE


def test_eecd_says_what_chip_there_is_and_grants_a_request(card):
    assert card.read(regs.EECD) == regs.EECD_PRES | regs.EECD_FWE_DIS | regs.EECD_DO
    card.write(regs.EECD, 0xFFFFFFFF & ~regs.EECD_REQ)
    assert not card.read(regs.EECD) & (regs.EECD_GNT | regs.EECD_SIZE)
    card.write(regs.EECD, regs.EECD_REQ)
    assert card.read(regs.EECD) & regs.EECD_GNT


def test_pins_without_a_grant_do_not_reach_the_chip(card, chip):
    chip.acquire()
    chip.change(off=regs.EECD_REQ)
    chip.command(READ, 0x0A)
    assert chip.bits_in() == 0xFFFF


# --- writing ---


def test_what_was_written_is_read_back_by_every_way(card, chip):
    assert chip.do(EXTENDED, EWEN)
    assert chip.do(WRITE, 0x2A, 0x1234)
    assert chip.read_word(0x2A) == eerd(card, 0x2A) == words(card.device)[0x2A] == 0x1234


@pytest.mark.parametrize(
    ("opcode", "address", "data"), [(WRITE, 5, 0x1234), (ERASE, 0x0D, None), (EXTENDED, WRAL, 0x1234), (EXTENDED, ERAL, None)]
)
def test_nothing_is_written_before_ewen_nor_after_ewds(card, chip, opcode, address, data):
    before = card.device.eeprom
    chip.do(opcode, address, data)
    chip.do(EXTENDED, EWEN)
    chip.do(EXTENDED, EWDS)
    chip.do(opcode, address, data)
    assert card.device.eeprom == before
    chip.do(EXTENDED, EWEN)
    chip.do(opcode, address, data)
    assert card.device.eeprom != before


def test_erase_wral_and_eral(card, chip):
    before = words(card.device)
    chip.do(EXTENDED, EWEN)
    chip.do(ERASE, 0x0D)
    before[0x0D] = 0xFFFF
    assert words(card.device) == before
    chip.do(EXTENDED, WRAL, 0xA55A)
    assert words(card.device) == [0xA55A] * 64
    chip.do(EXTENDED, ERAL)
    assert words(card.device) == [0xFFFF] * 64


@pytest.mark.parametrize("bits", range(16))
def test_a_write_with_too_few_data_bits_changes_nothing(card, chip, bits):
    before = card.device.eeprom
    chip.do(EXTENDED, EWEN)
    chip.do(WRITE, 5, 0x1234, bits=bits)
    chip.do(EXTENDED, WRAL, 0x1234, bits=bits)
    assert card.device.eeprom == before


def test_the_chip_keeps_words_and_write_enable_over_a_reset_of_the_card(card, chip):
    chip.do(EXTENDED, EWEN)
    chip.do(WRITE, 5, 0x1234)
    card.write(regs.CTRL, regs.CTRL_RST)
    chip.do(WRITE, 6, 0x5678)
    assert words(card.device)[5:7] == [0x1234, 0x5678]


# --- what the card loads ---


@pytest.mark.parametrize(("register", "bit"), [(regs.CTRL, regs.CTRL_RST), (regs.CTRL_EXT, regs.CTRL_EXT_EE_RST)])
def test_a_reset_loads_the_station_address_from_the_eeprom(card, chip, register, bit):
    chip.do(EXTENDED, EWEN)
    for i, word in enumerate(struct.unpack("<3H", bytes.fromhex(NEW_MAC.replace(":", "")))):
        chip.do(WRITE, i, word)
    assert card.device.mac == NEW_MAC
    assert loaded_mac(card) == as_registers(MAC)
    card.write(register, bit)
    assert not card.read(register) & bit
    assert loaded_mac(card) == as_registers(NEW_MAC)


def test_an_eeprom_reset_leaves_the_rest_alone(card):
    card.write(regs.RDTR, 77)
    card.write(regs.CTRL_EXT, regs.CTRL_EXT_EE_RST | 0x80)
    assert card.read(regs.CTRL_EXT) == 0x80
    assert card.read(regs.RDTR) == 77


def test_an_eeprom_without_signature_gives_no_address(card, chip):
    chip.do(EXTENDED, EWEN)
    chip.do(EXTENDED, ERAL)
    card.write(regs.CTRL, regs.CTRL_RST)
    assert loaded_mac(card) == (0, 0)


# --- images ---


def test_an_image_goes_to_a_file_and_back(tmp_path):
    path = tmp_path / "card.eeprom"
    E1000Device(mac=NEW_MAC).save_eeprom(path)
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes())):
        device = E1000Device(eeprom=source)
        assert device.mac == NEW_MAC
        assert device.eeprom == path.read_bytes()
        assert loaded_mac(device) == as_registers(NEW_MAC)


def test_a_mac_is_written_into_a_given_image_and_its_checksum_is_made_right():
    image = bytes(range(128))
    device = E1000Device(eeprom=image, mac=NEW_MAC)
    assert device.eeprom[:6].hex(":") == NEW_MAC
    assert device.eeprom[6:-2] == image[6:-2]
    assert device.eeprom_checksum == 0xBABA


def test_a_wrong_checksum_is_taken_and_told():
    image = bytearray(E1000Device().eeprom)
    image[100] ^= 1
    device = E1000Device(eeprom=image)
    assert device.eeprom == image
    assert device.eeprom_checksum == 0xBABA + (1 if image[100] & 1 else -1)
    assert f"EEPROM checksum {device.eeprom_checksum:#06x}, not 0xbaba" in repr(device)
    assert "checksum" not in repr(E1000Device())


@pytest.mark.parametrize("size", [0, 1, 127, 129, 256, 10000])
def test_an_image_of_another_size_is_refused_in_one_line(tmp_path, size):
    with pytest.raises(ValueError, match=rf"^an EEPROM image: 128 bytes \(64 words, little-endian\) are needed, not {size}$"):
        E1000Device(eeprom=bytes(size))
    path = tmp_path / "bad.eeprom"
    path.write_bytes(bytes(size))
    with pytest.raises(ValueError, match=rf"bad.eeprom: 128 bytes .* are needed, not {size if size < 128 else 'more'}$"):
        E1000Device(eeprom=path)


def test_what_is_no_image_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        E1000Device(eeprom=tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        E1000Device(eeprom=tmp_path)
    with pytest.raises(TypeError):
        E1000Device(eeprom=128)


# --- anything at all ---


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 0x3FF), st.integers(0, 2**32 - 1)), max_size=400))
def test_whatever_is_written_to_eecd_the_chip_can_be_read_afterwards(values):
    device = E1000Device()
    for value in values:
        device.write(regs.EECD, value)
        assert device.read(regs.EECD) & ~0x3FF == 0
    chip = Microwire(device)
    chip.release()
    assert [chip.read_word(i) for i in (0, 63)] == [words(device)[i] for i in (0, 63)]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.lists(st.booleans(), max_size=40)), max_size=12))
def test_no_bits_in_any_number_of_selections_write_before_ewen(selections):
    """Clocked properly but saying anything: the words change only if an EWEN was among it."""
    device = E1000Device()
    before = device.eeprom
    enabled = False
    for leading_zero, bits in selections:
        device.write(regs.EECD, regs.EECD_REQ | regs.EECD_CS)
        bits = [False] * leading_zero + bits
        for bit in bits:
            pins = regs.EECD_REQ | regs.EECD_CS | (regs.EECD_DI if bit else 0)
            device.write(regs.EECD, pins)
            device.write(regs.EECD, pins | regs.EECD_SK)
        start = bits.index(True) if True in bits else len(bits)
        enabled |= len(bits) - start >= 9 and bits[start : start + 5] == [True, False, False, True, True]
        device.write(regs.EECD, regs.EECD_REQ)
    assert enabled or device.eeprom == before
