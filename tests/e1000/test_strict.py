"""Strict mode: for each rule, what breaks it and what comes close and does not."""

import logging
import struct
import sys

import pytest
from cards import DEXT, EOP, IFCS, MAC, RS, STATION, BareCard, RecordingSink, data, legacy, packet
from microwire import READ, Microwire

from e1000 import regs, strict
from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.device import strict as compiled
from e1000.driver import probe
from e1000.strict import BY_ID, RULES
from fastring.burst import Burst
from fastring.clock import VirtualClock
from fastring.wire import pair
from softnet.stack import Stack

TSE = 1 << 26


class StrictCard(BareCard):
    """A BareCard in strict mode."""

    def __init__(self, undo, **options):
        super().__init__(undo, **options)
        self.bus.close()
        self.device.close()
        self.device = undo.enter_context(E1000Device(mac=MAC, wire=self.wire, strict=True))
        self.bus = undo.enter_context(LocalBus(self.device, memory=self.memory))
        self.read, self.write, self.peek = self.device.read, self.device.write, self.device.peek

    @property
    def found(self):
        """The rules broken so far."""
        return set(self.device.breaches.counts)


@pytest.fixture
def card(undo):
    return StrictCard(undo)


def context(*, mss=1000, header=54, payload=1000, cmd=TSE, offsets=0):
    return struct.pack("<QQ", offsets, payload | DEXT | cmd | header << 40 | mss << 48)


def tx(card, *descriptors, count=64):
    """Give descriptors to a card of a fresh ring."""
    card.tx_ring(count)
    card.post(*descriptors)


def frame(card, length=100, make=legacy, **options):
    return make(card.alloc(packet(length)), length, **options)


def rx(card, count=8, **options):
    card.rx_ring(count, **options)


def segments(card, **options):
    """A packet of 1054 bytes for segmentation, its context before it."""
    tx(card, context(**options), frame(card, 1054, data, cmd=EOP | IFCS | RS | TSE))


def mdic(card, *, poll, op=regs.MDIC_OP_READ):
    for _ in range(2):
        card.write(regs.MDIC, op | 1 << regs.MDIC_PHY_SHIFT | 1 << regs.MDIC_REG_SHIFT)
        if poll:
            card.read(regs.MDIC)


def eerd(card, *, poll):
    for _ in range(2):
        card.write(regs.EERD, regs.EERD_START)
        if poll:
            card.read(regs.EERD)


def moved_ring(card, *, enabled):
    card.tx_ring(tctl=regs.TCTL_EN if enabled else 0)
    card.write(regs.TDLEN, 512)


def full_ring(card, given):
    rx(card, 8, give=3)
    card.give(given)


def rx_given(card, *, status=0, address=None, stride=None, extra=0):
    """A ring of 8 with one descriptor changed before it is given. `extra`: in RCTL."""
    card.rx_ring(8, give=0, rctl=regs.RCTL_SECRC | regs.RCTL_BAM | extra)
    if stride is not None:
        card.addresses.write(card.rx_base + 16, struct.pack("<QQ", card.rx_buffers[0] + stride, 0))
    card.addresses.write(card.rx_base, struct.pack("<QQ", card.rx_buffers[0] if address is None else address, status << 32))
    card.give(3)


def rctl_again(card, extra):
    rx(card)
    card.write(regs.RCTL, card.read(regs.RCTL) | extra)


def pins(card, *, ask=True, look=True):
    if ask:
        card.write(regs.EECD, regs.EECD_REQ)
        if look:
            card.read(regs.EECD)
    card.write(regs.EECD, (regs.EECD_REQ if ask else 0) | regs.EECD_CS)


def doorbell(card, command):
    card.tx_ring()
    card.device.config_write(4, command, 2)
    card.post(frame(card))


def enable(card, *, length, tail):
    card.write(regs.TDBAL, card.alloc(4096))
    card.write(regs.TDLEN, length)
    card.write(regs.TDT, tail)
    card.write(regs.TCTL, regs.TCTL_EN)


def unended(card, n):
    tx(card, *[frame(card, 60, cmd=0) for _ in range(n)], count=8)


def through_io(card, offset, size=4):
    card.device.io_write(0, offset)
    card.device.io_write(4, 0 if size == 4 else 1, size)


# rule: (what breaks it, what does not)
CASES = {
    "access-size": (lambda c: c.read(regs.STATUS, 2), lambda c: c.read(regs.STATUS)),
    "no-register": (lambda c: c.write(0x3C, 1), lambda c: c.write(regs.VET, 1)),
    "read-only-written": (lambda c: c.write(regs.GPRC, 1), lambda c: c.read(regs.GPRC)),
    "write-only-read": (lambda c: c.read(regs.IMC), lambda c: c.write(regs.IMC, 0xFFFFFFFF)),
    "reserved-bits": (lambda c: c.write(regs.IMS, 1 << 5), lambda c: c.write(regs.IMS, 0x9D)),
    "reserved-value": (lambda c: c.write(regs.RCTL, 3 << 8), lambda c: c.write(regs.RCTL, 2 << 8)),
    "io-size": (lambda c: through_io(c, regs.VET, 2), lambda c: through_io(c, regs.VET)),
    "io-undefined": (lambda c: through_io(c, 0x20000), lambda c: through_io(c, regs.VET)),
    "statistic-order": (lambda c: c.read(regs.GORCH), lambda c: (c.read(regs.GORCL), c.read(regs.GORCH))),
    "eerd-busy": (lambda c: eerd(c, poll=False), lambda c: eerd(c, poll=True)),
    "eerd-undone": (
        lambda c: (c.write(regs.EECD, regs.EECD_REQ), c.write(regs.EERD, regs.EERD_START)),
        lambda c: (c.write(regs.EECD, 0), c.write(regs.EERD, regs.EERD_START)),
    ),
    "eecd-no-grant": (lambda c: pins(c, look=False), pins),
    "mdic-busy": (lambda c: mdic(c, poll=False), lambda c: mdic(c, poll=True)),
    "pba-size": (lambda c: c.write(regs.PBA, 64), lambda c: c.write(regs.PBA, 48)),
    "flow-thresholds": (
        lambda c: (c.write(regs.FCRTL, 0xACC8), c.write(regs.FCRTH, 0xACC8)),
        lambda c: (c.write(regs.FCRTL, 0xACC0), c.write(regs.FCRTH, 0xACC8), c.write(regs.FCRTH, 0)),
    ),
    "ring-unaligned": (lambda c: c.write(regs.RDBAL, 0x1008), lambda c: c.write(regs.RDBAL, 0x1010)),
    "ring-length": (lambda c: c.write(regs.RDLEN, 0x40), lambda c: c.write(regs.RDLEN, 0x80)),
    "ring-moved": (lambda c: moved_ring(c, enabled=True), lambda c: moved_ring(c, enabled=False)),
    "head-written": (lambda c: (rx(c), c.write(regs.RDH, 1)), lambda c: (c.write(regs.RDH, 1), c.write(regs.RDH, 0))),
    "tail-outside": (
        lambda c: (c.write(regs.TDLEN, 128), c.write(regs.TDT, 8)),
        lambda c: (c.write(regs.TDT, 0), c.write(regs.TDLEN, 128), c.write(regs.TDT, 7)),
    ),
    "enabled-without-ring": (lambda c: enable(c, length=0, tail=0), lambda c: enable(c, length=128, tail=0)),
    "doorbell-no-master": (lambda c: doorbell(c, 3), lambda c: doorbell(c, 7)),
    "ring-full": (lambda c: full_ring(c, 5), lambda c: full_ring(c, 4)),
    "tail-passes-head": (lambda c: full_ring(c, 6), lambda c: full_ring(c, 1)),
    "ring-outside-memory": (
        lambda c: (c.tx_ring(tctl=0), c.write(regs.TDBAH, 7), c.write(regs.TCTL, 2), c.write(regs.TDT, 1)),
        lambda c: (c.tx_ring(tctl=0), c.write(regs.TDBAH, 7), c.write(regs.TCTL, 2), c.write(regs.TDT, 0)),
    ),
    "rx-buffer-size": (lambda c: rctl_again(c, 1 << 16), lambda c: rctl_again(c, regs.RCTL_UPE)),
    "rx-status": (lambda c: rx_given(c, status=1), rx_given),
    "rx-buffer-outside": (lambda c: rx_given(c, address=0xDEAD00000), lambda c: rx_given(c, address=0)),
    "rx-buffers-overlap": (lambda c: rx_given(c, stride=1521), lambda c: rx_given(c, stride=1522)),
    "tx-done": (
        lambda c: tx(c, frame(c, cmd=EOP | IFCS | 1 << 32)),
        lambda c: (tx(c, frame(c)), c.post(frame(c))),
    ),
    "tx-no-eop": (lambda c: unended(c, 7), lambda c: unended(c, 6)),
    "tx-no-ifcs": (lambda c: tx(c, frame(c, cmd=EOP)), lambda c: tx(c, frame(c, cmd=0), frame(c))),
    "tx-length": (lambda c: tx(c, legacy(c.alloc(16289), 16289)), lambda c: tx(c, legacy(c.alloc(16288), 16288))),
    "tx-type": (lambda c: tx(c, legacy(c.alloc(60), 60, cmd=EOP | IFCS | DEXT | 2 << 20)), lambda c: tx(c, frame(c, make=data))),
    "tx-mixed": (lambda c: tx(c, frame(c, make=data, cmd=0), frame(c)), lambda c: tx(c, frame(c, make=data), frame(c))),
    "tx-context-inside": (
        lambda c: tx(c, frame(c, make=data, cmd=0), context(), frame(c, make=data)),
        lambda c: tx(c, frame(c, make=data), context(), frame(c, make=data)),
    ),
    "tx-context-range": (lambda c: segments(c, offsets=14 | 13 << 16), lambda c: segments(c, offsets=14 | 33 << 16 | 34 << 32)),
    "tx-checksum-offset": (
        lambda c: tx(c, frame(c, cmd=EOP | IFCS | 1 << 26 | 99 << 16 | 14 << 40)),
        lambda c: tx(c, frame(c, cmd=EOP | IFCS | 1 << 26 | 98 << 16 | 14 << 40)),
    ),
    "tx-no-context": (lambda c: tx(c, frame(c, make=data, cmd=EOP | IFCS | TSE)), segments),
    "tx-no-mss": (lambda c: segments(c, mss=0), segments),
    "tx-header": (lambda c: segments(c, header=0), segments),
    "tx-payload": (lambda c: segments(c, payload=999), segments),
}


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_is_broken_by_this_and_not_by_that(undo, rule):
    bad, good = StrictCard(undo), StrictCard(undo)
    CASES[rule][0](bad)
    assert rule in bad.found
    CASES[rule][1](good)
    assert rule not in good.found, str(good.device.breaches)


def test_each_rule_is_in_the_table_once_and_has_its_case():
    assert set(CASES) == {rule.id for rule in RULES} == set(BY_ID)
    assert len(RULES) == len(BY_ID) > 40
    for number, rule in enumerate(RULES):
        assert getattr(compiled, rule.id.replace("-", "_").upper()) == number
        assert rule.severity in ("error", "warning", "note")


def test_a_breach_says_what_where_and_by_which_access(undo):
    clock = VirtualClock(start=1_500_000_000)
    device = undo.enter_context(E1000Device(strict=True, clock=clock))
    device.write(regs.TDLEN, 4096)
    device.write(regs.TDT, 300)
    (breach,) = device.breaches
    assert str(breach) == (
        "error: TDT=300 is outside the ring of 256 descriptors (8254x SDM §13.4.40), written at 1.500000 s [tail-outside]"
    )
    assert (breach.rule.id, breach.section, breach.register, breach.value, breach.write) == ("tail-outside", "13.4.40", "TDT", 300, True)


def test_a_breach_in_a_descriptor_names_the_doorbell_that_gave_it(card):
    tx(card, frame(card, cmd=EOP))
    assert str(card.device.breaches[0]).startswith(
        "note: the packet that ends in descriptor 0 has no IFCS: the card appends no CRC (8254x SDM §3.3.3), TDT=0x1 written at "
    )


def test_a_packet_over_two_doorbells_is_one_packet(card):
    tx(card, frame(card, cmd=0))
    card.post(frame(card))
    assert card.found == set()


@pytest.mark.parametrize("extra", [regs.RCTL_LPE, regs.RCTL_SBP])
def test_a_buffer_is_full_only_where_long_frames_come(card, extra):
    rx_given(card, stride=2047, extra=extra)
    assert card.found == {"rx-buffers-overlap"}


@pytest.mark.parametrize("extra", [regs.RCTL_LPE, regs.RCTL_SBP])
def test_full_buffers_side_by_side_are_no_breach(card, extra):
    rx_given(card, stride=2048, extra=extra)
    assert card.found == set()


def test_reserved_bits_written_back_as_they_were_read_are_no_breach(card):
    offset, bit = regs.MANC, 1 << 19
    card.write(offset, bit)
    assert card.device.breaches.counts == {"reserved-bits": 1}
    card.write(offset, card.read(offset) | 1)
    assert card.device.breaches.counts == {"reserved-bits": 1}


def test_a_function_is_told_and_may_use_the_card_and_may_fail(monkeypatch):
    seen, unraisable = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: unraisable.append(told.exc_value))

    def tell(breach):
        seen.append((breach.rule.id, device.peek(regs.VET)))
        raise RuntimeError("no")

    with E1000Device(strict=tell) as device:
        device.write(regs.VET, 0x12345)
        assert device.read(regs.VET) == 0x2345
    assert seen == [("reserved-bits", 0)], "it is told before the write has its effect"
    assert [str(error) for error in unraisable] == ["no"]


def test_breaches_are_bounded_and_counted_and_the_first_of_a_rule_logged(card, caplog):
    with caplog.at_level(logging.WARNING, "e1000.strict"):
        for _ in range(1500):
            card.write(regs.STATUS, 1)
    breaches = card.device.breaches
    assert (len(breaches), breaches.counts) == (strict.KEPT, {"read-only-written": 1500})
    assert len(caplog.records) == strict.LOGGED
    assert caplog.messages[-1].endswith("more of these are only counted")
    assert str(breaches).endswith("and 500 more")
    breaches.clear()
    assert (len(breaches), str(breaches)) == (0, "")


def test_without_strict_mode_there_is_nothing():
    with E1000Device() as device:
        device.write(regs.STATUS, 1)
        assert device.breaches is None


def test_what_a_card_does_is_the_same(undo):
    plain, strictly = BareCard(undo), StrictCard(undo)
    for card in (plain, strictly):
        card.tx_ring(16)
        card.rx_ring(8)
        for i in range(20):
            card.post_packets(packet(60 + i, seed=i), cmd=EOP | RS)
            card.receive(packet(64 + i, seed=i))
        card.write(regs.TDT, 9999)
    assert strictly.wire.sent == plain.wire.sent
    assert strictly.take() == plain.take()
    assert strictly.device.dump() == plain.device.dump()
    assert strictly.found == {"tx-no-ifcs", "tail-outside"}


def test_the_microwire_sequence_of_drivers_breaks_no_rule(card):
    wire = Microwire(card)
    wire.read_word(3)
    wire.do(READ, 5)
    assert card.found == set()


def test_our_own_driver_breaks_no_rule(undo):
    clock = VirtualClock()
    stack = undo.enter_context(Stack(clock=clock))
    cards = [undo.enter_context(E1000Device(mac=f"52:54:00:00:00:0{i + 1}", wire=wire, strict=True)) for i, wire in enumerate(pair())]
    buses = [undo.enter_context(LocalBus(card)) for card in cards]
    near, far = (probe(bus, stack, mtu=9000) for bus in buses)
    far.sink = RecordingSink()
    far.promiscuous = True
    for _ in range(2):
        with near, far:
            for length in (14, 60, 1514, 4000, 9014):
                near.xmit(Burst.from_packets([packet(length, seed=i) for i in range(40)]))
                stack.run()
    assert len(far.sink.packets) == 400
    assert [str(card.breaches) for card in cards] == ["", ""]


def linux_open(card):
    """What Linux's e1000 does from probe to open (e1000_reset_hw, e1000_init_hw, e1000_configure), rings of 256."""
    r, w = card.read, card.write
    w(regs.IMC, 0xFFFFFFFF)
    w(regs.RCTL, 0)
    w(regs.TCTL, regs.TCTL_PSP)
    ctrl = r(regs.CTRL)
    card.device.io_write(0, regs.CTRL)
    card.device.io_write(4, ctrl | regs.CTRL_RST)
    w(regs.MANC, r(regs.MANC) & ~0x2000)
    w(regs.IMC, 0xFFFFFFFF)
    r(regs.ICR)
    Microwire(card).read_word(0x0F)
    w(regs.PBA, 0x30)
    w(regs.WUC, 0)
    w(regs.VET, 0)
    for i in range(128):
        w(regs.VFTA + 4 * i, 0)
    w(regs.RAL0, int.from_bytes(STATION[:4], "little"))
    w(regs.RAH0, int.from_bytes(STATION[4:], "little") | regs.RAH_AV)
    for i in range(1, 15):
        w(regs.RAL0 + 8 * i, 0)
        w(regs.RAH0 + 8 * i, 0)
    for i in range(128):
        w(regs.MTA + 4 * i, 0)
    w(regs.CTRL, (r(regs.CTRL) | regs.CTRL_SLU) & ~(regs.CTRL_FRCSPD | regs.CTRL_FRCDPLX))
    for register, value in ((4, 0x0DE1), (9, 0x0200), (0, 0x1200)):
        w(regs.MDIC, value | register << 16 | 1 << 21 | regs.MDIC_OP_WRITE)
        r(regs.MDIC)
    for _ in range(2):
        w(regs.MDIC, 1 << 16 | 1 << 21 | regs.MDIC_OP_READ)
        r(regs.MDIC)
    w(regs.CTRL, r(regs.CTRL) | regs.CTRL_RFCE | regs.CTRL_TFCE)
    for register, value in (
        (regs.FCT, 0x8808), (regs.FCAH, 0x100), (regs.FCAL, 0x00C28001), (regs.FCTTV, 0xFFFF), (regs.FCRTL, 0x8000ACC0),
        (regs.FCRTH, 0xACC8),
    ):  # fmt: skip
        w(register, value)
    w(regs.TXDCTL, r(regs.TXDCTL) | 0x01010000)
    for offset in range(regs.CRCERRS, regs.TSCTFC + 4, 4):
        if offset in {getattr(regs, name) for name in dir(regs) if name.isupper()}:
            r(offset)
    w(regs.VET, 0x8100)
    w(regs.AIT, 0)
    w(regs.RCTL, r(regs.RCTL) & ~(regs.RCTL_UPE | regs.RCTL_MPE))
    tx, card.rx_base = card.alloc(4096), card.alloc(4096)
    for register, value in (
        (regs.TDLEN, 4096), (regs.TDBAH, 0), (regs.TDBAL, tx), (regs.TDT, 0), (regs.TDH, 0), (regs.TIPG, 0x602008), (regs.TIDV, 8),
        (regs.TADV, 32), (regs.TCTL, regs.TCTL_PSP | regs.TCTL_RTLC | 15 << 4 | 63 << 12), (regs.RCTL, regs.RCTL_BAM), (regs.RDTR, 0),
        (regs.RADV, 8), (regs.ITR, 195), (regs.RDLEN, 4096), (regs.RDBAH, 0), (regs.RDBAL, card.rx_base), (regs.RDT, 0), (regs.RDH, 0),
        (regs.RXCSUM, 0x200), (regs.RCTL, regs.RCTL_BAM | regs.RCTL_EN),
    ):  # fmt: skip
        w(register, value)
    for i in range(254):
        card.addresses.write(card.rx_base + 16 * i, struct.pack("<QQ", card.alloc(2048), 0))
    w(regs.RDT, 254)
    w(regs.IMS, 0x9D)
    r(regs.STATUS)
    w(regs.ICS, regs.ICR_LSC)
    w(regs.TCTL, r(regs.TCTL) | regs.TCTL_EN)
    w(regs.IMC, 0xFFFFFFFF)
    w(regs.CTRL, r(regs.CTRL) | regs.CTRL_VME)
    w(regs.IMS, 0x9D)


def test_the_linux_drivers_way_to_open_breaks_no_rule(card):
    linux_open(card)
    linux_open(card)
    assert str(card.device.breaches) == ""
