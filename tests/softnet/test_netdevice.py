"""NetDevice: the order of registering, opening, stopping and unregistering, its MTU, its statistics; over a driver of the tests' own."""

import errno
from contextlib import ExitStack, contextmanager

import pytest

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst, CountingSink
from fastring.wire import NullWire, pair
from softnet import Feature, NetDevice, Stack, Stats64

MAC = bytes.fromhex("525400000001")


class Driver:
    """net_device_ops over a real card that note what is called, and can fail."""

    def __init__(self, ops):
        self.ops = ops
        self.calls = []
        self.fails = False

    def open(self, device):
        self.calls.append("open")
        if self.fails:
            raise OSError(errno.EIO, "the card is on fire")
        return self.ops.open(device)

    def stop(self, device):
        self.calls.append("stop")
        self.ops.stop(device)
        if self.fails:
            raise OSError(errno.EIO, "the card is on fire")

    def get_stats64(self, device, stats):
        self.ops.get_stats64(device, stats)


@pytest.fixture
def stack():
    with Stack() as stack:
        yield stack


@pytest.fixture
def wire():
    return NullWire()


@pytest.fixture
def device(stack, wire):
    with E1000Device(mac="52:54:00:00:00:01", wire=wire) as card, LocalBus(card) as bus:
        device = probe(bus, stack)
        device.netdev_ops = Driver(device.netdev_ops)
        device.features &= ~Feature.HW_VLAN_CTAG_FILTER
        yield device
        device.unregister()


@contextmanager
def raises(number):
    """A context in which an OSError with this errno must be raised."""
    with pytest.raises(OSError, match=r"\w") as raised:
        yield
    assert raised.value.errno == number, raised.value


# --- the order of things ---


def test_registering_gives_a_name_and_an_index(device, stack):
    assert (device.registered, device.ifindex) == (False, 0)
    device.register()
    assert (device.name, device.ifindex, device.registered, device.up) == ("eth0", 1, True, False)
    assert stack.devices == {"eth0": device}


def test_registering_twice_is_refused(device):
    device.register()
    with raises(errno.EBUSY):
        device.register()


@pytest.mark.parametrize("address", [b"", MAC[:5], bytes(6), b"\xff" * 6, b"\x01" + MAC[1:]])
@pytest.mark.breaks_rules(9)
def test_a_device_without_a_valid_address_is_not_registered(address, device, stack):
    device.dev_addr = address
    with raises(errno.EADDRNOTAVAIL):
        device.register()
    assert (stack.devices, device.registered) == ({}, False)


def test_a_name_in_use_is_not_registered_again(device, stack):
    stack.devices["wan"] = object()
    device.name = "wan"
    with raises(errno.EEXIST):
        device.register()
    assert not device.registered
    del stack.devices["wan"]


def test_opening_needs_registering(device):
    with raises(errno.ENODEV):
        device.open()
    assert device.netdev_ops.calls == []


def test_open_and_stop_call_the_driver_once(device):
    device.register()
    for _ in range(2):
        device.open()
        assert device.up
    for _ in range(2):
        device.stop()
        assert not device.up
    assert device.netdev_ops.calls == ["open", "stop"]


def test_it_can_be_opened_and_stopped_over_and_over(device):
    device.register()
    for number in range(1, 4):
        device.open()
        assert device.xmit(Burst.from_packets([bytes(60)] * 10)) == 10
        device.stack.run()
        device.stop()
        assert device.stats64.tx_packets == 10 * number


def test_stopping_what_was_never_opened_does_nothing(device):
    device.stop()
    device.register()
    device.stop()
    assert device.netdev_ops.calls == []


def test_a_driver_that_cannot_open_leaves_it_down_and_may_be_tried_again(device):
    device.register()
    device.netdev_ops.fails = True
    with raises(errno.EIO):
        device.open()
    assert not device.up
    assert device.txq.down
    device.stop()
    assert device.netdev_ops.calls == ["open"]
    device.netdev_ops.fails = False
    device.open()
    assert device.up
    assert not device.txq.down


def test_unregistering_an_open_device_stops_it_first(device, stack):
    device.register()
    device.open()
    device.unregister()
    assert device.netdev_ops.calls == ["open", "stop"]
    assert (device.up, device.registered, stack.devices) == (False, False, {})
    device.unregister()
    assert device.netdev_ops.calls == ["open", "stop"]


def test_a_device_whose_driver_cannot_stop_cleanly_is_down_and_forgotten_all_the_same(device, stack):
    device.register()
    device.open()
    device.netdev_ops.fails = True
    with raises(errno.EIO):
        device.unregister()
    assert (device.up, device.registered, stack.devices) == (False, False, {})


def test_an_unregistered_device_may_be_registered_again_with_its_name_and_a_new_index(device):
    device.register()
    device.unregister()
    device.register()
    assert (device.name, device.ifindex) == ("eth0", 2)


def test_with_registers_opens_and_unregisters(device, stack):
    with device as same:
        assert same is device
        assert device.up
    assert (device.up, stack.devices) == (False, {})


def test_closing_the_stack_unregisters_every_device(device, stack):
    device.register()
    device.open()
    stack.close()
    assert (device.up, device.registered, stack.devices) == (False, False, {})


def test_two_devices_of_one_stack_reach_each_other(stack):
    near, far = pair()
    sink = CountingSink()
    with ExitStack() as undo:
        buses = [undo.enter_context(LocalBus(undo.enter_context(E1000Device(wire=wire)))) for wire in (near, far)]
        sender, receiver = (undo.enter_context(probe(bus, stack)) for bus in buses)
        assert [sender.name, receiver.name] == list(stack.devices) == ["eth0", "eth1"]
        receiver.stop()
        receiver.sink = sink
        receiver.open()
        sender.xmit(Burst.from_packets([b"\xff" * 6 + bytes(54)] * 7))
        stack.run()
        assert (sink.packets, receiver.stats64.rx_packets, sender.stats64.tx_packets) == (7, 7, 7)


# --- transmit ---


def test_transmitting_while_down_is_refused(device, wire):
    burst = Burst.from_packets([bytes(60)])
    for prepare in (lambda: None, device.register, device.open, device.stop, device.unregister):
        prepare()
        if device.up:
            continue
        with raises(errno.ENETDOWN):
            device.xmit(burst)
        with raises(errno.ENETDOWN):
            device.transmitter()
        with raises(errno.ENETDOWN):
            _ = device.xmit_target
    assert wire.packets == 0


def test_packets_too_long_for_the_mtu_are_dropped_and_counted_and_the_others_sent(device, wire):
    with device:
        lengths = [60, 1519, 1518, 5000, 1514]
        assert device.xmit(Burst.from_packets([bytes(n) for n in lengths])) == 3
        device.stack.run()
        stats = device.stats64
    assert (wire.packets, wire.bytes) == (3, 60 + 1518 + 1514)
    assert (stats.tx_packets, stats.tx_dropped) == (3, 2)


def test_more_packets_than_the_ring_holds_go_out_by_flow_control(device, wire):
    with device:
        assert device.xmit(Burst.from_packets([bytes(60)] * 5000)) == 5000
        device.stack.run()
    assert wire.packets == 5000


# --- the MTU ---


@pytest.mark.parametrize("mtu", [46, 68, 1500, 9000, 16110])
def test_an_mtu_in_range_is_taken_while_down(mtu, device):
    device.mtu = mtu
    assert (device.mtu, device.max_frame) == (mtu, mtu + 18)
    with device:
        assert device.mtu == mtu


@pytest.mark.parametrize("mtu", [-1, 0, 45, 16111, 1 << 40])
def test_an_mtu_out_of_range_is_refused_and_the_old_one_stays(mtu, device):
    with raises(errno.EINVAL):
        device.mtu = mtu
    assert device.mtu == 1500


def test_the_mtu_of_an_open_device_stays(device):
    with device:
        with raises(errno.EBUSY):
            device.mtu = 9000
        assert device.mtu == 1500
        device.stop()
        device.mtu = 9000
        device.open()
        assert device.xmit(Burst.from_packets([bytes(9014)])) == 1


def test_a_device_is_not_made_with_an_mtu_out_of_its_range(stack, device):
    with raises(errno.EINVAL):
        NetDevice(stack, device.netdev_ops, dev_addr=MAC, mtu=1501)
    with raises(errno.EINVAL):
        NetDevice(stack, device.netdev_ops, dev_addr=MAC, mtu=67)


# --- statistics ---


def test_statistics_stay_when_it_is_taken_down_and_forgotten(device):
    device.register()
    device.open()
    device.xmit(Burst.from_packets([bytes(100)] * 30 + [bytes(2000)]))
    device.stack.run()
    counted = device.stats64
    assert (counted.tx_packets, counted.tx_bytes, counted.tx_dropped) == (30, 3000, 1)
    device.stop()
    assert device.stats64 == counted
    device.unregister()
    assert device.stats64 == counted


def test_statistics_read_are_a_copy(device):
    device.stats64.tx_packets = 99
    assert device.stats64 == Stats64()


def test_repr_names_what_matters(device):
    device.register()
    assert "eth0: DOWN, mtu 1500, 52:54:00:00:00:01" in repr(device)
    device.open()
    assert "eth0: UP" in repr(device)
    assert repr(Stats64(tx_packets=3)) == "Stats64(tx_packets=3)"
    assert "eth0" in repr(device.stack)
