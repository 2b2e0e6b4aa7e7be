"""Ethernet, as drivers and the stack see it: lengths, types, addresses (the kernel's if_ether.h, etherdevice.h)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.skbuff import SkBuff

ETH_ALEN = 6
ETH_HLEN = 14
ETH_ZLEN = 60  # shortest frame, without its CRC
ETH_FCS_LEN = 4
VLAN_HLEN = 4
ETH_MIN_MTU = 68
ETH_DATA_LEN = 1500
ETH_MAX_MTU = 0xFFFF

ETH_P_ALL = 0x0003
ETH_P_802_2 = 0x0004
ETH_P_IP = 0x0800
ETH_P_ARP = 0x0806
ETH_P_8021Q = 0x8100
ETH_P_8021AD = 0x88A8
ETH_P_IPV6 = 0x86DD
ETH_P_802_3_MIN = 0x0600  # a smaller "type" is a length
ETH_P_802_3 = 0x0001

ARPHRD_ETHER = 1
BROADCAST = b"\xff" * ETH_ALEN

# skb.pkt_type (include/uapi/linux/if_packet.h)
PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST, PACKET_OTHERHOST, PACKET_OUTGOING = range(5)


def is_valid_ether_addr(address: bytes) -> bool:
    """Whether a card may have it: six bytes, neither a group's nor all zero."""
    return len(address) == ETH_ALEN and not address[0] & 1 and any(address)


def is_multicast_ether_addr(address: bytes) -> bool:
    """Whether it is a group's; the broadcast address is."""
    return bool(address[0] & 1)


def random_ether_addr() -> bytes:
    """A locally administered station address (eth_random_addr)."""
    address = bytearray(secrets.token_bytes(ETH_ALEN))
    address[0] = address[0] & 0xFE | 0x02
    return bytes(address)


def eth_type_trans(skb: SkBuff, device: NetDevice) -> int:
    """What a driver does to a packet received: note where its header is, pull it, say whom it is for; returns the protocol.

    Sets `dev`, `mac_header` and `pkt_type`. A packet without a whole header is left as it is, and has protocol 0.
    """
    skb.dev = device
    start = skb.mac_header = skb.data_offset
    if skb.tail_offset - start < ETH_HLEN:
        return 0
    head = skb.head
    skb.data_offset = start + ETH_HLEN
    destination = head[start : start + ETH_ALEN]
    if destination != device.dev_addr:
        if destination == device.broadcast:
            skb.pkt_type = PACKET_BROADCAST
        elif destination[0] & 1:
            skb.pkt_type = PACKET_MULTICAST
        else:
            skb.pkt_type = PACKET_OTHERHOST
    protocol: int = head[start + 12] << 8 | head[start + 13]
    return protocol if protocol >= ETH_P_802_3_MIN else eth_protocol(protocol, skb)


def eth_protocol(type_or_length: int, skb: SkBuff) -> int:
    """ETH_P_* of what a header says its payload, at skb.data, is."""
    if type_or_length >= ETH_P_802_3_MIN:
        return type_or_length
    return ETH_P_802_3 if bytes(skb.data[:2]) == b"\xff\xff" else ETH_P_802_2  # raw 802.3, as Novell had it, has no LLC
