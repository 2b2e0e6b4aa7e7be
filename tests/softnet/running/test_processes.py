"""Which running card a command asks, and what becomes of one that is asked: replays that are served."""

import json
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
from softnet.tools.common import pretty

ETH1 = "    link/ether 52:54:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n"


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
        whose = "process 1 does not run, or serves none" if "--pid" in words else "no process here serves a card"
        assert outcome.err.endswith(f"{whose}: start one with `fastring replay --control` or softnet.control.ControlServer\n")
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

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "control.md").read_text()


def test_the_documents_example_runs(runtime_of_module):
    (example,) = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    subprocess.run([sys.executable, "-c", example.replace("seconds=60", "seconds=0.01")], timeout=60, check=True)


def test_the_document_has_every_method():
    with Stack() as stack:
        methods = set(Methods(stack)._table)
    told = {name for row in re.findall(r"^\| (`.*?) \|", DOCUMENT, re.MULTILINE) for name in re.findall(r"`([\w.]+)`", row)}
    assert {name if "." in name or name == "devices" else f"ethtool.{name}" for name in told} == methods


# --- hostile clients ---


def answer_to(fastring, *words):
    """Ask, and again as long as others are in the way."""
    deadline = time.monotonic() + 60
    while True:
        outcome = fastring(*words)
        if not re.search("others are being served|others wait to be served|no answer", outcome.err) or time.monotonic() > deadline:
            return outcome
        time.sleep(0.1)


def test_hostile_clients_do_not_disturb_the_traffic(card, ok, fastring):
    (_, _, path), dice = running(card.pid)[0], random.Random(2)
    before = int(ok("cat /sys/class/net/eth1/statistics/tx_packets"))
    with ExitStack() as clients:
        for number in range(100):
            connection = clients.enter_context(sockets.new_socket())
            with suppress(OSError):
                connection.connect(path)
                connection.send(dice.randbytes(dice.randrange(1, 60000)) if number % 2 else b'{"method": "link.show", "stats": 2}')
        for _ in range(100):
            outcome = answer_to(fastring, "cat", "/sys/class/net/eth1/statistics/tx_packets")
            assert (outcome.status, outcome.err) == (0, "")
            if int(outcome.out) > before:
                break
            time.sleep(0.1)  # the next burst may be yet to come
        else:
            pytest.fail("no traffic")
    assert answer_to(fastring, "ip", "-br", "link").out.count("\n") == 2


# --- replay ---


def test_a_sender_that_is_taken_down_ends_the_replay_with_its_result(replay):
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
    complete = 0  # the first two such answers may come before it is held: with the last burst, and once more behind it
    for _ in range(200):
        outcome = fastring("ip", "-s", "link", "show", "eth1", "--pid", process.pid)
        complete += "5038042   11017 " in outcome.out
        if complete == 3:
            break
        time.sleep(0.1)
    assert complete == 3, outcome
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err, json.loads(out)["received"]) == (0, "", 11017)
    assert json.loads(out)["seconds"] < 1


def test_json_is_laid_out_as_iproute2_does_it():
    assert pretty([]) == "[ ]\n"
    assert pretty([{"a": 1, "b": [True, None], "c": {"d": "x"}}, {}]) == (
        '[ {\n        "a": 1,\n        "b": [ true,null ],\n        "c": {\n            "d": "x"\n        }\n    },{ } ]\n'
    )


def test_a_control_socket_that_cannot_be_made_is_named(fastring, data):
    outcome = fastring("replay", data / "short.pcap", "--limit", 1, "--control", "/no/such/socket")
    assert (outcome.status, outcome.err) == (2, "fastring replay: /no/such/socket: No such file or directory\n")
