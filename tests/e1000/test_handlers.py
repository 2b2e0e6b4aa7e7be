"""Registers that Python answers for."""

import sys
import threading

import pytest
from cards import packet

from e1000 import regs
from e1000.bus import LocalBus
from e1000.device import DeviceThread, E1000Device
from e1000.device.card import HOT
from fastring.wire import pair


@pytest.fixture
def unraisable(monkeypatch):
    """What could not be raised, collected."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: seen.append(told.exc_value))
    return seen


def test_a_handler_answers_reads_and_another_takes_writes(card):
    log = []
    card.device.on_read(regs.EERD, lambda offset: log.append(offset) or 0xABCD0010)
    card.device.on_write(regs.EERD, lambda offset, value: log.append((offset, value)))
    card.write(regs.EERD, 0x301)
    assert card.read(regs.EERD) == 0xABCD0010
    assert log == [(regs.EERD, 0x301), regs.EERD]
    assert card.peek(regs.EERD) == 0, "the card's own register was not touched"


def test_on_read_is_a_decorator_too_and_can_be_undone(card):
    @card.device.on_read(regs.VET)
    def answer(offset):
        return 7

    assert answer(0) == 7
    assert card.read(regs.VET) == 7
    card.device.remove_handlers(regs.VET)
    assert card.read(regs.VET) == 0
    card.device.remove_handlers(regs.VET)


def test_a_handler_reaches_the_cards_own_register_and_through_others_their_handlers(card):
    card.device.on_write(regs.VET, lambda offset, value: card.write(offset, value + 1))
    card.device.on_read(regs.VET, lambda offset: card.read(offset) + card.read(regs.FCT))
    card.device.on_read(regs.FCT, lambda offset: 0x100)
    card.write(regs.VET, 0x10)
    assert card.peek(regs.VET) == 0x11
    assert card.read(regs.VET) == 0x111


def test_a_handler_sees_accesses_of_any_size_and_through_the_io_bar(card):
    seen = []
    card.device.on_read(regs.VET, lambda offset: 0x44332211)
    card.device.on_write(regs.VET, lambda offset, value: seen.append(value))
    assert card.read(regs.VET + 1, 1) == 0x22
    card.write(regs.VET + 1, 0x81, 1)
    card.device.io_write(0, regs.VET)
    assert card.device.io_read(4) == 0x44332211
    card.device.io_write(4, 5)
    assert seen == [0x8100, 5]


def test_an_offset_without_a_register_may_be_given_one(card):
    flash_access = 0x1C
    card.device.on_read(flash_access, lambda offset: 0xF1A)
    assert card.read(flash_access) == 0xF1A


@pytest.mark.parametrize("answer", [1 << 32, -1, None, "7"])
def test_a_read_handler_with_no_register_value_reads_all_ones_and_is_told_of(card, unraisable, answer):
    card.device.on_read(regs.VET, lambda offset: answer)
    assert card.read(regs.VET) == 0xFFFFFFFF
    assert len(unraisable) == 1


def test_a_handler_that_raises_reads_all_ones_and_loses_the_write(card, unraisable):
    def fail(offset, value=0):
        raise RuntimeError("no chip")

    card.device.on_read(regs.MDIC, fail)
    card.device.on_write(regs.MDIC, fail)
    before = card.peek(regs.MDIC)
    card.write(regs.MDIC, 1)
    assert card.read(regs.MDIC) == 0xFFFFFFFF
    assert [str(error) for error in unraisable] == ["no chip"] * 2
    assert card.peek(regs.MDIC) == before
    assert card.read(regs.STATUS) != 0xFFFFFFFF


@pytest.mark.parametrize("offset", sorted(HOT))
def test_what_the_packet_path_needs_cannot_be_replaced(card, offset):
    with pytest.raises(ValueError, match="the packet path needs it"):
        card.device.on_read(offset, lambda offset: 0)
    with pytest.raises(ValueError, match="the packet path needs it"):
        card.device.on_write(offset)


def test_only_a_register_may_be_replaced_and_only_by_what_can_be_called(card):
    for offset in (2, 0x20000, 1 << 31):
        with pytest.raises(ValueError, match="registers lie at multiples of 4"):
            card.device.on_read(offset, lambda offset: 0)
    with pytest.raises(TypeError, match="callable, not int"):
        card.device.on_write(regs.EERD, 5)


def test_a_handler_may_replace_itself_and_give_the_register_back(card):
    def once(offset):
        card.device.remove_handlers(offset)
        return 1

    card.device.on_read(regs.VET, once)
    assert [card.read(regs.VET), card.read(regs.VET)] == [1, 0]


def test_a_reset_leaves_handlers_where_they_are(card):
    card.device.on_read(regs.VET, lambda offset: 3)
    card.write(regs.CTRL, regs.CTRL_RST)
    assert card.read(regs.VET) == 3


def test_a_subclass_may_be_the_handler():
    class Slow(E1000Device):
        def __init__(self, **options):
            super().__init__(**options)
            self.on_read(regs.EERD, self.eerd)

        def eerd(self, offset):
            return self.peek(regs.STATUS) << 16 | regs.EERD_DONE

    with Slow() as device:
        assert device.read(regs.EERD) == (device.peek(regs.STATUS) << 16 & 0xFFFFFFFF) | regs.EERD_DONE


def test_a_handler_may_use_the_card_while_a_device_thread_runs_it():
    near, far = (E1000Device(wire=end) for end in pair())
    with LocalBus(near), DeviceThread([near, far]):
        near.on_read(regs.EERD, lambda offset: near.read(offset) | near.read(regs.ICR) & 0)
        near.on_write(regs.EERD, lambda offset, value: near.write(offset, value))
        answers = []

        def ask():
            for _ in range(200):
                near.write(regs.EERD, regs.EERD_START)
                answers.append(near.read(regs.EERD) & 0xFFFF)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert answers == [regs.EERD_DONE] * 600


def test_packets_pass_as_before(make_card):
    card = make_card()
    card.device.on_read(regs.EERD, lambda offset: 0)
    card.tx_ring()
    card.post_packets(packet(60), packet(1514, seed=1))
    assert card.wire.sent == [packet(60), packet(1514, seed=1)]
