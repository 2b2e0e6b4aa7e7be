"""What `ethtool -d` says of an e1000: the registers that its driver's get_regs gives, with what their bits mean, in ethtool's words."""

from __future__ import annotations

from collections.abc import Mapping

WIDTH = 41  # of a register's title
INDENT, FIELD = 6, 35  # of a field's

DISABLED, NO = ("disabled", "enabled"), ("no", "yes")
SPEEDS = ("10Mb/s", "100Mb/s", "1000Mb/s", "not used")
LENGTHS = ("0-50", "50-80", "80-110", "110-140", "140+", "unknown", "unknown", "unknown")
# By PCI66, BUS64, PCIX_MODE and, above them, PCIXSPD, which counts for PCI-X alone
PCI, PCIX = ("33MHz", "66MHz"), ("66MHz", "100MHz", "133MHz", "133MHz")
BUS_SPEEDS = tuple(PCIX[bits >> 3] if bits & 4 else PCI[bits & 1] for bits in range(32))
# By BSIZE and, nine bits above it, BSEX
BSIZE, BSIZE_BSEX = ("2048", "1024", "512", "256"), ("reserved", "16384", "8192", "4096")
BUFFER_SIZES = tuple((BSIZE_BSEX if bits >> 9 else BSIZE)[bits & 3] for bits in range(1024))

# A field: its title, its lowest bit, how many bits it has, and what each value means.
Field = tuple[str, int, int, tuple[str, ...]]

CTRL: tuple[Field, ...] = (
    ("Endian mode (buffers)", 1, 1, ("little", "big")),
    ("Link reset", 3, 1, ("normal", "reset")),
    ("Set link up", 6, 1, ("0", "1")),
    ("Invert Loss-Of-Signal", 7, 1, NO),
    ("Receive flow control", 27, 1, DISABLED),
    ("Transmit flow control", 28, 1, DISABLED),
    ("VLAN mode", 30, 1, DISABLED),
    ("Auto speed detect", 5, 1, DISABLED),
    ("Speed select", 8, 2, SPEEDS),
    ("Force speed", 11, 1, NO),
    ("Force duplex", 12, 1, NO),
)
STATUS: tuple[Field, ...] = (
    ("Duplex", 0, 1, ("half", "full")),
    ("Link up", 1, 1, ("no link config", "link config")),
    ("TBI mode", 5, 1, DISABLED),
    ("Link speed", 6, 2, SPEEDS),
    ("Bus type", 13, 1, ("PCI", "PCI-X")),
    ("Bus speed", 11, 5, BUS_SPEEDS),
    ("Bus width", 12, 1, ("32-bit", "64-bit")),
)
RCTL: tuple[Field, ...] = (
    ("Receiver", 1, 1, DISABLED),
    ("Store bad packets", 2, 1, DISABLED),
    ("Unicast promiscuous", 3, 1, DISABLED),
    ("Multicast promiscuous", 4, 1, DISABLED),
    ("Long packet", 5, 1, DISABLED),
    ("Descriptor minimum threshold size", 8, 2, ("1/2", "1/4", "1/8", "reserved")),
    ("Broadcast accept mode", 15, 1, ("ignore", "accept")),
    ("VLAN filter", 18, 1, DISABLED),
    ("Canonical form indicator", 19, 1, DISABLED),
    ("Discard pause frames", 22, 1, ("filtered", "ignored")),
    ("Pass MAC control frames", 23, 1, ("don't pass", "pass")),
    ("Receive buffer size", 16, 10, BUFFER_SIZES),
)
TCTL: tuple[Field, ...] = (
    ("Transmitter", 1, 1, DISABLED),
    ("Pad short packets", 3, 1, DISABLED),
    ("Software XOFF Transmission", 22, 1, DISABLED),
    ("Re-transmit on late collision", 24, 1, DISABLED),
)
PHY_STATUS: tuple[Field, ...] = (
    ("Jabber", 0, 1, NO),
    ("Polarity", 1, 1, ("normal", "reverse")),
    ("Downshifted", 5, 1, NO),
    ("MDI/MDIX", 6, 1, ("MDI", "MDIX")),
    ("Cable Length Estimate", 7, 3, tuple(f"{length} meters" for length in LENGTHS)),
    ("Link State", 10, 1, ("Down", "Up")),
    ("Speed & Duplex Resolved", 11, 1, ("No", "Yes")),
    ("Page Received", 12, 1, ("No", "Yes")),
    ("Duplex", 13, 1, ("Half", "Full")),
    ("Speed", 14, 2, ("10 mbps", "100 mbps", "1000 mbps", "unknown mbps")),
)
PHY_CONTROL: tuple[Field, ...] = (
    ("Jabber function", 0, 1, ("enabled", "disabled")),
    ("Auto-polarity", 1, 1, DISABLED),
    ("SQE Test", 2, 1, DISABLED),
    ("CLK125", 4, 1, ("enabled", "disabled")),
    ("Auto-MDIX", 5, 2, ("force MDI", "force MDIX", "1000 auto, 10/100 MDI", "auto")),
    ("Extended 10Base-T Distance", 7, 1, DISABLED),
    ("100Base-TX Interface", 8, 1, ("MII", "5-bit")),
    ("Scrambler", 9, 1, ("enabled", "disabled")),
    ("Force Link Good", 10, 1, ("disabled", "forced")),
    ("Assert CRS on Transmit", 11, 1, DISABLED),
)

# In ethtool's order: the register, its title, its fields.
MAC_REGISTERS: tuple[tuple[str, str, tuple[Field, ...]], ...] = (
    ("CTRL", "0x00000: CTRL (Device control register)", CTRL),
    ("STATUS", "0x00008: STATUS (Device status register)", STATUS),
    ("RCTL", "0x00100: RCTL (Receive control register)", RCTL),
    ("RDLEN", "0x02808: RDLEN (Receive desc length)", ()),
    ("RDH", "0x02810: RDH   (Receive desc head)", ()),
    ("RDT", "0x02818: RDT   (Receive desc tail)", ()),
    ("RDTR", "0x02820: RDTR  (Receive delay timer)", ()),
    ("TCTL", "0x00400: TCTL (Transmit ctrl register)", TCTL),
    ("TDLEN", "0x03808: TDLEN (Transmit desc length)", ()),
    ("TDH", "0x03810: TDH   (Transmit desc head)", ()),
    ("TDT", "0x03818: TDT   (Transmit desc tail)", ()),
    ("TIDV", "0x03820: TIDV  (Transmit delay timer)", ()),
)
PHY_REGISTERS = (
    ("PHY_SPEC_STATUS", "M88 PHY STATUS REGISTER:", PHY_STATUS),
    ("PHY_SPEC_CTRL", "M88 PHY CONTROL REGISTER:", PHY_CONTROL),
)


def register_text(registers: Mapping[str, int]) -> str:
    """The text, of those that are there."""
    lines = ["MAC Registers", "-------------"]
    for table in (MAC_REGISTERS, PHY_REGISTERS):
        if table is PHY_REGISTERS and "PHY_SPEC_STATUS" in registers:
            lines.append(f"{'PHY type:':<{WIDTH}}M88")
        for name, title, fields in table:
            if name in registers:
                lines += _register(title, registers[name], fields)
    return "".join(line + "\n" for line in lines)


def _register(title: str, value: int, fields: tuple[Field, ...]) -> list[str]:
    lines = [f"{title:<{WIDTH}}0x{value:08X}"]
    for name, low, size, meanings in fields:
        lines.append(f"{'':{INDENT}}{name + ':':<{FIELD}}{meanings[value >> low & (1 << size) - 1]}")
    return lines
