"""Rule 9: a station address is six bytes, not all zero, and not a group's."""

from __future__ import annotations

from softnet.checks.calls import Call
from softnet.checks.group import RuleGroup
from softnet.ethernet import is_valid_ether_addr
from softnet.netdev import NetDevice


class AddressRule(RuleGroup):
    """What a device is registered with, and what its driver makes of it later."""

    def registering(self, device: NetDevice) -> None:
        self._check(device, "register_netdev", None)

    def op_ends(self, call: Call) -> None:
        if call.error is None and call.name in ("init", "open", "set_mac_address"):
            self._check(call.device, call.operation, call.where)

    def _check(self, device: NetDevice, operation: str, where: str | None) -> None:
        address = bytes(device.dev_addr)
        if not is_valid_ether_addr(address):
            why = "all zero" if not any(address) else f"of {len(address)} bytes" if len(address) != 6 else "a group's"
            self.checker.report(9, device, operation, f"its address {address.hex(':')} is {why}", where)
