"""What the card does for the stack, and how it is switched: e1000_set_features, e1000_fix_features, VLANs (the kernel's e1000_main.c).

What it finds out about a packet, and a tag that it takes out of it, need an SkBuff to be told in. A sink of bursts gets frames as they
were on the wire: for it neither is asked for, whatever the features say, and then tags are not put in by the card, either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from e1000 import regs
from e1000.bus.base import Bus
from e1000.driver.rx_skb import RxSkbs
from e1000.driver.tx_skb import MAX_OFFSET, start_xmit
from softnet.ethernet import ETH_P_8021Q
from softnet.netdev_features import ALL_TSO, CSUM_MASK, Feature
from softnet.netdev_ops import NetdevTx
from softnet.netdev_tx import count_tx_dropped
from softnet.receive import SkbReceiver
from softnet.skbuff import DropReason, SkBuff
from softnet.validate_xmit import vlan_features_check

if TYPE_CHECKING:
    from e1000.driver.napi import E1000Napi
    from e1000.driver.txring import TxRing
    from fastring.burst import BurstSink
    from softnet.netdev import NetDevice

TSO = Feature.TSO | Feature.TSO6
SWITCHED = Feature.SG | Feature.HW_CSUM | Feature.HW_VLAN_CTAG_RX | TSO  # hw_features that are on from the beginning
HW_FEATURES = SWITCHED | Feature.RXCSUM | Feature.RXALL | Feature.RXFCS | Feature.LOOPBACK
FEATURES = SWITCHED | Feature.HW_VLAN_CTAG_TX | Feature.HW_VLAN_CTAG_FILTER
VLAN_FEATURES = Feature.SG | Feature.HW_CSUM | TSO
NEW_RINGS = Feature.RXCSUM | Feature.RXALL | Feature.RXFCS | Feature.LOOPBACK  # what only a reset switches

TCP_HEADER_MAX = 60
VFTA_WORDS = 128


def set_up_features(device: NetDevice, dma_bits: int) -> None:
    """e1000_probe's part: what there is, what may be switched, and what is on. Checksums of what is received are not, as in the kernel."""
    reach = Feature.HIGHDMA if dma_bits == 64 else Feature.NONE
    device.hw_features = HW_FEATURES
    device.features |= FEATURES | reach
    device.vlan_features = VLAN_FEATURES | reach


class Offloads:
    """E1000Adapter's part that does this. `features`: what rings and registers are, or will be, set up for."""

    bus: Bus
    napi: E1000Napi
    tx: TxRing | None
    rx_descriptors: int

    def __init__(self) -> None:
        self.features = Feature.NONE
        self.vlans: set[int] = set()
        self.rx_skbs = RxSkbs()
        self._vme = False  # CTRL.VME: the card takes tags out, and puts them in

    # --- transmit ---

    def start_xmit(self, skb: SkBuff, device: NetDevice) -> NetdevTx:
        """ndo_start_xmit."""
        if self.tx is None:
            count_tx_dropped(device)
            skb.kfree(DropReason.DEV_READY)
            return NetdevTx.OK
        return start_xmit(self.tx, skb)

    def features_check(self, skb: SkBuff, device: NetDevice, features: Feature) -> Feature:
        """ndo_features_check: without what this very packet's headers are too long for, or the card is not set up for."""
        features = vlan_features_check(skb, features)
        if not self._vme:
            features &= ~Feature.HW_VLAN_CTAG_TX
        rest = TCP_HEADER_MAX if skb.gso_size else skb.csum_offset
        if skb.csum_start - skb.data_offset + rest > MAX_OFFSET:
            features &= ~(CSUM_MASK | ALL_TSO)
        return features

    # --- receive ---

    def rx_sink(self, device: NetDevice) -> BurstSink:
        """Where received packets go: the device's sink of bursts, or else the stack, one by one. Raises MemoryError."""
        sink = device.sink
        if sink is not None and not isinstance(sink, SkbReceiver):
            return sink
        if sink is None:
            self.rx_skbs.attach(SkbReceiver(device, gro=device.gro), self.napi, self.rx_descriptors)
        else:
            self.rx_skbs.attach(sink, sink, self.rx_descriptors)
        return self.rx_skbs

    def set_up_receive(self, sink: BurstSink) -> int:
        """Registers that features ask for, after a reset, for a ring with this sink; returns the bits of RCTL."""
        to_stack = sink is self.rx_skbs
        self.bus.write(regs.VET, ETH_P_8021Q)
        self._vlan_mode(on=to_stack and bool(self.features & Feature.HW_VLAN_CTAG_RX))
        for word in range(VFTA_WORDS):
            self._write_vfta(word)
        if to_stack and self.features & Feature.RXCSUM:  # 0 after a reset; a card on which it was ever written looks at each packet
            self.bus.write(regs.RXCSUM, regs.RXCSUM_TUOFL | regs.RXCSUM_IPV6OFL)
        control = 0 if self.features & Feature.RXFCS else regs.RCTL_SECRC
        if self.features & Feature.RXALL:
            control |= regs.RCTL_SBP | regs.RCTL_PMCF
        if self.features & Feature.LOOPBACK:
            control |= regs.RCTL_LBM_PHY  # the others are reserved (§13.4.22)
        return control

    # --- features ---

    def fix_features(self, device: NetDevice, features: Feature) -> Feature:
        """ndo_fix_features: one bit of the card's, CTRL.VME, has tags taken out and put in."""
        if features & Feature.HW_VLAN_CTAG_RX:
            return features | Feature.HW_VLAN_CTAG_TX
        return features & ~Feature.HW_VLAN_CTAG_TX

    def set_features(self, device: NetDevice, features: Feature) -> None:
        """ndo_set_features: at once, by a reset where registers want one. Raises OSError, with all as before."""
        changed = features ^ self.features
        if changed & NEW_RINGS:
            self.reconfigure(device, features=features)
            return
        self.features = features
        if changed & Feature.HW_VLAN_CTAG_RX and device.up:
            self._vlan_mode(on=self._to_stack and bool(features & Feature.HW_VLAN_CTAG_RX))

    def reconfigure(self, device: NetDevice, **change: int) -> None:
        """E1000Adapter's."""
        raise NotImplementedError

    @property
    def _to_stack(self) -> bool:
        return self.napi.rx is not None and self.napi.rx.sink is self.rx_skbs

    def _vlan_mode(self, *, on: bool) -> None:
        """e1000_vlan_mode."""
        control = self.bus.read(regs.CTRL)
        self.bus.write(regs.CTRL, control | regs.CTRL_VME if on else control & ~regs.CTRL_VME)
        self._vme = on

    # --- VLAN filter ---

    @property
    def filters_vlans(self) -> bool:
        """Whether only known VLANs are let in, unless it is promiscuous: RCTL.VFE. Without any VLAN all are (e1000_vlan_used)."""
        return bool(self.vlans) and not self.features & Feature.RXALL

    def vlan_rx_add_vid(self, device: NetDevice, proto: int, vid: int) -> None:
        """ndo_vlan_rx_add_vid. In a device that is down it is only noted: its next open programs it."""
        self.vlans.add(vid)
        self._refilter(device, vid)

    def vlan_rx_kill_vid(self, device: NetDevice, proto: int, vid: int) -> None:
        """ndo_vlan_rx_kill_vid."""
        self.vlans.discard(vid)
        self._refilter(device, vid)

    def _refilter(self, device: NetDevice, vid: int) -> None:
        if device.up:
            self._write_vfta(vid >> 5)
            device.set_rx_mode()

    def _write_vfta(self, word: int) -> None:
        self.bus.write(regs.VFTA + 4 * word, sum(1 << (vid & 31) for vid in self.vlans if vid >> 5 == word))
