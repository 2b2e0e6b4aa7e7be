"""What `fastring ethtool` prints, held against the real ethtool where this machine lets us make interfaces."""

import json
import re
import shutil
import subprocess
import threading
from types import SimpleNamespace

import pytest
from control import new_device

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


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """The same of ours, of devices with no more than a driver's name."""
    folder = tmp_path_factory.mktemp("runtime")
    stop = threading.Event()
    with Stack() as stack, ControlServer(stack, folder / "socket") as server:
        for name in ("v0", "t0"):
            device = new_device(stack, name=name)
            device.ethtool_ops = SimpleNamespace(get_drvinfo=lambda device: {"driver": "none"})
            device.register()

        def run():
            while not stop.is_set():
                server.serve(0.05)

        thread = threading.Thread(target=run)
        thread.start()
        yield lambda words: run_tool("ethtool", [*words.split(), "--socket", server.path])
        stop.set()
        thread.join()


@pytest.mark.parametrize("words", REFUSED)
def test_errors_and_exit_statuses_are_those_of_the_real_one(real, ours, capsys, words):
    said, status = real(words)
    said = re.sub(r" \(offset \d+\)", "", said).replace("run ethtool", "run fastring ethtool")
    our_status, printed = ours(words)
    assert (words, capsys.readouterr().err + printed, our_status) == (words, said, status)
