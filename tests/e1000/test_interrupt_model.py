"""The line, ICR and every delay, against a small model of the rules: whatever is done, whenever."""

from contextlib import ExitStack

from cards import EOP, IFCS, RS, packet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from timed import DELAY_UNIT, DELAYED, ITR_UNIT, TimedCard

from e1000 import regs

IMMEDIATE = EOP | IFCS | RS
CAUSES = 0x1FFFF
THROTTLE, RX, RX_BOUND, TX, TX_BOUND = range(5)


class Model:
    """One interrupt block: no rings, no registers but its own."""

    def __init__(self):
        self.now = self.icr = self.ims = 0
        self.registers = dict.fromkeys((regs.ITR, regs.RDTR, regs.RADV, regs.TIDV, regs.TADV, regs.RSRPD), 0)
        self.up = False
        self.last = None  # when the line went up last, under ITR
        self.deadlines = {}

    def delay(self, register):
        return self.registers[register] * (ITR_UNIT if register == regs.ITR else DELAY_UNIT)

    def settle(self):
        """Let the line follow the causes, as far as ITR lets it."""
        pending = self.icr & self.ims != 0
        if pending and not self.up and self.delay(regs.ITR):
            free = 0 if self.last is None else self.last + self.delay(regs.ITR)
            if self.now < free:
                self.deadlines[THROTTLE] = free
                return
            self.last = self.now
        self.up = pending

    def cause(self, bits):
        self.icr |= bits
        self.settle()

    def end(self, *timers):
        for timer in timers:
            self.deadlines.pop(timer, None)

    def advance(self, ns):
        end = self.now + ns
        while self.deadlines and (first := min(self.deadlines.values())) <= end:
            self.now = max(first, self.now)
            due = {timer for timer, deadline in self.deadlines.items() if deadline <= self.now}
            for timers, bits in (({RX, RX_BOUND}, regs.ICR_RXT0), ({TX, TX_BOUND}, regs.ICR_TXDW)):
                if timers & due:
                    self.end(*timers)
                    self.cause(bits)
            if THROTTLE in due:
                self.end(THROTTLE)
                self.settle()
        self.now = end

    def write(self, register, value):
        self.registers[register] = value & 0xFFFF
        if register == regs.ITR:
            self.settle()
        elif register == regs.RDTR and (value >> 31 or (value == 0 and RX in self.deadlines)):
            self.end(RX, RX_BOUND)
            self.cause(regs.ICR_RXT0)
        elif register == regs.TIDV and value == 0 and TX in self.deadlines:
            self.end(TX, TX_BOUND)
            self.cause(regs.ICR_TXDW)

    def arrive(self, lengths):
        small = any(length <= self.registers[regs.RSRPD] for length in lengths)
        bits = regs.ICR_SRPD if small else 0
        if small or not self.delay(regs.RDTR):
            bits |= regs.ICR_RXT0
            if self.delay(regs.RDTR):
                self.end(RX, RX_BOUND)
        else:
            self.deadlines[RX] = self.now + self.delay(regs.RDTR)
            if self.delay(regs.RADV):
                self.deadlines.setdefault(RX_BOUND, self.now + self.delay(regs.RADV))
        self.cause(bits)

    def send(self, commands):
        """Every doorbell's packets leave at once; the queue is empty afterwards."""
        bits = regs.ICR_TXQE
        if IMMEDIATE in commands or not self.delay(regs.TIDV):
            bits |= regs.ICR_TXDW
            self.end(TX, TX_BOUND)
        if commands[-1] == DELAYED and self.delay(regs.TIDV):
            self.deadlines[TX] = self.now + self.delay(regs.TIDV)
            if self.delay(regs.TADV):
                self.deadlines.setdefault(TX_BOUND, self.now + self.delay(regs.TADV))
        self.cause(bits)


def both(card, model, step):
    """Do one step to the card and to the model; what both can be asked is compared."""
    kind, value = step
    if kind == "advance":
        card.clock.advance(value)
        model.advance(value)
    elif kind == "read ICR":
        assert card.read(regs.ICR) == model.icr
        model.icr = 0
        model.settle()
    elif kind == "clear":
        card.write(regs.ICR, value)
        model.icr &= ~value
        model.settle()
    elif kind == "raise":
        card.write(regs.ICS, value)
        model.cause(value & CAUSES)
    elif kind == "unmask":
        card.write(regs.IMS, value)
        model.ims |= value & CAUSES
        model.settle()
    elif kind == "mask":
        card.write(regs.IMC, value)
        model.ims &= ~value
        model.settle()
    elif kind == "arrive":
        card.arrive(*value)
        card.take()
        card.give(len(value))
        model.arrive(value)
    elif kind == "send":
        card.post(*(card.content.to_bytes(8, "little") + (60 | command).to_bytes(8, "little") for command in value))
        model.send(value)
    else:
        card.write(kind, value)
        model.write(kind, value)


# Few values, so that what is random is which of several timers comes first
DELAY = st.one_of(st.sampled_from([0, 3, 10, 40]), st.integers(0, 0xFFFF))
BITS = st.one_of(st.sampled_from([regs.ICR_RXT0, regs.ICR_TXDW, regs.ICR_LSC, CAUSES]), st.integers(0, 0xFFFFFFFF))
TIME = st.one_of(st.sampled_from([0, 1, 1024, 3 * 1024, 5000, 10_240]), st.integers(0, 50_000))
TRAFFIC = st.one_of(
    st.tuples(st.just("arrive"), st.lists(st.sampled_from([60, 100, 500]), min_size=1, max_size=4)),
    st.tuples(st.just("send"), st.lists(st.sampled_from([IMMEDIATE, DELAYED, DELAYED, DELAYED]), min_size=1, max_size=2)),
)
STEP = st.one_of(
    TRAFFIC,
    TRAFFIC,
    st.tuples(st.just("advance"), TIME),
    st.tuples(st.just("advance"), TIME),
    st.tuples(st.just("read ICR"), st.none()),
    st.tuples(st.sampled_from(["clear", "raise", "unmask", "mask"]), BITS),
    st.tuples(st.sampled_from([regs.ITR, regs.RDTR, regs.RADV, regs.TIDV, regs.TADV]), DELAY),
    st.tuples(st.just(regs.RSRPD), st.sampled_from([0, 60, 99])),
    st.tuples(st.just(regs.RDTR), st.builds(lambda delay: delay | regs.RDTR_FPD, DELAY)),
)
SETUP = st.fixed_dictionaries(
    {
        regs.ITR: st.sampled_from([0, 10, 100, 300]),
        regs.RDTR: st.sampled_from([0, 10, 10, 20]),
        regs.RADV: st.sampled_from([0, 5, 15, 25]),
        regs.TIDV: st.sampled_from([0, 10, 10, 20]),
        regs.TADV: st.sampled_from([0, 5, 15, 25]),
    }
)


@given(SETUP, st.lists(STEP, min_size=10, max_size=60))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
def test_line_and_causes_are_the_models_whatever_is_done_and_when(setup, steps):
    with ExitStack() as undo:
        card = TimedCard(undo)
        card.tx_ring(64)
        card.rx_ring(64)
        card.content = card.alloc(packet(60))
        card.read(regs.ICR)
        model = Model()
        for step in [*setup.items(), ("unmask", CAUSES), *steps, ("unmask", CAUSES), ("advance", 10**9)]:
            both(card, model, step)
            assert (card.up, card.peek(regs.ICR), card.now) == (model.up, model.icr, model.now), step
        assert card.clock.next_deadline is None, "something waits for ever"
