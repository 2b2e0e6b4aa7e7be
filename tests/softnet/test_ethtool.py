"""What the kernel does of ethtool between who asks and the driver: softnet.ethtool over drivers made up here."""

import errno
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from control import QuietDriver, new_device
from ethtool_driver import MODES, Ops

from fastring.clock import VirtualClock
from softnet import Feature, Stack, ethtool
from softnet.ethtool_features import GROUPS, KERNEL_FEATURES, features_named, matching
from softnet.ethtool_ops import wake_letters


@pytest.fixture
def stack():
    with Stack(clock=VirtualClock()) as stack:
        yield stack


@pytest.fixture
def device(stack):
    device = new_device(stack, QuietDriver())
    device.ethtool_ops = Ops()
    device.register()
    return device


def refusal(call, *arguments, **parameters):
    with pytest.raises(OSError, match=r"\w") as raised:
        call(*arguments, **parameters)
    return raised.value.errno, getattr(raised.value, "extack", None)


ASKED = {
    "nway_reset": {}, "get_pauseparam": {}, "set_pauseparam": {"rx_pause": True}, "set_phys_id": {"seconds": 1}, "get_ringparam": {},
    "set_ringparam": {"rx_pending": 1}, "get_coalesce": {}, "set_coalesce": {"rx_coalesce_usecs": 1}, "get_drvinfo": {},
    "get_ethtool_stats": {}, "get_regs": {}, "self_test": {}, "get_eeprom": {}, "set_eeprom": {"magic": 1, "offset": 0, "data": "00"},
    "set_settings": {"speed": 10},
}  # fmt: skip


@pytest.mark.parametrize("ops", [None, SimpleNamespace()], ids=["no ops", "none of them"])
@pytest.mark.parametrize("name", ASKED)
def test_what_a_driver_lacks_is_eopnotsupp(stack, name, ops):
    device = new_device(stack)
    device.ethtool_ops = ops
    assert refusal(getattr(ethtool, name), device, **ASKED[name])[0] == errno.EOPNOTSUPP


def test_a_driver_is_asked_for_all_that_it_has_with_the_change_in_it(device):
    ethtool.set_ringparam(device, rx_pending=50)
    ethtool.set_coalesce(device, rx_coalesce_usecs=9)
    ethtool.set_pauseparam(device, tx_pause=True)
    assert device.ethtool_ops.calls == [
        {"rx_pending": 50, "tx_pending": 20},
        {"rx_coalesce_usecs": 9, "use_adaptive_rx_coalesce": 0},
        {"autoneg": True, "rx_pause": False, "tx_pause": True},
    ]


def test_a_driver_is_not_asked_for_what_it_has_already(device):
    ethtool.set_ringparam(device, rx_pending=10, tx_pending=20)
    ethtool.set_coalesce(device, rx_coalesce_usecs=3)
    ethtool.set_pauseparam(device, autoneg=True)
    ethtool.set_ringparam(device)
    assert device.ethtool_ops.calls == []


def test_a_driver_is_not_asked_for_what_it_cannot(device):
    too_many = (errno.EINVAL, "requested ring size exceeds maximum")
    assert refusal(ethtool.set_ringparam, device, rx_pending=101) == too_many
    assert refusal(ethtool.set_ringparam, device, rx_mini_pending=1) == too_many
    assert refusal(ethtool.set_coalesce, device, tx_coalesce_usecs=1) == (errno.EINVAL, "cannot modify an unsupported parameter")
    assert refusal(ethtool.set_settings, device, wolopts="gp") == (errno.EINVAL, "cannot enable unsupported WoL mode")
    assert device.ethtool_ops.calls == []


def test_settings_are_all_that_the_driver_tells(device):
    device.open()
    assert ethtool.get_settings(device) == {
        "link_ksettings": device.ethtool_ops.link | {"supported": [*MODES, "MII", "Autoneg"], "advertising": list(MODES[:3])},
        "wol": {"supported": "ug", "wolopts": "g"},
        "msglevel": 7,
        "link": True,
    }
    ethtool.set_settings(device, speed=10, autoneg=False, wolopts="u", msglvl=3)
    assert device.ethtool_ops.calls == [{"speed": 10, "duplex": "half", "autoneg": False}, {"wolopts": "u"}, 3]
    device.stop()
    assert ethtool.get_settings(device)["link"] is False
    device.ethtool_ops = SimpleNamespace()
    assert ethtool.get_settings(device) == {"link": False}
    device.ethtool_ops = None
    assert ethtool.get_settings(device) == {}


def test_the_driver_is_shown_with_what_one_may_ask_it_for(device):
    info = ethtool.get_drvinfo(device)
    assert info["version"] == "1"
    device.ethtool_ops.get_drvinfo = lambda device: {"driver": "ops", "version": "", "fw_version": "", "bus_info": ""}
    assert ethtool.get_drvinfo(device)["version"] == version("fastring")
    assert (info["driver"], info["n_stats"], info["testinfo_len"], info["eedump_len"], info["regdump_len"]) == ("ops", 0, 1, 8, 0)


def test_the_eeprom_is_bounded(device):
    assert ethtool.get_eeprom(device) == {"magic": 0x1234, "offset": 0, "data": "0001020304050607"}
    assert ethtool.get_eeprom(device, 6, 2)["data"] == "0607"
    assert ethtool.get_eeprom(device, 8, 0)["data"] == ""
    for offset, length in ((8, 1), (0, 9), (-1, 2), (0, -1), (2**40, None)):
        assert refusal(ethtool.get_eeprom, device, offset, length)[0] == errno.EINVAL
    ethtool.set_eeprom(device, 1, 7, "ff")
    assert device.ethtool_ops.calls == [(1, 7, b"\xff")]
    assert refusal(ethtool.set_eeprom, device, 1, 7, "ffff")[0] == errno.EINVAL


def test_speed_and_duplex_choose_what_is_advertised(device):
    ops = device.ethtool_ops
    ops.link["autoneg"] = True
    for change, modes in (
        ({"speed": 100}, MODES[2:4]),
        ({"duplex": "full"}, (MODES[1], *MODES[3:])),
        ({"speed": 1000, "duplex": "full"}, MODES[4:]),
        ({"speed": 10, "advertising": ["1000baseT/Full"]}, MODES[4:]),
        ({"autoneg": True}, MODES[:3]),
    ):
        ethtool.set_settings(device, **change)
        assert (ops.calls[-1]["autoneg"], tuple(ops.calls[-1]["advertising"])) == (True, modes)
    assert refusal(ethtool.set_settings, device, speed=1000, duplex="half")[0] == errno.EINVAL
    assert refusal(ethtool.set_settings, device, speed=1)[0] == errno.EINVAL


@pytest.mark.parametrize(("blinks", "steps"), [(0, []), (1, ["on", "off", "on", "off"])])
def test_a_light_blinks_for_so_long_on_the_stacks_clock(device, stack, blinks, steps):
    calls, device.ethtool_ops.blinks = device.ethtool_ops.calls, blinks
    ethtool.set_phys_id(device, 2)
    stack.clock.advance(1_999_999_999)
    assert calls == ["active", *steps]
    stack.clock.advance(10)
    assert calls == ["active", *steps, "inactive"]
    stack.clock.advance(10**10)
    assert calls[-1] == "inactive"


def test_who_asks_again_makes_it_blink_on_and_0_ends_it(device, stack):
    calls = device.ethtool_ops.calls
    for _ in range(5):
        ethtool.set_phys_id(device, 2)
        stack.clock.advance(10**9)
    assert calls == ["active"]
    ethtool.set_phys_id(device, 0)
    stack.clock.advance(10**9)
    assert calls == ["active", "inactive"]


def test_a_light_goes_out_with_its_device(device, stack):
    ethtool.set_phys_id(device, 100)
    stack.clock.advance(10**9)
    device.unregister()
    stack.clock.advance(2 * 10**9)
    assert device.ethtool_ops.calls == ["active", "inactive"]
    assert not ethtool.BLINKING


def test_tests_tell_each_by_name(device):
    assert ethtool.self_test(device) == {"Link test": 1}
    assert ethtool.self_test(device, offline=False) == {"Link test": 0}


# --- features ---


def test_features_are_what_the_device_has(stack):
    device = new_device(stack)
    device.features |= Feature.SG | Feature.HIGHDMA
    device.hw_features |= Feature.SG
    device.register()
    shown = ethtool.get_features(device)
    assert shown["tx-scatter-gather"] == [True, False, True]
    assert shown["highdma"] == [True, True, False]
    assert shown["tx-nocache-copy"] == [False, True, False]
    assert shown["rx-gro"] == [True, False, True]


def test_what_comes_out_otherwise_than_wanted_is_told(stack):
    device = new_device(stack)
    device.hw_features |= Feature.SG | Feature.TSO | Feature.HW_CSUM
    device.register()
    assert ethtool.set_features(device, {"tx-tcp-segmentation": True}) == {"unmet": {"tx-tcp-segmentation": False}, "changed": {}}
    wanted = {"tx-checksum-ip-generic": True}
    assert ethtool.set_features(device, wanted) == {"unmet": {}, "changed": wanted | {"tx-tcp-segmentation": True}}
    assert ethtool.set_features(device, wanted) == {"unmet": {}, "changed": {}}
    assert ethtool.set_features(device, {"highdma": True})["unmet"] == {"highdma": False}
    assert refusal(ethtool.set_features, device, {"nope": True}) == (errno.EOPNOTSUPP, "bit name not found")


def test_every_feature_of_softnet_has_a_name_once():
    bits = [bit for bit in KERNEL_FEATURES.values() if bit]
    assert sorted(bits) == sorted(Feature(bit) for bit in Feature if bit)


def test_groups_are_the_features_they_were():
    assert features_named("tso") == features_named("tcp-segmentation-offload")
    assert features_named("tso") == [f"tx-tcp{kind}-segmentation" for kind in ("", "-ecn", "-mangleid", "6")]
    assert features_named("rx-checksumming") == ["rx-checksum"]
    assert features_named("highdma") == ["highdma"]
    assert all(matching(pattern) for _, _, pattern in GROUPS)


def test_wake_up_is_spelled_by_letters():
    assert [wake_letters(letters) for letters in ("gu", "gug", "pd", "pdg", "", "fsgabmup")] == ["ug", "ug", "d", "g", "d", "pumbagsf"]
    with pytest.raises(ValueError, match="'gx': what wakes is some of"):
        wake_letters("gx")
