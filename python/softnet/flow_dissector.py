"""What flow a packet belongs to (net/core/flow_dissector.c): its addresses, protocol and ports, and a keyed hash over them."""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING

from softnet.ethernet import ETH_P_IP
from softnet.gso import GsoError, network_offset, transport_offset

if TYPE_CHECKING:
    from softnet.skbuff import SkBuff

WITH_PORTS = frozenset((6, 17, 33, 50, 132, 136))  # TCP, UDP, DCCP, ESP (its SPI), SCTP, UDP-Lite
LONGEST_HEADERS = 256  # bytes looked at

# hashrnd: one key a host, so that nobody can choose packets that fall into one queue. Set it to make a run repeatable.
hash_key = secrets.token_bytes(16)


def flow_keys(skb: SkBuff) -> bytes:
    """What all packets of one flow have in common, and no others, as bytes.

    Protocol and, of IP, both addresses and the transport's protocol; ports where there are any, but none of fragments, of which only
    the first has them. The kernel orders the two ends so that both directions hash alike; here each direction is a flow of its own.
    """
    packet = bytes(skb.data[:LONGEST_HEADERS]) if skb.headlen >= min(len(skb), LONGEST_HEADERS) else bytes(skb)[:LONGEST_HEADERS]
    try:
        network, protocol = network_offset(packet)
    except GsoError:
        return b""
    keys = protocol.to_bytes(2, "big")
    try:
        transport, kind = transport_offset(packet, network, protocol)
    except GsoError:
        return keys
    if protocol == ETH_P_IP:
        keys += packet[network + 12 : network + 20]
        fragment = int.from_bytes(packet[network + 6 : network + 8], "big") & 0x3FFF  # more to come, or not the first
    else:
        keys += packet[network + 8 : network + 40]
        fragment = 0  # its header stands where the transport's would
    keys += bytes([kind])
    return keys if fragment or kind not in WITH_PORTS else keys + packet[transport : transport + 4]


def skb_get_hash_perturb(skb: SkBuff, key: bytes) -> int:
    """32 bits of hash over the packet's flow, of up to 64 bytes of `key`; nothing is cached."""
    return int.from_bytes(blake2b(flow_keys(skb), digest_size=4, key=key).digest(), "little")


def skb_get_hash(skb: SkBuff) -> int:
    """The packet's flow as 32 bits: what its sender or its card set, or worked out now and kept in `skb.hash`."""
    if not skb.hash:
        skb.hash = skb_get_hash_perturb(skb, hash_key) or 1  # 0 is nobody's
    return skb.hash


def reciprocal_scale(value: int, end: int) -> int:
    """Bring 32 bits down to 0 to `end` - 1, evenly."""
    return (value & 0xFFFFFFFF) * end >> 32
