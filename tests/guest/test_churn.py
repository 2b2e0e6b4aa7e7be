"""Two hundred guests come to one server and go, one way or another: it is what it was after the first ones."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from guests import host_up, served
from namespaces import namespace
from test_ipxe import ROM
from vm import BOOT, card_at, missing, ram, start_qemu

GUESTS, FIRST = 200, 20
MOST_GROWTH = 4096  # KB of memory, over all of them: a page for each would be 720


def held(pid):
    """(descriptors, mappings, threads, KB of memory) of a process."""
    folder = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    mappings = len((folder / "maps").read_text().splitlines())
    return len(os.listdir(folder / "fd")), mappings, len(os.listdir(folder / "task")), int(status["VmRSS"].split()[0])


def wait_until(condition, what):
    deadline = time.monotonic() + BOOT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Visits:
    """Guests at one socket, one after the other."""

    def __init__(self, where, folder, path):
        self.where, self.folder, self.path, self.number = where, folder, path, 0

    def told(self, what):
        """How often the server told that of the socket."""
        return (self.folder / "server-says").read_text().count(f"{self.path}: {what}")

    def one(self, _):
        """One guest: it is told to quit, or killed, as soon as its card is there, or as it is looked for, or while iPXE uses it."""
        says = self.folder / f"qemu-says-{self.path.name}"
        way, before = self.number % 4, self.told("the client is gone")
        boots = self.number % 20 == 3
        card = card_at(self.path, romfile=str(ROM) if boots else "")
        shows = self.folder / f"console-{self.path.name}-{self.number}"
        console = ["-serial", f"file:{shows}"] if boots else ["-S"]
        with start_qemu(self.where, says, *ram(64), *console, *card) as qemu:
            try:
                wait_until(lambda: self.told("a client came") > before or qemu.poll() is not None, "nobody comes")
                if boots:
                    wait_until(lambda: shows.exists() and "iPXE initialising" in shows.read_text(errors="replace"), "iPXE does not start")
                elif way < 2:
                    time.sleep(0.1)
                qemu.send_signal(signal.SIGTERM if way % 2 else signal.SIGKILL)
            finally:
                qemu.wait(BOOT)
        wait_until(lambda: self.told("the client is gone") > before, f"guest {self.number} stays: {says.read_text()}")
        self.number += 1


def test_two_hundred_guests_come_and_go(tmp_path):
    if reason := missing():
        pytest.skip(reason)
    other = tmp_path / "other"
    with namespace() as where, served(where, tmp_path, "--socket", other) as (path, server), ThreadPoolExecutor(2) as pool:
        host_up(where)
        visits = [Visits(where, tmp_path, one) for one in (path, other)]

        def come_and_go(guests):
            for pending in [pool.submit(lambda v=visit: [v.one(n) for n in range(guests // 2)]) for visit in visits]:
                pending.result()

        come_and_go(FIRST)
        fds, mappings, threads, memory = held(server.pid)
        come_and_go(GUESTS - FIRST)
        after = held(server.pid)
        assert sum(visit.told("a client came") for visit in visits) == GUESTS
        assert (after[0], after[2]) == (fds, threads)
        assert after[1] <= mappings + 4  # of the allocator: a guest has a dozen
        assert after[3] <= memory + MOST_GROWTH
