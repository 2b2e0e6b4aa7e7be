"""What the card puts around a packet: VLAN tag, FCS, padding (§3.3.3.1, §3.3.7.1, §9.2)."""

import zlib

import pytest
from cards import EOP, IC, IFCS, POPTS_TXSM, RS, VLE, context, data, legacy, packet, pieces

from e1000 import regs

MAKES = pytest.mark.parametrize("make", [legacy, data])
TAG = 0xE123


def tagged(content, tag=TAG, ethertype=0x8100):
    return content[:12] + ethertype.to_bytes(2, "big") + tag.to_bytes(2, "big") + content[12:]


def with_fcs(content):
    return content + zlib.crc32(content).to_bytes(4, "little")


@pytest.fixture
def tx(card):
    card.tx_ring(256)
    card.write(regs.VET, 0x8100)
    card.write(regs.CTRL, regs.CTRL_SLU | regs.CTRL_VME)
    return card


# --- VLAN ---


@MAKES
@pytest.mark.parametrize("length", [56, 60, 100, 1514, 16380])
def test_vle_puts_the_tag_behind_the_addresses(tx, make, length):
    content = packet(length, seed=length)
    tx.post_packets(content, make=make, cmd=EOP | IFCS | VLE, special=TAG)
    assert tx.wire.sent == [tagged(content)]
    assert tx.counts("GPTC", "GOTC", "TOT") == (1, length + 8, length + 8)


@MAKES
def test_a_tag_goes_between_the_addresses_and_the_type_wherever_the_packet_is_cut(tx, make):
    content = packet(80, seed=1)
    for cut in range(1, 80):
        tx.wire.sent.clear()
        tx.post(*pieces(tx, content, [cut], make=make, cmd=EOP | IFCS | VLE, special=TAG))
        assert tx.wire.sent == [tagged(content)]
    tx.wire.sent.clear()
    tx.post(*pieces(tx, content, range(1, 80), make=make, cmd=EOP | VLE, special=TAG))
    assert tx.wire.sent == [tagged(content)]


@MAKES
def test_the_ethertype_is_vets_and_may_change(tx, make):
    content = packet(80, seed=2)
    for ethertype in (0x8100, 0x88A8, 0, 0xFFFF):
        tx.write(regs.VET, ethertype)
        tx.post_packets(content, make=make, cmd=EOP | VLE, special=TAG)
        assert tx.wire.sent.pop() == tagged(content, ethertype=ethertype)


@MAKES
def test_without_vme_no_packet_is_tagged(tx, make):
    tx.write(regs.CTRL, regs.CTRL_SLU)
    content = packet(80, seed=3)
    tx.post_packets(content, make=make, cmd=EOP | IFCS | VLE, special=TAG)
    assert tx.wire.sent == [content]


@MAKES
def test_without_vle_no_packet_is_tagged(tx, make):
    content = packet(80, seed=4)
    tx.post_packets(content, make=make, special=TAG)
    assert tx.wire.sent == [content]


@MAKES
@pytest.mark.parametrize("parts", [2, 100])
def test_the_last_descriptor_tags(tx, make, parts):
    content = packet(200, seed=5)
    cuts = range(1, parts)
    *most, last = pieces(tx, content, cuts, make=make, first=VLE, cmd=EOP, special=0x111)
    untagged = pieces(tx, content, cuts, make=make, first=VLE, special=0x111)[:-1] + pieces(tx, content[parts - 1 :], [], make=make)
    tx.post(*most, last[:14] + TAG.to_bytes(2, "little"), *untagged)
    assert tx.wire.sent == [tagged(content), content]


def test_offsets_of_checksums_are_those_of_the_packet_without_its_tag(tx):
    content = packet(100, seed=6)
    address = tx.alloc(content)
    tx.post(legacy(address, 100, cmd=EOP | IC, cso=50, css=34), legacy(address, 100, cmd=EOP | IC | VLE, cso=50, css=34, special=TAG))
    offload = {"popts": POPTS_TXSM, "special": TAG}
    tx.post(context(transport=(34, 50, 0)), data(address, 100, cmd=EOP | VLE, **offload))
    plain, *rest = tx.wire.sent
    assert plain != content
    assert rest == [tagged(plain)] * 2


@MAKES
@pytest.mark.parametrize(("length", "padding"), [(12, 44), (55, 1), (56, 0)])
def test_a_tagged_packet_is_padded_to_64_bytes_with_its_tag(tx, make, length, padding):
    content = packet(length, seed=7)
    tx.post_packets(content, make=make, cmd=EOP | VLE, special=TAG)
    assert tx.wire.sent == [tagged(content) + bytes(padding)]
    assert tx.device.padding == ((1, padding) if padding else (0, 0))
    assert tx.counts("PTC64", "GOTC") == (1, 64)


@MAKES
@pytest.mark.parametrize("length", [1, 11])
def test_a_packet_without_both_addresses_gets_no_tag(tx, make, length):
    content = packet(length, seed=8)
    tx.post_packets(content, make=make, cmd=EOP | VLE, special=TAG)
    assert tx.wire.sent == [content.ljust(60, b"\0")]


def test_tagged_and_plain_packets_keep_their_order(tx):
    contents = [packet(60 + i, seed=i) for i in range(100)]
    tx.post(*(legacy(tx.alloc(c), len(c), cmd=EOP | IFCS | (VLE if i % 3 else 0), special=i) for i, c in enumerate(contents)))
    assert tx.wire.sent == [tagged(c, tag=i) if i % 3 else c for i, c in enumerate(contents)]


# --- FCS ---


@MAKES
@pytest.mark.parametrize("length", [60, 61, 1514])
@pytest.mark.parametrize("back", [None, 1, 2, 3, 4, 5])
def test_without_ifcs_the_hosts_own_fcs_ends_the_frame(tx, make, length, back):
    content = packet(length, seed=9)
    cuts = [] if back is None else [length + 4 - back]
    tx.post(*pieces(tx, with_fcs(content), cuts, make=make, cmd=EOP | RS))
    assert tx.wire.sent == [content]
    assert tx.counts("GPTC", "GOTC") == (1, length + 4)


@MAKES
def test_an_fcs_in_pieces_of_a_byte_ends_the_frame(tx, make):
    content = packet(100, seed=10)
    tx.post(*pieces(tx, with_fcs(content), range(97, 104), make=make, cmd=EOP))
    tx.post(*pieces(tx, with_fcs(content), range(1, 104), make=make, cmd=EOP))
    assert tx.wire.sent == [content] * 2


@MAKES
def test_a_driver_that_forgets_ifcs_sends_all_the_same(tx, make):
    """What is behind the packet is no FCS: xv6 and others."""
    contents = [packet(n, seed=n) for n in (20, 60, 64, 1514)] + [with_fcs(packet(60))[:-1] + b"\0"]
    tx.post_packets(*contents, make=make, cmd=EOP | RS)
    assert tx.wire.sent == [content.ljust(60, b"\0") for content in contents]


@MAKES
@pytest.mark.parametrize("cmd", [IFCS, VLE, IFCS | VLE])
def test_a_packet_the_card_ends_itself_keeps_its_last_bytes(tx, make, cmd):
    content = with_fcs(packet(100, seed=11))
    tx.post_packets(content, make=make, cmd=EOP | cmd, special=TAG)
    assert tx.wire.sent == [tagged(content) if cmd & VLE else content]


def test_a_packet_with_a_checksum_of_the_cards_keeps_its_last_bytes(tx):
    content = with_fcs(packet(100, seed=12))
    tx.post_packets(content, cmd=EOP | IC, cso=50, css=34)
    [frame] = tx.wire.sent
    assert frame[:50] + content[50:52] + frame[52:] == content


@MAKES
@pytest.mark.parametrize("length", [1, 3, 4])
def test_four_bytes_or_fewer_are_no_fcs(tx, make, length):
    content = with_fcs(b"")[:length]
    tx.post_packets(content, make=make, cmd=EOP)
    assert tx.wire.sent == [content.ljust(60, b"\0")]
