"""Forwarding in testpmd's modes, through a card at each side; scapy is the judge of what comes out."""

import json
import signal
import socket
import subprocess
import sys

import pytest
from scapy.all import ARP, ICMP, IP, TCP, UDP, Dot1Q, Ether, IPv6
from sinks_forward import Far

from fastring.forward import FORWARD_CSUM, FORWARD_IO, Forwarder
from softnet.forwarding import MODES, Forwarding
from softnet.report_forward import forward_text

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
ETHER = Ether(src=A, dst=B)
PACKETS = [ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=size) / bytes(size) for size in (20, 100, 1400)]


def forwarded(packets, *, back=(), **options):
    """Send `packets` in; what came out, what came back, and the result."""
    left, right = Far(), Far()
    forwarding = Forwarding(left.wire, right.wire, count=len(packets), **options)
    with left, right:
        right.send(back)
        left.send(packets)
        result = forwarding.run()
    return right.packets, left.packets, result


def plain(packets):
    return [bytes(packet) for packet in packets]


def test_io_passes_packets_on_as_they_are():
    out, back, result = forwarded(PACKETS)
    assert plain(out) == plain(PACKETS)
    assert back == []
    assert (result.received, result.forwarded, result.drops) == (3, 3, {})
    assert [(port.rx_packets, port.tx_packets, port.drops) for port in result.ports] == [(3, 0, {}), (0, 3, {})]
    assert result.ports[1].tx_bytes == sum(map(len, PACKETS))


def test_both_ways():
    out, back, result = forwarded(PACKETS[:1], back=PACKETS[1:], both=True)
    assert (plain(out), plain(back)) == (plain(PACKETS[:1]), plain(PACKETS[1:]))
    assert (result.received, result.forwarded) == (3, 3)


def test_mac_sends_to_the_peer_from_the_card():
    out, _, _ = forwarded(PACKETS, mode="mac", peer=bytes.fromhex("020000000007"))
    assert {packet.dst for packet in out} == {"02:00:00:00:00:07"}
    assert len({packet.src for packet in out} - {A, B}) == 1
    assert [bytes(packet)[12:] for packet in out] == [bytes(packet)[12:] for packet in PACKETS]


def test_macswap_swaps():
    out, _, _ = forwarded(PACKETS, mode="macswap")
    assert {(packet.src, packet.dst) for packet in out} == {(B, A)}


def wrong(packet):
    """The same with its checksums spoilt."""
    packet = packet.copy()
    for layer, field in ((IP, "chksum"), (TCP, "chksum"), (UDP, "chksum")):
        if layer in packet:
            setattr(packet[layer], field, 0x1234)
    return Ether(bytes(packet))


@pytest.mark.parametrize(
    "packet",
    [
        ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(dport=5) / b"odd",
        ETHER / IP(options=[b"\x01" * 8]) / TCP(dport=5, options=[("MSS", 1460)]) / bytes(77),
        ETHER / Dot1Q(vlan=3) / Dot1Q(vlan=4) / IPv6(dst="fe80::1") / UDP() / b"six",
        ETHER / IPv6() / TCP() / bytes(1000),
        ETHER / IP(proto=99) / bytes(50),
    ],
    ids=["udp", "tcp", "tagged", "tcp6", "other"],
)
def test_csum_makes_checksums_anew(packet):
    out, _, _ = forwarded([wrong(packet)], mode="csum")
    right = Ether(bytes(packet))
    right.src, right.dst = right.dst, right.src
    assert bytes(out[0])[: len(right)] == bytes(right)


def test_csum_leaves_alone_what_it_cannot_know():
    zero = ETHER / IP() / UDP(chksum=0) / bytes(30)
    fragment = ETHER / IP(flags="MF", chksum=0) / UDP(chksum=0x1234) / bytes(30)
    cut = Ether(bytes(ETHER / IP(len=500, chksum=0x1234) / UDP(chksum=0x1234) / bytes(30)))
    out, _, _ = forwarded([zero, fragment, cut], mode="csum")
    assert out[0][UDP].chksum == 0
    assert out[1][UDP].chksum == 0x1234
    assert out[2][UDP].chksum == 0x1234


def test_icmpecho_answers_where_requests_came_from():
    requests = [
        Ether(src=A, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=A, psrc="10.0.0.1", pdst="10.0.0.2"),
        ETHER / Dot1Q(vlan=9) / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(id=5, seq=6) / b"payload",
        PACKETS[0],
    ]
    left = Far()
    forwarding = Forwarding(left.wire, None, mode="icmpecho", count=3)
    with left:
        left.send(requests)
        result = forwarding.run()
    arp, echo = left.packets
    assert (arp.dst, arp[ARP].op, arp[ARP].psrc, arp[ARP].pdst, arp[ARP].hwdst) == (A, 2, "10.0.0.2", "10.0.0.1", A)
    assert arp[ARP].hwsrc == arp.src
    assert (echo.src, echo.dst, echo[IP].src, echo[ICMP].type, echo[ICMP].seq) == (B, A, "10.0.0.2", 0, 6)
    check = echo[ICMP].chksum
    del echo[ICMP].chksum
    assert Ether(bytes(echo))[ICMP].chksum == check
    assert result.drops == {"no_request": 1}


def test_rxonly_counts():
    left = Far()
    forwarding = Forwarding(left.wire, None, mode="rxonly", count=3)
    with left:
        left.send(PACKETS)
        result = forwarding.run()
    assert (result.received, result.drops, left.packets) == (3, {"rx_only": 3}, [])


@pytest.mark.parametrize(("mode", "flows"), [("txonly", 1), ("flowgen", 10)])
def test_packets_are_made(mode, flows):
    right = Far()
    forwarding = Forwarding(None, right.wire, mode=mode, count=25, flows=10, length=100)
    with right:
        result = forwarding.run()
    assert len(right.packets) == result.ports[0].tx_packets == 25
    assert len({packet[IP].dst for packet in right.packets}) == flows
    for packet in right.packets:
        assert len(packet) == 100
        check = packet[IP].chksum
        del packet[IP].chksum
        assert Ether(bytes(packet))[IP].chksum == check


@pytest.mark.parametrize("mode", ["io", "macswap"])
def test_tags_are_pushed_and_popped(mode):
    tagged = [ETHER / Dot1Q(vlan=7) / packet[IP] for packet in PACKETS[:2]]
    out, _, _ = forwarded(PACKETS, mode=mode, vlan_push=3 << 13 | 100)
    assert {(packet[Dot1Q].vlan, packet[Dot1Q].prio) for packet in out} == {(100, 3)}
    assert [bytes(packet[IP]) for packet in out] == [bytes(packet[IP]) for packet in PACKETS]
    out, _, _ = forwarded([*tagged, PACKETS[1]], mode=mode, vlan_pop=True)
    assert [(Dot1Q in packet, bytes(packet[IP])) for packet in out] == [(False, bytes(PACKETS[i][IP])) for i in (0, 1, 1)]
    out, _, _ = forwarded(tagged, mode=mode, vlan_pop=True, vlan_push=5)
    assert [packet[Dot1Q].vlan for packet in out] == [5, 5]


def test_many_packets_of_all_sizes():
    packets = [bytes(ETHER / (bytes([i & 255]) * (46 + i % 1400))) for i in range(3000)]
    out, _, result = forwarded(packets, mode="macswap")
    assert [bytes(packet)[12:] for packet in out] == [packet[12:] for packet in packets]
    assert result.drops == {}


def test_what_the_sender_has_no_room_for_is_counted():
    left, right = Far(), Far(takes=False)
    forwarding = Forwarding(left.wire, right.wire, count=9000)
    with left, right:
        for _ in range(9):
            left.send([bytes(PACKETS[0])] * 1000)
            forwarding.stack.run()
        result = forwarding.run()
    assert result.received == 9000
    assert result.received == result.forwarded + result.drops["tx_full"]
    assert "tx_full" in forward_text(result)


def test_a_forwarder_that_makes_no_sense_is_refused():
    for arguments, message in [((None, FORWARD_IO), "somebody who sends"), ((None, 99), "no forwarding mode")]:
        with pytest.raises(ValueError, match=message):
            Forwarder(*arguments)
    assert FORWARD_CSUM == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode", "io", "--in", "null"], "needs a wire out"),
        (["--mode", "rxonly", "--in", "null", "--out", "null"], "no use for a wire out"),
        (["--mode", "txonly", "--in", "null", "--out", "null"], "no use for a wire in"),
        (["--mode", "txonly"], "needs a wire out"),
        (["--in", "pair", "--out", "null"], "second end"),
        (["--in", "nonsense:x", "--out", "null"], "there is no wire"),
        (["--mode", "rxonly", "--in", "null", "--vlan-pop"], "tags could be changed"),
        (["--mode", "icmpecho", "--in", "null", "--both"], "no way back"),
        (["--mode", "txonly", "--out", "null", "--length", "3000"], "60 to 1514 bytes"),
        (["--mode", "flowgen", "--out", "null", "--flows", "0"], "1 to 65536 flows"),
        (["--mode", "walk"], "invalid choice"),
        (["--vlan-push", "4095"], "no VLAN"),
        (["--peer", "02:00"], "no Ethernet address"),
    ],
)
def test_bad_usage_is_one_line(fastring, arguments, message):
    outcome = fastring("forward", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_the_command_prints_a_table_or_json(fastring, tmp_path, frames_of):
    out = tmp_path / "out.pcap"
    outcome = fastring("forward", "--mode", "txonly", "--out", f"pcap:{out}", "--count", 500)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.splitlines()[1].split()[-2:] == ["32,000", "0"]
    assert len(frames_of(out)) == 500
    outcome = fastring("forward", "--mode", "flowgen", "--out", "null", "--duration", "0.05", "--json")
    result = json.loads(outcome.out)
    assert (outcome.status, result["mode"], result["problem"]) == (0, "flowgen", None)
    assert result["ports"][0]["tx_packets"] > 0


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_statistics(stop):
    command = [sys.executable, "-m", "softnet.cli", "forward", "--mode", "rxonly", "--in", "null"]
    ours, theirs = socket.socketpair()
    with ours, theirs, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(2)
            process.send_signal(stop)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    assert "rxonly: 0 received" in out


def test_every_mode_is_told_in_the_help(fastring):
    out = fastring("forward", "--help").out
    assert all(f"\n  {mode}" in out for mode in MODES)
