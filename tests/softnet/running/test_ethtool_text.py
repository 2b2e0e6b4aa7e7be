"""What `fastring ethtool` prints, held against the real ethtool where this machine lets us make interfaces."""

import json
import re
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from control import QuietDriver, new_device
from ethtool_driver import Ops

from softnet import Stack
from softnet.control import ControlServer
from softnet.ethtool_features import KERNEL_FEATURES
from softnet.tools import ethtool_text, run_tool
from softnet.tools.common import pretty

SETUP = "ip tuntap add t0 mode tap 2>/dev/null || exit 9\nip link add v0 type veth peer name v1 || exit 9\n"


@pytest.fixture(scope="module")
def real():
    """What the real one prints, standard error first: real("-i v0") -> (text, status). All in one network namespace."""
    if not shutil.which("ethtool") or not shutil.which("unshare"):
        pytest.skip("needs ethtool and unshare")
    commands = [*SHOWN, *REFUSED]
    script = SETUP + "".join(f'ethtool {words} 2>&1; echo "= $?@"\n' for words in commands)
    done = subprocess.run(["unshare", "-rn", "sh", "-c", script], capture_output=True, text=True, timeout=60)
    if done.returncode == 9 or "unshare" in done.stderr:
        pytest.skip(f"cannot make interfaces here: {done.stderr.strip()}")
    said = [text.rpartition("= ") for text in done.stdout.split("@\n")[:-1]]
    found = {words: (text, int(status)) for words, (text, _, status) in zip(commands, said, strict=True)}
    return found.__getitem__


SHOWN = ("v0", "t0", "-i v0", "-S v0", "-k v0", "--json -k v0", "-c t0", "-P t0")
VETH = {"speed": 10000, "duplex": "full", "autoneg": False, "port": "tp"}


def test_settings(real):
    assert real("v0") == (ethtool_text.settings("v0", {"link_ksettings": VETH, "link": False}), 0)
    assert real("t0") == (ethtool_text.settings("t0", {"link_ksettings": VETH, "msglevel": 0, "link": False}), 0)


def test_driver_and_statistics(real):
    told = {"driver": "veth", "version": "1.0", "n_stats": 1, "testinfo_len": 0, "eedump_len": 0, "regdump_len": 0, "n_priv_flags": 0}
    assert real("-i v0") == (ethtool_text.drvinfo(told), 0)
    text, _ = real("-S v0")
    assert ethtool_text.stats({name: int(value) for name, value in re.findall(r"^     (\w+): (\d+)$", text, re.MULTILINE)}) == text


def test_coalescing(real):
    assert real("-c t0") == (ethtool_text.coalesce("t0", {"rx_max_coalesced_frames": 0}), 0)


def test_features_have_the_order_and_groups_of_the_real_one(real):
    """Kernels differ in which features they have: those that both have are compared."""
    theirs = real("-k v0")[0].splitlines()
    state = {}
    for name, value, fixed in re.findall(r"^\t?([\w-]+): (on|off)( \[fixed\])?$", "\n".join(theirs), re.MULTILINE):
        state[name] = [value == "on", bool(fixed), value == "on"]
    found = {name: state.get(name, [False, True, False]) for name in KERNEL_FEATURES}
    for long, name in ALONE.items():
        found[name] = state[long]
    ours = ethtool_text.features("v0", found).splitlines()
    both = {line.split(":")[0] for line in theirs} & {line.split(":")[0] for line in ours}
    assert len(both) > 45
    assert [line for line in ours if line.split(":")[0] in both] == [line for line in theirs if line.split(":")[0] in both]


ALONE = {
    "rx-checksumming": "rx-checksum", "generic-segmentation-offload": "tx-generic-segmentation", "generic-receive-offload": "rx-gro",
    "large-receive-offload": "rx-lro", "rx-vlan-offload": "rx-vlan-hw-parse", "tx-vlan-offload": "tx-vlan-hw-insert",
    "ntuple-filters": "rx-ntuple-filter", "receive-hashing": "rx-hashing",
}  # fmt: skip


def test_json_is_laid_out_as_by_the_real_one(real):
    text = real("--json -k v0")[0]
    (theirs,) = json.loads(text)
    assert pretty([theirs]) == text
    ours = ethtool_text.features_json("v0", {name: [False, True, False] for name in KERNEL_FEATURES})
    assert [name for name in ours if name in theirs] == [name for name in theirs if name in ours]
    assert ours["tx-checksumming"] == {"active": False, "fixed": None, "requested": None}


# What a driver without any of it answers, and bad usage; v0 has ethtool_ops, but few.
REFUSED = (
    "-g v0", "-G v0 rx 3", "-c v0", "-t v0", "-a v0", "-A v0 rx on", "-r v0", "-e v0", "-d v0", "-p v0 1", "-s v0 wol g", "-s v0 speed 100",
    "-K v0 nope off", "-C v0 rx-usecs 4", "-C t0 nope 5", "-C t0 rx-frames x", "-C t0 rx-frames", "-g t0 3", "-G v0 rx x", "-A v0 rx maybe",
    "-S v9", "-i v9", "-k v9", "-d v9", "-g v9", "-c v9", "-a v9", "-r v9", "-t v9", "-P v9", "-e v9", "-s v9 speed 10",
    "-p v9 1", "-G v9 rx 3", "-C v9 rx-usecs 3", "-A v9 rx on", "-K v9 tso on", "-a v0 5", "-k v0 5", "-s v0 speed x", "-s v0 nope 1",
    "-s v0 autoneg maybe", "-s v0 duplex", "-S t0",
)  # fmt: skip


@contextmanager
def served(folder, devices):
    """The tool on devices of this process: run(words) -> (status, what it printed)."""
    stop = threading.Event()
    with Stack() as stack, ControlServer(stack, folder / "socket") as server:
        for name, ops in devices.items():
            device = new_device(stack, QuietDriver(), name=name)
            device.ethtool_ops = ops
            device.register()

        def run():
            while not stop.is_set():
                server.serve(0.02)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield lambda words: run_tool("ethtool", [*words.split(), "--socket", server.path])
        finally:
            stop.set()
            thread.join()


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """The same of ours, of devices with no more than a driver's name."""
    ops = SimpleNamespace(get_drvinfo=lambda device: {"driver": "none"})
    with served(tmp_path_factory.mktemp("runtime"), {"v0": ops, "t0": ops}) as run:
        yield run


@pytest.mark.parametrize("words", REFUSED)
def test_errors_and_exit_statuses_are_those_of_the_real_one(real, ours, capsys, words):
    said, status = real(words)
    said = re.sub(r" \(offset \d+\)", "", said).replace("run ethtool", "run fastring ethtool")
    our_status, printed = ours(words)
    assert (words, capsys.readouterr().err + printed, our_status) == (words, said, status)


# --- a driver that has it all ---


@pytest.fixture
def whole(tmp_path):
    """(run, the driver's calls) of a device whose driver has every operation."""
    ops = Ops()
    with served(tmp_path, {"eth0": ops}) as run:
        yield run, ops.calls


SETTINGS = """\
Settings for eth0:
\tSupported ports: [ MII ]
\tSupported link modes:   10baseT/Half 10baseT/Full
\t                        100baseT/Half 100baseT/Full
\t                        1000baseT/Full
\tSupported pause frame use: No
\tSupports auto-negotiation: Yes
\tSupported FEC modes: Not reported
\tAdvertised link modes:  10baseT/Half 10baseT/Full
\t                        100baseT/Half
\tAdvertised pause frame use: No
\tAdvertised auto-negotiation: No
\tAdvertised FEC modes: Not reported
\tSpeed: 100Mb/s
\tDuplex: Half
\tAuto-negotiation: off
\tPort: MII
\tPHYAD: 0
\tTransceiver: internal
\tSupports Wake-on: ug
\tWake-on: g
        Current message level: 0x00000007 (7)
                               drv probe link
\tLink detected: no
"""


def test_link_modes_share_a_line_by_speed(whole):
    run, _ = whole
    assert run("eth0") == (0, SETTINGS)


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        ("-s eth0 speed 10 duplex full", [{"autoneg": False, "speed": 10, "duplex": "full"}]),
        ("-s eth0 wol gu", [{"wolopts": "ug"}]),
        ("-s eth0 wol d", [{"wolopts": "d"}]),
        ("-s eth0 msglvl 0xff", [255]),
        ("-A eth0 autoneg off tx on", [{"autoneg": False, "rx_pause": False, "tx_pause": True}]),
        ("-C eth0 adaptive-rx on rx-usecs 7", [{"rx_coalesce_usecs": 7, "use_adaptive_rx_coalesce": 1}]),
        ("-G eth0 tx 50", [{"rx_pending": 10, "tx_pending": 50}]),
        ("-E eth0 magic 0x1234 offset 7 value 255", [(0x1234, 7, b"\xff")]),
        ("-r eth0", ["nway_reset"]),
        ("-s eth0", []),
    ],
)
def test_what_is_set_reaches_the_driver(whole, words, calls):
    run, called = whole
    assert run(words) == (0, "")
    assert called == calls


def test_a_failed_test_is_a_status_of_1(whole):
    run, _ = whole
    assert run("-t eth0 online") == (0, "The test result is PASS\nThe test extra info:\nLink test\t 0\n\n")
    assert run("-t eth0") == (1, "The test result is FAIL\nThe test extra info:\nLink test\t 1\n\n")


def test_a_light_blinks_as_long_as_was_asked_for(whole):
    run, called = whole
    assert run("-p eth0 1") == (0, "")
    assert called[0] == "active"
    deadline = time.monotonic() + 20
    while called != ["active", "inactive"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
