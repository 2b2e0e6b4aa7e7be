"""The framework of softnet.checks: what a Checker sees, keeps and says, and that nothing is left of it after."""

import gc
import weakref

import pytest

from fastring.clock import VirtualClock
from fastring.txq import TxQueue
from softnet import NETDEV_TX_OK, NetDevice, SkBuff, Stack, checks, dev_queue_xmit, netif_receive_skb
from softnet.checks.calls import CheckedTxQueue
from softnet.skbuff import DropReason

MAC = bytes.fromhex("525400000001")


class Driver:
    def open(self, device):
        self.device = device

    def stop(self, device):
        device.txq.tx_reset()

    def start_xmit(self, skb, device):
        device.txq.tx_sent(len(skb))
        device.txq.txq_completed_wake(1, len(skb), 99, 1)
        skb.consume()
        return NETDEV_TX_OK


@pytest.fixture
def seen():
    """What a rule group of a test's own is told."""
    told = []

    class Listener(checks.RuleGroup):
        def op_begins(self, call):
            told.append((call.operation, call.device.name))

        def op_ends(self, call):
            told.append(("end", call.operation, call.result, type(call.error)))

        def queue_begins(self, event):
            told.append((event.action, event.args, event.by_stack, event.call and event.call.name))

        def skb_freed(self, skb, how):
            told.append(("freed", how))

        def skb_received(self, skb):
            told.append(("received", len(skb)))

        def carrier_changed(self, device, on):
            told.append(("carrier", on))

        def registering(self, device):
            told.append("registering")

        def unregistered(self, device):
            told.append("unregistered")

        def finished(self):
            told.append("finished")

    yield told
    checks.RuleGroup.all.remove(Listener)


@pytest.fixture
def stack(seen):
    return Stack(clock=VirtualClock())


def packet(device):
    return SkBuff.from_bytes(bytes(60), dev=device)


def test_a_group_hears_of_operations_queues_packets_and_carrier(stack, seen):
    with checks.enable(stack):
        device = NetDevice(stack, Driver(), dev_addr=MAC)
        device.register()
        device.open()
        assert seen == ["registering", ("ndo_open", "eth0"), ("end", "ndo_open", None, type(None)), ("start", (), True, None)]
        seen.clear()
        dev_queue_xmit(packet(device))
        assert seen == [
            ("ndo_start_xmit", "eth0"),
            ("sent", (60,), False, "start_xmit"),
            ("completed_wake", (1, 60, 99, 1), False, "start_xmit"),
            ("freed", True),
            ("end", "ndo_start_xmit", NETDEV_TX_OK, type(None)),
        ]
        seen.clear()
        device.carrier_off()
        device.carrier_off()
        skb = packet(device)
        skb.dev = device
        netif_receive_skb(skb)
        assert seen == [("carrier", False), ("received", 60), ("freed", DropReason.UNHANDLED_PROTO)]
        seen.clear()
        device.unregister()
        assert seen[0] == ("stop", (), True, None)
        assert seen[-1] == "unregistered"
    assert seen[-1] == "finished"


def test_nothing_is_left_when_the_checker_is_closed(rules_kept):
    rules_kept.close()
    before = dict(vars(NetDevice)), dict(vars(SkBuff)), dict(vars(Stack))
    stack = Stack()
    with checks.enable(stack) as checker:
        assert list(checker.stacks) == [stack]
        assert vars(NetDevice)["register"] is not before[0]["register"]
        assert type(NetDevice(stack, Driver()).txq) is CheckedTxQueue
    assert stack.checker is None
    driver = Driver()
    device = NetDevice(stack, driver)
    assert type(device.txq) is TxQueue
    assert type(device.netdev_ops) is Driver
    assert device.netdev_ops is driver
    assert before == (dict(vars(NetDevice)), dict(vars(SkBuff)), dict(vars(Stack)))


def test_findings_are_kept_up_to_a_bound_and_the_rest_is_counted(stack):
    with checks.enable(stack, keep=3) as checker:
        for number in range(5):
            checker.report(1, "eth7", "ndo_start_xmit", f"packet {number}")
    assert [finding.detail for finding in checker.findings] == ["packet 0", "packet 1", "packet 2"]
    assert checker.counts == {1: 5}
    lines = checker.summary().splitlines()
    assert lines[0].startswith("rule 1 (busy-while-awake): eth7: ndo_start_xmit (")
    assert "test_checker.py:" in lines[0]
    assert "Instead: stop the queue" in lines[0]
    assert "[Softnet Driver Issues (networking/driver): Stop queues in advance]" in lines[0]
    assert lines[3] == "rule 1 (busy-while-awake): 2 more"


def test_in_mode_raise_the_first_finding_is_an_exception(stack):
    breaks = pytest.raises(checks.RuleBroken, match=r"rule 16 \(bql-unbalanced\): eth0")
    with checks.enable(stack, mode="raise") as checker, breaks as raised:
        checker.report(16, "eth0", "netdev_tx_completed_queue", "too many")
    assert raised.value.finding == checker.findings[0]


def test_a_checker_keeps_no_stack_alive(rules_kept):
    def run():
        with Stack(clock=VirtualClock()) as stack:
            assert stack.checker is rules_kept
            device = NetDevice(stack, Driver(), dev_addr=MAC)
            device.register()
            device.open()
            dev_queue_xmit(packet(device))
            return weakref.ref(device)

    device = run()
    gc.collect()
    assert device() is None
    assert not rules_kept.stacks


def test_a_stack_with_devices_is_refused(stack):
    NetDevice(stack, Driver(), dev_addr=MAC).register()
    with pytest.raises(OSError, match="before a stack has devices"):
        checks.enable(stack)
    with pytest.raises(ValueError, match="not 'loud'"):
        checks.enable(Stack(), mode="loud")


def test_a_driver_is_itself_to_all_but_its_device(stack):
    driver = Driver()
    device = NetDevice(stack, driver, dev_addr=MAC)
    ops = device.netdev_ops
    assert isinstance(ops, Driver)
    assert ops == driver
    assert driver == ops
    assert checks.unchecked(ops) is driver
    ops.colour = "red"
    assert driver.colour == "red"
    del ops.colour
    assert not hasattr(driver, "colour")
    assert not hasattr(ops, "tx_timeout")


def test_every_rule_is_there_and_says_what_to_do():
    assert list(checks.RULES) == list(range(1, 20))
    assert len({rule.name for rule in checks.RULES.values()}) == 19
    for rule in checks.RULES.values():
        assert rule.document
        assert rule.topic
        assert rule.operation
        assert rule.wrong
        assert rule.instead
