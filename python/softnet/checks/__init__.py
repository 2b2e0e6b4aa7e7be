"""softnet.checks: the kernel's rules for network drivers, checked on any driver while it runs.

with checks.enable(stack) as checker: run the driver, then read `checker.findings` or print `checker.summary()`.
"""

from softnet.checks import address, bql, contexts, dma, lifetime, locking, mtu, napi, skb, stop, trans, tx, watchdog
from softnet.checks.calls import Call, QueueEvent, current_call, unchecked
from softnet.checks.checker import KEEP, Checker, Finding, Mode, RuleBroken
from softnet.checks.everywhere import enable_everywhere
from softnet.checks.group import RuleGroup
from softnet.checks.probes import probe, tell
from softnet.checks.rules import RULES, Rule
from softnet.stack import Stack

__all__ = [
    "KEEP", "RULES", "Call", "Checker", "Finding", "Mode", "QueueEvent", "Rule", "RuleBroken", "RuleGroup", "current_call", "enable",
    "enable_everywhere", "probe", "tell", "unchecked",
]

_GROUPS = (contexts, address, bql, dma, lifetime, locking, mtu, napi, skb, stop, trans, tx, watchdog)  # imported: each registers its rules


def enable(stack: Stack, *, mode: Mode = "collect", keep: int = KEEP) -> Checker:
    """Check the drivers of this stack until the Checker is closed. Raises OSError EBUSY if it has devices already."""
    checker = Checker(mode=mode, keep=keep)
    try:
        checker.watch(stack)
    except BaseException:
        checker.close()
        raise
    return checker
