"""Rules 10, 11, 12, 14, 15 and 17: a driver that breaks one is found by that one and no other; one that keeps them all is left alone."""

import gc
import weakref
from contextlib import suppress

import broken_dma_drivers as broken_dma
import broken_napi_drivers as broken
import pytest
from napi_driver import FRAME, NapiDriver, pass_time, send

from fastring.clock import VirtualClock
from fastring.softirq import Softirq
from softnet import Stack
from softnet.checks.napi import netpoll


def life(stack, driver):
    """All that a driver goes through: packets both ways, with more than a budget, at the worst time, in flight; up and down; its end."""
    device = driver.probe(stack)
    device.open()
    send(device, 5)
    for _ in range(2):  # the byte limit lets one go first
        driver.card.work()
        pass_time(stack)
    driver.card.meanwhile = 1
    driver.card.receive(40)
    pass_time(stack)
    driver.card.in_time = 1
    driver.card.receive()
    pass_time(stack)
    driver.card.arrived.append(FRAME)
    netpoll(device)
    send(device, 3)
    device.stop()
    driver.card.receive()
    pass_time(stack)
    device.open()
    send(device, 2)
    driver.card.work()
    pass_time(stack)
    device.mtu = 1400
    str(device.stats64)
    driver.remove()
    pass_time(stack)


CASES = [
    (10, broken.KeepsPacketsInFlight, "3 packets in flight were not given up, the first of 100 bytes"),
    (10, broken.LeavesNapiEnabled, "is still enabled: napi_disable was not called"),
    (10, broken.LeavesTimerArmed, "a timer is still armed: NapiDriver.every_second"),
    (10, broken.LeavesInterruptsOn, "an interrupt was handled after it"),
    (10, broken.DeliversAfterStop, "was delivered after it"),
    (11, broken.DeletesNapiWhileUp, "while it was up its interrupt and its NAPI had been taken away"),
    (11, broken.SaysItIsDown, "it was opened, and its ndo_stop was never called"),
    (12, broken.NeverFrees, "it was not called: the device and its private data are lost"),
    (12, broken.FreesTwice, "more references were given back than taken"),
    (12, broken.FreesWhileRegistered, "called while it is registered"),
    (12, broken.GivesItsReferenceBackEarly, "its last reference was given back while it is registered"),
    (12, broken.UsesPrivAfterFree, "its private data was used after free_netdev"),
    (12, broken.DeliversAfterFree, "used after it was freed: a packet was delivered"),
    (12, broken.HoldsForEver, "2 references were not given back"),
    (14, broken.SleepsInXmit, "it slept for 0 s, and this must not sleep"),
    (14, broken.SleepsInStatistics, "it slept for 0 s, and this must not sleep"),
    (14, broken.SleepsInPoll, "it slept for 0 s, and this must not sleep"),
    (14, broken.WaitsInInterrupt, "it waited for another thread, and this must not sleep"),
    (14, broken.JoinsInRxMode, "it waited for a thread to end"),
    (14, broken.TakesRtnlInPoll, "it took rtnl, which may sleep"),
    (14, broken.DisablesNapiInRxMode, "it called napi_disable, which sleeps"),
    (14, broken.RestartsWithoutRtnl, "called without rtnl_lock"),
    (14, broken.FiltersWithoutItsLock, "called without the address lock"),
    (14, broken.SendsWithoutTheTransmitLock, "called without the queue's transmit lock"),
    (14, broken.KeepsTheTransmitLock, "it returned with the transmit lock of tx-0 held"),
    (14, broken.ReleasesTheAddressLock, "it returned with the address lock released"),
    (14, broken.UpdatesFeaturesWithoutRtnl, "called without rtnl_lock"),
    (14, broken.OpensUnderTheTransmitLock, "called where it cannot sleep"),
    (15, broken.OverrunsItsBudget, "17 packets of work with a budget of 16"),
    (15, broken.CompletesAtFullBudget, "napi_complete_done, and a return of 16, which is the whole budget"),
    (15, broken.CompletesTwice, "is completed twice in one poll"),
    (15, broken.NeverCompletes, "of a budget of 16 and no napi_complete_done"),
    (15, broken.UnmasksTooEarly, "unmasked too early"),
    (15, broken.UnmasksAtFullBudget, "they were not masked when it was scheduled, or unmasked too early"),
    (15, broken.NeverMasks, "they were not masked when it was scheduled, or unmasked too early"),
    (15, broken.PollsWhileDisabled, "it was polled while it is disabled"),
    (15, broken.ReceivesWithoutBudget, "was received with a budget of 0"),
    (15, broken.HidesWhatItReceivesWithoutBudget, "was received with a budget of 0"),
    (17, broken_dma.UnmapsTwice, "given back twice, or never mapped"),
    (17, broken_dma.UnmapsTooLittle, "60 bytes at"),
    (17, broken_dma.UnmapsTheOtherWay, "is mapped DMA_TO_DEVICE, not DMA_BIDIRECTIONAL"),
    (17, broken_dma.NeverUnmaps, "mappings are left, the first 100 bytes at"),
    (17, broken_dma.NeverFreesItsRing, "mappings are left, the first 1024 bytes at"),
    (17, broken_dma.WritesToWhatItGave, "the CPU wrote to 100 bytes at"),
    (17, broken_dma.LetsTheCardReadWhatItUnmapped, " master abort"),
    (17, broken_dma.LeaksWhenItCannotOpen, "mappings are left, the first 64 bytes at"),
    (17, broken_dma.WritesToWhatTheCardReceives, "the CPU wrote to 64 bytes at"),
    (17, broken_dma.SyncsPastTheEnd, "101 bytes of a mapping of 100"),
]


@pytest.mark.parametrize(("number", "driver", "detail"), CASES, ids=[f"{case[0]}-{case[1].__name__}" for case in CASES])
def test_a_driver_that_breaks_a_rule_is_found_by_that_rule_alone(stack, number, driver, detail):
    checker = stack.checker
    with suppress(RuntimeError, OSError):
        life(stack, driver())
    checker.close()
    assert set(checker.counts) == {number}, checker.summary()
    assert detail in checker.summary()
    assert f"rule {number} (" in str(checker.findings[0])


KEEPING = [NapiDriver, broken.LltxDriver, broken_dma.SyncsBeforeItWrites, broken_dma.ReceivesByBounce]


@pytest.mark.parametrize("driver", KEEPING)
def test_a_driver_that_keeps_every_rule_is_left_alone(stack, driver):
    checker = stack.checker
    life(stack, driver())
    checker.close()
    assert checker.summary() == ""


def test_every_broken_driver_has_its_case():
    drivers = {kind for kind in (vars(broken) | vars(broken_dma)).values() if isinstance(kind, type) and issubclass(kind, NapiDriver)}
    assert drivers == {driver for _, driver, _ in CASES} | set(KEEPING)


def test_no_device_is_kept_alive_that_nobody_freed(stack):
    """Neither by its NAPI, its line, its timer nor its mappings."""

    def run():
        other = Stack(clock=VirtualClock())
        checker.watch(other)
        driver = NapiDriver()
        device = driver.probe(other)
        device.open()
        send(device, 3)
        driver.card.receive()
        pass_time(other)
        device.unregister()
        return weakref.ref(device)

    checker = stack.checker
    device = run()
    gc.collect()
    assert device() is None


def test_a_stack_that_is_given_another_softirq_is_checked_but_for_that(stack):
    checker = stack.checker
    stack.softirq = Softirq(stack.clock)
    life(stack, broken.KeepsPacketsInFlight())
    assert set(checker.counts) == {10}
