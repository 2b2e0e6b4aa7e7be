"""The rx-checksums scenario: what a driver says of the checksums and tags of packets that it passes up one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastring.checksum import checksum
from softnet.conformance.bench import FAR, MS, NEAR, Bench, Failed, expect
from softnet.conformance.offloads import NETWORK, by_software, packet
from softnet.ethernet import ETH_HLEN, ETH_P_8021Q
from softnet.gso import CHECKSUM_AT, IPPROTO_TCP, IPPROTO_UDP
from softnet.netdev_features import Feature
from softnet.receive import RxHandlerResult
from softnet.skbuff import CHECKSUM_COMPLETE, CHECKSUM_UNNECESSARY, SkBuff

IPV4_HLEN, IPV6_HLEN = 20, 40
TAG = 5
MORE_FRAGMENTS = 0x2000


@dataclass(frozen=True)
class Kind:
    """Packets of one kind. `good`: whether the transport checksum is right, or None where the packet alone cannot tell."""

    what: str
    make: Callable[[int], bytes]
    good: bool | None


@dataclass(frozen=True)
class Told:
    """One packet as it was passed up."""

    data: bytes
    ip_summed: int
    csum: int
    vlan: int | None


def _packet(number: int, kind: int, *, ipv6: bool = False, broken: bool = False) -> bytes:
    """To the driver under test, 100 bytes of payload; `broken`: one bit of it is another."""
    (sent,) = by_software(packet(number, 100, kind=kind, ipv6=ipv6))
    sent = NEAR + FAR + sent[12:]
    return sent[:-1] + bytes([sent[-1] ^ 0x10]) if broken else sent


def _no_checksum(number: int) -> bytes:
    sent = bytearray(_packet(number, IPPROTO_UDP))
    at = ETH_HLEN + IPV4_HLEN + CHECKSUM_AT[IPPROTO_UDP]
    sent[at : at + 2] = bytes(2)
    return bytes(sent)


def _fragment(number: int) -> bytes:
    """The first fragment of a packet: its checksum is over more than there is."""
    sent = bytearray(_packet(number, IPPROTO_UDP, broken=True))
    sent[NETWORK + 6 : NETWORK + 8] = MORE_FRAGMENTS.to_bytes(2, "big")
    sent[NETWORK + 10 : NETWORK + 12] = bytes(2)
    sent[NETWORK + 10 : NETWORK + 12] = checksum(sent[NETWORK : NETWORK + IPV4_HLEN]).to_bytes(2, "big")
    return bytes(sent)


def _tagged(number: int) -> bytes:
    sent = _packet(number, IPPROTO_TCP)
    return sent[:12] + ETH_P_8021Q.to_bytes(2, "big") + TAG.to_bytes(2, "big") + sent[12:]


def _kinds() -> list[Kind]:
    kinds = [Kind("a UDP packet without a checksum", _no_checksum, None), Kind("a fragment", _fragment, False)]
    for name, kind in (("TCP", IPPROTO_TCP), ("UDP", IPPROTO_UDP)):
        for ipv6 in (False, True):
            for broken in (False, True):
                what = f"a {name} packet over IPv{6 if ipv6 else 4} with a {'wrong' if broken else 'right'} checksum"
                kinds.append(Kind(what, lambda n, k=kind, v=ipv6, b=broken: _packet(n, k, ipv6=v, broken=b), not broken))  # type: ignore[misc]
    return [*kinds, Kind("a TCP packet with a VLAN tag", _tagged, True)]


def receive_kinds(bench: Bench) -> str:
    """Receive ten packets of each kind, one by one; what is said of each must be so. Raises Failed."""
    told: list[Told] = []

    def handler(skb: SkBuff) -> RxHandlerResult:
        vlan = None if skb.vlan_tci is None else skb.vlan_tci & 0xFFF
        told.append(Told(bytes(skb), skb.ip_summed, skb.csum, vlan))
        skb.consume()
        return RxHandlerResult.CONSUMED

    bench.near.sink, bench.near.rx_handler = None, handler  # one by one, and before a protocol looks
    bench.open()
    bench.near.set_features(on=bench.near.hw_features & Feature.RXCSUM)
    vouched = 0
    for kind in _kinds():
        sent = [kind.make(number) for number in range(10)]
        bench.offer(sent)
        bench.run(50 * MS)
        bench.received += len(told)
        expect(len(told) == 10, f"{kind.what}: 10 were sent, and {len(told)} passed up", "pass each up once, with its length")
        for frame, got in zip(sent, told, strict=True):
            _judge(kind, frame, got)
        vouched += sum(got.ip_summed == CHECKSUM_UNNECESSARY for got in told)
        told.clear()
    return f"none is called good that is not; {vouched} need no checking by the stack"


def _judge(kind: Kind, frame: bytes, got: Told) -> None:
    header = ETH_HLEN
    if int.from_bytes(frame[12:14], "big") == ETH_P_8021Q:
        expect(got.vlan == TAG, f"{kind.what}: of VLAN {TAG}, and passed up with {got.vlan}", "take skb.vlan_tci from the descriptor")
        header += 4
    if got.data != frame[header:]:
        raise Failed(f"{kind.what}: {len(got.data)} bytes were passed up for {len(frame) - header}, or others", "call eth_type_trans, once")
    if got.ip_summed == CHECKSUM_UNNECESSARY:
        expect(
            kind.good is not False,
            f"{kind.what} was passed up as CHECKSUM_UNNECESSARY",
            "say so only with TCPCS set, IXSM not, and no TCPE, in the descriptor (3.2.3); else leave CHECKSUM_NONE",
        )
    elif got.ip_summed == CHECKSUM_COMPLETE:
        wanted = ~checksum(frame[header:]) & 0xFFFF
        expect(
            got.csum & 0xFFFF == wanted,
            f"{kind.what} was passed up as CHECKSUM_COMPLETE with {got.csum:#x}, and the sum is {wanted:#x}",
            "the sum is over all that eth_type_trans leaves",
        )
