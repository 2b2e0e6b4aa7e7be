"""fastring bench: answers all its questions in whatever time there is, on two CPUs or one, and tells what it has when it is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from softnet import cli
from softnet.bench import command, suite
from softnet.bench.rings import cpus

BENCH = [sys.executable, "-m", "softnet.cli", "bench"]
two_cpus = pytest.mark.skipif(len(cpus()) < 2, reason="two sides that spin need two CPUs")


def run(*words, cpu=None):
    pin = None if cpu is None else lambda: os.sched_setaffinity(0, {cpu})
    told = subprocess.run([*BENCH, *words], capture_output=True, text=True, preexec_fn=pin, timeout=120)
    return told.returncode, told.stdout, told.stderr


@two_cpus
def test_all_is_answered_and_recommended_in_a_moment():
    status, out, err = run("--seconds", "0.01", "--json")
    assert (status, err) == (0, "")
    told = json.loads(out)
    rings = {"bulk", "single", "processes", "latency", "latency between processes", "many", "one thread"}
    asked = rings | {"pool", "pool for two", "batch", "capacity", "wait", "driver"}
    assert set(told["questions"]) == asked == {one["about"] for one in told["recommendation"]}
    assert told["machine"]["cores"]
    assert not told["interrupted"]
    for question in told["questions"].values():
        names = [one["name"] for one in question["series"]]
        assert question["rounds"] >= 5
        assert question["against"] in names
        assert all(0 < one["least"] <= one["median"] <= one["most"] for one in question["series"])
    assert all(one["p99"] <= one["p99_9"] for key in ("latency", "wait") for one in told["questions"][key]["series"])


def test_on_one_cpu_it_says_so_and_answers_what_one_can():
    status, out, err = run("--seconds", "0.01", cpu=cpus()[0])
    assert (status, err) == (0, f"fastring bench: {command.ONE_CPU}\n")
    assert "cores:                     1 of" in out
    assert "park at once" in out
    assert "two threads" not in out


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_interrupted_it_ends_soon_without_a_traceback_and_leaves_no_process():
    with subprocess.Popen([*BENCH, "--seconds", "100"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not children(process.pid):
            time.sleep(0.01)
        time.sleep(0.5)
        [partner] = children(process.pid)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("fastring bench: interrupted")
    assert "Traceback" not in out + err
    assert not Path(f"/proc/{partner}").exists()


def test_interrupted_it_tells_what_was_answered_so_far(monkeypatch, capsys):
    answer, asked = suite.Suite.answer, []

    def first_only(self, one, **options):
        asked.append(one)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return answer(self, one, **options)

    monkeypatch.setattr(suite.Suite, "answer", first_only)
    assert cli.main(["bench", "--seconds", "0.01"]) == 130
    told = capsys.readouterr()
    assert "interrupted: 1 of the questions" in told.err
    assert asked[0].title in told.out
    assert asked[1].title not in told.out
    assert "Recommended on this machine:\n" in told.out


def test_another_process_that_died_is_one_line(monkeypatch, capsys):
    answer = suite.Suite.answer

    def without(self, one, **options):
        os.kill(self.partner.pid, signal.SIGKILL)
        return answer(self, suite.Asked("wait", "which?", {"a": lambda: self.partner.ask("echo") or self.partner.answer()}, "a"), **options)

    monkeypatch.setattr(suite.Suite, "answer", without)
    assert cli.main(["bench", "--seconds", "0.01"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "fastring bench: the other process is gone"


@pytest.mark.parametrize("words", [["--seconds", "0"], ["--seconds", "soon"], ["--quick", "--seconds", "3"], ["now"]])
def test_bad_usage_is_one_line(words, capsys):
    assert cli.main(["bench", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_kept_interrupt_comes_at_the_next_look_and_a_second_one_at_once():
    interrupts = suite.Interrupts()
    with interrupts.kept():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("setting", suite.settings.SETTINGS)
def test_each_driver_setting_is_one_that_the_driver_has(setting):
    with suite.settings.Drivers(cpu=cpus()[0], packets=200) as drivers:
        assert drivers.measure(setting) > 0
