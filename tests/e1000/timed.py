"""A bare card on a virtual clock, its link up and nothing pending."""

from cards import EOP, IFCS, RS, BareCard, packet

from e1000 import regs
from fastring.clock import VirtualClock

ITR_UNIT, DELAY_UNIT = 256, 1024  # ns
IDE = 1 << 31
DELAYED = EOP | IFCS | RS | IDE


class TimedCard(BareCard):
    """`now` is in nanoseconds since the card was ready."""

    def __init__(self, undo, **options):
        self.clock = VirtualClock()
        super().__init__(undo, clock=self.clock, **options)
        self.write(regs.CTRL, regs.CTRL_SLU)
        self.clock.advance(2_000_000_000)
        self.read(regs.ICR)
        self.start = self.clock.monotonic_ns()

    @property
    def now(self):
        return self.clock.monotonic_ns() - self.start

    @property
    def up(self):
        return self.bus.irq.asserted

    def until(self, now):
        """Let time pass until `now`."""
        self.clock.advance(now - self.now)

    def rises(self, until, *, ack=True):
        """Let time pass until then, a nanosecond before and at each timer; return when the line went up. It is acknowledged."""
        seen = []
        was = self.up
        while True:
            deadline = self.clock.next_deadline
            at = until if deadline is None else min(deadline - self.start, until)
            if at > self.now:
                self.until(at - 1)
                assert self.up == was, "the line moved between two timers"
                self.until(at)
            if self.up and not was:
                seen.append(self.now)
                if ack:
                    self.read(regs.ICR)
            was = self.up
            if at == until:
                return seen

    def arrive(self, *lengths):
        """Let one burst of packets arrive."""
        self.receive(*(packet(n) for n in lengths or (60,)))

    def send(self, cmd=DELAYED, count=1):
        """Transmit so many packets with one doorbell; returns their slots."""
        return self.post_packets(*([packet(60)] * count), cmd=cmd)


def interrupting_card(undo):
    """One that interrupts for packets received and sent, and for its link."""
    card = TimedCard(undo)
    card.write(regs.IMS, regs.ICR_RXT0 | regs.ICR_TXDW | regs.ICR_LSC)
    return card


def interrupt(card):
    """One interrupt, acknowledged."""
    card.write(regs.ICS, regs.ICR_LSC)
    card.read(regs.ICR)
