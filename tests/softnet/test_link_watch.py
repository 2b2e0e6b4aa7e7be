"""The host's carrier, as a served card has it: what LinkWatch sees, and what the card's driver does of it."""

import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest
from namespaces import namespace, veth

from e1000 import regs
from e1000.bus import VfioUserBus
from fastring.clock import MonotonicClock
from softnet.link_watch import LinkWatch, interface_of
from softnet.wire import open_wire

FLAPS = 2


@pytest.fixture
def here():
    with namespace() as where:
        yield where


def pair_of(here, name, other):
    veth(here, name, here, other)


def watching(here, name):
    with here.inside():
        return closing(LinkWatch(name))


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_sees_the_carrier_come_and_go_and_nothing_of_others(here):
    with namespace() as there:
        veth(here, "near", there, "far")
        with watching(here, "near") as watch:
            until(lambda: watch.look() and watch.carrier)
            pair_of(here, "other", "another")
            here.ip("link", "del", "other")
            assert not watch.look()
            for _ in range(FLAPS):
                there.ip("link", "set", "far", "down")
                until(lambda: watch.look() and watch.carrier is False)
                there.ip("link", "set", "far", "up")
                until(lambda: watch.look() and watch.carrier is True)
            here.ip("link", "set", "near", "down")
            until(lambda: watch.look() and watch.carrier is False)
            here.ip("link", "del", "near")
            until(lambda: watch.look() and watch.carrier is None)
            assert repr(watch) == "<LinkWatch of near: unknown>"


def test_it_asks_anew_when_it_has_missed_something(here):
    pair_of(here, "ours", "theirs")
    with watching(here, "ours") as watch:
        until(lambda: watch.look() and watch.carrier)
        watch._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        here.run("sh", "-c", "for i in 1 2 3 4 5 6; do ip link set ours down; ip link set ours up; done; ip link set ours down")
        until(lambda: watch.look() or watch.carrier is False)
        assert watch.carrier is False


def test_there_is_no_such_interface(here):
    with pytest.raises(OSError, match=r"no interface|No such device"), watching(here, "nowhere"):
        pass


def test_which_wires_end_at_an_interface(here):
    pair_of(here, "ours", "theirs")
    clock = MonotonicClock()
    with here.inside():
        for spec, name in (("tap:tap7", "tap7"), ("meter@fault:loss=0.1@packet:ours", "ours"), ("loopback", None), ("null", None)):
            cabling = open_wire(spec, clock=clock)
            assert interface_of(cabling.near) == name
            cabling.close()


@pytest.fixture
def serving(here, tmp_path):
    """`fastring serve` on tap0, with words of its own: a bus for each of its sockets."""
    started = []

    def start(*sockets):
        words = [word for name in sockets for word in ("--socket", tmp_path / name)]
        command = (sys.executable, "-m", "softnet.cli", "serve", *words, "--wire", "tap:tap0")
        process = here.popen(*command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        started.append(process)
        assert "ready" in process.stderr.readline()
        buses = [VfioUserBus(tmp_path / name, timeout=60.0) for name in sockets]
        started.extend(buses)
        for bus in buses:
            bus.write(regs.CTRL, bus.read(regs.CTRL) | regs.CTRL_SLU)
        return process, buses

    yield start
    for one in reversed(started):
        if isinstance(one, VfioUserBus):
            one.close()
        else:
            one.kill()
            one.communicate()


def link(bus):
    return bool(bus.read(regs.STATUS) & regs.STATUS_LU)


def test_a_card_alone_has_a_link_while_its_interface_has_a_carrier(here, serving):
    _, (bus,) = serving("card")
    until(lambda: link(bus))
    bus.write(regs.IMS, regs.ICR_LSC)
    for _ in range(FLAPS):
        bus.read(regs.ICR)
        here.ip("link", "set", "tap0", "down")
        until(lambda: not link(bus))
        assert bus.read(regs.ICR) & regs.ICR_LSC
        here.ip("link", "set", "tap0", "up")
        until(lambda: link(bus))
        assert bus.read(regs.ICR) & regs.ICR_LSC


def test_an_interface_that_is_deleted_while_it_is_down_ends_it(here, serving):
    process, (bus,) = serving("card")
    until(lambda: link(bus))
    here.ip("link", "set", "tap0", "down")
    until(lambda: not link(bus))
    here.ip("link", "del", "tap0")
    assert process.wait(60) == 1
    assert "the interface was deleted" in process.stderr.read()


def test_a_card_on_a_switch_has_its_link_to_the_switch(here, serving):
    _, buses = serving("a", "b")
    until(lambda: all(map(link, buses)))
    here.ip("link", "set", "tap0", "down")
    until(lambda: "state DOWN" in here.ip("link", "show", "tap0"))
    assert all(map(link, buses))
