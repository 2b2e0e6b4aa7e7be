"""The wire specs `packet:IFNAME` and `xdp:IFNAME`, and a capture replayed over them."""

import json
import socket

import pytest
from namespaces import namespace, veth

from fastring.clock import MonotonicClock
from softnet.wire import open_wire, wire_kind

ETH_P_ALL = 3


@pytest.fixture
def ends():
    """Two namespaces, and between their interfaces `near` and `far` a veth pair."""
    with namespace() as near, namespace() as far:
        veth(near, "near", far, "far")
        yield near, far


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("packet", "needs an ifname: packet:IFNAME"),
        ("packet:lo,ring=0", "ring: it is a whole number of 1 to 4096, not '0'"),
        ("packet:lo,fanout=x", "fanout: it is a whole number of 0 to 65535, not 'x'"),
        ("packet:lo,fanout=1:fair", "fanout: the mode is hash, lb, cpu, rollover, rnd, qm, not 'fair'"),
        ("packet:lo,promisc=yes", "promisc: it is 'on' or 'off', not 'yes'"),
        ("packet:lo,speed=1", "no option 'speed': it has promisc, fanout, qdisc_bypass, vnet_hdr, ring"),
        ("xdp:", "needs an ifname: xdp:IFNAME"),
        ("xdp:lo,queue=-1", "queue: it is a whole number of 0 to 65535, not '-1'"),
        ("xdp:lo,mode=fast", "mode: it is auto, copy, zerocopy, not 'fast'"),
    ],
)
def test_specs_that_make_no_sense(spec, message):
    with pytest.raises(ValueError, match=message):
        open_wire(spec, clock=MonotonicClock())


def test_options_reach_the_wire(ends):
    near, _far = ends
    with near.inside():
        cabling = open_wire("packet:near,promisc=off,fanout=3:lb,qdisc_bypass=off,ring=1", clock=MonotonicClock())
    try:
        assert wire_kind("packet:near").outside
        assert cabling.near.capabilities()["mtu"] == 1500
        assert json.loads(near.ip("-d", "-j", "link", "show", "near"))[0]["promiscuity"] == 0
        with near.inside(), pytest.raises(OSError, match="Invalid argument"):
            open_wire("packet:near,fanout=3:hash", clock=MonotonicClock())
    finally:
        cabling.close()


def test_options_reach_the_xdp_wire(ends):
    near, _far = ends
    with near.inside():
        cabling = open_wire("xdp:near,rx=off,mode=copy,queue=0", clock=MonotonicClock())
        try:
            assert wire_kind("xdp:near").outside
            assert cabling.near.capabilities()["mtu"] == 1500
            assert "xdp" not in json.loads(near.ip("-d", "-j", "link", "show", "near"))[0]
        finally:
            cabling.close()
        with pytest.raises(OSError, match="has no zero-copy"):
            open_wire("xdp:near,mode=zerocopy", clock=MonotonicClock())


@pytest.mark.parametrize("spec", ["packet:near", "xdp:near", "xdp:near,rx=off"])
def test_a_capture_replayed_over_it_arrives_and_what_is_too_long_is_accounted_for(spec, ends, capture, frame, replayed):
    near, far = ends
    frames = [frame(60 + 14 * number, number) for number in range(105)]         # to 1516 bytes: two more than the interface takes
    with far.inside():
        plain = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with plain:
        plain.bind(("far", ETH_P_ALL))
        plain.settimeout(30)
        with near.inside():
            status, result = replayed(capture(frames), "--wire", spec)
        assert [plain.recv(4096) for _ in range(104)] == frames[:104]
    assert (status, result["sent"], result["received"], result["drops"]) == (1, 105, 104, {"too_long": 1})


def test_what_others_send_there_is_no_part_of_the_account(ends, capture, replayed):
    """The loopback interface brings back all that is sent, and the card filters it out."""
    near, _far = ends
    to_others = [b"\x02\0\0\0\0\7" + b"\x02\0\0\0\0\1" + b"\x88\xb5" + bytes(46)] * 2000
    with near.inside():
        status, result = replayed(capture(to_others), "--wire", "xdp:lo")
    assert (status, result["sent"], result["received"], result["drops"]) == (0, 2000, 2000, {})
