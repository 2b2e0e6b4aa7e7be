"""What `tc -s qdisc show` says of a device (iproute2's tc_qdisc.c, tc_util.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.sch_generic import Qdisc


def show_qdiscs(device: NetDevice, *, statistics: bool = True, named: bool = True) -> str:
    """The text, one qdisc after the other: with several queues an mq root, with their sums, and one for each queue in use.

    `named`: with the device's name, as tc has it when it was not asked for one.
    """
    dev = f"dev {device.name} " if named else ""
    queues = device.tx[: device.real_num_tx_queues]
    qdiscs = [queue.qdisc_sleeping or queue.qdisc for queue in queues]
    if len(device.tx) == 1 or not qdiscs[0].enqueues:
        return "\n".join(_lines(qdiscs[:1], qdiscs[0].kind, f"{dev}root refcnt 2", qdiscs[0].options, statistics))
    lines = _lines(qdiscs, "mq", f"{dev}root", "", statistics)
    for number, qdisc in enumerate(qdiscs, 1):
        lines += _lines([qdisc], qdisc.kind, f"{dev}parent :{number:x}", qdisc.options, statistics)
    return "\n".join(lines)


def _lines(qdiscs: list[Qdisc], kind: str, place: str, options: str, statistics: bool) -> list[str]:
    lines = [f"qdisc {kind} 0: {place} {options}"]
    if not statistics:
        return lines

    def total(name: str) -> int:
        return sum(getattr(qdisc, name) for qdisc in qdiscs)

    lines.append(
        f" Sent {total('bytes')} bytes {total('packets')} pkt"
        f" (dropped {total('drops')}, overlimits {total('overlimits')} requeues {total('requeues')}) "
    )
    lines.append(f" backlog {total('backlog')}b {total('qlen')}p requeues {total('requeues')}")
    if kind != "mq":
        lines += [f"  {line}" for line in qdiscs[0].xstats]
    return lines
