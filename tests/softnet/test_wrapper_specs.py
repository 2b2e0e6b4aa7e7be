"""Wrappers in a spec: what is before an '@'."""

import json

import pytest
from wire_ends import numbered

from fastring.burst import Burst
from fastring.clock import VirtualClock
from fastring.faults import FaultyWire
from fastring.meter import MeterWire
from fastring.netem import NetemWire
from fastring.port import WirePort
from fastring.tee import TeeWire
from fastring.wire import NullWire
from softnet.wire import open_wire, wire_kind
from softnet.wire.packet import for_sending

PACKETS = numbered(1000)


def layers(spec):
    cabling = open_wire(spec, clock=VirtualClock())
    wire, found = cabling.near, []
    while hasattr(wire, "inner"):
        found.append(type(wire))
        wire = wire.inner
    cabling.close()
    return [*found, type(wire)]


def test_wrappers_are_put_around_from_the_right(tmp_path):
    assert layers(f"tee:{tmp_path}/a.pcapng@fault:loss=1%@meter@null") == [TeeWire, NetemWire, MeterWire, NullWire]
    assert layers("fault:bad_crc=0.1@null") == [FaultyWire, NullWire]
    assert layers("fault:bad_crc=0.1,delay=5ms@null") == [NetemWire, FaultyWire, NullWire]
    assert layers("fault:@null") == [NetemWire, NullWire]


def test_a_wrapped_wire_is_of_its_own_kind():
    assert wire_kind("meter@fault:loss=0.5@pair").receives
    assert wire_kind("meter@tcp:localhost:5").outside


def test_around_a_pair_it_is_what_the_sending_card_sends_that_suffers():
    clock = VirtualClock()
    cabling = open_wire("fault:loss=0.5,seed=7@pair", clock=clock)
    with WirePort(cabling.near) as near, WirePort(cabling.far) as far:
        near.send(Burst.from_packets(PACKETS))
        far.send(Burst.from_packets(PACKETS))
        assert 400 < far.rx_packets < 600
        assert near.rx_packets == 1000
        assert cabling.drops() == {"netem_loss": 1000 - far.rx_packets}


def test_options_are_read_as_tc_reads_them():
    clock = VirtualClock()
    cabling = open_wire("fault:delay=2.5ms,rate=8mbit,seed=7@pair", clock=clock)
    with WirePort(cabling.near) as near, WirePort(cabling.far) as far:
        near.send(Burst.from_packets([bytes(1000)]))
        clock.advance(3_499_999)
        assert far.rx_packets == 0
        clock.advance(1)
        assert far.rx_packets == 1


def test_what_a_replay_lost_to_a_fault_is_named(replayed, data):
    status, result = replayed(data / "dns.pcap", "--wire", "meter@fault:loss=10%,seed=1@pair", "--clock", "virtual")
    assert status in (0, 1)
    assert result["drops"].keys() == {"netem_loss"}


def test_what_a_wire_duplicates_is_part_of_the_account(replayed, data):
    _, result = replayed(data / "dns.pcap", "--wire", "fault:dup=50%,loss=10%,seed=1@pair", "--clock", "virtual")
    assert result["duplicated"] > 0
    assert result["drops"].keys() <= {"netem_loss"}


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("meter", "needs a wire behind an '@'"),
        ("meter@", "needs a wire behind an '@'"),
        ("meter:x@null", "no option 'x'"),
        ("meter@nonsense", "no wire 'meter@nonsense'"),
        ("tee:@null", "needs a file"),
        ("fault:loss=2@null", "chance"),
        ("fault:loss=nan@null", "chance"),
        ("fault:loss=-1%@null", "chance"),
        ("fault:delay=5parsecs@null", "time of at most an hour"),
        ("fault:delay=2h@null", "time of at most an hour"),
        ("fault:rate=fast@null", "rate such as"),
        ("fault:rate=0@null", "rate such as"),
        ("fault:direction=up@null", "out, in or both"),
        ("fault:dup=0.1,duplicate=0.1@null", "twice"),
        ("fault:jitter=5ms@null", "no more than it"),
        ("fault:limit=0@null", "whole number"),
    ],
)
def test_a_spec_that_makes_no_sense_is_one_line(spec, match):
    with pytest.raises(ValueError, match=match) as raised:
        open_wire(spec, clock=VirtualClock())
    assert "\n" not in str(raised.value)


def test_who_sends_has_the_packet_ring_wait_longer():
    assert for_sending("packet:eth0") == "packet:eth0,block_timeout=20"
    assert for_sending("packet:eth0,block_timeout=5") == "packet:eth0,block_timeout=5"


@pytest.mark.parametrize("clock", ["real", "virtual"])
@pytest.mark.parametrize("command", [("replay", "dns.pcap"), ("generate", "--udp", "10.0.0.1:1,10.0.0.2:2", "--count", "100")])
def test_what_a_wire_delays_arrives_before_the_end(fastring, data, command, clock):
    words = [data / word if word.endswith(".pcap") else word for word in command]
    result = json.loads(fastring(*words, "--clock", clock, "--wire", "fault:delay=100ms,jitter=20ms,limit=5000@pair", "--json").out)
    assert (result["received"], result["lost"], result["drops"]) == (result["sent"], 0, {})
