"""Pause frames, and cards with flow control on."""

from timed import TimedCard

from e1000 import regs

GROUP = bytes.fromhex("0180c2000001")
OTHER = b"\x02\0\0\0\0\1"
HIGH, LOW = 0x4000, 0x2000


def pause(quanta, *, to=GROUP, opcode=1, ethertype=0x8808):
    body = b"".join(n.to_bytes(2, "big") for n in (ethertype, opcode, quanta))
    return (to + OTHER + body).ljust(60, b"\0")


def set_up(card, *, control=regs.CTRL_RFCE | regs.CTRL_TFCE, rctl=0, xone=regs.FCRTL_XONE):
    """Rings, and flow control as Linux programs it, with lower thresholds."""
    card.tx_ring()
    card.write(regs.CTRL, card.read(regs.CTRL) & ~(regs.CTRL_RFCE | regs.CTRL_TFCE) | control)
    for register, value in ((regs.FCT, 0x8808), (regs.FCAH, 0x0100), (regs.FCAL, 0x00C28001), (regs.FCTTV, 0x1234)):
        card.write(register, value)
    card.write(regs.FCRTL, LOW | xone)
    card.write(regs.FCRTH, HIGH)
    card.rx_ring(rctl=regs.RCTL_SECRC | regs.RCTL_BAM | rctl)


def timed_card(undo):
    """A TimedCard that is set up."""
    card = TimedCard(undo)
    set_up(card)
    return card


def paused(card):
    return bool(card.read(regs.STATUS) & regs.STATUS_TXOFF)
