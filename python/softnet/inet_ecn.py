"""Explicit congestion notification (RFC 3168; include/net/inet_ecn.h): to mark a packet instead of dropping it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.ethernet import ETH_P_IP, ETH_P_IPV6
from softnet.gso import GsoError, network_offset

if TYPE_CHECKING:
    from softnet.skbuff import SkBuff

INET_ECN_NOT_ECT, INET_ECN_ECT_1, INET_ECN_ECT_0, INET_ECN_CE = range(4)


def inet_ecn_set_ce(skb: SkBuff) -> bool:
    """INET_ECN_set_ce: mark it as having met congestion; False if its sender does not understand that, or it is no IP.

    The packet gets bytes of its own if it has clones, which the kernel's do not get here; IPv4's checksum is kept right.
    """
    head = bytes(skb.data[:64])
    try:
        network, protocol = network_offset(head)
    except GsoError:
        return False
    version = {ETH_P_IP: 4, ETH_P_IPV6: 6}.get(protocol)
    if version is None or len(head) < network + (20 if version == 4 else 40) or head[network] >> 4 != version:
        return False
    shift = 0 if version == 4 else 4  # the traffic class lies across two bytes
    ecn = head[network + 1] >> shift & 3
    if ecn in (INET_ECN_NOT_ECT, INET_ECN_CE):
        return ecn == INET_ECN_CE
    skb.cow_head()
    data = skb.data
    marked = head[network + 1] | INET_ECN_CE << shift
    data[network + 1] = marked
    if version == 4:  # RFC 1624: ~(~checksum + ~old + new), and only the low byte of a word has changed
        total = (~int.from_bytes(head[network + 10 : network + 12], "big") & 0xFFFF) + marked - head[network + 1]
        total = (total & 0xFFFF) + (total >> 16)
        data[network + 10 : network + 12] = (~total & 0xFFFF).to_bytes(2, "big")
    return True
