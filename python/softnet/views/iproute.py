"""`ip link show`, `ip -s link`, `ip -j link` (iproute2's ip/ipaddress.c, of 6.1): the same words, columns and keys."""

from __future__ import annotations

import errno
import json as json_module
from typing import TYPE_CHECKING, Any

from softnet.netdev_features import Flag
from softnet.skbuff import GSO_MAX_SIZE
from softnet.stack import Stack

if TYPE_CHECKING:
    from softnet.netdev import NetDevice

# print_link_flags' order
FLAG_ORDER = (
    Flag.LOOPBACK, Flag.BROADCAST, Flag.POINTOPOINT, Flag.MULTICAST, Flag.NOARP, Flag.ALLMULTI, Flag.PROMISC, Flag.UP, Flag.LOWER_UP,
    Flag.DORMANT,
)  # fmt: skip

GSO_MAX_SEGS = 65535

Column = tuple[str, int]  # its title, and the count below it

# JSON keys that are not the field's name without rx_ and tx_.
RX_KEYS = ("bytes", "packets", "errors", "dropped", "over_errors", "multicast")
RX_ERROR_KEYS = ("length_errors", "crc_errors", "frame_errors", "fifo_errors", "missed_errors")
TX_KEYS = ("bytes", "packets", "errors", "dropped", "carrier_errors", "collisions")
TX_ERROR_KEYS = ("aborted_errors", "fifo_errors", "window_errors", "heartbeat_errors")
UNSIDED = ("multicast", "collisions")


def link(
    stack: Stack, name: str | None = None, *, stats: int = 0, details: bool = False, json: bool = False, up: bool = False
) -> str:
    """What `ip link show [name] [up]` prints; `stats`: how often -s is given, `details`: -d, `json`: -j. Raises OSError ENODEV."""
    with stack.rtnl:
        if name is not None and name not in stack.devices:
            raise OSError(errno.ENODEV, f'Device "{name}" does not exist.')
        devices = list(stack.devices.values()) if name is None else [stack.devices[name]]
        shown = [device for device in devices if device.up or not up]
        if json:
            # What is filtered out leaves an empty object.
            objects = [link_object(device, stats=stats, details=details) if device in shown else {} for device in devices]
            return json_module.dumps(objects, separators=(",", ":")) + "\n"
        return "".join(_link_text(device, stats=stats, details=details) for device in shown)


def link_object(device: NetDevice, *, stats: int = 0, details: bool = False) -> dict[str, Any]:
    """One device as `ip -j link` has it, with its keys in their order."""
    entry: dict[str, Any] = {
        "ifindex": device.ifindex,
        "ifname": device.name,
        "flags": flag_names(device),
        "mtu": device.mtu,
        "qdisc": qdisc_name(device),
        "operstate": device.operstate.value.upper(),
        "linkmode": device.link_mode.name,
        "group": _group(device),
        "txqlen": device.tx_queue_len,
        "link_type": "ether",
        "address": device.dev_addr.hex(":"),
        "broadcast": device.broadcast.hex(":"),
    }
    if not device.tx_queue_len:
        del entry["txqlen"]
    if _perm_addr_differs(device):
        entry["permaddr"] = device.perm_addr.hex(":")
    if details:
        entry |= {key: value for key, _, value in _details(device)}
    if device.ifalias:
        entry["ifalias"] = device.ifalias
    if stats:
        entry["stats64"] = _stats_object(device, errors=stats > 1)
    return entry


def flag_names(device: NetDevice) -> list[str]:
    """What stands between the angle brackets."""
    flags = device.get_flags()
    names = ["NO-CARRIER"] if flags & Flag.UP and not flags & Flag.RUNNING else []
    return names + [flag.name for flag in FLAG_ORDER if flags & flag and flag.name]


def qdisc_name(device: NetDevice) -> str:
    """dev->qdisc: noop before the device was ever up; kept when it goes down."""
    if device.tx[0].qdisc_sleeping is None:
        return "noop"
    return "mq" if len(device.tx) > 1 and device.tx[0].qdisc_sleeping.enqueues else device.tx[0].qdisc_sleeping.kind


def _group(device: NetDevice) -> str:
    return "default" if device.group == 0 else str(device.group)


def _perm_addr_differs(device: NetDevice) -> bool:
    return any(device.perm_addr) and device.perm_addr != device.dev_addr


def _details(device: NetDevice) -> list[tuple[str, str, int]]:
    """What -d adds: key, title and value. Without IPv6 there is no addrgenmode."""
    return [
        ("promiscuity", " promiscuity", device.promiscuity),
        ("allmulti", " allmulti", device.allmulti),
        ("min_mtu", "minmtu", max(device.min_mtu, 0)),
        ("max_mtu", "maxmtu", device.max_mtu),
        ("num_tx_queues", "numtxqueues", device.num_tx_queues),
        ("num_rx_queues", "numrxqueues", device.num_rx_queues),
        ("gso_max_size", "gso_max_size", GSO_MAX_SIZE),
        ("gso_max_segs", "gso_max_segs", GSO_MAX_SEGS),
        ("tso_max_size", "tso_max_size", GSO_MAX_SIZE),
        ("tso_max_segs", "tso_max_segs", GSO_MAX_SEGS),
        ("gro_max_size", "gro_max_size", GSO_MAX_SIZE),
    ]


def _link_text(device: NetDevice, *, stats: int, details: bool) -> str:
    queue = f"qlen {device.tx_queue_len}" if device.tx_queue_len else ""
    lines = [
        f"{device.ifindex}: {device.name}: <{','.join(flag_names(device))}> mtu {device.mtu} qdisc {qdisc_name(device)} "
        f"state {device.operstate.value.upper()} mode {device.link_mode.name} group {_group(device)} {queue}",
        f"    link/ether {device.dev_addr.hex(':')} brd {device.broadcast.hex(':')}",
    ]
    if _perm_addr_differs(device):
        lines[-1] += f" permaddr {device.perm_addr.hex(':')}"
    if details:
        lines[-1] += "".join(f"{title} {value} " for _, title, value in _details(device))
    if device.ifalias:
        lines.append(f"    alias {device.ifalias}")
    if stats:
        lines += _stats_lines(device, errors=stats > 1)
    return "".join(line + "\n" for line in lines)


# --- statistics (print_stats64) ---


def _stats_object(device: NetDevice, *, errors: bool) -> dict[str, dict[str, int]]:
    s = device.stats64

    def side(prefix: str, keys: tuple[str, ...]) -> dict[str, int]:
        return {key: getattr(s, key if key in UNSIDED else prefix + key) for key in keys}

    rx, tx = side("rx_", RX_KEYS), side("tx_", TX_KEYS)
    for table, count in ((rx, s.rx_compressed), (tx, s.tx_compressed)):
        if count:
            table["compressed"] = count
    if errors:
        rx |= side("rx_", RX_ERROR_KEYS)
        if s.rx_nohandler:
            rx["nohandler"] = s.rx_nohandler
        if s.rx_otherhost_dropped:
            rx["otherhost"] = s.rx_otherhost_dropped
        tx |= side("tx_", TX_ERROR_KEYS) | {"carrier_changes": device.carrier_changes}
    return {"rx": rx, "tx": tx}


def _stats_lines(device: NetDevice, *, errors: bool) -> list[str]:
    s = device.stats64
    rx = [("bytes", s.rx_bytes), ("packets", s.rx_packets), ("errors", s.rx_errors), ("dropped", s.rx_dropped)]
    rx += [("missed", s.rx_missed_errors), ("mcast", s.multicast), ("compressed", s.rx_compressed)]
    tx = [("bytes", s.tx_bytes), ("packets", s.tx_packets), ("errors", s.tx_errors), ("dropped", s.tx_dropped)]
    tx += [("carrier", s.tx_carrier_errors), ("collsns", s.collisions), ("compressed", s.tx_compressed)]
    rx_errors = [("", 0), ("length", s.rx_length_errors), ("crc", s.rx_crc_errors), ("frame", s.rx_frame_errors)]
    rx_errors += [("fifo", s.rx_fifo_errors), ("overrun", s.rx_over_errors)]
    rx_errors += [("nohandler", s.rx_nohandler), ("otherhost", s.rx_otherhost_dropped)]
    tx_errors = [("", 0), ("aborted", s.tx_aborted_errors), ("fifo", s.tx_fifo_errors), ("window", s.tx_window_errors)]
    tx_errors += [("heartbt", s.tx_heartbeat_errors), ("transns", device.carrier_changes)]
    widths = [len(title) for title in ("*X errors:", "packets", "errors", "dropped", "heartbt", "overrun", "compressed", "otherhost")]
    for table in (rx, tx, rx_errors, tx_errors) if errors else (rx, tx):
        widths[: len(table)] = [max(width, len(str(count))) for width, (_, count) in zip(widths, table, strict=False)]
    lines = [*_table("RX:", rx, widths)]
    lines += _error_table("RX errors:", rx_errors, widths) if errors else []
    lines += _table("TX:", tx, widths)
    return lines + (_error_table("TX errors:", tx_errors, widths) if errors else [])


def _table(side: str, table: list[Column], widths: list[int]) -> list[str]:
    """Titles and counts. The last column is there only when it has counted something, its place in the titles always."""
    titles = [title for title, _ in table[:-1]] + [table[-1][0] if table[-1][1] else ""]
    pads = [widths[0] - 4, *widths[1:]]
    counts = table if table[-1][1] else table[:-1]
    return [
        f"    {side} " + " ".join(f"{title:>{pad}}" for title, pad in zip(titles, pads, strict=False)),
        "    " + "".join(f"{count:>{width}} " for (_, count), width in zip(counts, widths, strict=False)),
    ]


def _error_table(side: str, table: list[Column], widths: list[int]) -> list[str]:
    """The same for the kinds of errors, which begin in the second column. Those past the sixth are there only when they counted."""
    shown = [(column, width) for i, (column, width) in enumerate(zip(table, widths, strict=False)) if 0 < i < 6 or (i >= 6 and column[1])]
    return [
        f"    {side}" + " " * (widths[0] - 10) + "".join(f" {title:>{width}}" for (title, _), width in shown),
        " " * (widths[0] + 5) + "".join(f"{count:>{width}} " for (_, count), width in shown),
    ]
