"""Starting and ending a QEMU, and one that dies under the driver."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from cards import packet
from qemu_guest import frames, raises

from e1000 import regs
from e1000.bus.qemu import GuestMemory, Program, Qemu, qemu_folder, unpacked
from fastring.burst import Burst, RepeatSource

pytestmark = pytest.mark.usefixtures("qemu_program")


# --- a QEMU that dies ---


def test_a_killed_qemu_is_an_error_at_the_next_run_and_the_device_can_be_stopped(opened):
    opened.kill()
    for _ in range(3):
        with raises(errno.ENODEV, "QEMU is gone, killed by SIGKILL"):
            opened.stack.run()
    with raises(errno.ENODEV, "SIGKILL"):
        opened.bus.read(regs.STATUS)
    opened.bus.write(regs.IMC, 1)
    with raises(errno.ENODEV, "SIGKILL"):
        opened.device.stop()
    assert not opened.device.up
    with raises(errno.ENODEV, "SIGKILL"):
        opened.device.open()
    assert "SIGKILL" in repr(opened.qemu)


def test_a_device_whose_card_is_gone_can_be_unregistered(opened):
    opened.kill()
    with raises(errno.ENODEV, "SIGKILL"):
        opened.device.unregister()
    assert not opened.device.registered
    assert opened.stack.devices == {}


@pytest.mark.breaks_rules(14)  # who notices that QEMU is gone waits for how it ended, be it a handler
def test_a_handler_whose_card_is_gone_reads_all_ones_and_runs_once(opened):
    opened.wire.send(packet(60))
    opened.qemu.exchange()
    assert opened.bus.irq.asserted
    before = opened.device.netdev_ops.napi.interrupts
    opened.kill()
    with raises(errno.ENODEV, "SIGKILL"):
        opened.stack.run()
    assert opened.device.netdev_ops.napi.interrupts == before + 1
    assert not opened.bus.irq.asserted
    with raises(errno.ENODEV, "SIGKILL"):
        opened.device.stop()


@pytest.mark.breaks_rules(14)  # as above
@pytest.mark.parametrize("how", ["xmit", "play"])
def test_a_sender_whose_card_dies_is_told_so_at_once(opened, how):
    burst = Burst.from_packets(frames(1000, seed=9))
    threading.Timer(0.2, opened.kill).start()
    started = time.monotonic()
    with raises(errno.ENODEV, "SIGKILL"):
        while time.monotonic() < started + 10:
            if how == "xmit":
                opened.device.xmit(burst)
            else:
                opened.device.transmitter().play(RepeatSource(burst, packets=100_000))
            opened.wire.take()
    assert time.monotonic() < started + 4  # the watchdog's patience is 5 s
    with raises(errno.ENODEV, "SIGKILL"):
        opened.device.stop()


def test_a_qemu_that_does_not_answer_is_given_up_in_time(opened):
    opened.qemu.timeout = 1.0
    os.kill(opened.qemu.pid, signal.SIGSTOP)
    started = time.monotonic()
    with raises(errno.EIO, "does not answer for 1 s"):
        opened.stack.run()
    assert time.monotonic() < started + 5
    with raises(errno.EIO, "does not answer"):
        opened.device.stop()
    assert not opened.device.up


def test_a_qemu_that_was_interrupted_in_the_middle_of_an_answer_is_not_asked_again(guest):
    os.kill(guest.qemu.pid, signal.SIGSTOP)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        guest.bus.read(regs.STATUS)
    with raises(errno.EINTR, "in the middle of an answer"):
        guest.bus.read(regs.STATUS)


def test_a_request_qemu_does_not_know_is_named(guest):
    guest.qemu.post("nonsense 1 2")
    with raises(errno.EPROTO, "'nonsense 1 2'"):
        guest.bus.read(regs.STATUS)


def test_a_closed_qemu_says_so(undo):
    qemu = Qemu()
    qemu.close()
    qemu.close()
    with raises(errno.ENODEV, "closed"):
        qemu.read(0)


# --- starting and ending ---


def test_no_qemu_is_an_error_that_says_where_to_get_one(monkeypatch):
    monkeypatch.setenv("FASTRING_QEMU", "/nowhere/qemu")
    with pytest.raises(FileNotFoundError, match=r"/nowhere/qemu.*qemu\.sh"):
        Qemu()


def test_a_qemu_that_cannot_be_stepped_is_refused():
    with raises(errno.ENODEV, "no qtest accelerator"):
        Qemu(program=unpacked(qemu_folder() / "counting"))


@pytest.mark.parametrize(
    ("line", "says", "timeout"), [("echo too bad", "too bad", 20), ("exit 1", "it said nothing", 20), ("sleep 600", "it said nothing", 0.3)]
)
def test_a_program_that_is_no_qemu_is_told_by_what_it_says(line, says, timeout):
    with raises(errno.ENODEV, f"did not start: {says}"):
        Qemu(program=Program(["/bin/sh", "-c", line], {"PATH": os.environ["PATH"]}), timeout=timeout)


@pytest.mark.parametrize("size", [4096, 3 << 30])
def test_ram_that_a_machine_cannot_have_is_refused(size):
    with GuestMemory(size=size) as memory, raises(errno.EINVAL, "8 KiB"):
        Qemu(memory=memory)


@pytest.mark.parametrize("mac", ["", "52:54:00:12:34:56,romfile=/etc/passwd", "01:00:00:00:00:00"])
def test_an_address_that_is_none_is_refused(mac):
    with pytest.raises(ValueError, match="station address"):
        Qemu(mac=mac)


def is_gone(pid):
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.01)
    return not os.path.exists(f"/proc/{pid}")


def test_closing_it_leaves_no_process_and_no_file(qemu_program):
    with Qemu(program=qemu_program) as qemu:
        pid, folder = qemu.pid, qemu.folder
        assert folder.exists()
    assert is_gone(pid)
    assert not folder.exists()


def test_it_does_not_outlive_a_python_that_is_killed():
    script = "from e1000.bus.qemu import Qemu; import time; q = Qemu(); print(q.pid, q.folder, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as python:
        pid, folder = python.stdout.readline().split()
        python.kill()
    assert is_gone(int(pid))
    subprocess.run(["rm", "-r", folder], check=True)
