"""`fastring ip`, `tc` and `cat`: a card under traffic in one process, the commands in another. This one."""

import json
import re
import subprocess
import time

import pytest

from softnet.tools import ip
from softnet.tools.common import ToolError, pretty

ETH1 = "    link/ether 52:54:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n"


# --- ip ---


def test_ip_link_shows_both_cards(ok):
    shown = ok("ip link")
    assert shown == ok("ip l") == ok("ip link show") == ok("ip l sh up") == ok("ip link list")
    first, second = re.split(r"(?m)^(?=2:)", shown)
    assert first.startswith("1: eth0: <BROADCAST,MULTICAST,PROMISC,UP,LOWER_UP> mtu 1500 qdisc pfifo_fast state UP mode DEFAULT ")
    assert second == (
        "2: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc pfifo_fast state UP mode DEFAULT group default qlen 1000\n" + ETH1
    )
    assert ok("ip link show eth1") == ok("ip link show dev eth1") == ok("ip l l eth1") == second


def test_ip_s_link_counts_what_goes_on(ok):
    counts = [int(ok("ip -s link show eth1").splitlines()[5].split()[1])]
    deadline = time.monotonic() + 20
    while len(counts) < 3 and time.monotonic() < deadline:
        now = int(ok("ip -s link show eth1").splitlines()[5].split()[1])
        counts += [now] if now > counts[-1] else []
    assert len(counts) == 3
    assert "RX errors:" in ok("ip -s -s link show eth1")
    assert "RX errors:" in ok("ip link show eth1 -ss")
    assert "RX errors:" not in ok("ip -stats link show eth1")


def test_ip_d_and_j_and_p(ok):
    assert " promiscuity 0  allmulti 0 minmtu 46 maxmtu 16110 numtxqueues 1 " in ok("ip -d link show eth1")
    compact = ok("ip -j -s link show eth1")
    assert compact.count("\n") == 1
    (entry,) = json.loads(compact)
    assert (entry["ifname"], entry["flags"][-1]) == ("eth1", "LOWER_UP")
    assert entry["stats64"]["tx"]["packets"] > 0
    assert ok("ip -j -p link show eth1").startswith('[ {\n        "ifindex": 2,\n        "ifname": "eth1",\n        "flags": [ "BRO')


def test_ip_link_set_changes_a_card_that_runs(ok):
    ok("ip link set eth1 mtu 3000 txqueuelen 77 alias uplink group 5")
    first, _, alias = ok("ip link show eth1").splitlines()
    assert "mtu 3000 " in first
    assert first.endswith("group 5 qlen 77")
    assert alias == "    alias uplink"
    ok("ip link set dev eth1 mtu 1500 qlen 1000 promisc on allmulticast on multicast off arp off name ring1 group default")
    assert "2: ring1: <BROADCAST,NOARP,ALLMULTI,PROMISC,UP,LOWER_UP> mtu 1500 " in ok("ip link show ring1")
    ok("ip link set ring1 promisc off allmulticast off multicast on arp on name eth1")
    ok("ip link set eth1 address 02:0:0:0:0:9")
    assert "link/ether 02:00:00:00:00:09 brd ff:ff:ff:ff:ff:ff permaddr 52:54:00:00:00:01" in ok("ip link show eth1")
    ok("ip link set eth1 address 52:54:00:00:00:01")
    ok("ip link set eth1 mode dormant")
    assert " mode DORMANT " in ok("ip link show eth1")
    ok("ip link set eth1 mode default")


def test_a_receiver_goes_down_and_up_under_traffic(ok):
    ok("ip link set eth0 down")
    assert "1: eth0: <BROADCAST,MULTICAST,PROMISC> mtu" in ok("ip link show eth0")
    ok("ip link set eth0 up")
    assert "PROMISC,UP" in ok("ip link show eth0")
    before = int(ok("cat /sys/class/net/eth0/statistics/rx_packets"))
    deadline = time.monotonic() + 20
    while int(ok("cat /sys/class/net/eth0/statistics/rx_packets")) == before:
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("link set eth9 up", 1, 'Cannot find device "eth9"'),
        ("link show eth9", 1, 'Device "eth9" does not exist.'),
        ("-j link show eth9", 1, 'Device "eth9" does not exist.'),
        ("link set eth1 mtu 1", 2, "Error: mtu less than device minimum."),
        ("link set eth1 mtu 16111", 2, "Error: mtu greater than device maximum."),
        ("link set eth1 address 01:00:00:00:00:00", 2, "RTNETLINK answers: Cannot assign requested address"),
        ("link set eth1 name eth0", 2, "RTNETLINK answers: File exists"),
        ("link set eth1 carrier on", 2, "RTNETLINK answers: Operation not supported"),
    ],
)
def test_errors_of_the_card_are_in_ips_words(refused, words, status, said):
    assert refused("ip", words) == (status, said + "\n")


# What iproute2 6.1 says, and its exit status: see test_ip_refuses_what_the_real_one_does.
IP_USAGE = [
    "foo", "link bogus", "link set", "link set v0 mtu x", "link set v0 mtu", "link set v0 mtu 99999999999", "link set v0 mtu 09",
    "link set v0 bogus", "link set v0 address zz", "link set v0 address 1:2", "link set v0 address 1:2:3:4:5:6:7",
    "link set v0 address 100:2:3:4:5:6",
    "link set v0 promisc maybe", "link set v0 name ../x", "link set v0 name averyverylongname", "link set v0 txqueuelen x",
    "link set v0 mtu 1400 mtu 1500", "link set dev v0 dev v1 up", "link show v0 v1", "link set v0 group foo", "link set v0 state foo",
    "link set v0 dev", "link show dev", "link set v0 allmulticast", "link set v0 mode foo", "link set up", "link set v0 carrier x",
]  # fmt: skip


def ip_said(words):
    """What ours says of a command line, and its status, before any card is asked."""
    try:
        ip.read(ip.parser().parse_intermixed_args(words.split()))
    except ToolError as error:
        return error.status, "".join(f"{line}\n" for line in error.lines)
    return 0, ""


def in_namespace(script):
    """Run it in a network namespace of its own; skip where that may not be."""
    try:
        done = subprocess.run(["unshare", "-rn", "sh", "-c", script], capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("needs unshare")
    if done.returncode == 9 or "unshare" in done.stderr:
        pytest.skip(f"cannot make devices here: {done.stderr.strip()}")
    return done


def test_ip_refuses_what_the_real_one_does():
    script = "ip link add v0 type ifb 2>/dev/null || exit 9\n"
    script += "".join(f'ip {words} 2>&1; echo "= $?@"\n' for words in IP_USAGE)
    theirs = in_namespace(script).stdout.removesuffix("@\n").split("@\n")
    assert theirs == [f"{said}= {status}" for status, said in map(ip_said, IP_USAGE)]


LAYOUTS = """
ip link add ring0 type ifb || exit 9
ip link add areallylongname type ifb alias here
ip link set ring0 up
for options in "" -j -br "-br -j" "-j -p" -o "-s -s"  "-o -s -s"; do ip $options link; echo @; done
"""


def test_brief_oneline_and_pretty_are_laid_out_as_the_real_ones():
    plain, as_json, brief, brief_json, pretty_json, oneline, stats, oneline_stats, _ = in_namespace(LAYOUTS).stdout.split("@\n")
    entries = json.loads(as_json)
    assert ip.brief(entries) == brief
    assert [{key: entry[key] for key in ip.BRIEF} for entry in entries] == json.loads(brief_json)
    assert pretty(entries) == pretty_json
    assert ip.oneline(plain) == oneline
    assert ip.oneline(stats) == oneline_stats


def test_ip_br_and_o(ok):
    assert ok("ip -br link show eth1") == "eth1             UP             52:54:00:00:00:01 <BROADCAST,MULTICAST,UP,LOWER_UP> \n"
    assert ok("ip -br -j link show eth1") == (
        '[{"ifname":"eth1","operstate":"UP","address":"52:54:00:00:00:01","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"]}]\n'
    )
    assert ok("ip -o link") == ok("ip link").replace("\n ", "\\ ")
    assert ok("ip -o -s link").count("\n") == ok("ip -br link show up").count("\n") == 2


# --- tc and cat ---


def test_tc_shows_the_queues(ok, refused):
    shown = ok("tc qdisc show dev eth1")
    assert shown == "qdisc pfifo_fast 0: root refcnt 2 bands 3 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1\n"
    assert ok("tc -s qdisc show dev eth1") == shown + (
        " Sent 0 bytes 0 pkt (dropped 0, overlimits 0 requeues 0) \n backlog 0b 0p requeues 0\n"
    )
    assert ok("tc qdisc") == ok("tc q ls") == "".join(shown.replace("root", f"dev {name} root") for name in ("eth0", "eth1"))
    assert refused("tc qdisc show dev eth9") == (1, 'Cannot find device "eth9"\n')
    assert refused("tc foo") == (255, 'Object "foo" is unknown, try "tc help".\n')
    assert refused("tc qdisc foo") == (255, 'Command "foo" is unknown, try "tc qdisc help".\n')
    assert refused("tc qdisc show eth1") == (255, 'What is "eth1"? Try "tc qdisc help".\n')
    assert refused("tc qdisc show dev") == (255, 'Command line is not complete. Try option "help"\n')
    assert refused("tc")[0] == 255


def test_cat_prints_files_and_directories(ok, refused, fastring):
    assert ok("cat /sys/class/net") == "eth0\neth1\n"
    assert ok("cat /sys/class/net/eth1/address") == "52:54:00:00:00:01\n"
    assert "rx_packets\n" in ok("cat /sys/class/net/eth1/statistics")
    table = ok("cat /proc/net/dev").splitlines()
    assert (len(table), table[2][:7], int(table[2].split()[2]) > 0) == (4, "  eth0:", True)
    assert ok("cat /sys/class/net/eth1/mtu --write 1600") == ""
    assert ok("cat /sys/class/net/eth1/mtu") == "1600\n"
    ok("cat /sys/class/net/eth1/mtu --write 1500")
    assert refused("cat /nope /sys/class/net/eth1/nope")[1] == (
        "fastring cat: /nope: No such file or directory\nfastring cat: /sys/class/net/eth1/nope: No such file or directory\n"
    )
    assert refused("cat /sys/class/net/eth1/mtu --write x") == (1, "fastring cat: /sys/class/net/eth1/mtu: Invalid argument\n")
    assert fastring("cat", "/nope", "/sys/class/net").out == "eth0\neth1\n"
    assert refused("cat")[0] == 2
