"""SkBuff: each operation against what the kernel's does (include/linux/skbuff.h, net/core/skbuff.c)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softnet import DropReason, SkBuff, alloc_skb
from softnet.skbuff import CHECKSUM_PARTIAL, MAX_SKB_FRAGS, GsoType, SkbPanic


def rooms(skb):
    return skb.headroom, skb.headlen, skb.tailroom


def with_frags(*pieces, linear=b"linear"):
    skb = SkBuff.from_bytes(linear)
    for piece in pieces:
        skb.add_frag(piece)
    return skb


# --- room ---


def test_a_new_one_is_all_tailroom_until_it_is_reserved():
    skb = SkBuff(100)
    assert rooms(skb) == (0, 0, 100)
    skb.reserve(30)
    assert rooms(skb) == (30, 0, 70)
    skb.reserve(10)
    assert rooms(skb) == (40, 0, 60)
    assert rooms(alloc_skb(60, headroom=40)) == (40, 0, 60)


@pytest.mark.parametrize("length", [-1, 71])
def test_reserve_takes_no_more_than_there_is(length):
    skb = alloc_skb(70, headroom=30)
    with pytest.raises(SkbPanic):
        skb.reserve(length)
    assert rooms(skb) == (30, 0, 70)


def test_one_with_data_cannot_be_reserved():
    with pytest.raises(SkbPanic):
        SkBuff.from_bytes(b"x").reserve(0)


def test_put_and_push_give_the_bytes_they_take():
    skb = alloc_skb(10, headroom=10)
    skb.put(4)[:] = b"data"
    skb.push(4)[:] = b"head"
    skb.put_data(b"tail")
    assert (bytes(skb), rooms(skb)) == (b"headdatatail", (6, 12, 2))


@pytest.mark.parametrize("length", [-1, 11])
def test_put_and_push_stop_at_their_ends(length):
    skb = alloc_skb(10, headroom=10)
    for grow, name in ((skb.put, "skb_over_panic"), (skb.push, "skb_under_panic")):
        with pytest.raises(SkbPanic, match=name):
            grow(length)
    assert rooms(skb) == (10, 0, 10)


def test_pull_gives_what_is_left_and_none_if_that_is_too_short():
    skb = SkBuff.from_bytes(b"headdata")
    assert bytes(skb.pull(4)) == b"data"
    assert skb.pull(5) is None
    assert skb.pull(-1) is None
    assert (bytes(skb), rooms(skb)) == (b"data", (68, 4, 0))
    assert bytes(skb.push(4)) == b"head"


def test_pull_stays_in_the_linear_part_until_more_is_brought_there():
    skb = with_frags(b"abc", b"def", linear=b"xy")
    assert skb.pull(3) is None
    assert skb.may_pull(3)
    assert bytes(skb.pull(3)) == b"bcdef"
    assert not skb.may_pull(6)


@pytest.mark.parametrize("length", range(14))
def test_trim_cuts_frags_then_the_linear_part(length):
    skb = with_frags(b"abc", b"def", linear=b"xyz")
    skb.trim(length)
    assert bytes(skb) == b"xyzabcdef"[:length]
    assert len(skb) == min(length, 9)
    assert all(skb.frags)


def test_trim_to_nothing_less():
    with pytest.raises(ValueError, match="-1"):
        SkBuff.from_bytes(b"x").trim(-1)


def test_trim_leaves_the_frags_of_clones_alone():
    skb = with_frags(b"abc", b"def")
    clone = skb.clone()
    skb.trim(8)
    assert (bytes(skb), bytes(clone)) == (b"linearab", b"linearabcdef")


# --- frags ---


def test_frags_are_where_they_were():
    page = bytearray(b"page")
    skb = with_frags(page)
    page[:] = b"PAGE"
    assert (bytes(skb), skb.headlen, skb.data_len, len(skb), skb.tailroom) == (b"linearPAGE", 6, 4, 10, 0)


def test_nothing_can_be_put_behind_frags():
    skb = SkBuff(10)
    skb.add_frag(b"x")
    with pytest.raises(SkbPanic):
        skb.put(1)


def test_there_are_17_frags_at_most():
    skb = with_frags(*[b"x"] * MAX_SKB_FRAGS)
    with pytest.raises(SkbPanic):
        skb.add_frag(b"y")
    assert len(skb) == 6 + 17


def test_a_clone_gets_no_frags():
    skb = with_frags(b"abc")
    clone = skb.clone()
    for one in (skb, clone):
        with pytest.raises(SkbPanic):
            one.add_frag(b"x")


def test_linearize_keeps_the_bytes_and_leaves_clones_as_they_are():
    skb = with_frags(b"abc", b"def")
    clone = skb.clone()
    skb.linearize()
    assert (bytes(skb), skb.headlen, list(skb.frags)) == (b"linearabcdef", 12, [])
    assert (bytes(clone), len(clone.frags), clone.cloned) == (b"linearabcdef", 2, False)


# --- sharing ---


def test_a_clone_shares_bytes_and_segmentation_but_not_its_fields():
    skb = SkBuff.from_bytes(b"shared")
    skb.mark, skb.gso_size = 7, 100
    clone = skb.clone()
    assert (skb.cloned, clone.cloned, clone.mark, clone.users) == (True, True, 7, 1)
    skb.data[:1] = b"S"
    clone.gso_size = 200
    clone.mark = 8
    clone.pull(2)
    assert (bytes(clone), bytes(skb), skb.gso_size, skb.mark) == (b"ared", b"Shared", 200, 7)


def test_the_last_of_the_clones_may_write_again():
    skb = SkBuff.from_bytes(b"x")
    clones = [skb.clone(), skb.clone()]
    clones[0].consume()
    assert skb.cloned
    clones[1].kfree()
    assert not skb.cloned
    assert skb.unshare() is skb


def test_a_copy_is_its_own_and_linear_with_the_same_room():
    skb = alloc_skb(10, headroom=20)
    skb.put_data(b"abc")
    skb.gso_size, skb.gso_segs, skb.gso_type = 1, 3, GsoType.TCPV4
    copy = skb.copy()
    skb.data[:] = b"ABC"
    assert (bytes(copy), rooms(copy), copy.cloned, skb.cloned) == (b"abc", (20, 3, 7), False, False)
    assert (copy.gso_size, copy.gso_segs, copy.gso_type) == (1, 3, GsoType.TCPV4)
    assert list(with_frags(b"abc").copy().frags) == []


def test_unshare_gives_a_clone_up_for_a_copy():
    skb = SkBuff.from_bytes(b"x")
    clone = skb.clone()
    own = clone.unshare()
    own.data[:] = b"y"
    assert (clone.freed, bytes(skb), bytes(own), skb.cloned) == (True, b"x", b"y", False)


def test_share_check_gives_one_user_of_several_a_clone():
    skb = SkBuff.from_bytes(b"x")
    assert skb.share_check() is skb
    skb.get()
    other = skb.share_check()
    assert (other is skb, other.users, skb.users, skb.freed) == (False, 1, 1, False)


@given(headroom=st.integers(0, 100), wanted=st.integers(0, 200), cloned=st.booleans(), frags=st.booleans())
def test_cow_head_keeps_every_byte_and_every_offset(headroom, wanted, cloned, frags):
    skb = SkBuff.from_bytes(bytes(range(40)), headroom=headroom)
    skb.mac_header, skb.network_header, skb.transport_header = headroom, headroom + 14, headroom + 34
    skb.ip_summed, skb.csum_start, skb.csum_offset = CHECKSUM_PARTIAL, headroom + 34, 4
    skb.pull(14)
    if frags:
        skb.add_frag(b"frag")
    clone = skb.clone() if cloned else None
    skb.cow_head(wanted)
    assert skb.headroom >= wanted
    assert bytes(skb) == bytes(range(14, 40)) + b"frag" * frags
    assert bytes(skb.head[skb.mac_header : skb.data_offset]) == bytes(range(14))
    assert [skb.head[at] for at in (skb.network_header, skb.transport_header, skb.csum_start)] == [14, 34, 34]
    assert (skb.csum_offset, skb.cloned) == (4, False)
    if clone is not None:
        skb.data[:] = bytes(26)
        assert bytes(clone) == bytes(range(14, 40)) + b"frag" * frags


def test_a_tag_goes_along_to_clones_and_copies():
    skb = SkBuff.from_bytes(b"x")
    skb.vlan_tci, skb.vlan_proto = 0x2005, 0x88A8
    assert [(each.vlan_tci, each.vlan_proto) for each in (skb.clone(), skb.copy())] == [(0x2005, 0x88A8)] * 2


# --- its end ---


def test_it_is_freed_by_its_last_user_with_that_ones_reason():
    skb = SkBuff.from_bytes(b"x")
    assert skb.get() is skb
    skb.consume()
    assert (skb.freed, skb.users) == (False, 1)
    skb.kfree(DropReason.FULL_RING)
    assert skb.freed is DropReason.FULL_RING


@pytest.mark.parametrize("first", [SkBuff.consume, SkBuff.kfree])
@pytest.mark.parametrize("then", [SkBuff.consume, SkBuff.kfree, SkBuff.clone, SkBuff.copy, SkBuff.get])
def test_what_was_freed_cannot_be_freed_or_used(first, then):
    skb = SkBuff.from_bytes(b"x")
    first(skb)
    with pytest.raises(SkbPanic, match="freed"):
        then(skb)
    assert "consumed" in repr(skb) or "NOT_SPECIFIED" in repr(skb)


def test_the_destructor_is_called_once_and_not_by_clones_or_copies():
    called = []
    skb = SkBuff.from_bytes(b"x")
    skb.destructor, skb.sk = called.append, "socket"
    for other in (skb.clone(), skb.copy()):
        assert other.sk is None
        other.consume()
    skb.get()
    skb.consume()
    assert called == []
    skb.consume()
    assert called == [skb]
    with pytest.raises(SkbPanic):
        skb.consume()
    assert called == [skb]


# --- any order of it ---

OPERATIONS = st.lists(st.tuples(st.sampled_from(["put", "push", "pull", "trim", "clone", "cow_head", "linearize"]), st.integers(0, 40)))


@given(OPERATIONS)
def test_any_order_of_operations_is_that_of_bytes(operations):
    skb = alloc_skb(100, headroom=60)
    skb.put_data(bytes(20))
    model, kept = bytes(20), []
    for number, (name, n) in enumerate(operations):
        fill = bytes([number & 0xFF]) * n
        if name == "put" and n <= skb.tailroom:
            skb.cow_head()
            skb.put_data(fill)
            model += fill
        elif name == "push" and n <= skb.headroom:
            skb.cow_head()
            skb.push(n)[:] = fill
            model = fill + model
        elif name == "pull" and skb.pull(n) is not None:
            model = model[n:]
        elif name == "trim":
            skb.trim(n)
            model = model[:n]
        elif name == "clone":
            kept.append((skb.clone(), model))
        elif name == "cow_head":
            skb.cow_head(n)
        elif name == "linearize":
            skb.linearize()
        assert (bytes(skb), len(skb)) == (model, len(model))
    for clone, content in kept:
        assert bytes(clone) == content


@pytest.mark.parametrize("value", [1.5, "9", None])
def test_gso_size_is_a_whole_number(value):
    skb = SkBuff.from_bytes(bytes(60))
    with pytest.raises(TypeError, match="integer"):
        skb.gso_size = value
    assert skb.gso_size == 0
