"""What `fastring ethtool` prints: ethtool's text (6.1), and its JSON."""

from __future__ import annotations

import importlib
from typing import Any

from softnet.ethtool_features import GROUPS, KERNEL_FEATURES, matching

# --- link ---

PORTS = {"tp": "Twisted Pair", "aui": "AUI", "bnc": "BNC", "mii": "MII", "fibre": "FIBRE", "da": "Direct Attach Copper", "none": "None"}
PORT_MODES = ("TP", "AUI", "MII", "FIBRE", "BNC", "Backplane")
NO_MODES = (*PORT_MODES, "Autoneg", "Pause", "Asym_Pause")
MESSAGES = (
    "drv", "probe", "link", "timer", "ifdown", "ifup", "rx_err", "tx_err", "tx_queued", "intr", "tx_done", "rx_status", "pktdata", "hw",
    "wol",
)  # fmt: skip


def settings(device: str, found: dict[str, Any]) -> str:
    """`ethtool DEV`."""
    lines = [f"Settings for {device}:"]
    link = found.get("link_ksettings")
    if link is not None:
        lines += _modes(link, "Supported", "supported") + _modes(link, "Advertised", "advertising")
        if link.get("lp_advertising"):
            lines += _modes(link, "Link partner advertised", "lp_advertising")
        speed = link.get("speed", -1)
        lines.append("\tSpeed: " + ("Unknown!" if speed in (0, -1, 0xFFFF, 0xFFFFFFFF) else f"{speed}Mb/s"))
        duplex = str(link.get("duplex", "unknown"))
        lines.append("\tDuplex: " + {"half": "Half", "full": "Full"}.get(duplex, "Unknown! (255)"))
        lines.append(f"\tAuto-negotiation: {_switch(link.get('autoneg'))}")
        port = str(link.get("port", "none"))
        lines.append(f"\tPort: {PORTS.get(port, 'Other')}")
        lines.append(f"\tPHYAD: {link.get('phy_address', 0)}")
        lines.append(f"\tTransceiver: {link.get('transceiver', 'internal')}")
        if port == "tp":
            lines.append(f"\tMDI-X: {link.get('eth_tp_mdix', 'Unknown')}")
    if "wol" in found:
        for title, name in (("Supports Wake-on", "supported"), ("Wake-on", "wolopts")):
            lines.append(f"\t{title}: {found['wol'][name]}")
    if "msglevel" in found:
        level = found["msglevel"]
        lines.append(f"        Current message level: 0x{level:08x} ({level})")
        lines.append(" " * 30 + "".join(f" {name}" for bit, name in enumerate(MESSAGES) if level >> bit & 1))
    if "link" in found:
        lines.append(f"\tLink detected: {'yes' if found['link'] else 'no'}")
    return "".join(line + "\n" for line in lines)


def _switch(value: object) -> str:
    return "on" if value else "off"


def _modes(link: dict[str, Any], whose: str, name: str) -> list[str]:
    """The link modes of one side (dump_our_modes). Half and full duplex of a speed share a line."""
    modes: list[str] = list(link.get(name) or ())
    lines = []
    if whose == "Supported":
        ports = "\t ".join(mode for mode in modes if mode in PORT_MODES)
        lines.append(f"\tSupported ports: [ {ports} ]")
    before = f"{whose} link modes:  " + " " * (whose == "Supported")
    shown: list[str] = []
    last = ""
    for mode in (mode for mode in modes if mode not in NO_MODES):
        if shown and last.endswith("/Half") and mode == last.replace("/Half", "/Full"):
            shown[-1] += f" {mode}"
        else:
            shown.append(mode)
        last = mode
    lines.append(f"\t{before}" + (f"\n\t{' ' * len(before)}".join(shown) or "Not reported"))
    pause, asym = "Pause" in modes, "Asym_Pause" in modes
    use = ("Symmetric Receive-only" if asym else "Symmetric") if pause else ("Transmit-only" if asym else "No")
    lines.append(f"\t{whose} pause frame use: {use}")
    negotiates = "Supports auto-negotiation" if whose == "Supported" else f"{whose} auto-negotiation"
    lines.append(f"\t{negotiates}: {'Yes' if 'Autoneg' in modes else 'No'}")
    lines.append(f"\t{whose} FEC modes: Not reported")
    return lines


# --- rings, pause, coalescing ---


def _n_a(found: dict[str, Any], name: str) -> str:
    return str(found[name]) if name in found else "n/a"


RING_ROWS = (("RX:", "rx", "\t\t"), ("RX Mini:", "rx_mini", "\t"), ("RX Jumbo:", "rx_jumbo", "\t"), ("TX:", "tx", "\t\t"))


def rings(device: str, found: dict[str, Any]) -> str:
    """`ethtool -g`."""
    lines = [f"Ring parameters for {device}:", "Pre-set maximums:"]
    lines += [f"{title}{gap}{_n_a(found, f'{name}_max_pending')}" for title, name, gap in RING_ROWS]
    lines.append("Current hardware settings:")
    lines += [f"{title}{gap}{_n_a(found, f'{name}_pending')}" for title, name, gap in RING_ROWS]
    lines += ["RX Buf Len:\t\tn/a", "CQE Size:\t\tn/a", "TX Push:\toff", "TCP data split:\tn/a"]
    return "".join(line + "\n" for line in lines)


def rings_json(device: str, found: dict[str, Any]) -> dict[str, Any]:
    """`ethtool --json -g`."""
    names = ("rx", "rx_mini", "rx_jumbo", "tx")
    shown: dict[str, Any] = {"ifname": device}
    shown |= {f"{name.replace('_', '-')}-max": found[f"{name}_max_pending"] for name in names if f"{name}_max_pending" in found}
    shown |= {name.replace("_", "-"): found[f"{name}_pending"] for name in names if f"{name}_pending" in found}
    return shown | {"tx-push": False}


def pause(device: str, found: dict[str, Any]) -> str:
    """`ethtool -a`."""
    rows = (("Autonegotiate:\t", "autoneg"), ("RX:\t\t", "rx_pause"), ("TX:\t\t", "tx_pause"))
    return f"Pause parameters for {device}:\n" + "".join(f"{title}{_switch(found.get(name))}\n" for title, name in rows) + "\n"


def pause_json(device: str, found: dict[str, Any]) -> dict[str, Any]:
    """`ethtool --json -a`."""
    return {"ifname": device, "autonegotiate": found["autoneg"], "rx": found["rx_pause"], "tx": found["tx_pause"]}


# ethtool's names, and struct ethtool_coalesce's.
COALESCE_FIELDS = {
    "adaptive-rx": "use_adaptive_rx_coalesce",
    "adaptive-tx": "use_adaptive_tx_coalesce",
    "stats-block-usecs": "stats_block_coalesce_usecs",
    "sample-interval": "rate_sample_interval",
    "pkt-rate-low": "pkt_rate_low",
    "pkt-rate-high": "pkt_rate_high",
    "rx-usecs": "rx_coalesce_usecs",
    "rx-frames": "rx_max_coalesced_frames",
    "rx-usecs-irq": "rx_coalesce_usecs_irq",
    "rx-frames-irq": "rx_max_coalesced_frames_irq",
    "tx-usecs": "tx_coalesce_usecs",
    "tx-frames": "tx_max_coalesced_frames",
    "tx-usecs-irq": "tx_coalesce_usecs_irq",
    "tx-frames-irq": "tx_max_coalesced_frames_irq",
    "rx-usecs-low": "rx_coalesce_usecs_low",
    "rx-frame-low": "rx_max_coalesced_frames_low",
    "tx-usecs-low": "tx_coalesce_usecs_low",
    "tx-frame-low": "tx_max_coalesced_frames_low",
    "rx-usecs-high": "rx_coalesce_usecs_high",
    "rx-frame-high": "rx_max_coalesced_frames_high",
    "tx-usecs-high": "tx_coalesce_usecs_high",
    "tx-frame-high": "tx_max_coalesced_frames_high",
}


def coalesce(device: str, found: dict[str, Any]) -> str:
    """`ethtool -c`: groups of four."""
    adaptive = [_switch(found[field]) if field in found else "n/a" for field in list(COALESCE_FIELDS.values())[:2]]
    lines = [f"Coalesce parameters for {device}:", f"Adaptive RX: {adaptive[0]}  TX: {adaptive[1]}"]
    for number, (name, field) in enumerate(list(COALESCE_FIELDS.items())[2:], 1):
        lines.append(f"{name}: {_n_a(found, field)}")
        lines += [""] if number % 4 == 0 else []
    return "".join(line + "\n" for line in [*lines, "CQE mode RX: n/a  TX: n/a", ""])


def coalesce_json(device: str, found: dict[str, Any]) -> dict[str, Any]:
    """`ethtool --json -c`."""
    return {"ifname": device} | {name: found[field] for name, field in COALESCE_FIELDS.items() if field in found}


# --- features ---


def features(device: str, found: dict[str, list[bool]]) -> str:
    """`ethtool -k`."""
    lines = [f"Features for {device}:"]
    for name, members in _groups():
        if len(members) > 1:
            lines.append(f"{name}: {_switch(any(found[member][0] for member in members))}")
            lines += [f"\t{_feature(member, found[member])}" for member in members]
        else:
            lines.append(_feature(name, found[members[0]]))
    return "".join(line + "\n" for line in lines)


def _groups() -> list[tuple[str, list[str]]]:
    """The older names with their features, then each other feature alone."""
    grouped = [(long, matching(pattern)) for _, long, pattern in GROUPS]
    taken = {member for _, members in grouped for member in members}
    return grouped + [(name, [name]) for name in KERNEL_FEATURES if name not in taken]


def _feature(name: str, state: list[bool]) -> str:
    active, fixed, requested = state
    suffix = " [fixed]" if fixed else f" [requested {_switch(requested)}]" if active != requested else ""
    return f"{name}: {_switch(active)}{suffix}"


def features_json(device: str, found: dict[str, list[bool]]) -> dict[str, Any]:
    """`ethtool --json -k`."""
    shown: dict[str, Any] = {"ifname": device}
    for name, members in _groups():
        if len(members) > 1:
            shown[name] = {"active": any(found[member][0] for member in members), "fixed": None, "requested": None}
        for member in members:
            own = member if len(members) > 1 else name
            shown[own] = dict(zip(("active", "fixed", "requested"), found[member], strict=True))
    return shown


def feature_changes(wanted: dict[str, bool], unmet: dict[str, bool], changed: dict[str, bool]) -> str:
    """What `ethtool -K` says if not all, or more, came out than was asked for (show_feature_changes)."""
    if not unmet and not changed.keys() - wanted.keys():
        return ""
    lines = ["Actual changes:"]
    for name in KERNEL_FEATURES:
        if name in unmet:
            lines.append(f"{name}: {_switch(unmet[name])} [requested {_switch(wanted[name])}]")
        elif name in changed:
            lines.append(f"{name}: {_switch(changed[name])}" + ("" if name in wanted else " [not requested]"))
    return "".join(line + "\n" for line in lines)


# --- driver, statistics, dumps, tests ---


def drvinfo(found: dict[str, Any]) -> str:
    """`ethtool -i`."""
    names = ("driver", "version", "fw_version", "erom_version", "bus_info")
    titles = ("driver", "version", "firmware-version", "expansion-rom-version", "bus-info")
    lines = [f"{title}: {found.get(name, '')}" for title, name in zip(titles, names, strict=True)]
    supports = (
        ("statistics", "n_stats"), ("test", "testinfo_len"), ("eeprom-access", "eedump_len"), ("register-dump", "regdump_len"),
        ("priv-flags", "n_priv_flags"),
    )  # fmt: skip
    lines += [f"supports-{title}: {'yes' if found[name] else 'no'}" for title, name in supports]
    return "".join(line + "\n" for line in lines)


def stats(found: dict[str, int]) -> str:
    """`ethtool -S`."""
    return "NIC statistics:\n" + "".join(f"     {name}: {value}\n" for name, value in found.items())


REGISTER_TEXTS = {"e1000": "e1000.register_text"}  # ethtool's driver_list


def hex_dump(data: bytes, offset: int = 0) -> str:
    """dump_hex."""
    lines = ["Offset\t\tValues", "------\t\t------"]
    for start in range(0, len(data), 16):
        lines.append(f"0x{start + offset:04x}:\t\t" + "".join(f"{byte:02x} " for byte in data[start : start + 16]))
    return "".join(line + "\n" for line in lines)


def regs(found: dict[str, Any], *, in_hex: bool = False) -> str:
    """`ethtool -d`: with what each bit means for a driver that is known here, else in hexadecimal."""
    if found["driver"] in REGISTER_TEXTS and not in_hex:
        module = importlib.import_module(REGISTER_TEXTS[found["driver"]])
        return str(module.register_text(found["registers"]))
    return hex_dump(bytes.fromhex(found["raw"]))


def test_results(results: dict[str, int]) -> str:
    """`ethtool -t`."""
    lines = [f"The test result is {'FAIL' if any(results.values()) else 'PASS'}"]
    lines += ["The test extra info:"] if results else []
    return "".join(line + "\n" for line in [*lines, *(f"{name}\t {value}" for name, value in results.items()), ""])
