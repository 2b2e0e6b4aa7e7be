"""Switch: learning, flooding, VLANs and what is dropped, against a model in dictionaries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sinks import RecordingSink

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import FRAME_BAD_CRC, Burst
from fastring.clock import VirtualClock
from fastring.port import WirePort
from fastring.switch import Switch
from fastring.wire import NullWire, pair
from softnet import Stack

SECOND = 1_000_000_000
BROADCAST, ZERO = b"\xff" * 6, bytes(6)
HOSTS = [bytes([2, 0, 0, 0, 0, i]) for i in range(8)]
RESERVED = bytes.fromhex("0180c2000000")


def frame(to, sender, *, tag=None, size=80, seed=0):
    head = to + sender + (b"" if tag is None else b"\x81\x00" + tag.to_bytes(2, "big")) + b"\x08\x00"
    return head + bytes((i * 7 + seed) & 0xFF for i in range(size - len(head)))


class Lab:
    """A switch, and a WirePort on each of its ports."""

    def __init__(self, *ports, **options):
        self.clock = VirtualClock()
        self.switch = Switch(clock=self.clock, **options)
        self.wires = [self.switch.port(f"p{i}", **port) for i, port in enumerate(ports)]
        self.sinks = [RecordingSink() for _ in ports]
        self.ports = [WirePort(wire, sink=sink) for wire, sink in zip(self.wires, self.sinks, strict=True)]

    def send(self, number, *packets, errors=None):
        self.ports[number].send(Burst.from_packets(packets, errors=errors))
        taken = [sink.packets for sink in self.sinks]
        for sink in self.sinks:
            sink.packets = []
        return taken


def test_what_is_unknown_goes_everywhere_and_what_was_heard_to_its_port():
    lab = Lab({}, {}, {})
    first, answer = frame(HOSTS[1], HOSTS[0]), frame(HOSTS[0], HOSTS[1])
    assert lab.send(0, first) == [[], [first], [first]]
    assert lab.send(1, answer) == [[answer], [], []]
    assert lab.send(0, first) == [[], [first], []]
    assert lab.switch.addresses == [(HOSTS[i].hex(":"), 0, f"p{i}", 0) for i in (0, 1)]
    assert lab.send(2, frame(BROADCAST, HOSTS[2]))[:2] == [[frame(BROADCAST, HOSTS[2])]] * 2


def test_a_host_that_moves_is_found_at_its_new_port():
    lab = Lab({}, {}, {})
    lab.send(0, frame(BROADCAST, HOSTS[0]))
    lab.send(1, frame(BROADCAST, HOSTS[0]))
    assert lab.send(2, frame(HOSTS[0], HOSTS[2]))[:2] == [[], [frame(HOSTS[0], HOSTS[2])]]
    assert lab.switch.table.moved == 1


def test_addresses_are_forgotten_at_their_time_and_not_before():
    lab = Lab({}, {}, {}, ageing=10)
    lab.send(0, frame(BROADCAST, HOSTS[0]))
    lab.clock.advance(10 * SECOND - 1)
    assert lab.send(1, frame(HOSTS[0], HOSTS[1]))[2] == []
    lab.clock.advance(1)
    assert len(lab.send(1, frame(HOSTS[0], HOSTS[1]))[2]) == 1
    assert [address for address, *_ in lab.switch.addresses] == [HOSTS[1].hex(":")]


def test_a_flood_of_addresses_costs_no_more_than_its_limit():
    lab = Lab({}, {}, limit=64)
    lab.send(1, frame(BROADCAST, HOSTS[1]))
    flood = [frame(BROADCAST, b"\x06" + i.to_bytes(5, "big")) for i in range(5000)]
    for start in range(0, 5000, 500):
        lab.send(0, *flood[start : start + 500])
    assert len(lab.switch.addresses) == 64
    assert lab.switch.table.unlearned == 5000 - 63
    assert lab.send(0, frame(HOSTS[1], HOSTS[2])) == [[], [frame(HOSTS[1], HOSTS[2])]]


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (frame(HOSTS[0], BROADCAST), "bad_source"),
        (frame(HOSTS[0], ZERO), "bad_source"),
        (frame(RESERVED[:5] + b"\x01", HOSTS[1]), "reserved"),
        (frame(RESERVED[:5] + b"\x0f", HOSTS[1]), "reserved"),
        (b"short", "malformed"),
    ],
)
def test_what_a_switch_does_not_forward_is_dropped_by_name(packet, reason):
    lab = Lab({}, {})
    assert lab.send(0, packet) == [[], []]
    assert lab.switch.drops == {"p0": {reason: 1}}


def test_damaged_frames_are_dropped_and_stp_is_let_through():
    lab = Lab({}, {})
    assert lab.send(0, frame(BROADCAST, HOSTS[0]), errors=[FRAME_BAD_CRC]) == [[], []]
    assert lab.send(0, frame(RESERVED, HOSTS[0])) == [[], [frame(RESERVED, HOSTS[0])]]
    assert lab.switch.drops == {"p0": {"malformed": 1}}


def test_vlans_are_told_apart_and_tags_come_and_go():
    lab = Lab({"vlan": 10}, {"vlan": 20}, {"trunk": (10, 20)}, {"vlan": 10, "trunk": (20,)}, vlan_filtering=True)
    plain = frame(BROADCAST, HOSTS[0])
    tagged = frame(BROADCAST, HOSTS[0], tag=10, size=84)
    assert lab.send(0, plain) == [[], [], [tagged], [plain]]
    assert lab.send(2, frame(BROADCAST, HOSTS[2], tag=0x6000 | 20, size=84)) == [
        [],
        [frame(BROADCAST, HOSTS[2])],
        [],
        [frame(BROADCAST, HOSTS[2], tag=0x6000 | 20, size=84)],
    ]
    assert lab.send(2, plain) == [[]] * 4  # no VLAN for what has no tag
    assert lab.send(0, frame(BROADCAST, HOSTS[0], tag=20)) == [[]] * 4
    assert lab.switch.drops == {"p2": {"no_vlan": 1}, "p0": {"no_vlan": 1}}
    priority = frame(BROADCAST, HOSTS[0], tag=0xA000, size=84)
    assert lab.send(0, priority) == [[], [], [frame(BROADCAST, HOSTS[0], tag=0xA00A, size=84)], [plain]]


def test_a_frame_that_is_too_short_without_its_tag_is_padded():
    lab = Lab({"vlan": 10}, {"trunk": (10,)}, vlan_filtering=True)
    short = frame(BROADCAST, HOSTS[0], tag=10, size=60)
    assert lab.send(1, short)[0] == [short[:12] + short[16:] + bytes(4)]


def test_packets_in_pieces_get_and_lose_tags_wherever_they_are_cut():
    lab = Lab({"vlan": 10}, {"trunk": (10,)}, {"vlan": 10}, vlan_filtering=True)
    for size in range(1, 30):
        packet = frame(BROADCAST, HOSTS[0], seed=size)
        cut = [packet[i : i + size] for i in range(0, len(packet), size)]
        assert lab.send(0, cut)[1:] == [[frame(BROADCAST, HOSTS[0], tag=10, size=84, seed=size)], [packet]]
    assert lab.send(0, [bytes([2])] * 6 + [HOSTS[0]] + [b"x"] * 150)[1:] == [[], []]
    assert lab.switch.drops == {"p1": {"too_many_pieces": 1}, "p2": {"too_many_pieces": 1}}


OFFERS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from([*HOSTS[:4], BROADCAST]),
        st.sampled_from([*HOSTS[:4], BROADCAST]),
        st.sampled_from([None, 0, 1, 2, 3, 0x2001, 0xFFF]),
        st.integers(0, 3),
    ),
    max_size=60,
)
PORTS = st.lists(
    st.fixed_dictionaries({}, optional={"vlan": st.integers(1, 3), "trunk": st.sets(st.integers(1, 3)).map(tuple)}), min_size=4, max_size=4
)


def model(ports, offers, ageing, limit, filtering):
    """What each port gets, by the kernel's rules written out."""
    table, got, now = {}, [[] for _ in ports], 0
    pvids = [port.get("vlan") or (None if port.get("trunk") else 1) for port in ports]
    members = [{*port.get("trunk", ()), pvid} - {None} for port, pvid in zip(ports, pvids, strict=True)]
    for number, to, sender, tag, wait in offers:
        now += wait
        table = {key: (port, heard) for key, (port, heard) in table.items() if heard + ageing > now}
        vlan, tci = 0, tag
        if sender == BROADCAST:
            continue
        if filtering:
            vlan = (tag or 0) & 0xFFF or pvids[number]
            tci = (tag or 0) & 0xF000 | (vlan or 0)
            if vlan not in members[number]:
                continue
        if (sender, vlan) in table or len(table) < limit:
            table[sender, vlan] = (number, now)
        known = None if to == BROADCAST else table.get((to, vlan))
        for other in range(len(ports)) if known is None else [known[0]]:
            if other == number or (filtering and vlan not in members[other]):
                continue
            leaves = tag if not filtering else None if vlan == pvids[other] else tci
            got[other].append((to, sender, leaves))
    return got


@given(PORTS, OFFERS, st.sampled_from([2, 5, 100]), st.sampled_from([1, 2, 100]), st.booleans())
def test_it_forwards_as_the_model_does(ports, offers, ageing, limit, filtering):
    ports = ports if filtering else [{}] * 4
    lab = Lab(*ports, vlan_filtering=filtering, ageing=ageing, limit=limit)
    for number, to, sender, tag, wait in offers:
        lab.clock.advance(wait * SECOND)
        lab.ports[number].send(Burst.from_packets([frame(to, sender, tag=tag, size=80 if tag is None else 84)]))
    expected = [
        [frame(to, sender, tag=tag, size=80 if tag is None else 84) for to, sender, tag in got]
        for got in model(ports, offers, ageing, limit, filtering)
    ]
    assert [sink.packets for sink in lab.sinks] == expected


def test_two_ports_on_one_cable_are_a_loop_that_ends():
    lab = Lab({}, vlan_filtering=False)
    near, far = pair()
    lab.switch.connect(near, "near")
    lab.switch.connect(far, "far")
    lab.send(0, frame(BROADCAST, HOSTS[0]))
    assert sum(drops.get("loop", 0) for drops in lab.switch.drops.values()) > 0


def test_a_wire_that_takes_no_more_drops_at_its_port_and_others_go_on():
    lab = Lab({}, {})
    near, far = pair()
    member = lab.switch.connect(near, "card")
    with Stack(clock=lab.clock) as stack, probe(LocalBus(E1000Device(wire=far)), stack, flow_control="none", rx_usecs=0) as device:
        device.promiscuous, device.sink = True, RecordingSink()
        got = lab.send(0, *[frame(BROADCAST, HOSTS[0], seed=i % 256) for i in range(1000)])
        stack.run()
        assert len(got[1]) == 1000
        assert 0 < len(device.sink.packets) < 1000
        assert lab.switch.drops == {"card": {"port_full": 1000 - len(device.sink.packets)}}
        assert member.tx_packets == len(device.sink.packets)


def test_one_with_nothing_to_poll_is_polled_in_vain():
    lab = Lab({}, {})
    assert lab.ports[0].poll() == 0
    assert (lab.wires[0].polled, lab.wires[0].fileno(), lab.wires[0].failure()) == (False, None, None)


def test_ports_come_and_go_with_what_was_learned_there():
    lab = Lab({}, {}, {})
    lab.send(0, frame(BROADCAST, HOSTS[0]))
    lab.ports[0].close()
    lab.wires[0].close()
    lab.wires[0].close()
    assert lab.switch.addresses == []
    assert lab.send(1, frame(HOSTS[0], HOSTS[1]))[2] == [frame(HOSTS[0], HOSTS[1])]
    assert [port.name for port in lab.switch.port_list] == ["p1", "p2"]
    inner = NullWire()
    lab.switch.connect(inner)
    lab.switch.close()
    with WirePort(inner):
        pass


@pytest.mark.parametrize(
    ("filtering", "options", "match"),
    [(False, {"vlan": 1}, "with vlan_filtering"), (True, {"vlan": 0}, "1 to 4094"), (True, {"trunk": (4095,)}, "1 to 4094")],
)
def test_vlans_that_make_no_sense_are_refused(filtering, options, match):
    switch = Switch(clock=VirtualClock(), vlan_filtering=filtering)
    with pytest.raises(ValueError, match=match):
        switch.port(**options)
    with pytest.raises(ValueError, match="remembers"):
        Switch(clock=VirtualClock(), limit=0)
    assert switch.port_list == ()
