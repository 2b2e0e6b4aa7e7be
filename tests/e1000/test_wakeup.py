"""Wake-up: magic packets by APM and ACPI, ACPI's other filters, link changes, and PME#."""

import pytest
from cards import BROADCAST, RecordingWire, packet
from mdio import BMCR, Mdio

from e1000 import regs
from e1000.device import E1000Device, eeprom_image
from fastring.burst import FRAME_BAD_CRC, Burst

PMCSR, COMMAND = 0xE0, 0x04
PME_EN, PME_STATUS, D3HOT = 1 << 8, 1 << 15, 3
STATION = bytes.fromhex("525400123456")
OTHER = b"\x02\0\0\0\0\x77"
MULTICAST = b"\x01\0\x5e\0\0\xfb"
IPV4 = bytes([192, 0, 2, 17])
IPV6 = bytes.fromhex("20010db8000000000000000000000042")
APM = regs.WUC_APME


def magic(*, to=BROADCAST, station=STATION, before=b"", copies=16, length=0):
    return packet(14, to=to, ethertype=0x0842)[:14] + (before + b"\xff" * 6 + station * copies).ljust(length or 46, b"\0")


def arp(*, target=IPV4, to=BROADCAST, operation=1, tag=b""):
    body = b"\0\x01\x08\0\x06\x04" + operation.to_bytes(2, "big") + OTHER + bytes([192, 0, 2, 1]) + bytes(6) + target
    return (to + OTHER + tag + b"\x08\x06" + body).ljust(60, b"\0")


def ipv4(*, target=IPV4, to=STATION, link=b"\x08\0"):
    return (to + OTHER + link + b"\x45" + bytes(15) + target).ljust(60, b"\0")


def ipv6(*, target=IPV6, to=STATION):
    return (to + OTHER + b"\x86\xdd\x60" + bytes(23) + target).ljust(60, b"\0")


class Asleep:
    """A card whose driver has gone to sleep with the filters `wanted`, as Linux's e1000_shutdown does it."""

    def __init__(self, card, wanted, *, rctl=regs.RCTL_BAM, pme=PME_EN, apm=0):
        self.card = card
        card.write(regs.RCTL, regs.RCTL_EN | rctl)
        card.write(regs.VET, 0x8100)
        bit = int.from_bytes(MULTICAST[4:], "little") >> 4 & 0xFFF
        card.write(regs.MTA + 4 * (bit >> 5), 1 << (bit & 31))
        card.write(regs.IPAV, regs.IPAV_V40 << 2 | regs.IPAV_V60)
        card.write(regs.IP4AT + 16, int.from_bytes(IPV4, "little"))
        for i in range(4):
            card.write(regs.IP6AT + 4 * i, int.from_bytes(IPV6[4 * i : 4 * i + 4], "little"))
        card.write(regs.CTRL, card.read(regs.CTRL) | regs.CTRL_ADVD3WUC)
        card.write(regs.WUC, apm | (regs.WUC_PME_EN if pme else 0))
        card.write(regs.WUFC, wanted)
        card.bus.config_write(PMCSR, pme | D3HOT, 2)

    def wake(self):
        """As firmware and a driver do it; returns WUS."""
        self.card.bus.config_write(PMCSR, PME_EN, 2)
        self.card.bus.config_write(COMMAND, 7, 2)
        return self.card.read(regs.WUS)

    def kept(self):
        content = b"".join(self.card.peek(regs.WUPM + 4 * i).to_bytes(4, "little") for i in range(32))
        return self.card.peek(regs.WUPL), content


@pytest.fixture
def asleep(card):
    return lambda wanted, **options: Asleep(card, wanted, **options)


# --- what wakes ---


WAKING = {
    "magic, broadcast": (regs.WUFC_MAG, magic()),
    "magic, directed": (regs.WUFC_MAG, magic(to=STATION)),
    "magic behind other bytes": (regs.WUFC_MAG, magic(before=b"\xff" * 9 + b"x" * 500)),
    "magic behind nearly one": (regs.WUFC_MAG, magic(before=b"\xff" * 6 + STATION * 15)),
    "magic at the very end": (regs.WUFC_MAG, magic(before=bytes(1398))),
    "exact": (regs.WUFC_EX, packet(60)),
    "multicast": (regs.WUFC_MC, packet(60, to=MULTICAST)),
    "broadcast": (regs.WUFC_BC, packet(60, to=BROADCAST)),
    "ARP": (regs.WUFC_ARP, arp()),
    "ARP, tagged": (regs.WUFC_ARP, arp(tag=b"\x81\0\0\x05")),
    "IPv4": (regs.WUFC_IPV4, ipv4()),
    "IPv4 in SNAP": (regs.WUFC_IPV4, ipv4(link=b"\0\x32\xaa\xaa\x03\0\0\0\x08\0")),
    "IPv6": (regs.WUFC_IPV6, ipv6()),
}
LETTING_SLEEP = {
    "magic for another": (regs.WUFC_MAG, magic(station=OTHER)),
    "magic to another": (regs.WUFC_MAG, magic(to=OTHER)),
    "magic with 15 copies": (regs.WUFC_MAG, magic(copies=15)),
    "magic cut off": (regs.WUFC_MAG, magic(before=bytes(1398))[:-1]),
    "exact for another": (regs.WUFC_EX, packet(60, to=OTHER)),
    "another multicast": (regs.WUFC_MC, packet(60, to=b"\x01\0\x5e\0\0\1")),
    "a runt": (regs.WUFC_EX, packet(59)),
    "an ARP reply": (regs.WUFC_ARP, arp(operation=2)),
    "ARP for another": (regs.WUFC_ARP, arp(target=bytes([192, 0, 2, 18]))),
    "IPv4 for another": (regs.WUFC_IPV4, ipv4(target=bytes([192, 0, 2, 18]))),
    "IPv4 of another version": (regs.WUFC_IPV4, ipv4().replace(b"\x45", b"\x55", 1)),
    "IPv6 for another": (regs.WUFC_IPV6, ipv6(target=IPV6[:-1] + b"\0")),
    "nothing is wanted": (0, magic()),
}


@pytest.mark.parametrize(("wanted", "content"), WAKING.values(), ids=WAKING)
def test_a_packet_that_is_wanted_wakes_the_host_and_is_kept(asleep, card, wanted, content):
    sleeper = asleep(wanted)
    card.receive(packet(60, to=OTHER))
    assert not card.device.pme
    card.receive(content)
    assert card.device.pme
    assert card.bus.config_read(PMCSR, 2) & (PME_EN | PME_STATUS) == PME_EN | PME_STATUS
    assert sleeper.kept() == (len(content), content[:128].ljust(128, b"\0"))
    assert sleeper.wake() == wanted


@pytest.mark.parametrize("content", [content for _, content in WAKING.values()], ids=WAKING)
def test_a_packet_of_a_kind_that_is_not_wanted_does_not(asleep, card, content):
    asleep(regs.WUFC_LNKC)
    card.receive(content)
    assert not card.device.pme


@pytest.mark.parametrize(("wanted", "content"), LETTING_SLEEP.values(), ids=LETTING_SLEEP)
def test_what_is_nearly_such_a_packet_lets_the_host_sleep(asleep, card, wanted, content):
    sleeper = asleep(wanted)
    card.receive(content)
    assert not card.device.pme
    assert sleeper.wake() == 0


def test_what_the_address_filter_keeps_out_wakes_nobody(asleep, card):
    asleep(regs.WUFC_BC | regs.WUFC_ARP | regs.WUFC_MAG, rctl=0)
    card.receive(packet(60, to=BROADCAST), arp(), magic())
    assert not card.device.pme


def test_promiscuous_lets_other_addresses_in_but_they_are_not_exact(asleep, card):
    sleeper = asleep(regs.WUFC_EX | regs.WUFC_MAG, rctl=regs.RCTL_UPE)
    card.receive(packet(60, to=OTHER))
    assert not card.device.pme
    card.receive(magic(to=OTHER))
    assert sleeper.wake() == regs.WUFC_MAG


def test_a_packet_of_several_kinds_says_so(asleep, card):
    sleeper = asleep(regs.WUFC_BC | regs.WUFC_ARP | regs.WUFC_EX)
    card.receive(arp())
    assert sleeper.wake() == regs.WUFC_BC | regs.WUFC_ARP


# --- flexible filters ---


def pattern(card, n, content, mask, length=None):
    card.write(regs.FFLT + 8 * n, len(content) if length is None else length)
    for i, byte in enumerate(content):
        old = card.read(regs.FFVT + 8 * i)
        card.write(regs.FFVT + 8 * i, old & ~(0xFF << 8 * n) | byte << 8 * n)
        card.write(regs.FFMT + 8 * i, card.read(regs.FFMT + 8 * i) & ~(1 << n) | mask[i] << n)


@pytest.mark.parametrize("n", range(4))
def test_a_flexible_filter_compares_the_bytes_its_mask_names(asleep, card, n):
    wanted = packet(128, seed=7)
    for other in set(range(4)) - {n}:
        pattern(card, other, b"\x55" * 128, [1] * 128)
    mask = [i % 3 == 0 for i in range(128)]
    pattern(card, n, wanted, mask)
    sleeper = asleep(regs.WUFC_FLEXIBLE)
    for i in (12, 30, 126):
        card.receive(wanted[:i] + bytes([wanted[i] ^ 1]) + wanted[i + 1 :])
        assert not card.device.pme
    different = bytes(b if i % 3 == 0 else b ^ 0x10 for i, b in enumerate(wanted))
    different = STATION + different[6:]
    card.receive(different + b"and more")
    assert card.device.pme
    assert sleeper.wake() == regs.WUFC_FLX0 << n


def test_a_packet_shorter_than_the_flexible_filter_does_not_match(asleep, card):
    pattern(card, 0, packet(100), [1] * 14 + [0] * 86)
    asleep(regs.WUFC_FLX0)
    card.receive(packet(99))
    assert not card.device.pme
    card.receive(packet(100))
    assert card.device.pme


def test_a_flexible_filter_that_is_not_enabled_wakes_nobody(asleep, card):
    pattern(card, 1, packet(60), [1] * 60)
    pattern(card, 2, packet(60, seed=1), [1] * 60)
    asleep(regs.WUFC_FLX0 << 2 | regs.WUFC_MAG)
    card.receive(packet(60))
    assert not card.device.pme


# --- the first packet, and PME# ---


def test_only_the_first_packet_is_kept_until_wus_is_cleared(asleep, card):
    sleeper = asleep(regs.WUFC_EX | regs.WUFC_BC)
    card.receive(packet(60, seed=1), packet(200, to=BROADCAST))
    assert sleeper.kept()[0] == 60
    assert sleeper.wake() == regs.WUFC_EX
    card.write(regs.WUS, regs.WUFC_EX)
    assert card.read(regs.WUS) == 0
    Asleep(card, regs.WUFC_BC)
    card.receive(packet(200, to=BROADCAST))
    assert sleeper.kept()[0] == 200


def test_a_damaged_packet_wakes_nobody(asleep, card):
    asleep(regs.WUFC_EX)
    card.wire.inject(Burst.from_packets([packet(60)], errors=[FRAME_BAD_CRC]))
    assert not card.device.pme


def test_pme_is_deasserted_by_its_status_or_its_enable_bit(asleep, card):
    asleep(regs.WUFC_EX)
    card.receive(packet(60))
    card.bus.config_write(PMCSR, D3HOT, 2)
    assert not card.device.pme
    card.bus.config_write(PMCSR, PME_EN | D3HOT, 2)
    assert card.device.pme
    card.bus.config_write(PMCSR, PME_STATUS | PME_EN | D3HOT, 2)
    assert not card.device.pme


def test_without_pme_enabled_the_status_is_kept_and_nothing_asserted(asleep, card):
    sleeper = asleep(regs.WUFC_EX, pme=0)
    card.receive(packet(60))
    assert not card.device.pme
    assert card.bus.config_read(PMCSR, 2) & PME_STATUS
    assert sleeper.wake() == regs.WUFC_EX


def test_wuc_shows_and_changes_configuration_spaces_pme_bits(card):
    card.write(regs.WUC, regs.WUC_PME_EN)
    assert card.bus.config_read(PMCSR, 2) & PME_EN
    card.bus.config_write(PMCSR, 0, 2)
    assert card.read(regs.WUC) == 0
    Asleep(card, regs.WUFC_EX)
    card.receive(packet(60))
    card.bus.config_write(PMCSR, PME_EN, 2)
    card.bus.config_write(COMMAND, 7, 2)
    assert card.read(regs.WUC) == APM | regs.WUC_PME_EN | regs.WUC_PME_STATUS
    card.write(regs.WUC, regs.WUC_PME_STATUS)
    assert (card.read(regs.WUC), card.bus.config_read(PMCSR, 2) & (PME_EN | PME_STATUS)) == (0, 0)


def test_a_running_driver_receives_wake_up_packets_itself(card):
    card.write(regs.WUFC, regs.WUFC_EX | regs.WUFC_MAG)
    card.rx_ring()
    card.receive(packet(60), magic())
    assert len(card.take()) == 2
    assert card.read(regs.WUS) == 0


def test_a_long_packet_is_kept_in_its_first_bytes_and_its_length_is_capped(asleep, card):
    sleeper = asleep(regs.WUFC_EX)
    card.receive(packet(9000))
    assert sleeper.kept() == (2047, packet(128))


def test_resets_keep_what_the_driver_will_want_to_know(asleep, card):
    sleeper = asleep(regs.WUFC_EX)
    card.receive(packet(60))
    assert sleeper.wake() == regs.WUFC_EX
    card.write(regs.CTRL, regs.CTRL_RST)
    assert (card.read(regs.WUS), card.read(regs.WUPL), card.read(regs.WUPM)) == (regs.WUFC_EX, 60, 0x12005452)
    assert card.read(regs.IPAV) == regs.IPAV_V40 << 2 | regs.IPAV_V60
    assert card.read(regs.WUFC) == 0


# --- APM ---


def test_apm_wakes_by_a_magic_packet_before_any_driver_was_there(card):
    card.receive(packet(60), magic(station=OTHER))
    assert card.read(regs.WUS) == 0
    card.receive(magic())
    assert card.read(regs.WUS) == regs.WUFC_MAG
    assert card.bus.config_read(PMCSR, 2) & PME_STATUS
    assert not card.device.pme, "neither PME_En nor APMPME"
    card.write(regs.WUC, APM | regs.WUC_APMPME)
    assert card.device.pme


def test_apm_takes_no_magic_packet_that_is_for_another_station(card):
    card.receive(magic(to=MULTICAST), magic(to=OTHER))
    assert card.read(regs.WUS) == 0
    card.receive(magic(to=STATION))
    assert card.read(regs.WUS) == regs.WUFC_MAG


def test_a_driver_turns_apm_off(card):
    card.write(regs.WUC, 0)
    card.receive(magic())
    assert card.read(regs.WUS) == 0


@pytest.mark.parametrize(("control3", "control2", "expected"), [(0x0400, 0x3040, 1), (0, 0x3040, 0), (0x0400, 0xB040, 9)])
def test_the_eeprom_says_whether_apm_is_on(control3, control2, expected):
    image = bytearray(eeprom_image.build(STATION))
    image[0x48:0x4A], image[0x1E:0x20] = control3.to_bytes(2, "little"), control2.to_bytes(2, "little")
    device = E1000Device(eeprom=image, wire=RecordingWire())
    assert device.read(regs.WUC) == expected
    assert bool(device.read(regs.CTRL) & regs.CTRL_SLU) == bool(expected & 1)


# --- the link ---


def test_a_change_of_the_link_wakes_once_until_it_is_cleared(asleep, card):
    sleeper = asleep(regs.WUFC_LNKC)
    card.device.unplug()
    assert card.device.pme
    card.bus.config_write(PMCSR, PME_STATUS | PME_EN | D3HOT, 2)
    card.device.plug(card.wire)
    assert not card.device.pme, "LNKC was not cleared"
    assert sleeper.wake() == regs.WUFC_LNKC


def test_a_change_of_the_link_wakes_nobody_who_did_not_ask_or_is_awake(asleep, card):
    card.write(regs.WUFC, regs.WUFC_LNKC)
    Mdio(card).write(BMCR, 0x1140 | 0x0800)
    Mdio(card).write(BMCR, 0x1140)
    assert card.read(regs.WUS) == 0
    asleep(regs.WUFC_MAG)
    card.device.unplug()
    assert not card.device.pme
