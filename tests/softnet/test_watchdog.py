"""The transmit watchdog: when it fires, for which queue, in which context, and that traffic goes on after it (dev_watchdog)."""

import pytest
from control import QuietDriver
from drivers import MAC, RingDriver

from fastring.clock import VirtualClock
from softnet import DropReason, NetDevice, SkBuff, Stack, dev_queue_xmit
from softnet.watchdog import SECOND, round_jiffies

DRV_XOFF, FROZEN = 1, 4


class HangingDriver(RingDriver):
    """A ring that its card stopped serving; tx_timeout resets it, as drivers do: what is in it is lost."""

    def __init__(self, size=4):
        super().__init__(size)
        self.timeouts = []

    def tx_timeout(self, device, queue):
        self.timeouts.append((queue, device.stack.clock.monotonic_ns()))
        self.states = [each.txq.state for each in device.tx]
        while self.ring:
            self.ring.popleft().kfree(DropReason.TX_ABORTED)
        for each in device.tx:
            each.txq.tx_reset()
            each.txq.trans_update(device.stack.clock.monotonic_ns())
            each.txq.wake()


@pytest.fixture
def driver():
    return HangingDriver()


def opened(stack, driver, **options):
    device = NetDevice(stack, driver, dev_addr=MAC, bql=False, **options)
    device.register()
    device.open()
    return device


def fill(device, count=4, content=b"x" * 60):
    for _ in range(count):
        dev_queue_xmit(SkBuff.from_bytes(content, dev=device))


def pass_time(stack, seconds, step=SECOND // 4):
    for _ in range(int(seconds * SECOND) // step):
        stack.clock.advance(step)
        stack.run()


def test_a_ring_that_hangs_is_reset_and_traffic_goes_on(stack, driver, caplog):
    device = opened(stack, driver)
    fill(device, 6)
    pass_time(stack, 5)
    assert driver.timeouts == []
    pass_time(stack, 1)
    assert [queue for queue, _ in driver.timeouts] == [0]
    assert device.tx[0].trans_timeout == 1
    assert "eth0: NETDEV WATCHDOG: transmit queue 0 timed out 5" in caplog.text
    assert len(driver.ring) == 2  # those that had waited in the qdisc
    driver.complete()
    fill(device, 1, b"y" * 60)
    driver.complete()
    assert driver.sent == [b"x" * 60] * 2 + [b"y" * 60]
    pass_time(stack, 20)
    assert len(driver.timeouts) == 1


def test_it_fires_again_while_the_ring_hangs_again(stack, driver):
    device = opened(stack, driver)
    for round_ in range(1, 4):
        fill(device, 4)
        pass_time(stack, 7)
        assert len(driver.timeouts) == device.tx[0].trans_timeout == round_


def test_the_same_run_on_a_virtual_clock_fires_at_the_same_times():
    def run():
        with Stack(clock=VirtualClock(start=SECOND)) as stack:
            driver = HangingDriver()
            device = opened(stack, driver)
            for _ in range(5):
                fill(device, 3)
                pass_time(stack, 3)
            return driver.timeouts

    first = run()
    assert len(first) > 1
    assert first == run()


def test_the_driver_is_asked_with_every_queue_frozen_and_its_own_stopped(stack, driver):
    device = opened(stack, driver, num_tx_queues=2)
    device.netdev_ops = driver
    fill(device, 4)
    pass_time(stack, 7)
    stopped = driver.timeouts[0][0]
    assert driver.states[stopped] == DRV_XOFF | FROZEN
    assert driver.states[1 - stopped] & FROZEN
    assert [queue.txq.state for queue in device.tx] == [0, 0]


@pytest.mark.breaks_rules(19)
def test_a_driver_that_fails_in_tx_timeout_leaves_no_queue_frozen_and_is_asked_again(stack):
    class Failing(HangingDriver):
        def tx_timeout(self, device, queue):
            self.timeouts.append(queue)
            raise RuntimeError("no")

    driver = Failing()
    device = opened(stack, driver)
    fill(device)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no"):
            pass_time(stack, 20)
    assert not device.txq.state & FROZEN
    assert driver.timeouts == [0, 0]


@pytest.mark.parametrize("stuck", range(3))
def test_of_several_queues_the_one_that_hangs_is_named_and_counted(stack, driver, stuck):
    device = opened(stack, driver, num_tx_queues=3)
    device.tx[stuck].txq.stop()
    pass_time(stack, 7)
    assert [queue for queue, _ in driver.timeouts] == [stuck]
    assert [queue.trans_timeout for queue in device.tx] == [int(i == stuck) for i in range(3)]


def test_each_queue_has_its_own_time(stack, driver):
    device = opened(stack, driver, num_tx_queues=2)
    device.tx[0].txq.stop()
    device.tx[1].txq.stop()
    for _ in range(40):
        device.tx[0].txq.trans_update(stack.clock.monotonic_ns())
        pass_time(stack, 0.25)
    assert {queue for queue, _ in driver.timeouts} == {1}


@pytest.mark.breaks_rules(6)
def test_a_queue_that_is_awake_may_be_idle_for_ever(stack, driver):
    device = opened(stack, driver)
    fill(device, 2)
    pass_time(stack, 60)
    assert driver.timeouts == []


def test_what_bql_holds_back_counts_as_stopped(stack, driver):
    driver.size = 1000
    device = NetDevice(stack, driver, dev_addr=MAC)
    device.register()
    device.open()
    fill(device, 100, bytes(1500))
    assert device.txq.state == 2
    pass_time(stack, 7)
    assert len(driver.timeouts) == 1


def test_the_driver_sets_its_own_time(stack, driver):
    device = NetDevice(stack, driver, dev_addr=MAC, bql=False)
    device.watchdog.timeo = 2 * SECOND
    device.register()
    device.open()
    fill(device)
    pass_time(stack, 2)
    assert driver.timeouts == []
    pass_time(stack, 1)
    assert len(driver.timeouts) == 1


def test_without_a_time_it_is_five_seconds(stack, driver):
    device = NetDevice(stack, driver, dev_addr=MAC, bql=False)
    device.watchdog.timeo = 0
    device.register()
    device.open()
    assert device.watchdog.timeo == 5 * SECOND


def test_a_driver_without_tx_timeout_has_no_watchdog(stack):
    device = opened(stack, QuietDriver())
    assert not device.watchdog.armed
    assert stack.clock.next_deadline is None


@pytest.mark.parametrize("end", ["stop", "unregister"])
def test_it_does_not_fire_after_the_end(stack, driver, end):
    device = opened(stack, driver)
    fill(device)
    pass_time(stack, 4)
    getattr(device, end)()
    assert not device.watchdog.armed
    pass_time(stack, 20)
    assert driver.timeouts == []


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.breaks_rules(19)
def test_it_does_not_fire_without_a_carrier_and_gives_the_whole_time_when_it_is_back(stack, driver, runs):
    device = opened(stack, driver)
    fill(device)
    pass_time(stack, 5)  # it has looked, just before the time, and looks again at once
    device.carrier_off()
    if runs:
        pass_time(stack, 20)
    else:
        stack.clock.advance(20 * SECOND)  # the timer comes before linkwatch does
    assert driver.timeouts == []
    device.carrier_on()
    stack.run()
    pass_time(stack, 4)
    assert driver.timeouts == []
    pass_time(stack, 3)
    assert len(driver.timeouts) == 1


@pytest.mark.breaks_rules(19)
def test_a_flap_too_short_for_linkwatch_does_not_leave_it_resting(stack, driver):
    device = opened(stack, driver)
    device.watchdog.timeo = SECOND // 4
    pass_time(stack, 0.5)
    device.set_dormant(True)
    stack.run()  # the event of this second
    device.carrier_off()
    stack.clock.advance(3 * SECOND // 4)
    assert not device.watchdog.armed  # it looked, and there was no carrier
    device.carrier_on()
    stack.run()
    assert device.tx[0].qdisc is device.tx[0].qdisc_sleeping
    assert device.watchdog.armed


@pytest.mark.breaks_rules(19)
def test_a_driver_may_take_its_device_down_and_up_in_it(stack, driver):
    def tx_timeout(device, queue):
        driver.timeouts.append(queue)
        device.stop()
        device.open()

    driver.tx_timeout = tx_timeout
    device = opened(stack, driver)
    fill(device)
    pass_time(stack, 7)
    assert (driver.timeouts, device.txq.state, device.watchdog.armed) == ([0], 0, True)


def test_a_timer_inside_a_transmission_waits_for_its_end(stack, driver):
    device = opened(stack, driver, num_tx_queues=2)
    device.tx[1].txq.stop()
    device.tx[0].lock()
    stack.clock.advance(20 * SECOND)
    assert driver.timeouts == []
    device.tx[0].unlock()
    pass_time(stack, 1)
    assert len(driver.timeouts) == 1


@pytest.mark.parametrize(
    ("when", "now", "rounded"),
    [(5.0, 0, 5.0), (5.2, 0, 5.0), (5.25, 0, 6.0), (5.9, 0, 6.0), (5.2, 5.1, 5.2), (5.2, 5.0, 5.2), (5.2, 4.9, 5.0)],
)
def test_timers_that_need_not_be_exact_are_at_whole_seconds_and_never_in_the_past(when, now, rounded):
    assert round_jiffies(int(when * SECOND), int(now * SECOND)) == int(rounded * SECOND)
