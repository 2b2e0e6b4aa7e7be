"""What a user may choose of the driver, and which values the card has (the kernel's e1000_param.c and its limits)."""

from __future__ import annotations

import errno
import operator
from collections.abc import Container
from dataclasses import dataclass

from e1000 import regs
from softnet.ethernet import ETH_FCS_LEN, ETH_HLEN, VLAN_HLEN

MIN_DESCRIPTORS, MAX_DESCRIPTORS = 80, 4096  # E1000_MIN_TXD, E1000_MAX_82544_TXD
MAX_DOORBELL = MAX_RS_EVERY = 0xFFFFFFFF
MAX_WEIGHT = 0x7FFFFFFF  # an int
TX_STOP, DEFAULT_TX_WAKE = 24, 34  # txring's STOP and START
MAX_COPYBREAK = 2048  # the smallest receive buffer
MAX_DELAY = 0xFFFF  # E1000_MAX_TXDELAY and its like, in units of 1.024 µs
MAX_WTHRESH = 63
MIN_MTU = 46  # ETH_ZLEN - ETH_HLEN
MAX_MTU = 16110  # MAX_JUMBO_FRAME_SIZE - (ETH_HLEN + ETH_FCS_LEN)
DEFAULT_RX_USECS = 3  # as InterruptThrottleRate
START_ITR = 20000  # interrupts a second with which the dynamic modes begin
MIN_ITR_USECS, MAX_ITR_USECS = 10, 10000
DYNAMIC_RX_USECS = (0, 1, 3, 4)


def check_whole(rule: str, value: object, allowed: Container[int]) -> None:
    """Raises OSError EINVAL, with `rule`, for what is no whole number, or another than is allowed."""
    if not hasattr(value, "__index__") or operator.index(value) not in allowed:
        shown = f"a number of {value.bit_length()} bits" if isinstance(value, int) and value.bit_length() > 128 else repr(value)
        raise OSError(errno.EINVAL, f"{rule}; not {shown}")


def check_ring(what: str, count: int) -> None:
    """Raises OSError EINVAL for a number of descriptors that no ring has."""
    limits = range(MIN_DESCRIPTORS, MAX_DESCRIPTORS + 1, 8)
    check_whole(f"{what} is a multiple of 8 from {MIN_DESCRIPTORS} to {MAX_DESCRIPTORS}", count, limits)


def interrupt_rate(rx_usecs: int) -> tuple[int, int]:
    """Setting and first rate (interrupts a second) of `ethtool -C rx-usecs`; raises OSError EINVAL (e1000_set_coalesce).

    0: no moderation; 1: dynamic; 3: dynamic, conservative; 4: by the traffic's symmetry; from 10: fixed, so many µs apart.
    """
    dynamic = rx_usecs in DYNAMIC_RX_USECS
    allowed = DYNAMIC_RX_USECS if dynamic else range(MIN_ITR_USECS, MAX_ITR_USECS + 1)
    check_whole(f"rx_usecs is 0, 1, 3, 4, or {MIN_ITR_USECS} to {MAX_ITR_USECS}", rx_usecs, allowed)
    if dynamic:
        return rx_usecs, START_ITR
    rate = 1_000_000 // rx_usecs
    return rate & ~3, rate  # the low two bits would mean a dynamic mode


LIMITS = {  # of Options, by name: what it is, and the values there are
    "rs_every": (f"at least 1 packet, and {MAX_RS_EVERY} at most", range(1, MAX_RS_EVERY + 1)),
    "doorbell_every": (f"1 to {MAX_DOORBELL} packets, or 0 for once a burst", range(MAX_DOORBELL + 1)),
    "tx_wake": (f"{TX_STOP} to {MAX_DESCRIPTORS - 1} free descriptors", range(TX_STOP, MAX_DESCRIPTORS)),
    "copybreak": (f"0 to {MAX_COPYBREAK} bytes", range(MAX_COPYBREAK + 1)),
    "weight": (f"at least 1 packet, and {MAX_WEIGHT} at most", range(1, MAX_WEIGHT + 1)),
    **{f"{side}_int_delay": (f"0 to {MAX_DELAY} units of 1.024 µs", range(MAX_DELAY + 1)) for side in ("tx", "rx", "tx_abs", "rx_abs")},
    **{f"{side}_wthresh": (f"0 to {MAX_WTHRESH} descriptors", range(MAX_WTHRESH + 1)) for side in ("tx", "rx")},
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user may choose when the driver is probed. Raises OSError EINVAL for what the card does not have.

    `tx_descriptors`, `rx_descriptors`: 80 to 4096, multiples of 8. `rs_every`: packets from one status report to the next.
    `doorbell_every`: packets from one write of TDT to the next within a burst; 0: one write a burst.
    `tx_wake`: free descriptors from which on a stopped queue goes on; in a ring that is smaller, when it is empty.
    `copybreak`: received packets up to so many bytes are copied out of their buffers, which stay in the ring. `weight`: NAPI's.
    `rx_usecs`: as `ethtool -C` has it; see interrupt_rate. `tx_int_delay`, `tx_abs_int_delay`, `rx_int_delay`, `rx_abs_int_delay`:
    TIDV, TADV, RDTR and RADV, in units of 1.024 µs, which delay an interrupt of a card with a clock. `tx_wthresh`, `rx_wthresh`:
    descriptors that the card keeps before it writes them back (TXDCTL, RXDCTL), which the first two delays bound.
    """

    tx_descriptors: int = 256
    rx_descriptors: int = 256
    rs_every: int = 32
    doorbell_every: int = 0
    tx_wake: int = DEFAULT_TX_WAKE
    copybreak: int = 0
    weight: int = 64
    rx_usecs: int = DEFAULT_RX_USECS
    tx_int_delay: int = 0
    tx_abs_int_delay: int = 0
    rx_int_delay: int = 0
    rx_abs_int_delay: int = 0
    tx_wthresh: int = 0
    rx_wthresh: int = 0

    def __post_init__(self) -> None:
        check_ring("tx_descriptors", self.tx_descriptors)
        check_ring("rx_descriptors", self.rx_descriptors)
        for name, (rule, allowed) in LIMITS.items():
            check_whole(f"{name} is {rule}", getattr(self, name), allowed)
        interrupt_rate(self.rx_usecs)
        for side in ("tx", "rx"):
            if getattr(self, f"{side}_wthresh") > 1 and not getattr(self, f"{side}_int_delay"):
                raise OSError(errno.EINVAL, f"{side}_wthresh needs a {side}_int_delay, which says how long a descriptor is kept at most")


def buffer_size(mtu: int, *, fcs: bool = False) -> tuple[int, int]:
    """Receive buffer for an MTU, with the CRC or without: its bytes, and RCTL's BSIZE, BSEX and LPE for it (§13.4.22)."""
    longest = mtu + ETH_HLEN + VLAN_HLEN + (ETH_FCS_LEN if fcs else 0)
    long_packets = regs.RCTL_LPE if mtu > 1500 else 0
    for code, size in ((3, 4096), (2, 8192), (1, 16384)):
        if longest <= 2048:
            return 2048, long_packets
        if longest <= size:
            return size, long_packets | regs.RCTL_BSEX | code << regs.RCTL_BSIZE_SHIFT
    raise OSError(errno.EINVAL, f"no receive buffer is large enough for an MTU of {mtu}")
