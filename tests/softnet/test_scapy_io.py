"""scapy's own functions over a fastring card, its far end another card that answers."""

import os
import threading
import time

import pytest
from scapy.all import ARP, ICMP, IP, TCP, UDP, AsyncSniffer, Dot1Q, Ether, Raw, bridge_and_sniff, conf, sendp, sniff, srp, srp1

import softnet
from fastring.burst import Burst
from fastring.wire import NullWire, pair
from softnet.scapy_io import FastringSocket, PacketBurst, scapy_on, sendpfast

LONG = 60  # seconds that nothing takes
PAYLOAD = b"abcdefgh" * 4
US, THEM = "52:54:00:00:00:01", "52:54:00:00:00:02"
REQUESTS = [Ether(src=US, dst=THEM) / IP(src="192.0.2.1", dst="192.0.2.2") / ICMP(id=7, seq=seq) / PAYLOAD for seq in range(20)]


@pytest.fixture(params=[True, False], ids=["card", "port"])
def ends(request):
    """A socket, and the Nic at the other end of its wire."""
    a, b = pair()
    with softnet.open_nic(b) as far, FastringSocket(a, card=request.param) as near:
        yield near, far


@pytest.fixture
def responder(ends):
    """Has the far end answer ARP and ICMP until the test is over."""
    near, far = ends

    def answer():
        for burst in far:
            far.send([bytes(reply) for packet in burst if (reply := answer_to(Ether(packet))) is not None])

    thread = threading.Thread(target=answer)
    thread.start()
    yield near
    far.close()
    thread.join(LONG)


def answer_to(packet):
    if ARP in packet:
        arp = packet[ARP]
        return Ether(src=THEM, dst=packet.src) / ARP(op=2, hwsrc=THEM, psrc=arp.pdst, hwdst=arp.hwsrc, pdst=arp.psrc)
    if ICMP in packet:
        ip, icmp = packet[IP], packet[ICMP]
        reply = IP(src=ip.dst, dst=ip.src) / ICMP(type=0, id=icmp.id, seq=icmp.seq) / icmp.payload
        return Ether(src=THEM, dst=packet.src) / reply
    return None


def test_sendp_sends(ends):
    near, far = ends
    sendp(REQUESTS, socket=near, verbose=False)
    assert list(far.recv(LONG, count=20)) == [bytes(packet) for packet in REQUESTS]


def test_sniff_sees_what_arrives_with_its_time(ends):
    near, far = ends
    before = time.time()
    far.send([bytes(packet) for packet in REQUESTS])
    seen = sniff(opened_socket=near, count=20, timeout=LONG)
    assert [bytes(packet) for packet in seen] == [bytes(packet) for packet in REQUESTS]
    assert all(before - 1 < packet.time <= time.time() for packet in seen)


def test_sniff_ends_in_time_without_packets(ends):
    assert len(sniff(opened_socket=ends[0], timeout=0.05)) == 0


def test_srp_pairs_answers_with_requests(responder):
    with scapy_on(responder.nic):
        answered, unanswered = srp(REQUESTS, timeout=LONG, verbose=False)
    assert len(answered) == 20
    assert not unanswered
    for request, answer in answered:
        assert (answer[ICMP].seq, answer[Raw].load) == (request[ICMP].seq, PAYLOAD)
        assert 0 <= answer.time - request.sent_time < LONG


def test_srp1_over_a_bound_class_whatever_pcap_is_used_for(responder, monkeypatch):
    bound = FastringSocket.on(responder.nic)
    monkeypatch.setattr(conf, "L2socket", bound)
    answer = srp1(
        Ether(src=US, dst="ff:ff:ff:ff:ff:ff") / ARP(pdst="192.0.2.2", hwsrc=US, psrc="192.0.2.1") / bytes(18), timeout=LONG, verbose=False
    )
    assert (answer[ARP].op, answer[ARP].hwsrc) == (2, THEM)


def test_an_async_sniffer_and_srp_both_see_the_answers(responder):
    with scapy_on(responder.nic) as sockets:
        started = threading.Event()
        sniffer = AsyncSniffer(opened_socket=sockets(), count=5, started_callback=started.set)
        sniffer.start()
        assert started.wait(LONG)
        answered, _ = srp(REQUESTS[:5], timeout=LONG, verbose=False)
        sniffer.join(LONG)
    assert len(answered) == len(sniffer.results) == 5
    assert all(packet[ICMP].type == 0 for packet in sniffer.results)


def test_an_async_sniffer_can_be_stopped(ends):
    near, far = ends
    seen = threading.Event()
    sniffer = AsyncSniffer(opened_socket=near, prn=lambda packet: seen.set())
    sniffer.start()
    far.send(bytes(REQUESTS[0]))
    assert seen.wait(LONG)
    assert [bytes(packet) for packet in sniffer.stop()] == [bytes(REQUESTS[0])]


def test_a_bridge_between_two_sockets():
    (a, b), (c, d) = pair(), pair()
    with softnet.open_nic(a) as left, softnet.open_nic(d) as right, FastringSocket(b) as one, FastringSocket(c) as other:
        bridge = threading.Thread(target=bridge_and_sniff, args=(one, other), kwargs={"count": 3, "timeout": LONG, "store": False})
        bridge.start()
        left.send([bytes(packet) for packet in REQUESTS[:2]])
        assert list(right.recv(LONG, count=2)) == [bytes(packet) for packet in REQUESTS[:2]]
        right.send(bytes(REQUESTS[2]))
        assert list(left.recv(LONG)) == [bytes(REQUESTS[2])]
        bridge.join(LONG)
        assert not bridge.is_alive()


def test_select_takes_other_descriptors_too(ends):
    near, far = ends
    reader, writer = os.pipe()
    with os.fdopen(reader) as pipe, os.fdopen(writer, "w") as end:
        assert FastringSocket.select([near, pipe], 0) == []
        end.write("x")
        end.flush()
        assert FastringSocket.select([near, pipe], LONG) == [pipe]
        far.send(bytes(REQUESTS[0]))
        assert set(FastringSocket.select([near, pipe], None)) == {near, pipe}
        assert bytes(near.recv()) == bytes(REQUESTS[0])


def test_a_frame_too_long_is_an_error():
    with FastringSocket(NullWire()) as near, pytest.raises(OSError, match="too long"):
        near.send(Ether() / bytes(2000))


def test_closing_takes_out_the_card_that_was_put_in():
    wire = NullWire()
    near = FastringSocket(wire)
    device = near.nic.device
    near.close()
    near.close()
    assert not device.registered
    assert near.fileno() == -1
    with pytest.raises(EOFError):
        near.recv()
    with softnet.open_nic(wire) as nic:
        FastringSocket(nic).close()
        assert nic.device.up


def test_what_is_no_wire_is_refused():
    with pytest.raises(ValueError, match="there is no wire 'nonsense:1'"):
        FastringSocket("nonsense:1")


def test_a_burst_and_scapys_list_turn_into_each_other():
    packets = [Ether(src=US, dst=THEM) / Dot1Q(vlan=5) / IP() / UDP(dport=53) / PAYLOAD, REQUESTS[3]]
    times = [1700000000123456789, 1700000000123456790]
    burst = Burst.from_packets([bytes(packet) for packet in packets], times=times)
    listed = PacketBurst(burst)
    assert [bytes(packet) for packet in listed] == list(burst)
    assert (listed[0][Dot1Q].vlan, listed[0][UDP].dport) == (5, 53)
    again = PacketBurst(list(listed)).burst
    assert (list(again), again.times) == (list(burst), times)


def test_what_stands_for_many_packets_becomes_all_of_them():
    assert [packet[TCP].dport for packet in PacketBurst(Ether() / IP() / TCP(dport=[1, 2, 3]))] == [1, 2, 3]


@pytest.mark.parametrize("rate", [{}, {"pps": 2000}, {"mbps": 5}, {"realtime": 2.0}], ids=str)
def test_sendpfast_tells_what_tcpreplay_would(rate):
    a, b = pair()
    packets = PacketBurst([REQUESTS[0], Ether() / IP() / UDP(sport=1, dport=2) / bytes(100), Ether(type=0x88B5) / bytes(60)])
    for number, packet in enumerate(packets):
        packet.time = number / 1000
    with softnet.open_nic(a) as near, softnet.open_nic(b) as far:
        results = sendpfast(packets, iface=near, count=10, parse_results=True, **rate)
        assert list(far.recv(LONG, count=30)) == list(packets.burst) * 10
    size = sum(map(len, packets.burst)) * 10
    assert [results[key] for key in ("packets", "bytes", "attempted", "successful", "failed", "flows")] == [30, size, 30, 30, 0, 2]
    assert (results["flow_packets"], results["non_flow"], results["truncated"], results["warnings"]) == (20, 10, 0, [])
    assert results["pps"] == pytest.approx(30 / results["time"])
    assert results["mbps"] == pytest.approx(8 * size / results["time"] / 1e6)
    due = {"pps": 29 / 2000, "mbps": 8 * (size - 100) / 5e6, "realtime": 0.01}
    assert results["time"] >= sum(due[name] for name in rate) * 0.9


def test_sendpfast_counts_what_it_could_not_send_and_gives_no_results_unasked():
    wire = NullWire()
    with softnet.open_nic(wire) as nic:
        results = sendpfast([REQUESTS[0], Ether() / bytes(3000)], iface=nic, parse_results=True)
        assert (results["successful"], results["failed"], results["attempted"]) == (1, 1, 2)
        assert results["warnings"] == ["1 packets were too long for the MTU"]
        with scapy_on(nic):
            assert sendpfast(REQUESTS[0]) is None
    assert wire.packets == 2


@pytest.mark.parametrize(("loop", "passes"), [(0, 1), (3, 3)])
def test_sendpfast_takes_loop_for_a_number_where_scapy_does(monkeypatch, loop, passes):
    """Scripts written for scapy 2.5 say loop=3."""
    monkeypatch.setattr("softnet.scapy_io.LOOP_COUNTS", True)
    results = sendpfast(REQUESTS[:2], iface=NullWire(), loop=loop, parse_results=True)
    assert results["packets"] == 2 * passes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replay_args": ["--stats=1"]}, "no tcpreplay"),
        ({"count": 2, "loop": 1}, "not both"),
        ({"pps": 0}, "above 0"),
        ({"mbps": -1}, "above 0"),
    ],
)
def test_sendpfast_refuses_what_makes_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        sendpfast(REQUESTS[0], iface=NullWire(), **options)
