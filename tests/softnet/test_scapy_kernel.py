"""scapy's own functions, unchanged, through a fastring card to the kernel of a namespace."""

import os
import threading
from contextlib import ExitStack

import pytest
from namespaces import namespace, veth
from scapy.all import ARP, ICMP, IP, AsyncSniffer, Ether, arping, conf, sendp, sniff, srp, srp1

from softnet import open_nic
from softnet.scapy_io import FastringSocket, scapy_on

LONG = 30
OURS, KERNELS = "192.0.2.1", "192.0.2.2"


def card_on_veth(undo):
    """A card whose wire is one end of a veth pair; the other, with an address, is a kernel's in a namespace of its own."""
    here, there = undo.enter_context(namespace()), undo.enter_context(namespace())
    veth(here, "fr0", there, "eth0")
    there.ip("addr", "add", f"{KERNELS}/24", "dev", "eth0")
    with here.inside():
        return undo.enter_context(open_nic("packet:fr0", receive=False))


def card_on_tap(undo):
    """A card whose wire is a TAP: the kernel's interface there has the address."""
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("needs /dev/net/tun")
    net = undo.enter_context(namespace())
    with net.inside():
        nic = undo.enter_context(open_nic("tap:tap0", receive=False))
    net.ip("addr", "add", f"{KERNELS}/24", "dev", "tap0")
    return nic


@pytest.fixture(params=[card_on_veth, card_on_tap], ids=["veth", "tap"])
def nic(request):
    """A card with a kernel behind its wire."""
    with ExitStack() as undo:
        yield request.param(undo)


@pytest.fixture(params=[False, True], ids=["sockets", "use_pcap"])
def scapy(request, nic, monkeypatch):
    """scapy's layer 2 on that card, whatever it was on before."""
    monkeypatch.setattr(conf.route, "route", lambda *args, **options: (conf.loopback_name, OURS, "0.0.0.0"))
    monkeypatch.setattr("scapy.layers.l2.get_if_hwaddr", lambda iface: nic.mac.hex(":"))
    conf.use_pcap = request.param
    try:
        with scapy_on(nic) as sockets:
            yield sockets
    finally:
        conf.use_pcap = False


def requests(nic, answered=5):
    mac = arp(nic)
    return [
        Ether(src=nic.mac.hex(":"), dst=mac) / IP(src=OURS, dst=KERNELS) / ICMP(id=77, seq=seq) / (b"x" * 32) for seq in range(answered)
    ]


def arp(nic):
    own = nic.mac.hex(":")
    answered, _ = srp(Ether(src=own, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=own, psrc=OURS, pdst=KERNELS), timeout=LONG, verbose=False)
    return answered[0][1][ARP].hwsrc


def answer_arp(nic):
    """An AsyncSniffer that answers the kernel's own questions."""
    own = nic.mac.hex(":")
    socket = FastringSocket(nic, filter=f"arp[7] = 1 and dst net {OURS}")
    return socket, lambda question: socket.send(
        Ether(src=own, dst=question.src) / ARP(op=2, hwsrc=own, psrc=OURS, hwdst=question.src, pdst=question[ARP].psrc)
    )


def test_arping_finds_the_kernel(nic, scapy):
    answered, unanswered = arping(KERNELS, timeout=LONG, verbose=False)
    assert [(answer[ARP].psrc, answer[ARP].op) for _, answer in answered] == [(KERNELS, 2)]
    assert not unanswered


def test_srp_is_answered_and_sniffers_see_it(nic, scapy):
    socket, answer = answer_arp(nic)
    started = threading.Event()
    with socket, scapy(filter="icmp") as seen:
        answering = AsyncSniffer(opened_socket=socket, prn=answer, store=False, started_callback=started.set)
        answering.start()
        assert started.wait(LONG)
        sniffer = AsyncSniffer(opened_socket=seen, count=5)
        sniffer.start()
        answered, unanswered = srp(requests(nic), timeout=LONG, verbose=False)
        sniffer.join(LONG)
        answering.stop()
    assert (len(answered), len(unanswered)) == (5, 0)
    assert all((got[ICMP].type, got[ICMP].seq) == (0, sent[ICMP].seq) for sent, got in answered)
    assert [packet[ICMP].type for packet in sniffer.results] == [0] * 5


def test_sniff_with_a_filter(nic, scapy):
    with scapy(filter="arp") as socket:
        arp(nic)
        seen = sniff(opened_socket=socket, count=1, timeout=LONG)
    assert seen[0][ARP].psrc == KERNELS


def test_srp1_gets_the_answer_to_one_question(nic, scapy):
    own = nic.mac.hex(":")
    question = Ether(src=own, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=own, psrc=OURS, pdst=KERNELS)
    answer = srp1(question, timeout=LONG, verbose=False)
    assert (answer.dst, answer[ARP].op, answer[ARP].psrc, answer[ARP].hwsrc) == (own, 2, KERNELS, answer.src)


def test_sendp_reaches_the_kernel(nic, scapy):
    with scapy(filter="icmp[icmptype] = icmp-echoreply") as seen:
        socket, answer = answer_arp(nic)
        with socket:
            answering = AsyncSniffer(opened_socket=socket, prn=answer, store=False)
            answering.start()
            sendp(requests(nic, 20), verbose=False)
            answered = sniff(opened_socket=seen, count=20, timeout=LONG)
            answering.stop()
    assert sorted(packet[ICMP].seq for packet in answered) == list(range(20))


def test_an_async_sniffer_is_stopped_without_a_packet(nic, scapy):
    started = threading.Event()
    sniffer = AsyncSniffer(filter="udp port 9", started_callback=started.set)
    sniffer.start()
    assert started.wait(LONG)
    arp(nic)
    assert list(sniffer.stop()) == []
