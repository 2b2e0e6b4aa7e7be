"""`fastring ethtool` on a card under traffic in another process."""

import json

import pytest


def test_ethtool_shows_the_link(ok):
    shown = ok("ethtool eth1")
    assert shown.startswith("Settings for eth1:\n\tSupported ports: [ ")
    for line in ("Speed: 1000Mb/s", "Duplex: Full", "Auto-negotiation: on", "Port: Twisted Pair", "Link detected: yes"):
        assert f"\t{line}\n" in shown


def test_ethtool_i_P_S_and_d(ok):
    assert ok("ethtool -i eth1").startswith("driver: e1000\nversion: ")
    assert ok("ethtool -P eth1") == ok("ethtool --show-permaddr eth1") == "Permanent address: 52:54:00:00:00:01\n"
    stats = ok("ethtool -S eth1").splitlines()
    assert stats[0] == "NIC statistics:"
    assert int(next(line for line in stats if line.startswith("     tx_packets: ")).split()[1]) > 0
    assert ok("ethtool -d eth1").startswith("MAC Registers\n-------------\n0x00000: CTRL (Device control register)  0x")
    assert ok("ethtool -d eth1 hex on").startswith("Offset\t\tValues\n------\t\t------\n0x0000:\t\t")
    rows = ok("ethtool -e eth1").splitlines()
    assert rows[:3] == ["Offset\t\tValues", "------\t\t------", "0x0000:\t\t52 54 00 00 00 01 " + rows[2][-30:]]
    assert len(rows) == 10
    assert ok("ethtool -e eth1 offset 2 length 4").splitlines()[2:] == ["0x0002:\t\t00 00 00 01 "]
    assert len(ok("ethtool -e eth1 offset 0x7e length 0x100").splitlines()) == 3


def test_ethtool_g_and_G_under_traffic(ok, refused):
    assert ok("ethtool -g eth1").splitlines()[2:8:3] == ["RX:\t\t4096", "TX:\t\t4096"]
    ok("ethtool -G eth1 rx 512 tx 1024")
    (shown,) = json.loads(ok("ethtool --json -g eth1"))
    assert shown == {"ifname": "eth1", "rx-max": 4096, "tx-max": 4096, "rx": 512, "tx": 1024, "tx-push": False}
    ok("ethtool -G eth1 rx 256 tx 256")
    assert refused("ethtool -G eth1 rx 5000") == (
        81, "netlink error: requested ring size exceeds maximum\nnetlink error: Invalid argument\n",
    )  # fmt: skip
    assert refused("ethtool -G eth1 rx-mini 5")[0] == 81
    assert refused("ethtool -G eth1 rx x") == (1, "ethtool (-G): invalid value 'x' for parameter 'rx'\n")
    assert refused("ethtool -g eth1 5") == (1, "ethtool: unexpected parameter '5'\n")


def test_ethtool_c_and_C_under_traffic(ok, refused):
    ok("ethtool -C eth1 rx-usecs 100")
    assert "rx-usecs: 100\nrx-frames: n/a\n" in ok("ethtool -c eth1")
    assert json.loads(ok("ethtool --json -c eth1"))[0]["rx-usecs"] == 100
    ok("ethtool -C eth1 rx-usecs 0")
    assert refused("ethtool -C eth1 rx-frames 5") == (
        1, "netlink error: cannot modify an unsupported parameter\nnetlink error: Invalid argument\n",
    )  # fmt: skip
    assert refused("ethtool -C eth1 rx-usecs 5") == (1, "netlink error: Invalid argument\n")
    assert refused("ethtool -C eth1 nope 5") == (1, "ethtool (-C): unknown parameter 'nope'\n")
    assert refused("ethtool -C eth1 rx-usecs") == (1, "ethtool (-C): no value for parameter 'rx-usecs'\n")


def test_ethtool_k_and_K(ok, refused):
    assert "generic-receive-offload: on\n" in ok("ethtool -k eth1")
    ok("ethtool -K eth1 gro off")
    assert "generic-receive-offload: off\n" in ok("ethtool -k eth1")
    assert json.loads(ok("ethtool --json -k eth1"))[0]["generic-receive-offload"] == {"active": False, "fixed": False, "requested": False}
    assert ok("ethtool -K eth1 gro on rx-gro-hw on") == "Actual changes:\nrx-gro: on\nrx-gro-hw: off [requested on]\n"
    assert refused("ethtool -K eth1 rx-gro-hw on") == (1, "Could not change any device features\n")
    assert refused("ethtool -K eth1 nope on") == (92, "netlink error: bit name not found\nnetlink error: Operation not supported\n")
    assert refused("ethtool -K eth1 gro maybe") == (1, "ethtool (-K): flag 'maybe' for parameter 'gro' is not followed by 'on' or 'off'\n")


def test_ethtool_a_and_r(ok):
    assert ok("ethtool -a eth1").startswith("Pause parameters for eth1:\nAutonegotiate:\ton\nRX:\t\t")
    assert json.loads(ok("ethtool --json -a eth1"))[0]["autonegotiate"] is True
    assert ok("ethtool -r eth0") == ""


def test_ethtool_tests_the_card_and_changes_its_link_under_traffic(ok, refused):
    for words in ("", " online"):
        assert ok(f"ethtool -t eth1{words}").startswith("The test result is PASS\nThe test extra info:\n")
    ok("ethtool -s eth1 wol ug")
    assert "\tSupports Wake-on: umbg\n\tWake-on: ug\n" in ok("ethtool eth1")
    assert refused("ethtool -s eth1 wol p") == (75, "netlink error: cannot enable unsupported WoL mode\nnetlink error: Invalid argument\n")
    ok("ethtool -s eth1 speed 100 duplex full")
    shown = ok("ethtool eth1")
    assert "\tAdvertised link modes:  100baseT/Full\n" in shown
    ok("ethtool -s eth1 autoneg on speed 1000")
    ok("ethtool -A eth1 rx on tx on")
    ok("ethtool -A eth1 rx off tx off")
    ok("ethtool -p eth1 1")
    ok("ethtool -E eth1 magic 0x100e8086 offset 8 value 0x5a")
    assert ok("ethtool -e eth1 offset 8 length 1").endswith("0x0008:\t\t5a \n")
    assert refused("ethtool -E eth1 magic 1 offset 8 value 1") == (87, "Cannot set EEPROM data: Bad address\n")


# The exit statuses that ethtool 6.1 has for a device that is not there.
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        *((f"{option} eth9", 1, None) for option in ("-a", "-c", "-g", "-k")),
        ("-P eth9", 1, "netlink error: No such device"),
        ("eth9", 75, None),
        ("-s eth9 speed 10", 75, None),
        ("-A eth9 rx on", 76, None),
        ("-C eth9 rx-usecs 3", 1, None),
        ("-G eth9 rx 3", 81, None),
        ("-K eth9 tso on", 92, None),
        ("-S eth9", 96, "Cannot get stats strings information: No such device"),
        ("-i eth9", 71, "Cannot get driver information: No such device"),
        ("-d eth9", 72, "Cannot get driver information: No such device"),
        ("-e eth9", 74, "Cannot get driver information: No such device"),
        ("-E eth9 value 1", 74, "Cannot get driver information: No such device"),
        ("-t eth9", 74, "Cannot get strings: No such device"),
        ("-r eth9", 255, "Cannot restart autonegotiation: No such device"),
        ("-p eth9 1", 255, "Cannot identify NIC: No such device"),
        ("--json -S eth1", 1, "ethtool: bad command line argument(s)\nFor more information run fastring ethtool -h"),
        ("", 1, "ethtool: bad command line argument(s)\nFor more information run fastring ethtool -h"),
        ("-t eth1 sideways", 1, "ethtool: bad command line argument(s)\nFor more information run fastring ethtool -h"),
        ("-e eth1 offset 129", 74, "Cannot get EEPROM data: Invalid argument"),
        ("-p eth1 x", 1, "ethtool: bad command line argument(s)\nFor more information run fastring ethtool -h"),
        ("-E eth1 value 256", 1, "ethtool: bad command line argument(s)\nFor more information run fastring ethtool -h"),
    ],
)
def test_ethtool_fails_with_the_words_and_status_of_the_real_one(refused, words, status, said):
    said = "netlink error: no device matches name\nnetlink error: No such device" if said is None else said
    assert refused("ethtool", words) == (status, said + "\n")
