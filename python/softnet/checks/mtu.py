"""Rule 13: the MTU holds in both directions, with room for a header and one VLAN tag."""

from __future__ import annotations

from collections.abc import Callable

from softnet.checks.calls import Call
from softnet.checks.checker import Checker
from softnet.checks.group import RuleGroup
from softnet.ethernet import BROADCAST, ETH_HLEN, ETH_P_8021Q
from softnet.netdev import NetDevice
from softnet.skbuff import DropReason, SkBuff

TEST_ETHERTYPE = 0x88B5  # IEEE Std 802: local experimental


class MtuRules(RuleGroup):
    """Of every packet that goes down or up one by one. What no packet shows, `check_receive_size` tries."""

    def op_begins(self, call: Call) -> None:
        if call.name == "start_xmit":
            skb: SkBuff = call.args[0]
            longest = call.device.max_frame
            if not skb.gso_size and len(skb) > longest:
                detail = f"was handed a packet of {len(skb)} bytes; MTU {call.device.mtu} and headers are {longest}"
                self.checker.report(13, call.device, call.operation, detail, call.where)

    def skb_received(self, skb: SkBuff) -> None:
        device = skb.dev
        if device is None or skb.gso_size:
            return
        length = len(skb) + skb.data_offset - skb.mac_header
        longest = device.max_frame
        if length > longest:
            detail = f"a packet of {length} bytes was passed up; MTU {device.mtu} and headers are {longest}"
            self.checker.report(13, device, "netif_receive_skb", detail)

    def skb_freed(self, skb: SkBuff, how: DropReason | bool) -> None:
        device = skb.dev
        if how is DropReason.PKT_TOO_BIG and device is not None and device.running and len(skb) <= device.max_frame:
            detail = f"a packet of {len(skb)} bytes was dropped as too long; MTU {device.mtu} and headers are {device.max_frame}"
            self.checker.report(13, device, "kfree_skb", detail)


def check_receive_size(checker: Checker, device: NetDevice, send: Callable[[bytes], object], heard: Callable[[], int]) -> bool:
    """Try whether an open device receives the longest packets that its MTU allows, plain and with a tag; reports rule 13 if not.

    `send(frame)`: have its peer put a frame on the wire, and run the stack until it arrived; `heard()`: how many the device has passed up.
    """
    whole = True
    for what, header in (("", b""), (" with its tag", ETH_P_8021Q.to_bytes(2, "big") + bytes(2))):
        addresses = BROADCAST + b"\x02\0\0\0\0\x01"
        frame = (addresses + header + TEST_ETHERTYPE.to_bytes(2, "big")).ljust(device.mtu + ETH_HLEN + len(header), b"\x55")
        before = heard()
        send(frame)
        if heard() == before:
            whole = False
            detail = f"a packet of {len(frame)} bytes{what} did not arrive; MTU {device.mtu} and headers are {device.max_frame}"
            checker.report(13, device, "reception", detail, "")
    return whole
