"""`fastring ip`, `ethtool`, `tc` and `cat`: a card under traffic in one process, the commands in another. This one."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from softnet import Stack
from softnet.control import ControlClient, running, sockets
from softnet.control.methods import Methods
from softnet.tools import ip
from softnet.tools.common import ToolError, pretty

COMMAND = [sys.executable, "-m", "softnet.cli"]
ETH1 = "    link/ether 52:54:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """A runtime directory for the processes of this file."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("runtime")
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def replay(runtime, data):
    """Start a replay with a control socket: replay(options) -> the process, once its socket is there."""
    processes = []

    def start(*options, control=()):
        command = [*COMMAND, "replay", data / "mixed.pcap", "--json", "--control", *control, *options]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        deadline = time.monotonic() + 60
        while not (os.path.exists(control[0]) if control else running(process.pid)):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def card(replay):
    """Two cards under traffic: eth0 receives what eth1 sends."""
    process = replay("--loop", 0)
    yield process
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    result = json.loads(out)
    assert (process.returncode, err) == (130, "fastring replay: interrupted\n")
    assert result["sent"] == result["received"] + result["lost"]


@pytest.fixture
def ok(card, fastring):
    """Run a command that goes well: what it printed."""

    def run(*words):
        outcome = fastring(*" ".join(map(str, words)).split())
        assert (outcome.status, outcome.err) == (0, "")
        return outcome.out

    return run


@pytest.fixture
def refused(card, fastring):
    """Run a command that does not: (status, what it said on standard error)."""

    def run(*words):
        outcome = fastring(*" ".join(map(str, words)).split())
        assert outcome.status
        return outcome.status, outcome.err

    return run


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


# --- ethtool ---


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


# --- which process ---


def test_a_command_of_its_own_process_finds_the_card(card, process):
    outcome = process("ip", "link", "show", "eth1")
    assert (outcome.status, outcome.err, outcome.out.splitlines(keepends=True)[1]) == (0, "", ETH1)


def test_several_processes_are_told_apart_by_pid_and_socket(ok, refused, replay, card, tmp_path):
    other = replay("--loop", 0, "--mtu", 2000)
    status, said = refused("ip link")
    assert status == 2
    assert said.startswith("fastring ip: there are several, say which with --pid or --socket: ")
    assert f"(pid {other.pid})" in said
    assert "mtu 2000" in ok("ip link --pid", other.pid)
    assert "mtu 1500" in ok("ip --pid", card.pid, "link")
    other.kill()
    other.wait()
    assert "mtu 1500" in ok("ip link")
    own = tmp_path / "socket"
    replay("--loop", 0, "--mtu", 2500, control=[own])
    assert "mtu 2500" in ok("ethtool -i eth0 --socket", own) + ok("ip link --socket", own)
    assert "mtu 1500" in ok("ip link")


def test_without_a_card_it_says_how_to_get_one(fastring, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for words in (("ip", "link"), ("ethtool", "eth0"), ("tc", "qdisc"), ("cat", "/proc/net/dev"), ("ip", "link", "--pid", "1")):
        outcome = fastring(*words)
        assert (outcome.status, outcome.out) == (2, "")
        assert "serves a card: start one with `fastring replay --control` or softnet.control.ControlServer\n" in outcome.err
    assert fastring("ip", "l", "--socket", "/no/such").err == "fastring ip: /no/such: No such file or directory\n"


@pytest.mark.parametrize("words", ["ip", "ip help", "ip link help", "tc", "tc help", "tc qdisc help"])
def test_help_by_the_word_is_usage_and_255_as_theirs(fastring, words):
    outcome = fastring(*words.split())
    assert (outcome.status, outcome.out) == (255, "")
    assert outcome.err.startswith(f"Usage: fastring {words.split()[0]} ")


@pytest.mark.parametrize("tool", ["ip", "ethtool", "tc", "cat"])
def test_each_has_help(fastring, tool):
    outcome = fastring(tool, "--help")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(f"usage: fastring {tool} ")
    assert max(map(len, outcome.out.splitlines())) <= 140
    assert f"  {tool} " in fastring("--help").out


# --- docs/control.md ---

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "control.md").read_text()


def test_the_documents_example_runs(runtime):
    (example,) = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    subprocess.run([sys.executable, "-c", example.replace("seconds=60", "seconds=0.01")], timeout=60, check=True)


def test_the_document_has_every_method():
    with Stack() as stack:
        methods = set(Methods(stack)._table)
    told = {name for row in re.findall(r"^\| (`.*?) \|", DOCUMENT, re.MULTILINE) for name in re.findall(r"`([\w.]+)`", row)}
    assert {name if "." in name or name == "devices" else f"ethtool.{name}" for name in told} == methods


# --- hostile clients ---


def test_hostile_clients_do_not_disturb_the_traffic(card, ok):
    (_, _, path), dice = running(card.pid)[0], random.Random(2)
    before = int(ok("cat /sys/class/net/eth1/statistics/tx_packets"))
    with ExitStack() as clients:
        for number in range(100):
            connection = clients.enter_context(sockets.new_socket())
            with suppress(OSError):
                connection.connect(path)
                connection.send(dice.randbytes(dice.randrange(1, 60000)) if number % 2 else b'{"method": "link.show", "stats": 2}')
        assert int(ok("cat /sys/class/net/eth1/statistics/tx_packets")) > before
    assert ok("ip -br link").count("\n") == 2


# --- replay ---


def test_a_sender_that_is_taken_down_ends_the_replay_with_its_result(replay, runtime):
    process = replay("--loop", 0, "--hold", 600)  # which is for replays that end well
    with ControlClient(running(process.pid)[0][2]) as client:
        client.call("link.set", dev="eth1", up=False)
    out, err = process.communicate(timeout=60)
    result = json.loads(out)
    assert (process.returncode, err) == (1, "fastring replay: eth1 was taken down\n")
    assert result["sent"] == result["received"] + result["lost"]
    assert result["lost"] == sum(result["drops"].values())


def test_cards_are_held_after_the_last_frame(replay, fastring):
    process = replay("--hold", 60, "--clock", "virtual")
    for _ in range(5):  # the first may be answered before it is held
        outcome = fastring("ip", "-s", "link", "show", "eth1", "--pid", process.pid)
    assert "5038042   11017 " in outcome.out
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err, json.loads(out)["received"]) == (0, "", 11017)
    assert json.loads(out)["seconds"] < 1


def test_json_is_laid_out_as_iproute2_does_it():
    assert pretty([]) == "[ ]\n"
    assert pretty([{"a": 1, "b": [True, None], "c": {"d": "x"}}, {}]) == (
        '[ {\n        "a": 1,\n        "b": [ true,null ],\n        "c": {\n            "d": "x"\n        }\n    },{ } ]\n'
    )
