"""Every rule: a driver that breaks it is found, by that rule and no other; the one that keeps them all is not, whatever it goes through."""

import contextlib
import gc
import threading

import broken_drivers as broken
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from model_driver import MILLISECOND, SECOND, ModelDriver, pass_time, probe, send

from fastring.clock import VirtualClock
from softnet import SkBuff, Stack, checks, dev_queue_xmit
from softnet.checks.mtu import check_receive_size
from softnet.skbuff import GsoType, SkbPanic

ACTIONS = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 40), st.integers(60, 1518), st.sampled_from([0, 1, 17])),
    st.tuples(st.just("wait"), st.sampled_from([1, 5, 100, 20_000])),
    st.tuples(st.sampled_from(["hang", "down", "up", "stop", "open", "tap"])),
    st.tuples(st.just("receive"), st.integers(14, 2000)),
    st.tuples(st.just("mtu"), st.integers(68, 9000)),
)

# --- what a driver goes through ---


def traffic(stack, driver):
    """More than the ring holds, in one piece and in many, and then nothing more."""
    device = probe(stack, driver)
    device.open()
    send(device, 100)
    pass_time(stack, 200 * MILLISECOND, 200)
    send(device, 30)
    send(device, 30, pieces=17)
    pass_time(stack, 200 * MILLISECOND, 200)
    send(device, 5)
    pass_time(stack, 20 * SECOND)
    device.stop()
    device.open()
    send(device, 3)
    device.unregister()


def false_wake(stack, driver):
    """The ring is full, and another thread wakes the queue: the race that the helpers do not exclude."""
    device = probe(stack, driver)
    device.open()
    send(device, 47)
    send(device, 5, pieces=17)
    waker = threading.Thread(target=device.txq.wake)
    waker.start()
    waker.join()
    with contextlib.suppress(SkbPanic):
        stack.run()
        device.stop()


def tapped(stack, driver):
    """Packets that somebody else has a clone of."""
    device = probe(stack, driver)
    device.open()
    seen = []
    device.taps.append(lambda skb, device: seen.append(skb))
    room = SkBuff.from_bytes(b"x" * 100, dev=device)
    room.head += bytes(64)
    dev_queue_xmit(room)
    piece = SkBuff.from_bytes(b"x" * 100, dev=device)
    piece.add_frag(bytearray(100))
    dev_queue_xmit(piece)
    large = SkBuff.from_bytes(b"x" * 1000, dev=device)
    large.gso_size, large.gso_segs, large.gso_type = 100, 10, GsoType.TCPV4
    device.tx[0].lock()
    device.start_xmit(large.clone(), device)
    device.tx[0].unlock()
    pass_time(stack, 10 * MILLISECOND)
    device.stop()


def hang(stack, driver):
    """The card stops working, and goes on after a reset."""
    device = probe(stack, driver)
    device.open()
    send(device, 5)
    pass_time(stack, 10 * MILLISECOND)
    driver.hung = True
    send(device, 100)
    with contextlib.suppress(RuntimeError):
        pass_time(stack, broken.HUNG_FOR, 100)
    device.stop()


def reception(stack, driver):
    """Frames of all lengths."""
    device = probe(stack, driver)
    device.open()
    for length in (60, 1514, 1518, 1519, 9000):
        driver.receive(bytes(6) + bytes(6) + b"\x88\xb5" + bytes(length - 14))
    check_receive_size(stack.checker, device, driver.receive, lambda: len(driver.received))
    device.stop()


def registering(stack, driver):
    """It is registered, and never opened."""
    with contextlib.suppress(OSError):
        probe(stack, driver)


def flap(stack, driver):
    """The cable is pulled for longer than packets may be in the ring."""
    device = probe(stack, driver)
    device.open()
    send(device, 3)
    driver.link(False)
    pass_time(stack, 20 * SECOND)
    driver.link(True)
    pass_time(stack, 10 * MILLISECOND, 100)
    device.stop()


SCENES = [traffic, flap, false_wake, tapped, hang, reception, registering]

CASES = [
    (1, broken.RefusesForNothing, traffic, "answered BUSY to a packet of 100 bytes"),
    (1, broken.NeverStops, traffic, "answered BUSY to a packet of 100 bytes; tx-0 was awake and was left awake"),
    (2, broken.StopsWithoutRoomForPieces, traffic, "tx-0 is awake with 17 slots free, and a packet may need 18"),
    (2, broken.StopsWhenRefusing, traffic, "tx-0 was stopped only by the call that found no room and answered BUSY"),
    (3, broken.WakesForOneSlot, traffic, "tx-0 was woken with 17 slots free, and a packet may need 18"),
    (3, broken.WakesBlindly, traffic, "tx-0 was woken with 17 slots free, and a packet may need 18"),
    (3, broken.WakesBlindlyAndTellsNothing, traffic, "tx-0 was woken, and the next packet was refused with BUSY"),
    (3, broken.StopsFromItsInterrupt, traffic, "called for tx-0 outside of ndo_start_xmit"),
    (3, broken.StartsInsteadOfWaking, traffic, "tx-0 was started outside of ndo_start_xmit and ndo_open"),
    (3, broken.WakesInStop, traffic, "tx-0 of a device that is down"),
    (4, broken.TellsBeforeItPublishes, traffic, "was told of 64 free slots in tx-0; when ndo_start_xmit returned there were 63"),
    (4, broken.WakesBeforeItPublishes, traffic, "the ring had 17 free slots when it was called for tx-0, and 64 soon after"),
    (5, broken.KeepsWhatItRefuses, false_wake, "answered BUSY to a packet of 100 bytes, and a reference to it was kept"),
    (5, broken.FreesWhatItRefuses, false_wake, "answered BUSY to a packet of 100 bytes, and it was freed"),
    (5, broken.PutsInTheRingWhatItRefuses, false_wake, "it was put in the ring, which had"),
    (6, broken.ReclaimsInTheNextXmit, traffic, "1 taken and not freed, the first of 100 bytes 6.0 s ago, while no other followed"),
    (6, broken.ForgetsToFree, traffic, "the last reference to a packet of 100 bytes went, and nobody had freed it"),
    (7, broken.WritesToAClone, tapped, "2 bytes of its head, byte 12 of the packet first"),
    (7, broken.PadsAClone, tapped, "4 bytes of its head, the one 0 behind the tail first"),
    (7, broken.WritesToAPiece, tapped, "the driver changed its pieces"),
    (7, broken.ResegmentsAClone, tapped, "the driver changed its segmentation fields"),
    (8, broken.LltxForgetsTransStart, traffic, "a packet was taken, with LLTX, and trans_start of tx-0 is"),
    (9, broken.MulticastAddress, registering, "its address 01:54:00:00:00:01 is a group's"),
    (9, broken.NoAddress, registering, "its address 00:00:00:00:00:00 is all zero"),
    (13, broken.ReceivesAnything, reception, "a packet of 1519 bytes was passed up; MTU 1500 and headers are 1518"),
    (13, broken.DropsWhatFits, reception, "a packet of 1518 bytes was dropped as too long; MTU 1500 and headers are 1518"),
    (13, broken.RefusesTags, reception, "a packet of 1518 bytes with its tag did not arrive; MTU 1500 and headers are 1518"),
    (16, broken.CompletesPadding, traffic, "bytes more than were in flight in tx-0 were completed"),
    (16, broken.CompletesPayload, traffic, "every packet of tx-0 is freed, and "),
    (16, broken.DoesNotResetBql, traffic, "tx-0 has 300 bytes in flight after it"),
    (19, broken.CarrierOnInProbe, registering, "the carrier came on while the device is down"),
    (19, broken.LeavesCarrierOn, traffic, "the carrier is still on after it"),
    (19, broken.SleepsInTimeout, hang, "it slept for 0.001 s, with BHs off and every queue frozen"),
    (19, broken.LocksInTimeout, hang, "it took rtnl, which may sleep"),
    (19, broken.TimeoutDoesNothing, hang, "called again for tx-0, which nobody woke since the last time"),
    (19, broken.ResetForgetsToWake, hang, "called again for tx-0, which nobody woke since the last time"),
    (19, broken.TimeoutFails, hang, "it failed: RuntimeError('no register answers')"),
    (19, broken.NoTimeout, hang, "tx-0 has been stopped for 10.2 s, and the driver has none to be called"),
]


@pytest.mark.parametrize(("number", "driver", "scene", "detail"), CASES, ids=[f"{case[0]}-{case[1].__name__}" for case in CASES])
def test_a_driver_that_breaks_a_rule_is_found_by_that_rule_alone(stack, number, driver, scene, detail):
    scene(stack, driver())
    checker = stack.checker
    checker.close()
    assert set(checker.counts) == {number}, checker.summary()
    finding = checker.findings[0]
    assert detail in finding.detail
    assert finding.device in ("eth0", "eth%d")
    assert f"rule {number} (" in str(finding)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("driver", [ModelDriver, broken.LltxModel])
def test_the_driver_that_keeps_every_rule_is_left_alone(stack, driver, scene):
    scene(stack, driver())
    checker = stack.checker
    checker.close()
    assert checker.summary() == ""


def act(stack, device, driver, name, *arguments):
    """One thing that may happen to a driver."""
    if name == "send":
        count, size, pieces = arguments
        send(device, count, min(size, device.max_frame), pieces)
    elif name == "wait":
        if driver.hung and not device.txq.xmit_stopped:  # the transmit watchdog sees no such hang: the card goes on by itself
            driver.hung = False
            driver.doorbell()
        pass_time(stack, arguments[0] * MILLISECOND)
    elif name == "tap":
        device.taps.append(lambda skb, device: skb.consume())
    elif name == "mtu":
        if not device.up:  # what waits is for the old one
            device.mtu = arguments[0]
    elif name in ("stop", "open"):
        getattr(device, name)()
    elif device.up:
        if name == "hang":
            driver.hung = driver.tx_timeout is not None and device.carrier_ok
        elif name == "receive":
            driver.receive(bytes(12) + b"\x88\xb5" + bytes(arguments[0] - 14))
        else:
            driver.link(name == "up")


@settings(max_examples=60)
@example([("hang",), ("send", 1, 60, 0), ("wait", 20000)], 1, ModelDriver, True)
@given(st.lists(ACTIONS, max_size=30), st.sampled_from([1, 3, 100]), st.sampled_from([ModelDriver, broken.LltxModel]), st.booleans())
def test_whatever_it_goes_through_the_driver_that_keeps_the_rules_is_left_alone(actions, at_once, kind, bql):
    with Stack(clock=VirtualClock(start=SECOND)) as stack, checks.enable(stack, mode="raise"):
        driver = kind()
        driver.at_once = at_once
        device = probe(stack, driver, bql=bql)
        device.open()
        for action in actions:
            act(stack, device, driver, *action)


def test_a_packet_that_the_stack_makes_too_long_is_found(stack):
    driver = ModelDriver()
    device = probe(stack, driver)
    device.open()
    send(device, size=1518)
    assert not stack.checker.findings
    send(device, size=1519)
    (finding,) = stack.checker.findings
    assert (finding.rule.number, finding.operation) == (13, "ndo_start_xmit")
    assert finding.detail == "was handed a packet of 1519 bytes; MTU 1500 and headers are 1518"


def test_a_packet_is_freed_also_if_its_device_was_taken_off_or_its_destructor_raises(stack):
    class Orphans(ModelDriver):
        def prepare(self, skb):
            skb.dev = None

    def destructor(skb):
        raise RuntimeError("no")

    device = probe(stack, Orphans(), bql=False)
    device.open()
    send(device, 3)
    send(device, destructor=destructor)
    with pytest.raises(RuntimeError, match="no"):
        pass_time(stack, 10 * MILLISECOND)
    gc.collect()
    pass_time(stack, 10 * SECOND)
    assert stack.checker.summary() == ""


def test_findings_say_where_in_the_driver(stack):
    driver = broken.WakesInStop()
    device = probe(stack, driver)
    device.open()
    device.stop()
    (finding,) = stack.checker.findings
    line = int(finding.where.rpartition(":")[2])
    with open(broken.__file__) as source:
        assert source.read().splitlines()[line - 1].strip() == "device.txq.wake()"
