"""Edits on bursts, with tcprewrite's meaning."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from typing_extensions import disjoint_base

from fastring.burst import BurstSource

_Network = IPv4Network | IPv6Network
_Maps = Sequence[tuple[_Network, _Network]]
_Mac = bytes | None

VLAN_MODES: dict[str | None, int]
FIXLEN_MODES: dict[str | None, int]
TTL_MODES: dict[str | None, int]

def checked(name: str, value: int | None, least: int, most: int) -> int: ...
@disjoint_base
class Edits:
    @property
    def growth(self) -> int: ...
    @property
    def pads(self) -> bool: ...
    def __init__(
        self,
        *,
        enet_dmac: _Mac | tuple[_Mac, _Mac] = None,
        enet_smac: _Mac | tuple[_Mac, _Mac] = None,
        enet_vlan: Literal["add", "del"] | None = None,
        enet_vlan_tag: int | None = None,
        enet_vlan_pri: int | None = None,
        enet_vlan_cfi: int | None = None,
        enet_vlan_proto: int = 0x8100,
        srcipmap: _Maps = (),
        dstipmap: _Maps = (),
        pnat: Sequence[_Maps] = (),
        portmap: Sequence[tuple[int, int, int]] = (),
        seed: int | None = None,
        ttl: tuple[str, int] | None = None,
        tos: int | None = None,
        tclass: int | None = None,
        flowlabel: int | None = None,
        mtu: int | None = None,
        fixlen: Literal["pad", "trunc", "del"] | None = None,
        fixcsum: bool = False,
        fixhdrlen: bool = False,
        skipbroadcast: bool = False,
        skipl2broadcast: bool = False,
    ) -> None: ...

@disjoint_base
class Stage: ...

@disjoint_base
class Rewriter(BurstSource):
    @property
    def source(self) -> BurstSource: ...
    @property
    def edits(self) -> Edits: ...
    @property
    def packets(self) -> int: ...
    @property
    def edited(self) -> int: ...
    @property
    def deleted(self) -> int: ...
    @property
    def malformed(self) -> int: ...
    @property
    def unchecked(self) -> int: ...
    def __init__(self, source: BurstSource, edits: Edits, *, server: bool | None = False) -> None: ...
