"""The link: carrier, operational state, linkwatch, and what it does to the queues (net/core/link_watch.c), on a virtual clock."""

import errno
import threading

import pytest
from control import Listener, NotingDriver, new_device
from drivers import RingDriver, make_device

from softnet import Flag, OperState, SkBuff, dev_queue_xmit
from softnet.netdev_features import LinkMode

SECOND = 10**9

pytestmark = pytest.mark.breaks_rules(19)  # the cable is the test's, and these drivers know nothing of it


@pytest.fixture
def device(stack):
    device = new_device(stack, NotingDriver())
    device.register()
    device.open()
    return device


def heard_by(stack):
    listener = Listener()
    stack.notifiers.append(listener)
    return listener.heard


# --- carrier ---


def test_a_carrier_before_registering_is_not_counted_and_shows_in_the_state(stack):
    device = new_device(stack)
    device.carrier_off()
    device.carrier_on()
    device.carrier_off()
    device.register()
    device.open()
    assert (device.carrier_changes, device.operstate, stack.linkwatch.run()) == (0, OperState.DOWN, 0)
    device.carrier_on()
    device.carrier_on()
    device.carrier_off()
    assert (device.carrier_up_count, device.carrier_down_count, device.carrier_changes) == (1, 1, 2)


def test_a_device_that_never_had_a_carrier_event_is_unknown_while_up_and_runs(device):
    assert device.operstate is OperState.UNKNOWN
    assert device.flags == Flag.BROADCAST | Flag.MULTICAST | Flag.UP | Flag.RUNNING | Flag.LOWER_UP
    device.stop()
    assert device.operstate is OperState.DOWN
    assert device.flags == Flag.BROADCAST | Flag.MULTICAST


def test_the_carrier_shows_at_once_and_the_state_with_the_next_run(device, stack):
    device.carrier_off()
    assert not device.flags & Flag.LOWER_UP
    assert device.flags & Flag.RUNNING
    heard = heard_by(stack)
    stack.run()
    assert (device.operstate, heard) == (OperState.DOWN, ["CHANGE"])
    assert not device.flags & Flag.RUNNING
    device.carrier_on()
    stack.run()
    assert (device.operstate, heard) == (OperState.UP, ["CHANGE", "CHANGE"])
    assert device.flags & Flag.RUNNING


def test_threads_lose_no_carrier_change(device):
    def flap():
        for _ in range(2000):
            device.carrier_off()
            device.carrier_on()

    threads = [threading.Thread(target=flap) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not device.carrier_ok:
        device.carrier_on()
    assert device.carrier_up_count == device.carrier_down_count > 0
    device.stack.run()
    assert device.operstate is OperState.UP


# --- how often ---


def test_the_first_event_is_handled_at_once_and_later_ones_once_a_second(device, stack):
    heard = heard_by(stack)
    device.carrier_off()
    stack.run()
    assert heard == ["CHANGE"]
    device.set_dormant(True)  # its carrier is off: not urgent
    for _ in range(9):
        stack.clock.advance(SECOND // 10)
        stack.run()
    assert heard == ["CHANGE"]
    stack.clock.advance(SECOND // 10)
    stack.run()
    assert heard == ["CHANGE"] * 2


def test_what_waits_has_a_timer_so_that_a_virtual_clock_knows_of_it(device, stack):
    device.carrier_off()
    stack.run()
    device.set_dormant(True)
    stack.run()
    assert stack.clock.next_deadline == 2 * SECOND


def test_a_carrier_that_comes_back_lets_packets_in_at_once(device, stack):
    heard = heard_by(stack)
    for _ in range(3):
        device.carrier_off()
        stack.run()
        stack.clock.advance(SECOND)
        stack.run()
        assert device.tx[0].qdisc is not device.tx[0].qdisc_sleeping
        device.carrier_on()
        stack.run()
        assert device.tx[0].qdisc is device.tx[0].qdisc_sleeping
    assert len(heard) == 6


def test_a_flap_within_a_second_is_one_event(device, stack):
    device.carrier_off()
    stack.run()
    device.carrier_on()
    stack.run()
    heard = heard_by(stack)
    for _ in range(50):
        device.carrier_off()
        stack.run()
        device.carrier_on()
        stack.run()
    assert heard == []
    stack.clock.advance(SECOND)
    stack.run()
    assert heard == ["CHANGE"]
    assert device.carrier_changes == 102


def test_an_urgent_event_leaves_those_of_others_waiting(device, stack):
    other = new_device(stack)
    other.register()
    other.open()
    device.carrier_off()
    stack.run()
    other.carrier_off()
    device.carrier_on()
    stack.run()
    assert (device.operstate, other.operstate) == (OperState.UP, OperState.UNKNOWN)
    stack.clock.advance(SECOND)
    stack.run()
    assert other.operstate is OperState.DOWN


def test_an_event_of_a_device_that_is_down_is_told_to_nobody(device, stack):
    device.stop()
    heard = heard_by(stack)
    device.carrier_off()
    stack.run()
    assert heard == []
    device.open()
    assert device.operstate is OperState.DOWN


# --- the queues ---


def test_losing_the_carrier_drops_what_waits_and_takes_no_more_until_it_is_back(stack):
    driver = RingDriver(size=8)
    device = make_device(stack, driver, bql=False)
    qdisc = device.tx[0].qdisc
    waiting = [SkBuff.from_bytes(bytes(60), dev=device) for _ in range(11)]
    for skb in waiting:
        dev_queue_xmit(skb)
    assert qdisc.qlen == 3
    device.carrier_off()
    stack.run()
    assert (qdisc.qlen, [bool(skb.freed) for skb in waiting]) == (0, [False] * 8 + [True] * 3)
    late = SkBuff.from_bytes(bytes(60), dev=device)
    assert dev_queue_xmit(late) != 0
    assert late.freed
    driver.complete()
    device.carrier_on()
    stack.run()
    assert device.tx[0].qdisc is qdisc
    assert dev_queue_xmit(SkBuff.from_bytes(b"x" * 60, dev=device)) == 0
    driver.complete()
    assert driver.sent[-1] == b"x" * 60


@pytest.mark.breaks_rules(2, 19)  # a ring's place is a packet's here, with all its pieces
def test_opening_without_a_carrier_waits_for_it(stack):
    driver = RingDriver()
    device = new_device(stack, driver)
    device.carrier_off()
    device.register()
    device.open()
    assert dev_queue_xmit(SkBuff.from_bytes(bytes(60), dev=device)) != 0
    device.carrier_on()
    stack.run()
    assert dev_queue_xmit(SkBuff.from_bytes(bytes(60), dev=device)) == 0


# --- RFC 2863 ---


@pytest.mark.parametrize(
    ("carrier", "dormant", "testing", "state"),
    [
        (True, False, False, OperState.UP),
        (True, True, False, OperState.DORMANT),
        (False, False, False, OperState.DOWN),
        (False, True, False, OperState.DOWN),
        (True, False, True, OperState.TESTING),
        (False, True, True, OperState.TESTING),
    ],
)
def test_the_operational_state_follows_from_carrier_dormant_and_testing(device, stack, carrier, dormant, testing, state):
    device.carrier_off()
    if carrier:
        device.carrier_on()
    device.set_dormant(dormant)
    device.set_testing(testing)
    stack.run()
    assert device.operstate is state
    assert bool(device.flags & Flag.RUNNING) is (state is OperState.UP)
    assert bool(device.flags & Flag.DORMANT) is dormant


def test_a_link_in_dormant_mode_waits_for_its_supplicant(device, stack):
    device.link_mode = LinkMode.DORMANT
    device.carrier_off()
    stack.run()
    device.carrier_on()
    stack.run()
    assert device.operstate is OperState.DORMANT
    heard = heard_by(stack)
    device.set_operstate(OperState.UP)
    assert (device.operstate, heard) == (OperState.UP, ["CHANGE"])
    device.set_operstate(OperState.NOTPRESENT)
    assert (device.operstate, heard) == (OperState.UP, ["CHANGE"])
    device.set_operstate(OperState.DORMANT)
    assert device.operstate is OperState.DORMANT


def test_a_notifier_that_fails_at_a_link_event_stops_nothing(device, stack, caplog):
    def failing(event, device):
        raise OSError(errno.EIO, "broken")

    stack.notifiers.append(failing)
    device.carrier_off()
    stack.run()
    assert device.operstate is OperState.DOWN
    assert "a notifier failed at CHANGE" in caplog.text
