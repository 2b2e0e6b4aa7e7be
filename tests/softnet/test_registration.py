"""Registering, notifiers, references and renaming: the order of things, and that what fails is undone whole (net/core/dev.c)."""

import errno
import logging

import pytest
from control import Listener, NotingDriver, new_device

from softnet import Feature, Stack, alloc_etherdev, alloc_netdev_mqs
from softnet.netdev_features import RegState


def refusal(call, *arguments):
    with pytest.raises(OSError, match=r"\w") as raised:
        call(*arguments)
    return raised.value.errno


# --- notifiers ---


def test_notifiers_hear_of_a_life_in_order(stack):
    listener = Listener()
    stack.register_netdevice_notifier(listener)
    device = new_device(stack)
    device.register()
    device.open()
    device.unregister()
    assert listener.heard == ["POST_INIT", "REGISTER", "PRE_UP", "UP", "GOING_DOWN", "DOWN", "UNREGISTER", "PRE_UNINIT"]


def test_a_device_is_up_when_up_and_going_down_are_told_and_not_before_or_after(stack):
    states = []
    stack.register_netdevice_notifier(lambda event, device: states.append((event.name, device.up, device.running)))
    device = new_device(stack)
    device.register()
    device.open()
    device.stop()
    assert states[2:] == [("PRE_UP", False, False), ("UP", True, True), ("GOING_DOWN", True, True), ("DOWN", False, False)]


def test_the_driver_is_asked_between_the_notifiers(stack):
    driver = NotingDriver()
    stack.register_netdevice_notifier(lambda event, device: driver.calls.append(event.name))
    device = new_device(stack, driver)
    device.register()
    device.open()
    device.unregister()
    assert driver.calls == [
        "init", "POST_INIT", "REGISTER", "PRE_UP", "validate_addr", "open", "set_rx_mode", "UP", "GOING_DOWN", "stop", "DOWN", "UNREGISTER",
        "PRE_UNINIT", "uninit",
    ]  # fmt: skip


def test_a_new_notifier_is_told_of_the_devices_there_are_and_one_that_leaves_sees_them_go(stack):
    devices = [new_device(stack) for _ in range(2)]
    for device in devices:
        device.register()
    devices[1].open()
    told = []

    def listener(event, device):
        told.append((event.name, device.name))

    stack.register_netdevice_notifier(listener)
    assert told == [("REGISTER", "eth0"), ("REGISTER", "eth1"), ("UP", "eth1")]
    told.clear()
    stack.unregister_netdevice_notifier(listener)
    assert told == [("UNREGISTER", "eth0"), ("GOING_DOWN", "eth1"), ("DOWN", "eth1"), ("UNREGISTER", "eth1")]
    devices[0].unregister()
    assert len(told) == 4
    assert refusal(stack.unregister_netdevice_notifier, listener) == errno.ENOENT


def test_a_new_notifier_that_refuses_a_device_is_taken_back_from_those_before_it(stack):
    for _ in range(2):
        new_device(stack).register()
    told = []

    def listener(event, device):
        told.append((event.name, device.name))
        if told[-1] == ("REGISTER", "eth1"):
            raise OSError(errno.EPERM, "not this one")

    assert refusal(stack.register_netdevice_notifier, listener) == errno.EPERM
    assert told == [("REGISTER", "eth0"), ("REGISTER", "eth1"), ("UNREGISTER", "eth0")]
    assert stack.notifiers == []


@pytest.mark.parametrize("event", ["POST_INIT", "REGISTER"])
def test_a_notifier_may_refuse_a_device_and_nothing_of_it_stays(stack, event):
    listener = Listener(event)
    stack.register_netdevice_notifier(listener)
    driver = NotingDriver()
    device = new_device(stack, driver)
    assert refusal(device.register) == errno.EBUSY
    assert driver.calls == ["init", "uninit"]
    assert (stack.devices, device.registered, device.name) == ({}, False, "eth%d")
    assert listener.heard == {"POST_INIT": ["POST_INIT"], "REGISTER": ["POST_INIT", "REGISTER", "UNREGISTER", "PRE_UNINIT"]}[event]
    listener.refuses.clear()
    device.register()
    assert device.name == "eth0"


def test_a_notifier_may_refuse_that_a_device_goes_up(stack):
    listener = Listener("PRE_UP")
    stack.register_netdevice_notifier(listener)
    driver = NotingDriver()
    device = new_device(stack, driver)
    device.register()
    assert refusal(device.open) == errno.EBUSY
    assert (device.up, device.running, driver.calls) == (False, False, ["init"])


@pytest.mark.parametrize("event", ["UP", "GOING_DOWN", "DOWN", "UNREGISTER"])
def test_what_has_happened_cannot_be_refused_and_everybody_hears_of_it(stack, event, caplog):
    first, second = Listener(event), Listener()
    for listener in (first, second):
        stack.register_netdevice_notifier(listener)
    device = new_device(stack)
    device.register()
    device.open()
    device.unregister()
    assert event in second.heard
    assert not device.registered
    assert f"a notifier failed at {event}" in caplog.text


# --- registering ---


def test_a_driver_whose_init_fails_is_not_registered_and_not_asked_to_undo_it(stack):
    driver = NotingDriver("init")
    device = new_device(stack, driver)
    assert refusal(device.register) == errno.EIO
    assert (driver.calls, stack.devices, device.name, device.ifindex) == (["init"], {}, "eth%d", 0)


def test_a_driver_that_filters_vlans_without_the_operations_is_refused(stack):
    class Buggy:
        open = stop = start_xmit = None

    device = new_device(stack, Buggy())
    device.features |= Feature.HW_VLAN_CTAG_FILTER
    assert refusal(device.register) == errno.EINVAL
    assert stack.devices == {}


def test_what_a_driver_says_of_its_address_is_asked_at_open(stack):
    driver = NotingDriver("validate_addr")
    device = new_device(stack, driver)
    device.register()
    assert refusal(device.open) == errno.EIO
    assert driver.calls == ["init", "validate_addr"]
    assert (device.up, device.running, device.txq.down) == (False, False, True)


def test_a_stack_that_closes_unregisters_the_others_though_one_fails():
    stack = Stack()
    devices = [new_device(stack, NotingDriver(*fails)) for fails in (("stop",), ())]
    for device in devices:
        device.register()
        device.open()
    assert refusal(stack.close) == errno.EIO
    assert [(device.up, device.registered) for device in devices] == [(False, False)] * 2


# --- allocating ---


def test_a_device_has_at_least_one_queue_each_way_and_a_name(stack):
    for options in ({"txqs": 0}, {"rxqs": 0}, {"name": ""}, {"name": "a" * 16}):
        assert refusal(lambda options=options: alloc_netdev_mqs(stack, **options)) == errno.EINVAL
    device = alloc_etherdev(stack, {"mine": 1}, txqs=4, rxqs=2)
    assert (device.num_tx_queues, device.num_rx_queues, device.name, device.mtu) == (4, 2, "eth%d", 1500)
    assert device.priv == {"mine": 1}


def test_a_setup_that_fails_leaves_no_device(stack):
    made = []

    def setup(device):
        made.append(device)
        raise MemoryError

    with pytest.raises(MemoryError):
        alloc_netdev_mqs(stack, object(), setup=setup)
    assert made[0].reg_state is RegState.RELEASED


# --- references ---


@pytest.mark.breaks_rules(12)  # that is what it is about
def test_private_data_goes_with_the_last_reference(stack):
    device = new_device(stack, priv="mine")
    device.register()
    device.hold()
    device.get_device()
    device.unregister()
    device.free()
    for put in (device.put, device.put_device):
        assert device.priv == "mine"
        put()
    assert device.reg_state is RegState.RELEASED
    with pytest.raises(RuntimeError, match="after free_netdev"):
        _ = device.priv
    for call in (device.hold, device.get_device, device.put, device.put_device):
        with pytest.raises(RuntimeError, match=r"freed|given back"):
            call()
    assert refusal(device.register) == errno.EINVAL


@pytest.mark.breaks_rules(12)  # that is what it is about
def test_a_registered_device_is_not_freed(stack):
    device = new_device(stack)
    device.register()
    assert refusal(device.free) == errno.EBUSY


@pytest.mark.breaks_rules(12)  # that is what it is about
def test_who_still_uses_a_device_that_went_is_told_of(stack, caplog):
    device = new_device(stack)
    device.register()
    device.hold()
    device.get_device()  # keeps the object, but nobody waits for it
    device.unregister()
    assert "unregister_netdevice: waiting for eth0 to become free. Usage count = 2" in caplog.text
    device.put_device()
    device.put()


def test_who_lets_go_when_told_is_not_waited_for(stack, caplog):
    device = new_device(stack)
    device.register()
    device.hold()
    stack.notifiers.append(lambda event, device: device.put() if event.name == "UNREGISTER" else None)
    device.unregister()
    assert caplog.text == ""
    assert device.refs == 1


def test_a_link_event_on_its_way_keeps_no_device(stack, caplog):
    device = new_device(stack)
    device.register()
    device.carrier_off()
    assert device.refs == 2
    device.unregister()
    assert (device.refs, caplog.text, stack.linkwatch.run()) == (1, "", 0)


# --- renaming ---


@pytest.mark.parametrize("up", [False, True])
def test_a_device_may_be_renamed_and_keeps_its_place(stack, up, caplog):
    caplog.set_level(logging.INFO, "softnet")
    devices = [new_device(stack) for _ in range(2)]
    listener = Listener()
    for device in devices:
        device.register()
    if up:
        devices[0].open()
    stack.notifiers.append(listener)
    devices[0].rename("wan%d")
    assert (list(stack.devices), devices[0].name, listener.heard) == (["wan0", "eth1"], "wan0", ["CHANGENAME"])
    assert caplog.messages == ["wan0: renamed from eth0" + (" (while UP)" if up else "")]
    devices[0].rename("wan0")
    assert listener.heard == ["CHANGENAME"]
    stack.notifiers.clear()
    assert refusal(devices[0].rename, "eth1") == errno.EEXIST
    assert refusal(devices[0].rename, "a/b") == errno.EINVAL


def test_a_name_that_a_notifier_refuses_is_set_back_and_told_again(stack):
    device = new_device(stack)
    device.register()
    names = []

    def listener(event, device):
        names.append(device.name)
        if len(names) == 1:
            raise OSError(errno.EBUSY, "no")

    stack.notifiers.append(listener)
    assert refusal(device.rename, "wan") == errno.EBUSY
    assert (names, list(stack.devices), device.name) == (["wan", "eth0"], ["eth0"], "eth0")
    stack.notifiers.clear()
