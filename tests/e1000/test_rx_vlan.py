"""VLAN tags on receive (§9): recognised by VET, stripped by CTRL.VME, filtered by RCTL.VFE and CFIEN."""

import zlib

import pytest
from cards import BROADCAST, DD, IXSM, RX_EOP, VP, packet

from e1000 import regs

BASE = regs.RCTL_SECRC | regs.RCTL_BAM
B256 = 3 << 16


def tagged(length=100, *, tci=5, vet=0x8100, **options):
    """A frame of `length` bytes with a tag, and what is left of it without."""
    content = packet(length - 4, **options)
    return content[:12] + vet.to_bytes(2, "big") + tci.to_bytes(2, "big") + content[12:], content


@pytest.fixture
def vlans(make_card):
    """vlans(vme=…, vet=…, **rx_ring options): a BareCard that strips tags, or not."""

    def make(*, vme=True, vet=0x8100, rctl=BASE, **options):
        card = make_card()
        card.write(regs.VET, vet)
        card.rx_ring(rctl=rctl, **options)
        if vme:
            card.write(regs.CTRL, card.read(regs.CTRL) | regs.CTRL_VME)
        return card

    return make


def allow(card, *ids):
    for vlan in ids:
        offset = regs.VFTA + 4 * (vlan >> 5)
        card.write(offset, card.read(offset) | 1 << (vlan & 31))


# Table 9-3
@pytest.mark.parametrize("vme", [False, True])
@pytest.mark.parametrize("vfe", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_a_tag_is_stripped_and_filtered_by_the_table(vlans, vme, vfe, known):
    card = vlans(vme=vme, rctl=BASE | (regs.RCTL_VFE if vfe else 0))
    if known:
        allow(card, 5)
    content, bare = tagged(tci=0xB005)
    card.receive(content, packet(60))
    got = [(desc.status, desc.special, desc.length, stored) for desc, stored in card.take_descs()]
    expected = [(DD | RX_EOP | IXSM | (VP if vme else 0), 0xB005 if vme else 0, 96 if vme else 100, bare if vme else content)]
    assert got == (expected if known or not vfe else []) + [(DD | RX_EOP | IXSM, 0, 60, packet(60))]
    assert card.drops == ({} if known or not vfe else {"rx_filtered": 1})
    passed = known or not vfe
    assert card.counts("TPR", "GPRC", "GORC", "PRC127") == (2, 1 + passed, 64 + 104 * passed, passed)


@pytest.mark.parametrize("vlan", [0, 1, 31, 32, 2047, 4095])
def test_the_filter_table_has_a_bit_for_each_vlan(vlans, vlan):
    card = vlans(rctl=BASE | regs.RCTL_VFE)
    for word in range(128):
        card.write(regs.VFTA + 4 * word, 0xFFFFFFFF)
    card.write(regs.VFTA + 4 * (vlan >> 5), 0xFFFFFFFF & ~(1 << (vlan & 31)))
    card.receive(tagged(tci=vlan)[0], tagged(tci=vlan ^ 1)[0])
    (desc, _), = card.take_descs()
    assert desc.special == vlan ^ 1


@pytest.mark.parametrize("wanted", [0, 1])
@pytest.mark.parametrize("vfe", [0, regs.RCTL_VFE])
def test_cfien_compares_the_cfi_bit(vlans, wanted, vfe):
    card = vlans(rctl=BASE | vfe | regs.RCTL_CFIEN | wanted * regs.RCTL_CFI)
    allow(card, 5)
    card.receive(tagged(tci=0x0005)[0], tagged(tci=0x1005)[0], packet(60))
    assert [desc.special for desc, _ in card.take_descs()] == [0x1005 if wanted else 0x0005, 0]
    assert card.drops == {"rx_filtered": 1}


@pytest.mark.parametrize("vet", [0x8100, 0x88A8, 0x0800])
def test_a_tag_is_what_vet_says(vlans, vet):
    card = vlans(vet=vet)
    ours, bare = tagged(vet=vet)
    other, _ = tagged(vet=0x9100)
    card.receive(ours, other)
    assert card.take() == [bare, other]


def test_with_vet_zero_no_frame_has_a_tag(vlans):
    card = vlans(vet=0)
    content, _ = tagged(vet=0)
    card.receive(content)
    assert card.take() == [content]


def test_only_the_outer_tag_is_stripped(vlans):
    inner, _ = tagged(length=100, tci=7)
    content = inner[:12] + b"\x81\0\0\x06" + inner[12:]
    card = vlans()
    card.receive(content)
    (desc, stored), = card.take_descs()
    assert (desc.special, stored) == (6, inner)


def test_a_frame_has_to_pass_its_address_as_well(vlans):
    card = vlans(rctl=regs.RCTL_SECRC | regs.RCTL_VFE)
    allow(card, 5)
    card.receive(tagged(to=BROADCAST)[0], tagged(to=b"\x52" * 6)[0])
    assert card.take() == []
    assert card.drops == {"rx_filtered": 2}


@pytest.mark.parametrize("length", [60, 64, 1518])
def test_a_frame_is_as_long_as_it_was_on_the_wire_for_rules_and_counters(vlans, length):
    card = vlans()
    content, bare = tagged(length)
    card.receive(content)
    assert card.take() == [bare]
    assert card.counts("GORC", "TOR", "PRC64", "RUC", "ROC") == (length + 4, length + 4, length == 60, 0, 0)


@pytest.mark.parametrize("length", [60, 259, 260, 261, 263, 264, 265, 1000])
def test_the_crc_is_of_the_frame_with_its_tag(vlans, length):
    card = vlans(rctl=B256, buffer=256)
    content, bare = tagged(length)
    card.receive(content)
    assert card.take() == [bare + zlib.crc32(content).to_bytes(4, "little")]


@pytest.mark.parametrize("strip", [True, False], ids=["SECRC", "with-crc"])
def test_it_is_the_same_by_way_of_the_fifo(vlans, strip):
    card = vlans(give=0, rctl=BASE if strip else regs.RCTL_BAM)
    content, bare = tagged(tci=0x2345)
    sent = [content if i % 3 else packet(700, seed=i) for i in range(60)]
    card.receive(*sent)
    card.write(regs.CTRL, card.read(regs.CTRL) & ~regs.CTRL_VME)    # it was stripped when it arrived
    card.give(60)
    for (desc, stored), was in zip(card.take_descs(), sent, strict=True):
        kept, special = (bare, 0x2345) if was is content else (was, 0)
        assert (desc.special, desc.status & VP) == (special, VP if special else 0)
        assert stored == kept + (b"" if strip else zlib.crc32(was).to_bytes(4, "little"))


def test_reset_forgets_it_all(vlans):
    card = vlans(rctl=BASE | regs.RCTL_VFE)
    card.write(regs.CTRL, regs.CTRL_RST)
    card.rx_ring()
    content, _ = tagged()
    card.receive(content)
    assert card.take() == [content]
