"""Why packets stand still: what state interrupt, NAPI, queue and ring of the driver under test are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e1000 import regs

if TYPE_CHECKING:
    from softnet.conformance.bench import Bench


def standstill(bench: Bench, *, sending: bool) -> tuple[str, str]:
    """What is at a standstill, in words that go on from "3 of 5 arrived", and what to do; both empty if nothing is seen to be."""
    if not bench.near.up:
        return "", ""
    interrupt, instead = _interrupt(bench)
    queue, wake = _queue(bench) if sending else ("", "")
    told = "; ".join(filter(None, (interrupt, queue)))
    return (f"; {told}" if told else ""), instead or wake


def _interrupt(bench: Bench) -> tuple[str, str]:
    card, irq = bench.card, bench.bus.irq
    napi = ", ".join(repr(each) for each in bench.near.napi_list) or "no NAPI"
    if not irq.requested:
        return f"the interrupt has no handler, {napi}", "call request_irq in ndo_open"
    if any(each.scheduled for each in bench.near.napi_list):
        return f"{napi} after all it could do was done", "call napi_complete_done in a poll that finds less than its budget"
    if not card.peek(regs.IMS):
        masked = f"the card's interrupts are masked (IMS is 0) after {irq.handled} were handled, and nothing is to unmask them: {napi}"
        if not any(each.polls for each in bench.near.napi_list):
            return masked, "call napi_schedule in the interrupt handler"
        return masked, "unmask (write IMS) when napi_complete_done has returned True"
    if irq.asserted:
        return f"the card asks for an interrupt (ICR is {card.peek(regs.ICR):#x}) that is not served, {napi}", "read ICR, and napi_schedule"
    return "", ""


def _queue(bench: Bench) -> tuple[str, str]:
    card, queue = bench.card, bench.near.tx[0]
    head, tail = card.peek(regs.TDH), card.peek(regs.TDT)
    ring = f"the ring is empty (TDH and TDT are {head})" if head == tail else f"the card is at {head} of its ring (TDH), up to {tail} (TDT)"
    if not queue.txq.xmit_stopped:
        return "", ""
    by = "the driver" if queue.driver_stopped else "BQL"
    waiting = queue.qdisc.qlen if queue.qdisc is not None else 0
    state = f"tx-0 is stopped by {by}, {waiting} packets wait, {ring}"
    if head != tail:
        return state, "see that transmit unit and bus master are enabled, and the link is up"
    if queue.txq.inflight:
        return (
            f"{state}, and {queue.txq.inflight} bytes of it are not completed",
            "set RS in each packet's last descriptor, take back those with DD, and tell netdev_tx_completed_queue",
        )
    return f"{state}, and nobody woke it", "wake the queue when descriptors are taken back and there is room: netif_txq_completed_wake"
