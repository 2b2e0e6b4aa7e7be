"""What `tc -s qdisc show` says of a device (iproute2's tc_qdisc.c, tc_util.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.sch_generic import Qdisc


def show_qdiscs(device: NetDevice, *, statistics: bool = True) -> str:
    """The text, one qdisc after the other: with several queues an mq root, with their sums, and one for each queue in use."""
    queues = device.tx[: device.real_num_tx_queues]
    qdiscs = [queue.qdisc_sleeping or queue.qdisc for queue in queues]
    if len(device.tx) == 1 or not qdiscs[0].enqueues:
        return "\n".join(_lines(device, qdiscs[:1], qdiscs[0].kind, "root refcnt 2", qdiscs[0].options, statistics))
    lines = _lines(device, qdiscs, "mq", "root", "", statistics)
    for number, qdisc in enumerate(qdiscs, 1):
        lines += _lines(device, [qdisc], qdisc.kind, f"parent :{number:x}", qdisc.options, statistics)
    return "\n".join(lines)


def _lines(device: NetDevice, qdiscs: list[Qdisc], kind: str, place: str, options: str, statistics: bool) -> list[str]:
    lines = [" ".join(filter(None, (f"qdisc {kind} 0: dev {device.name}", place, options)))]
    if not statistics:
        return lines

    def total(name: str) -> int:
        return sum(getattr(qdisc, name) for qdisc in qdiscs)

    lines.append(
        f" Sent {total('bytes')} bytes {total('packets')} pkt"
        f" (dropped {total('drops')}, overlimits {total('overlimits')} requeues {total('requeues')})"
    )
    lines.append(f" backlog {total('backlog')}b {total('qlen')}p requeues {total('requeues')}")
    if kind != "mq":
        lines += [f"  {line}" for line in qdiscs[0].xstats]
    return lines
