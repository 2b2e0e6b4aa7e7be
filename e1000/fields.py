"""What the bits of each register are called: one line a register (§13.4 to §13.6); what no line names is reserved.

`decode` says a value in these names, for `E1000Device.dump` and for traces; strict mode takes the reserved bits from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

CAUSES = "TXDW 0, TXQE 1, LSC 2, RXSEQ 3, RXDMT0 4, RXO 6, RXT0 7, MDAC 9, RXCFG 10, PHYINT 12, GPI 14:13, TXD_LOW 15, SRPD 16"
WAKE_UPS = "LNKC 0, MAG 1, EX 2, MC 3, BC 4, ARP 5, IPV4 6, IPV6 7, FLX0 16, FLX1 17, FLX2 18, FLX3 19"
LED = (
    "LED{n}_MODE {0}:{1} = link-10/1000 link-100/1000 link activity link/activity link-10 link-100 link-1000 pcix full-duplex collision"
    " bus-speed bus-size paused on off, LED{n}_IVRT {2}, LED{n}_BLINK {3}"
)

# NAME BIT or NAME HIGH:LOW, and behind = what each value means: `none` is not shown, `reserved` no driver may write
TABLE = {
    "CTRL": "FD 0, LRST 3, ASDE 5, SLU 6, ILOS 7, SPEED 9:8 = 10M 100M 1000M reserved, FRCSPD 11, FRCDPLX 12, SDP0_DATA 18, SDP1_DATA 19,"
    " ADVD3WUC 20, EN_PHY_PWR_MGMT 21, SDP0_IODIR 22, SDP1_IODIR 23, RST 26, RFCE 27, TFCE 28, VME 30, PHY_RST 31",
    "STATUS": "FD 0, LU 1, FUNCTION 3:2, TXOFF 4, TBIMODE 5, SPEED 7:6 = 10M 100M 1000M 1000M, ASDV 9:8 = 10M 100M 1000M 1000M, PCI66 11,"
    " BUS64 12, PCIX_MODE 13, PCIXSPD 15:14",
    "EECD": "SK 0, CS 1, DI 2, DO 3, FWE 5:4 = reserved disabled enabled reserved, REQ 6, GNT 7, PRES 8, SIZE 9, TYPE 13",
    "EERD": "START 0, DONE 4, ADDR 15:8, DATA 31:16",
    "CTRL_EXT": "GPI_EN 3:0, PHYINT 5, SDP6_DATA 6, SDP7_DATA 7, SDP6_IODIR 10, SDP7_IODIR 11, ASDCHK 12, EE_RST 13, IPS 14, SPD_BYPS 15,"
    " RO_DIS 17, LINK_MODE 23:22",
    "MDIC": "DATA 15:0, REG 20:16, PHY 25:21, OP 27:26 = reserved write read reserved, READY 28, INT_EN 29, ERROR 30",
    "FCAL": "FCAL 31:0",
    "FCAH": "FCAH 15:0",
    "FCT": "FCT 15:0",
    "VET": "VET 15:0",
    "ICR": CAUSES,
    "ICS": CAUSES,
    "IMS": CAUSES,
    "IMC": CAUSES,
    "ITR": "INTERVAL 15:0",
    "RCTL": "EN 1, SBP 2, UPE 3, MPE 4, LPE 5, LBM 7:6 = none reserved reserved PHY, RDMTS 9:8 = 1/2 1/4 1/8 reserved,"
    " MO 13:12 = 47:36 46:35 45:34 43:32, BAM 15, BSIZE 17:16 = 2048 1024(16384) 512(8192) 256(4096), VFE 18, CFIEN 19, CFI 20, DPF 22,"
    " PMCF 23, BSEX 25, SECRC 26",
    "FCTTV": "TTV 15:0",
    "TXCW": "WORD 15:0, CONFIG 30, ANE 31",
    "RXCW": "WORD 15:0, NOCARRIER 26, INVALID 27, CHANGE 28, CONFIG 29, SYNCH 30, ANC 31",
    "TCTL": "EN 1, PSP 3, CT 11:4, COLD 21:12, SWXOFF 22, RTLC 24, NRTU 25",
    "TIPG": "IPGT 9:0, IPGR1 19:10, IPGR2 29:20",
    "AIT": "AIFS 15:0",
    "LEDCTL": ", ".join(LED.format(8 * n + 3, 8 * n, 8 * n + 6, 8 * n + 7, n=n) for n in range(4)) + ", BLINK_RATE 5",
    "PBA": "RXA 15:0, TXA 31:16",
    "FCRTL": "RTL 15:3, XONE 31",
    "FCRTH": "RTH 15:3",
    "RDBAL": "BASE 31:4",
    "RDBAH": "BASE 31:0",
    "RDLEN": "LEN 19:7",
    "RDH": "HEAD 15:0",
    "RDT": "TAIL 15:0",
    "RDTR": "DELAY 15:0, FPD 31",
    "RXDCTL": "PTHRESH 5:0, HTHRESH 13:8, WTHRESH 21:16, GRAN 24",
    "RADV": "DELAY 15:0",
    "RSRPD": "SIZE 11:0",
    "TXDMAC": "DPP 0",
    "TDBAL": "BASE 31:4",
    "TDBAH": "BASE 31:0",
    "TDLEN": "LEN 19:7",
    "TDH": "HEAD 15:0",
    "TDT": "TAIL 15:0",
    "TIDV": "IDV 15:0",
    "TXDCTL": "PTHRESH 5:0, HTHRESH 13:8, WTHRESH 21:16, GRAN 24, LWTHRESH 31:25",
    "TADV": "IDV 15:0",
    "TSPMT": "TSMT 15:0, TSPBP 31:16",
    "RXCSUM": "PCSS 7:0, IPOFL 8, TUOFL 9, IPV6OFL 10",
    "MTA": "BITS 31:0",
    "RAL": "ADDRESS 31:0",
    "RAH": "ADDRESS 15:0, AS 17:16 = none source reserved reserved, AV 31",
    "VFTA": "BITS 31:0",
    "WUC": "APME 0, PME_EN 1, PME_STATUS 2, APMPME 3",
    "WUFC": WAKE_UPS + ", NOTCO 15",
    "WUS": WAKE_UPS,
    "MANC": "SMBUS_EN 0, ASF_EN 1, R_ON_FORCE 2, RMCP_EN 8, 0298_EN 9, IPV4_EN 10, IPV6_EN 11, SNAP_EN 12, ARP_EN 13, NEIGHBOR_EN 14,"
    " ARP_RES_EN 15, TCO_RESET 16, RCV_TCO_EN 17, REPORT_STATUS 18, BR_EN 24, SMB_GNT 25, SMB_CLK_IN 26, SMB_DATA_IN 27, SMB_DATA_OUT 28,"
    " SMB_CLK_OUT 29",
    # No registers: the second word of descriptors (§3.3.3, §3.3.6, §3.3.7, §3.2.3)
    "TX legacy": "LENGTH 15:0, CSO 23:16, EOP 24, IFCS 25, IC 26, RS 27, RPS 28, DEXT 29, VLE 30, IDE 31, DD 32, EC 33, LC 34, TU 35,"
    " CSS 47:40, SPECIAL 63:48",
    "TX data": "LENGTH 19:0, DTYP 23:20 = context data, EOP 24, IFCS 25, TSE 26, RS 27, RPS 28, DEXT 29, VLE 30, IDE 31, DD 32, EC 33,"
    " LC 34, TU 35, IXSM 40, TXSM 41, SPECIAL 63:48",
    "TX context": "PAYLEN 19:0, DTYP 23:20 = context data, TCP 24, IP 25, TSE 26, RS 27, DEXT 29, IDE 31, DD 32, HDRLEN 47:40,"
    " MSS 63:48",
    "RX": "LENGTH 15:0, CHECKSUM 31:16, DD 32, EOP 33, IXSM 34, VP 35, TCPCS 37, IPCS 38, PIF 39, CE 40, SE 41, SEQ 42, CXE 44, TCPE 45,"
    " IPE 46, RXE 47, SPECIAL 63:48",
}


@dataclass(frozen=True, slots=True)
class Field:
    """Some bits of a register."""

    name: str
    low: int
    width: int
    values: tuple[str, ...] = ()

    def of(self, value: int) -> int:
        """What the field holds in a register's value."""
        return value >> self.low & (1 << self.width) - 1

    @property
    def mask(self) -> int:
        return (1 << self.width) - 1 << self.low

    def text(self, value: int) -> str:
        """The field in `value` for people; nothing where there is nothing to say."""
        code = self.of(value)
        if self.values:
            meaning = self.values[code] if code < len(self.values) else str(code)
            return "" if meaning == "none" or (code == 0 and meaning == "reserved") else f"{self.name}={meaning}"
        if code == 0:
            return ""
        return self.name if self.width == 1 else f"{self.name}={code:#x}" if code > 9 else f"{self.name}={code}"


def _field(line: str) -> Field:
    where, _, values = line.partition(" = ")
    name, bits = where.split()
    high, _, low = bits.partition(":")
    return Field(name, int(low or high), int(high) - int(low or high) + 1, tuple(values.split()))


@cache
def fields_of(name: str) -> tuple[Field, ...]:
    """The fields of a register by name, of RAL3 and MTA[17] too; none for one that is a number."""
    line = TABLE.get(name) or TABLE.get(name.partition("[")[0]) or TABLE.get(name.rstrip("0123456789"))
    return tuple(_field(part.strip()) for part in line.split(",")) if line else ()


def reserved_bits(name: str) -> int:
    """The bits of a register that have no meaning: 0 for one that is a number."""
    named = 0
    for field in fields_of(name):
        named |= field.mask
    return ~named & 0xFFFFFFFF if named else 0


def decode(name: str, value: int) -> str:
    """A value in the names of its register's fields: "EN BAM BSIZE=2048"; what is reserved as "reserved=0x…"."""
    fields = fields_of(name)
    if len(fields) == 1 and not fields[0].values:
        return ""  # it is a number
    if value == 0xFFFFFFFF and len(fields) > 1:
        return "all bits"
    parts = [text for field in fields if (text := field.text(value))]
    if fields and (reserved := value & reserved_bits(name)):
        parts.append(f"reserved={reserved:#x}")
    return " ".join(parts)
