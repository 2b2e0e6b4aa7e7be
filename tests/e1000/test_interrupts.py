"""Interrupt causes and the line (§13.4.17 to 13.4.21)."""

import pytest
from cards import packet

from e1000 import regs

ONE, OTHER = regs.ICR_RXT0, regs.ICR_TXDW


def test_reading_icr_clears_it_and_drops_the_line(card):
    card.write(regs.IMS, ONE)
    card.write(regs.ICS, ONE | OTHER)
    assert card.bus.irq.asserted
    assert card.read(regs.ICR) == ONE | OTHER
    assert not card.bus.irq.asserted
    assert card.read(regs.ICR) == 0


def test_peeking_at_icr_changes_nothing(card):
    card.write(regs.IMS, ONE)
    card.write(regs.ICS, ONE)
    assert card.peek(regs.ICR) == card.peek(regs.ICR) == ONE
    assert card.bus.irq.asserted


def test_writing_ones_to_icr_clears_these_causes_alone(card):
    card.write(regs.IMS, ONE | OTHER)
    card.write(regs.ICS, ONE | OTHER)
    card.write(regs.ICR, ONE)
    assert card.bus.irq.asserted
    card.write(regs.ICR, OTHER)
    assert not card.bus.irq.asserted
    assert card.read(regs.ICR) == 0


def test_ims_sets_and_imc_clears_bits_of_one_mask(card):
    card.write(regs.IMS, ONE)
    card.write(regs.IMS, OTHER)
    assert card.read(regs.IMS) == ONE | OTHER
    card.write(regs.IMC, ONE)
    assert card.read(regs.IMS) == OTHER
    card.write(regs.IMS, 0)
    card.write(regs.IMC, 0)
    assert card.read(regs.IMS) == OTHER


def test_ics_and_imc_read_zero(card):
    card.write(regs.IMS, ONE)
    card.write(regs.ICS, ONE)
    assert card.read(regs.ICS) == card.read(regs.IMC) == 0


def test_a_masked_cause_is_pending_and_raises_the_line_when_it_is_unmasked(card):
    card.write(regs.ICS, ONE)
    assert not card.bus.irq.asserted
    card.write(regs.IMS, OTHER)
    assert not card.bus.irq.asserted
    card.write(regs.IMS, ONE)
    assert card.bus.irq.asserted


def test_masking_the_last_unmasked_cause_drops_the_line_and_keeps_the_cause(card):
    card.write(regs.IMS, ONE | OTHER)
    card.write(regs.ICS, ONE)
    card.write(regs.IMC, OTHER)
    assert card.bus.irq.asserted
    card.write(regs.IMC, ONE)
    assert not card.bus.irq.asserted
    assert card.read(regs.ICR) == ONE


@pytest.mark.parametrize("bit", range(17))
def test_every_cause_can_be_set_masked_and_cleared_by_itself(card, bit):
    card.write(regs.ICS, 1 << bit)
    card.write(regs.IMS, 1 << bit)
    assert card.bus.irq.asserted
    card.write(regs.IMC, 1 << bit)
    assert not card.bus.irq.asserted
    assert card.read(regs.ICR) == 1 << bit


def test_the_line_is_level_and_not_a_count(card):
    card.write(regs.IMS, ONE)
    for _ in range(5):
        card.write(regs.ICS, ONE)
    assert card.bus.irq.raised == 1
    card.read(regs.ICR)
    assert not card.bus.irq.asserted


def test_a_received_frame_raises_the_line_and_a_frame_while_pending_does_not_lower_it(card):
    card.rx_ring()
    card.write(regs.IMS, regs.ICR_RXT0)
    card.receive(packet(64))
    assert card.bus.irq.asserted
    card.receive(packet(64))
    assert card.bus.irq.asserted
    assert card.read(regs.ICR) == regs.ICR_RXT0
    card.receive(packet(64))
    assert card.bus.irq.asserted


def test_taking_the_card_off_the_bus_leaves_its_line_alone(card):
    line = card.bus.irq
    card.bus.close()
    card.write(regs.IMS, ONE)
    card.write(regs.ICS, ONE)
    assert not line.asserted
