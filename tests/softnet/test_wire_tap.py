"""The wire spec `tap:[NAME][,OPTION…]`, and a capture replayed into the kernel."""

import json
import os

import pytest
from namespaces import namespace

from fastring.clock import MonotonicClock
from softnet.cli import main
from softnet.wire import open_wire, wire_kind

if not os.path.exists("/dev/net/tun"):
    pytest.skip("needs /dev/net/tun", allow_module_level=True)


@pytest.fixture
def net():
    with namespace() as net:
        yield net


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tap:vnet_hdr=off", "has its name first: tap:NAME,vnet_hdr=off, or tap:,vnet_hdr=off for one that the kernel chooses"),
        ("tap:tap0,vnet_hdr=no", "vnet_hdr: it is 'on' or 'off', not 'no'"),
        ("tap:tap0,queues=0", "queues: it is a whole number of 1 to 256, not '0'"),
        ("tap:tap0,mtu=67", "mtu: it is a whole number of 68 to 65521, not '67'"),
        ("tap:tap0,speed=1", "has no option 'speed': it has vnet_hdr, queues, up, mtu"),
        ("tap:tap0,up=on,up=on", "is told 'up' twice"),
        ("tap:a/b", "is no interface name"),
    ],
)
def test_a_spec_that_makes_no_sense(spec, message):
    with pytest.raises(ValueError, match=message):
        open_wire(spec, clock=MonotonicClock())


def test_a_spec_makes_what_it_says(net):
    assert wire_kind("tap:").outside
    with net.inside():
        cabling = open_wire("tap:,vnet_hdr=off,queues=3,up=off,mtu=4000", clock=MonotonicClock())
    wire = cabling.near
    assert (wire.name, wire.vnet_hdr, wire.queues, cabling.far) == ("tap0", False, 3, None)
    assert "<BROADCAST,MULTICAST>" in (shown := net.ip("link", "show", "tap0"))
    assert " mtu 4000 " in shown
    cabling.close()
    assert "tap0" not in net.ip("link")


def replayed(net, capsys, *arguments):
    with net.inside():
        status = main(["replay", "tests/data/mixed.pcap", *arguments, "--json"])
    said = capsys.readouterr()
    return status, json.loads(said.out) if said.out else said.err


@pytest.mark.parametrize("options", ["", ",vnet_hdr=off", ",queues=4"])
def test_a_capture_is_replayed_into_the_kernel(net, capsys, monkeypatch, request, options):
    monkeypatch.chdir(request.config.rootpath)
    net.ip("tuntap", "add", "dev", "kept", "mode", "tap", *(["multi_queue"] if "queues" in options else []))
    net.ip("link", "set", "kept", "up")
    status, result = replayed(net, capsys, "--wire", f"tap:kept{options}")
    counted = json.loads(net.ip("-j", "-s", "link", "show", "kept"))[0]["stats64"]["rx"]
    assert (status, result["sent"], result["received"], result["drops"]) == (0, 11017, 11017, {})
    assert (counted["packets"], counted["bytes"]) == (11017, result["received_bytes"])


def test_a_replay_into_an_interface_that_is_down_tells_what_was_lost(net, capsys, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    status, result = replayed(net, capsys, "--wire", "tap:tap0,up=off")
    assert (status, result["received"], result["lost"], result["drops"]) == (1, 0, 11017, {"interface_down": 11017})


def test_an_interface_that_cannot_be_had_is_one_line(net, capsys, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    status, said = replayed(net, capsys, "--wire", "tap:lo")
    assert (status, said) == (2, "fastring replay: lo: the interface is there, but no TAP made without multi_queue\n")
