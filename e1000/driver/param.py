"""What a user may choose of the driver, and which values the card has (the kernel's e1000_param.c and its limits)."""

from __future__ import annotations

import errno
import operator
from collections.abc import Container

from e1000 import regs
from softnet.ethernet import ETH_FCS_LEN, ETH_HLEN, VLAN_HLEN

MIN_DESCRIPTORS, MAX_DESCRIPTORS = 80, 4096  # E1000_MIN_TXD, E1000_MAX_82544_TXD
MAX_DOORBELL = MAX_RS_EVERY = 0xFFFFFFFF
MAX_WEIGHT = 0x7FFFFFFF  # an int
TX_STOP, DEFAULT_TX_WAKE = 24, 34  # txring's STOP and START
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


def check_doorbell(every: int) -> None:
    """Raises OSError EINVAL for a number of packets that no ring counts."""
    check_whole(f"doorbell_every is 1 to {MAX_DOORBELL} packets, or 0 for once a burst", every, range(MAX_DOORBELL + 1))


def check_rs_every(every: int) -> None:
    """The same for the packets from one status report to the next."""
    check_whole(f"rs_every is at least 1 packet, and {MAX_RS_EVERY} at most", every, range(1, MAX_RS_EVERY + 1))


def check_wake(free: int) -> None:
    """The same for the free descriptors that wake the queue: as many as the largest packet needs, or more."""
    check_whole(f"tx_wake is {TX_STOP} to {MAX_DESCRIPTORS - 1} free descriptors", free, range(TX_STOP, MAX_DESCRIPTORS))


def check_weight(weight: int) -> None:
    """The same for how much is polled at a time."""
    check_whole(f"weight is at least 1 packet, and {MAX_WEIGHT} at most", weight, range(1, MAX_WEIGHT + 1))


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
