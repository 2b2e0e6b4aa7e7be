"""What is configured of a device: MTU, address, flags, receive mode, features, VLANs; vetoes and failures are undone (net/core/dev.c)."""

import errno
import logging
import threading

import pytest
from control import MAC, Listener, NotingDriver, QuietDriver, new_device

from softnet import Feature, Flag, NetDevice, dev_queue_xmit
from softnet.netdev_features import fix_features
from softnet.netdev_rx_mode import COUNT_MAX, AddrAssign

OTHER = bytes.fromhex("020000000009")
GROUP = bytes.fromhex("01005e000001")


@pytest.fixture
def driver():
    return NotingDriver()


@pytest.fixture
def device(stack, driver):
    device = new_device(stack, driver, max_mtu=9000)
    device.unicast_flt = True
    device.register()
    device.open()
    driver.calls.clear()
    return device


def refusal(call, *arguments, **options):
    with pytest.raises(OSError, match=r"\w") as raised:
        call(*arguments, **options)
    return raised.value.errno


def set_mtu(device, mtu):
    device.mtu = mtu


# --- MTU ---


def test_the_mtu_changes_while_up_when_the_driver_can(device, driver, stack):
    listener = Listener()
    stack.notifiers.append(listener)
    device.mtu = 9000
    device.mtu = 9000
    assert (device.mtu, driver.calls, listener.heard) == (9000, [("change_mtu", 9000)], ["PRECHANGEMTU", "CHANGEMTU"])


def test_a_driver_that_takes_packets_needs_no_change_mtu(stack):
    device = new_device(stack, QuietDriver(), max_mtu=9000)
    device.register()
    device.open()
    device.mtu = 9000
    assert device.mtu == 9000


def test_a_driver_that_cannot_change_the_mtu_keeps_the_old_one(device, driver):
    driver.fails = {"change_mtu"}
    assert refusal(set_mtu, device, 9000) == errno.EIO
    assert device.mtu == 1500


def test_an_mtu_refused_beforehand_never_reaches_the_driver(device, driver, stack):
    stack.notifiers.append(Listener("PRECHANGEMTU"))
    assert refusal(set_mtu, device, 9000) == errno.EBUSY
    assert (device.mtu, driver.calls) == (1500, [])


def test_an_mtu_refused_afterwards_is_set_back_in_the_driver_too_and_told_again(device, driver, stack):
    first, second = Listener(), Listener("CHANGEMTU")
    stack.notifiers += [first, second]
    assert refusal(set_mtu, device, 9000) == errno.EBUSY
    assert (device.mtu, driver.calls) == (1500, [("change_mtu", 9000), ("change_mtu", 1500)])
    assert first.heard == ["PRECHANGEMTU", "CHANGEMTU", "CHANGEMTU"]


def test_a_device_without_a_greatest_mtu_takes_any(stack):
    device = new_device(stack)
    device.max_mtu = 0
    device.mtu = 1 << 20
    assert device.mtu == 1 << 20
    assert refusal(set_mtu, device, 67) == errno.EINVAL


# --- address ---


def test_the_address_changes_while_up(device, driver, stack):
    listener = Listener()
    stack.notifiers.append(listener)
    assert (device.perm_addr, device.addr_assign_type) == (MAC, AddrAssign.PERM)
    device.set_mac_address(OTHER)
    assert (device.dev_addr, device.perm_addr, device.addr_assign_type) == (OTHER, MAC, AddrAssign.SET)
    assert (driver.calls, listener.heard) == ([("set_mac_address", OTHER)], ["PRE_CHANGEADDR", "CHANGEADDR"])


@pytest.mark.parametrize("address", [bytes(6), GROUP, b"\xff" * 6, MAC[:5], b""])
def test_an_address_no_card_may_have_is_refused(device, driver, address):
    assert refusal(device.set_mac_address, address) == errno.EADDRNOTAVAIL
    assert (device.dev_addr, driver.calls) == (MAC, [])


@pytest.mark.parametrize("value", [1 << 31, None, "02:00:00:00:00:01", [2, 0, 0, 0, 0, 1]])
def test_an_address_is_bytes(device, value):
    with pytest.raises(TypeError, match="an address is six bytes, not "):
        device.set_mac_address(value)


@pytest.mark.parametrize("alias", ["a\0b", "\udc80"])
def test_an_alias_is_text_that_can_be_written(device, alias):
    assert refusal(device.set_alias, alias) == errno.EINVAL
    with pytest.raises(TypeError, match="an alias is a text, not 5"):
        device.set_alias(5)


@pytest.mark.parametrize("what", [None, b"packet", 5])
def test_what_is_sent_is_an_skbuff(what):
    with pytest.raises(TypeError, match="an SkBuff is sent, not "):
        dev_queue_xmit(what)


def test_an_address_that_a_notifier_or_the_driver_refuses_stays(device, driver, stack):
    stack.notifiers.append(Listener("PRE_CHANGEADDR"))
    assert refusal(device.set_mac_address, OTHER) == errno.EBUSY
    assert driver.calls == []
    stack.notifiers.clear()
    driver.fails = {"set_mac_address"}
    assert refusal(device.set_mac_address, OTHER) == errno.EIO
    assert (device.dev_addr, device.addr_assign_type) == (MAC, AddrAssign.PERM)


# --- flags and receive mode ---


def test_promiscuous_is_counted_told_to_the_driver_once_and_logged(device, driver, caplog):
    caplog.set_level(logging.INFO, "softnet")
    for change, calls in ((1, 1), (2, 1), (-2, 1), (-1, 2)):
        device.set_promiscuity(change)
        assert driver.calls == ["set_rx_mode"] * calls
    assert caplog.messages == ["eth0: entered promiscuous mode", "eth0: left promiscuous mode"]
    assert refusal(device.set_promiscuity, -1) == errno.EINVAL
    assert device.promiscuity == 0


def test_allmulti_is_counted_the_same(device, driver, caplog):
    caplog.set_level(logging.INFO, "softnet")
    for change in (1, 1, -1, -1):
        device.set_allmulti(change)
    assert driver.calls == ["set_rx_mode"] * 2
    assert caplog.messages == ["eth0: entered allmulticast mode", "eth0: left allmulticast mode"]
    assert refusal(device.set_allmulti, -1) == errno.EINVAL


@pytest.mark.parametrize("what", ["promiscuity", "allmulti"])
def test_a_count_that_would_overflow_is_left_alone(device, driver, what, caplog):
    setattr(device, what, COUNT_MAX)
    assert refusal(getattr(device, f"set_{what}"), 1) == errno.EOVERFLOW
    assert getattr(device, what) == COUNT_MAX
    assert f"eth0: {what} touches roof, set {what} failed. {what} feature of device might be broken." in caplog.text
    assert driver.calls == []
    setattr(device, what, 0)


def test_users_see_promiscuous_only_when_one_of_them_asked(device):
    device.set_promiscuity(1)
    assert device.flags & Flag.PROMISC
    assert not device.get_flags() & Flag.PROMISC
    device.promiscuous = True
    assert device.get_flags() & Flag.PROMISC
    assert device.promiscuity == 2
    device.promiscuous = False
    assert device.promiscuous


def test_the_receive_mode_is_set_at_open_and_not_while_down(device, driver):
    device.stop()
    driver.calls.clear()
    device.uc.add(OTHER)
    device.mc.add(GROUP)
    device.set_promiscuity(1)
    assert driver.calls == []
    device.open()
    assert driver.calls == ["validate_addr", "open", "set_rx_mode"]


def test_each_change_of_a_list_asks_the_driver_once_under_the_address_lock(device, driver):
    for addresses in (device.uc, device.mc):
        driver.calls.clear()
        addresses.add(OTHER)
        addresses.add(OTHER)
        addresses.delete(OTHER)
        assert (list(addresses), addresses.refs(OTHER), driver.calls) == ([OTHER], 1, ["set_rx_mode"])
        addresses.delete(OTHER)
        assert (list(addresses), driver.calls) == ([], ["set_rx_mode"] * 2)
        assert refusal(addresses.delete, OTHER) == errno.ENOENT
        assert refusal(addresses.add, b"12345") == errno.EINVAL
    assert not device.addr_lock.held


def test_a_driver_that_adds_an_address_in_set_rx_mode_deadlocks_and_is_told(device, driver):
    driver.set_rx_mode = lambda device: device.mc.add(OTHER)
    with pytest.raises(RuntimeError, match="address lock is held by this very thread"):
        device.mc.add(GROUP)
    del driver.set_rx_mode
    device.mc.add(OTHER)


def test_lists_changed_by_threads_lose_nothing(device, driver):
    def add(first):
        for i in range(200):
            device.mc.add(bytes([1, 0, 0, 0, first, i]))
            device.mc.add(GROUP)

    threads = [threading.Thread(target=add, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(device.mc), device.mc.refs(GROUP), len(driver.calls)) == (801, 800, 801)


def test_a_card_without_unicast_filter_is_promiscuous_while_it_has_other_addresses(device, driver):
    device.unicast_flt = False
    device.uc.add(OTHER)
    device.uc.add(bytes.fromhex("02000000000a"))
    assert (device.promiscuity, driver.calls) == (1, ["set_rx_mode"] * 2)
    for address in device.uc:
        device.uc.delete(address)
    assert device.promiscuity == 0


def test_unregistering_forgets_the_lists_without_asking_the_driver(device, driver):
    device.mc.add(GROUP)
    driver.calls.clear()
    device.unregister()
    assert (len(device.mc), driver.calls) == (0, ["stop", "uninit"])


def test_flags_are_changed_as_a_user_does(device, driver, stack):
    listener = Listener()
    stack.notifiers.append(listener)
    device.change_flags(Flag.UP | Flag.MULTICAST | Flag.NOARP | Flag.PROMISC | Flag.RUNNING)
    assert device.get_flags() & Flag.NOARP
    assert device.get_flags() & Flag.BROADCAST  # no user's to change
    assert (device.promiscuity, listener.heard) == (1, ["CHANGE"])
    device.change_flags(Flag.ALLMULTI)
    assert (device.up, device.promiscuity, device.allmulti) == (False, 0, 1)
    assert listener.heard[1:] == ["GOING_DOWN", "DOWN"]
    device.change_flags(Flag.UP)
    assert (device.up, device.allmulti) == (True, 0)


def test_a_queue_length_that_a_notifier_refuses_is_set_back(device, stack, caplog):
    device.change_tx_queue_len(5)
    assert device.tx[0].qdisc.limit == 5
    stack.notifiers.append(Listener("CHANGE_TX_QUEUE_LEN"))
    assert refusal(device.change_tx_queue_len, 7) == errno.EBUSY
    assert device.tx_queue_len == 5
    assert "eth0: refused to change device tx_queue_len" in caplog.text
    assert refusal(device.change_tx_queue_len, 1 << 32) == errno.ERANGE


def test_an_alias_has_a_greatest_length(device):
    device.set_alias("a" * 255)
    assert refusal(device.set_alias, "é" * 128) == errno.EINVAL
    assert device.ifalias == "a" * 255


# --- features ---

F = Feature


@pytest.mark.parametrize(
    ("features", "fixed"),
    [
        (F.SG | F.HW_CSUM | F.TSO | F.TSO6 | F.GSO, F.SG | F.HW_CSUM | F.TSO | F.TSO6 | F.GSO),
        (F.HW_CSUM | F.TSO | F.TSO6 | F.TSO_ECN | F.GSO, F.HW_CSUM),
        (F.SG | F.TSO | F.TSO_ECN, F.SG),
        (F.SG | F.IPV6_CSUM | F.TSO | F.TSO6, F.SG | F.IPV6_CSUM | F.TSO6),
        (F.SG | F.IP_CSUM | F.TSO | F.TSO6, F.SG | F.IP_CSUM | F.TSO),
        (F.SG | F.HW_CSUM | F.TSO_ECN, F.SG | F.HW_CSUM),
        (F.HW_CSUM | F.IP_CSUM | F.IPV6_CSUM, F.HW_CSUM),
        (F.SG | F.IP_CSUM | F.GSO_UDP_L4, F.SG | F.IP_CSUM),
        (F.SG | F.IP_CSUM | F.IPV6_CSUM | F.GSO_UDP_L4, F.SG | F.IP_CSUM | F.IPV6_CSUM | F.GSO_UDP_L4),
        (F.NONE, F.NONE),
    ],
)
def test_features_go_only_with_those_they_need(features, fixed):
    result, why = fix_features(features)
    assert result == fixed
    assert bool(why) is (features != fixed)
    assert fix_features(result) == (result, [])


def switchable(stack, driver):
    device = NetDevice(stack, driver, dev_addr=MAC)
    device.hw_features = F.SG | F.HW_CSUM | F.TSO | F.RXCSUM
    device.features |= device.hw_features
    device.register()
    driver.calls.clear()
    return device


def test_what_needs_a_feature_goes_and_comes_with_it(stack, driver):
    device = switchable(stack, driver)
    listener = Listener()
    stack.notifiers.append(listener)
    assert device.set_features(off=F.SG) == F.NONE
    assert not device.features & (F.SG | F.TSO | F.GSO)
    assert device.set_features(on=F.TSO) == F.TSO
    assert device.set_features(on=F.SG) == F.NONE
    assert device.features & F.TSO
    assert driver.calls == ["set_features"] * 2
    assert listener.heard == ["FEAT_CHANGE"] * 2


def test_a_driver_that_fails_to_switch_leaves_the_features_as_they_were(stack, driver, caplog):
    device = switchable(stack, driver)
    before = device.features
    driver.fails = {"set_features"}
    assert device.set_features(off=F.RXCSUM) == F.RXCSUM
    assert device.features == before
    assert "eth0: set_features() failed (-5)" in caplog.text
    driver.fails = set()
    with stack.rtnl:
        device.update_features()
    assert not device.features & F.RXCSUM


def test_what_the_driver_fixes_is_heeded(stack, driver):
    driver.fix_features = lambda device, features: features & ~F.RXCSUM
    device = switchable(stack, driver)
    assert not device.features & F.RXCSUM
    assert device.set_features(on=F.RXCSUM) == F.RXCSUM


def test_what_is_fixed_is_no_users_to_switch(stack, driver):
    device = switchable(stack, driver)
    assert refusal(device.set_features, on=F.RXFCS) == errno.EOPNOTSUPP
    assert device.set_features(off=F.RXFCS) == F.NONE  # it is off


# --- VLANs ---


def filtering(stack, driver):
    device = switchable(stack, driver)
    device.hw_features |= F.HW_VLAN_CTAG_FILTER
    device.set_features(on=F.HW_VLAN_CTAG_FILTER)
    driver.calls.clear()
    return device


def test_a_vlan_is_let_in_once_and_out_with_the_last(stack, driver):
    device = filtering(stack, driver)
    for _ in range(3):
        device.vlan_add_vid(7)
    for _ in range(3):
        assert ("kill_vid", 7) not in driver.calls
        device.vlan_del_vid(7)
    assert driver.calls == [("add_vid", 7), ("kill_vid", 7)]
    assert refusal(device.vlan_del_vid, 7) == errno.ENOENT
    assert refusal(device.vlan_add_vid, 4096) == errno.EINVAL


def test_a_vlan_that_the_driver_refuses_is_not_added_and_one_it_does_not_let_go_is_gone(stack, driver, caplog):
    device = filtering(stack, driver)
    driver.fails = {"add_vid", "kill_vid"}
    assert refusal(device.vlan_add_vid, 7) == errno.EIO
    assert device.vlans == {}
    driver.fails = {"kill_vid"}
    device.vlan_add_vid(7)
    device.vlan_del_vid(7)
    assert device.vlans == {}
    assert "eth0: failed to kill vid 8100/7" in caplog.text


def test_the_filter_hears_of_vlans_when_it_is_switched(stack, driver):
    device = filtering(stack, driver)
    device.vlan_add_vid(7)
    device.vlan_add_vid(8, proto=0x88A8)
    device.set_features(off=F.HW_VLAN_CTAG_FILTER)
    device.vlan_add_vid(9)
    device.set_features(on=F.HW_VLAN_CTAG_FILTER)
    calls = [call for call in driver.calls if call != "set_features"]
    assert calls == [("add_vid", 7), ("kill_vid", 7), ("add_vid", 7), ("add_vid", 9)]


# --- ioctl ---


class Asked(QuietDriver):
    """Notes ioctls and whether rtnl was held."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def eth_ioctl(self, device, command, argument):
        self.asked.append((command, argument, device.stack.rtnl.held))
        return "answer"


def test_an_ioctl_is_the_drivers_under_rtnl_up_or_down(stack):
    driver = Asked()
    device = new_device(stack, driver)
    assert refusal(device.eth_ioctl, 0x8947, None) == errno.ENODEV
    device.register()
    assert device.eth_ioctl(0x8947, "argument") == "answer"
    device.open()
    assert device.eth_ioctl(0x8948, None) == "answer"
    assert driver.asked == [(0x8947, "argument", True), (0x8948, None, True)]


def test_a_driver_without_ioctls_has_none(device):
    assert refusal(device.eth_ioctl, 0x8947, None) == errno.EOPNOTSUPP
