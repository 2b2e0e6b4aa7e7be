"""XdpWire: what AF_XDP sockets have of their own. What they share with other wires onto interfaces: test_interface_wires.py."""

import ctypes
import errno
import gc
import json
import os
import select
import struct
import time
from contextlib import suppress

import pytest
from interface_ends import FRAMES, PATIENCE, go_round, listening, poll_for, poll_until

from fastring.burst import Burst
from fastring.xdp import XdpWire
from fastring.xdp_program import XdpProgram

CAP_NET_RAW, CAP_IPC_LOCK = 13, 14
CAPABILITY_VERSION_3 = 0x20080522


@pytest.fixture
def near(ends):
    with ends.near.inside():
        yield ends.near


def xdp_mode(ends):
    """What `ip` shows of an XDP program at the near end: its mode, or None."""
    return json.loads(ends.near.ip("-j", "-d", "link", "show", "near"))[0].get("xdp", {}).get("mode")


# --- receiving ---


def test_what_arrives_comes_here_alone_until_the_wire_is_closed(ends, near, far):
    with ends.socket(ends.near, "near") as host:
        with listening(XdpWire("near")) as port:
            assert port.wire.program.mode == "drv"
            assert xdp_mode(ends) is not None
            far.send(FRAMES[0])
            assert poll_for(port, 1) == [FRAMES[0]]
            assert select.select([host], [], [], 0)[0] == []
        poll_until_gone(ends)
        far.send(FRAMES[1])
        assert host.recv(4096) == FRAMES[1]


def poll_until_gone(ends):
    """The program is detached when its link is let go of, which the kernel does when it gets to it."""
    deadline = time.monotonic() + PATIENCE
    while xdp_mode(ends) is not None:
        assert time.monotonic() < deadline


def test_frames_of_another_queue_go_to_the_host(ends, near, far):
    """The map has one queue; what is not in it passes."""
    near.ip("link", "add", "two", "numrxqueues", 2, "numtxqueues", 2, "type", "veth", "peer", "name", "peer")
    near.ip("link", "set", "two", "up")
    near.ip("link", "set", "peer", "up")
    with ends.socket(near, "two") as host, ends.socket(near, "peer") as peer, listening(XdpWire("two", queue=1)) as port:
        peer.send(FRAMES[0])                    # a veth's queue 0 is where a sender without queues of its own sends
        assert host.recv(4096) == FRAMES[0]
        assert (port.poll(), port.sink.packets) == (0, [])


def test_without_rx_the_host_goes_on_receiving(ends, near, far):
    with ends.socket(ends.near, "near") as host, listening(XdpWire("near", rx=False)) as port:
        assert (port.wire.program, xdp_mode(ends)) == (None, None)
        far.send(FRAMES[0])
        assert host.recv(4096) == FRAMES[0]
        port.send(Burst.from_packets(FRAMES[1:3]))
        assert [far.recv(4096) for _ in range(2)] == FRAMES[1:3]


def test_chunks_come_back_however_often_they_are_used(near, far):
    """Far more frames, both ways, than there are chunks."""
    with listening(XdpWire("near")) as port:
        for _ in go_round(port, far, 60):
            port.send(Burst.from_packets(FRAMES))
        assert port.wire.drops == {}
        assert port.wire.tx_packets == 60 * len(FRAMES)


def test_a_poll_takes_no_more_than_its_budget(near, far):
    with listening(XdpWire("near")) as port:
        for frame in FRAMES[:5]:
            far.send(frame)
        poll_until(port, lambda: port.poll(1) == 1)
        poll_for(port, 5)
        assert port.sink.packets == FRAMES[:5]
        assert max(port.sink.sizes) <= 5


def test_what_there_is_no_room_for_is_counted(near, far):
    sent = 0
    with listening(XdpWire("near")) as port:
        for _ in range(60):
            for frame in FRAMES:
                with suppress(OSError):         # ENOBUFS: the veth's own queue is full
                    far.send(frame)
                    sent += 1
        poll_until(port, lambda: len(port.sink.packets) + sum(port.wire.drops.values()) == sent)
        assert 0 < sum(port.wire.drops.values()) < sent
        drops = port.wire.drops
    assert port.wire.drops == drops, "forgotten by close"


# --- sending ---


def test_what_is_kept_for_an_interface_that_stays_down_is_counted_in_the_end(ends, near):
    with listening(XdpWire("near")) as port:
        near.ip("link", "set", "near", "down")
        port.send(Burst.from_packets([FRAMES[0], FRAMES[1]]))
        assert port.wire.drops == {}
    assert port.wire.drops == {"unfinished": 2}
    assert port.wire.tx_packets == 0


# --- options, and what cannot be opened ---


def test_copy_mode_is_what_a_veth_has(near):
    with XdpWire("near", mode="copy") as wire:
        assert not wire.zerocopy
    with pytest.raises(OSError, match=r"has no zero-copy \(mode=copy works everywhere") as failed:
        XdpWire("near", mode="zerocopy")
    assert failed.value.errno == errno.EOPNOTSUPP


def test_a_queue_that_is_not_there(near):
    with pytest.raises(OSError, match="queue 5 of the interface near: there is no such queue") as failed:
        XdpWire("near", queue=5)
    assert failed.value.errno == errno.EINVAL


def test_a_queue_that_is_taken_or_was_a_moment_ago(near):
    with XdpWire("near"), pytest.raises(OSError, match="another XDP socket has it") as failed:
        XdpWire("near")
    assert failed.value.errno == errno.EBUSY
    for _ in range(3):
        XdpWire("near").close()


def test_an_interface_that_has_an_xdp_program(near):
    with XdpWire("near", rx=False) as wire, XdpProgram("near", wire.ifindex, 0, wire.fileno()):
        with pytest.raises(OSError, match=r"has an XDP program already \(rx=off sends beside it") as failed:
            XdpProgram("near", wire.ifindex, 0, wire.fileno())
        assert failed.value.errno == errno.EBUSY


def test_a_program_in_a_reference_cycle_is_detached(near):
    with XdpWire("near", rx=False) as wire:
        for _ in range(20):  # each older than what holds it, so that the collector comes to it first
            cycle = [XdpProgram("near", wire.ifindex, 0, wire.fileno())]
            cycle.append(cycle)
            del cycle
            gc.collect()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mode": "fast"}, "auto, copy, zerocopy, not 'fast'"), ({"queue": -1}, "0 to 65535, not -1")],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        XdpWire("none", **options)


def test_receiving_without_the_right_to_it_names_the_capabilities_and_sending_remains(near):
    child = os.fork()
    if child == 0:
        try:
            only = 1 << CAP_NET_RAW | 1 << CAP_IPC_LOCK
            header, sets = struct.pack("Ii", CAPABILITY_VERSION_3, 0), struct.pack("6I", only, only, 0, 0, 0, 0)
            assert ctypes.CDLL(None).capset(header, sets) == 0
            with pytest.raises(PermissionError, match=r"needs CAP_BPF and CAP_NET_ADMIN \(rx=off sends without"):
                XdpWire("near")
            with XdpWire("near", rx=False):
                os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
