"""What users see: ip link, sysfs and /proc/net/dev, held against the real ones where this machine lets us make devices."""

import errno
import json
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from control import MAC, Listener, NotingDriver, QuietDriver, new_device
from drivers import RingDriver, make_device

from softnet import Flag, NetDevice, OperState, Stats64
from softnet.netdev_features import LinkMode
from softnet.tc import show_qdiscs
from softnet.views import iproute, procfs
from softnet.views.sysfs import NoSuchAttribute, kstrtoul

COUNTED = Stats64(*range(1, 26))
LARGE = Stats64(rx_bytes=2**64 - 1, rx_packets=12345678901, rx_crc_errors=10**9, tx_bytes=2**50, tx_errors=10**8)


class Counting(QuietDriver):
    """A driver whose statistics a test sets."""

    def __init__(self, stats=None):
        self.stats = stats or Stats64()

    def get_stats64(self, device, stats):
        for name, value in vars(self.stats).items():
            setattr(stats, name, getattr(stats, name) + value)


@pytest.fixture
def device(stack):
    device = new_device(stack, NotingDriver(), max_mtu=9000)
    device.register()
    return device


def refusal(call, *arguments):
    with pytest.raises(OSError, match=r"\w") as raised:
        call(*arguments)
    return raised.value.errno


# --- ip link ---


def test_ip_link_shows_a_device_from_its_registering_on(device, stack):
    address = "    link/ether 52:54:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n"
    down = "1: eth0: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN mode DEFAULT group default qlen 1000\n"
    assert iproute.link(stack) == down + address
    device.open()
    up = "1: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc pfifo_fast state UNKNOWN mode DEFAULT group default qlen 1000\n"
    assert iproute.link(stack, "eth0") == up + address
    device.carrier_off()
    stack.run()
    assert "<NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc pfifo_fast state DOWN " in iproute.link(stack)


def test_ip_link_of_a_device_that_is_not_there(stack):
    with pytest.raises(OSError, match=r'Device "nope" does not exist\.') as refused:
        iproute.link(stack, "nope")
    assert refused.value.errno == errno.ENODEV
    assert iproute.link(stack) == ""
    assert json.loads(iproute.link(stack, json=True)) == []


def test_ip_link_shows_what_was_set(device, stack):
    device.set_mac_address(bytes.fromhex("020000000009"))
    device.set_alias("uplink")
    device.group = 7
    device.change_tx_queue_len(0)
    device.link_mode = LinkMode.DORMANT
    first, second, third = iproute.link(stack).splitlines()
    assert first.endswith("qdisc noop state DOWN mode DORMANT group 7 ")
    assert second.endswith("brd ff:ff:ff:ff:ff:ff permaddr 52:54:00:00:00:01")
    assert third == "    alias uplink"
    (entry,) = json.loads(iproute.link(stack, json=True))
    assert (entry["permaddr"], entry["ifalias"], entry["group"], "txqlen" in entry) == ("52:54:00:00:00:01", "uplink", "7", False)


def test_several_queues_have_mq(stack):
    device = new_device(stack, num_tx_queues=2)
    device.register()
    device.open()
    assert " qdisc mq " in iproute.link(stack)


def test_columns_are_as_wide_as_what_is_in_them(stack):
    NetDevice(stack, Counting(LARGE), dev_addr=MAC).register()
    lines = iproute.link(stack, stats=2).splitlines()[2:]
    assert lines == [
        "    RX:            bytes     packets     errors dropped  missed   mcast           ",
        "    18446744073709551615 12345678901          0       0       0       0 ",
        "    RX errors:                length        crc   frame    fifo overrun",
        "                                   0 1000000000       0       0       0 ",
        "    TX:            bytes     packets     errors dropped carrier collsns           ",
        "        1125899906842624           0  100000000       0       0       0 ",
        "    TX errors:               aborted       fifo  window heartbt transns",
        "                                   0          0       0       0       0 ",
    ]


def test_what_is_rare_has_columns_only_when_it_happened(stack):
    NetDevice(stack, Counting(COUNTED), dev_addr=MAC).register()
    lines = [line.split() for line in iproute.link(stack, stats=2).splitlines()[2:]]
    assert lines[0][-1] == lines[4][-1] == "compressed"
    assert lines[2][-2:] == ["nohandler", "otherhost"]
    assert lines[3] == ["11", "13", "14", "15", "12", "24", "25"]
    (entry,) = json.loads(iproute.link(stack, stats=2, json=True))
    rx = entry["stats64"]["rx"]
    assert (rx["compressed"], rx["nohandler"], rx["otherhost"], entry["stats64"]["tx"]["compressed"]) == (22, 24, 25, 23)


# --- the real ip ---

# No IPv6, which sends packets of its own.
IFB = """
echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
ip link add ring0 address 52:54:00:00:00:01 type ifb || exit 9
show() { for options in "" "-s" "-s -s" "-j" "-j -s" "-j -s -s"; do echo "@ $options"; ip $options link show ring0; done; }
show
ip link set ring0 up;               show
ip link set ring0 promisc on;       show
ip link set ring0 mode dormant;     show
ip link set ring0 state dormant;    show
ip link set ring0 txqueuelen 7 alias here mtu 1400 group 5; show
ip link set ring0 down promisc off; show
"""


def steps(stack, device):
    """The same, step by step; what is shown after each."""
    yield
    device.open()
    yield
    device.promiscuous = True
    yield
    device.link_mode = LinkMode.DORMANT
    yield
    device.set_operstate(OperState.DORMANT)
    yield
    device.change_tx_queue_len(7)
    device.set_alias("here")
    device.mtu = 1400
    device.group = 5
    yield
    device.change_flags(device.flags & ~(Flag.UP | Flag.PROMISC))
    yield


def real(script):
    """Run `ip` in a network namespace of its own; skip where that may not be."""
    if not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("needs iproute2 and unshare")
    done = subprocess.run(["unshare", "-rn", "sh", "-c", script], capture_output=True, text=True, timeout=60)
    if done.returncode == 9 or "unshare" in done.stderr:
        pytest.skip(f"cannot make devices here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_view_is_that_of_the_real_ip(stack):
    stack.new_ifindex()
    device = NetDevice(stack, QuietDriver(), dev_addr=MAC, name="ring0")
    device.flags_set = Flag.BROADCAST | Flag.NOARP
    device.tx_queue_len = 32
    device.register()
    device.perm_addr = b""  # an ifb has none
    shown = []
    for _ in steps(stack, device):
        for options in ({}, {"stats": 1}, {"stats": 2}, {"json": True}, {"json": True, "stats": 1}, {"json": True, "stats": 2}):
            name = ["-j"] * ("json" in options) + ["-s"] * options.get("stats", 0)
            shown.append(f"@ {' '.join(name)}\n" + iproute.link(stack, "ring0", **options))
    assert "".join(shown) == real(IFB)


DETAILS = """
echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
ip link add ring0 address 52:54:00:00:00:01 numtxqueues 3 type ifb || exit 9
ip -d link show ring0
ip link set ring0 alias here promisc on up
ip -d link show ring0; ip -d -j link show ring0; ip link show up; ip -j link show up
"""


def test_details_are_those_of_the_real_ip_but_for_what_it_has_of_ipv6_and_its_kind(stack):
    stack.new_ifindex()
    device = NetDevice(stack, QuietDriver(), dev_addr=MAC, name="ring0", min_mtu=0, num_tx_queues=3)
    device.max_mtu = 0
    device.flags_set = Flag.BROADCAST | Flag.NOARP
    device.tx_queue_len = 32
    device.register()
    device.perm_addr = b""
    shown = iproute.link(stack, "ring0", details=True)
    device.set_alias("here")
    device.promiscuous = True
    device.open()
    shown += iproute.link(stack, "ring0", details=True) + iproute.link(stack, "ring0", details=True, json=True)
    shown += iproute.link(stack, up=True) + iproute.link(stack, up=True, json=True).replace("[", "[{},", 1)  # lo is down
    actual = real(DETAILS).replace("\n    ifb addrgenmode eui64 ", "").replace("524280", "65536")
    actual = actual.replace('"linkinfo":{"info_kind":"ifb"},"inet6_addr_gen_mode":"eui64",', "").replace("numrxqueues 3", "numrxqueues 1")
    assert shown == actual.replace("qdisc pfifo_fast", "qdisc mq")


def test_what_is_down_is_left_out_if_so_asked(device, stack):
    assert iproute.link(stack, up=True) == ""
    assert iproute.link(stack, up=True, json=True) == "[{}]\n"  # as ip has it
    device.open()
    assert iproute.link(stack, up=True) == iproute.link(stack)


# --- the real tc ---

QDISC = """
echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
ip link add ring0 type ifb || exit 9
ip link set ring0 up
tc qdisc show dev ring0; tc -s qdisc show dev ring0; tc qdisc
ip link add ring1 txqueuelen 0 type ifb
ip link set ring1 up
tc -s qdisc show dev ring1
"""


def test_a_queue_is_shown_as_the_real_tc_shows_it(stack):
    device = new_device(stack, name="ring0")
    device.register()
    device.open()
    shown = [show_qdiscs(device, statistics=False, named=False), show_qdiscs(device, named=False), show_qdiscs(device, statistics=False)]
    device.stop()
    device.change_tx_queue_len(0)
    device.open()
    shown.append(show_qdiscs(device, named=False))
    assert "".join(f"{text}\n" for text in shown) == real(QDISC)


# --- /proc/net/dev ---


def test_proc_net_dev_has_the_kernels_columns(stack):
    for name, stats in (("eth0", COUNTED), ("averylongname15", LARGE)):
        NetDevice(stack, Counting(stats), dev_addr=MAC, name=name).register()
    assert procfs.net_dev(stack) == (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
        "  eth0:       3       1    5   23   15    50         22         9        4       2    6    8   19    10      76         23\n"
        "averylongname15: 18446744073709551615 12345678901    0    0    0 1000000000          0         0 1125899906842624       0"
        " 100000000    0    0     0       0          0\n"
    )


def test_proc_net_dev_begins_as_the_real_one(stack):
    with open("/proc/net/dev") as file:
        assert file.readlines()[:2] == procfs.net_dev(stack).splitlines(keepends=True)


# --- sysfs ---


def test_sysfs_shows_what_the_device_is(device):
    shown = {
        "address": "52:54:00:00:00:01", "broadcast": "ff:ff:ff:ff:ff:ff", "addr_len": "6", "type": "1", "ifindex": "1", "iflink": "1",
        "mtu": "1500", "flags": "0x1002", "operstate": "down", "tx_queue_len": "1000", "carrier_changes": "0", "link_mode": "0",
        "addr_assign_type": "0", "netdev_group": "0", "ifalias": "", "uevent": "INTERFACE=eth0\nIFINDEX=1",
        "queues/tx-0/tx_timeout": "0", "statistics/rx_packets": "0",
    }  # fmt: skip
    assert {path: device.sysfs[path] for path in shown} == shown
    with device.sysfs.open("mtu") as file:
        assert file.read() == "1500\n"
    device.open()
    device.set_promiscuity(1)
    assert (device.sysfs["flags"], device.sysfs["operstate"], device.sysfs["carrier"]) == ("0x1103", "unknown", "1")


def test_every_statistic_has_its_file(stack):
    device = NetDevice(stack, Counting(COUNTED), dev_addr=MAC)
    device.register()
    shown = {path.removeprefix("statistics/"): device.sysfs[path] for path in device.sysfs if path.startswith("statistics/")}
    assert shown == {name: str(value) for name, value in vars(COUNTED).items() if name != "rx_otherhost_dropped"}


@pytest.mark.parametrize("path", ["carrier", "dormant", "testing", "speed", "duplex", "name_assign_type"])
def test_what_a_device_that_is_down_does_not_know_is_einval(device, path):
    assert refusal(device.sysfs.__getitem__, path) == errno.EINVAL


def test_speed_and_duplex_are_the_drivers(device):
    device.open()
    assert refusal(device.sysfs.__getitem__, "speed") == errno.EINVAL
    device.ethtool_ops = SimpleNamespace(get_link_ksettings=lambda device: {"speed": 1000, "duplex": "full"})
    assert (device.sysfs["speed"], device.sysfs["duplex"]) == ("1000", "full")
    device.stop()
    assert refusal(device.sysfs.__getitem__, "speed") == errno.EINVAL


def test_only_what_the_kernel_lets_be_written_can_be(device):
    before = dict.fromkeys(device.sysfs)
    writable = {path for path in before if refusal_of(device, path, "no number") != errno.EACCES}
    assert writable == {
        "carrier", "flags", "gro_flush_timeout", "ifalias", "mtu", "napi_defer_hard_irqs", "netdev_group", "threaded", "tx_queue_len",
        "queues/tx-0/byte_queue_limits/hold_time", "queues/tx-0/byte_queue_limits/limit",
        "queues/tx-0/byte_queue_limits/limit_max", "queues/tx-0/byte_queue_limits/limit_min",
    }  # fmt: skip


def refusal_of(device, path, value):
    try:
        device.sysfs[path] = value
    except OSError as error:
        return error.errno
    return 0


# What a veth of Linux 6.18 answered to the same writes; -EOPNOTSUPP is ENOTSUP there.
@pytest.mark.parametrize(
    ("path", "value", "answer", "after"),
    [
        ("mtu", "abc", errno.EINVAL, "1500"),
        ("mtu", "", 0, "1500"),
        ("mtu", "67", errno.EINVAL, "1500"),
        ("mtu", "68", 0, "68"),
        ("mtu", "99999999", errno.EINVAL, "1500"),
        ("mtu", "0x600", 0, "1536"),
        ("mtu", "1500 x", errno.EINVAL, "1500"),
        ("mtu", "1600\n", 0, "1600"),
        ("mtu", "-1", errno.EINVAL, "1500"),
        ("mtu", "4294967295", errno.EINVAL, "1500"),
        ("tx_queue_len", "-1", errno.EINVAL, "1000"),
        ("tx_queue_len", "0", 0, "0"),
        ("tx_queue_len", "4294967296", errno.ERANGE, "1000"),
        ("tx_queue_len", "0x20", 0, "32"),
        ("flags", "abc", errno.EINVAL, "0x1002"),
        ("flags", "0x1003", 0, "0x1003"),
        ("flags", "0x1103", 0, "0x1103"),
        ("flags", "4099", 0, "0x1003"),
        ("carrier", "0", errno.EOPNOTSUPP, None),
        ("carrier", "abc", errno.EOPNOTSUPP, None),
        ("address", "00:11:22:33:44:55", errno.EACCES, "52:54:00:00:00:01"),
        ("operstate", "up", errno.EACCES, "down"),
        ("ifalias", "foo\n", 0, "foo"),
        ("netdev_group", "5", 0, "5"),
        ("netdev_group", "x", errno.EINVAL, "0"),
        ("statistics/rx_packets", "1", errno.EACCES, "0"),
        ("queues/tx-0/tx_timeout", "1", errno.EACCES, "0"),
        ("nosuch", "1", errno.ENOENT, None),
    ],
)
def test_writes_are_answered_as_by_the_kernel(device, path, value, answer, after):
    assert refusal_of(device, path, value) == answer
    if after is not None:
        assert device.sysfs[path] == after


def test_byte_queue_limits_are_shown_and_bounded(stack):
    device = make_device(stack, RingDriver(size=1000))
    folder = "queues/tx-0/byte_queue_limits/"
    assert {path.removeprefix(folder): device.sysfs[path] for path in device.sysfs if path.startswith(folder)} == {
        "hold_time": "1000", "inflight": "0", "limit": "0", "limit_max": "1879048192", "limit_min": "0",
    }  # fmt: skip
    device.sysfs[folder + "limit_min"] = 5000
    device.sysfs[folder + "limit_max"] = "max"
    device.sysfs[folder + "hold_time"] = "500\n"
    assert (device.txq.limit_min, device.txq.limit_max, device.txq.hold_time) == (5000, 0x70000000, 500_000_000)
    assert refusal_of(device, folder + "limit_max", str(0x70000001)) == errno.EINVAL
    assert refusal_of(device, folder + "limit_max", "abc") == errno.EINVAL
    assert refusal_of(device, folder + "limit_max", "0x10") == errno.EINVAL  # always decimal
    assert refusal_of(device, folder + "hold_time", str(2**32)) == errno.ERANGE
    device.sysfs[folder + "limit_max"] = "100\n"  # below limit_min: the kernel takes it
    device.sysfs[folder + "limit"] = "017"
    assert (device.sysfs[folder + "limit_max"], device.sysfs[folder + "limit"]) == ("100", "17")
    assert refusal_of(device, folder + "limit", str(0x70000001)) == errno.EINVAL
    assert refusal_of(device, folder + "inflight", "1") == errno.EACCES
    device.tx[0].txq.tx_sent(1500)
    assert device.sysfs[folder + "inflight"] == "1500"


def test_a_device_without_byte_queue_limits_has_no_folder_of_them(stack):
    device = make_device(stack, RingDriver(), bql=False)
    assert not [path for path in device.sysfs if "byte_queue_limits" in path]


def test_carrier_is_written_where_the_driver_can_change_it(device):
    device.netdev_ops.change_carrier = lambda device, on: device.carrier_on() if on else device.carrier_off()
    assert refusal_of(device, "carrier", "0") == errno.EINVAL  # down
    device.open()
    device.sysfs["carrier"] = "0"
    assert device.sysfs["carrier"] == "0"
    assert refusal_of(device, "carrier", "abc") == errno.EINVAL


def test_a_write_that_a_notifier_refuses_changes_nothing(device, stack):
    stack.notifiers.append(Listener("PRECHANGEMTU"))
    assert refusal_of(device, "mtu", "9000") == errno.EBUSY
    assert device.sysfs["mtu"] == "1500"


def test_it_is_a_mapping(device):
    assert "mtu" in device.sysfs
    assert "nosuch" not in device.sysfs
    assert device.sysfs.get("nosuch") is None
    assert len(device.sysfs) == len(list(device.sysfs)) > 40
    with pytest.raises(NoSuchAttribute, match="eth0/nosuch"):
        _ = device.sysfs["nosuch"]
    with pytest.raises(PermissionError):
        del device.sysfs["mtu"]


@pytest.mark.breaks_rules(12)  # that is what it is about
def test_an_open_file_keeps_the_device_and_answers_enodev_when_it_is_gone(stack):
    device = new_device(stack, priv="mine")
    device.register()
    file = device.sysfs.open("mtu")
    device.unregister()
    device.free()
    assert device.priv == "mine"
    assert refusal(file.read) == refusal(file.write, "1400") == errno.ENODEV
    assert refusal(device.sysfs.open, "mtu") == errno.ENOENT
    assert list(device.sysfs) == []
    file.close()
    file.close()
    with pytest.raises(RuntimeError, match="after free_netdev"):
        _ = device.priv
    with pytest.raises(ValueError, match="closed"):
        file.read()


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("00", 0), ("017", 15), ("0x1F\n", 31), ("+5", 5), ("18446744073709551615", 2**64 - 1)]
)
def test_numbers_are_read_as_the_kernel_reads_them(text, value):
    assert kstrtoul(text) == value


@pytest.mark.parametrize(
    ("text", "answer"),
    [("", errno.EINVAL), ("08", errno.EINVAL), ("0x", errno.EINVAL), (" 1", errno.EINVAL), ("1\n\n", errno.EINVAL), ("-0", errno.EINVAL),
     ("1_0", errno.EINVAL), ("٣", errno.EINVAL), ("18446744073709551616", errno.ERANGE)],
)  # fmt: skip
def test_what_the_kernel_does_not_read_as_a_number_is_refused(text, answer):
    assert refusal(kstrtoul, text) == answer
