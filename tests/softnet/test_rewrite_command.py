"""`fastring rewrite`: what options mean, what is said of wrong ones, and what becomes of times, lengths and what cannot be written."""

import json
import os
import subprocess
import sys
from ipaddress import ip_network

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from fastring.capture import Capture
from fastring.capture_writer import CaptureWriter
from softnet import rewrite

PACKET = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=1000, dport=80))


def test_maps_of_networks_are_read_as_tcprewrite_reads_them():
    assert rewrite.parse_ipmap("10.0.0.0/8:192.168.0.0/16,1.2.3.4:5.6.7.8") == [
        (ip_network("10.0.0.0/8"), ip_network("192.168.0.0/16")),
        (ip_network("1.2.3.4/32"), ip_network("5.6.7.8/32")),
    ]
    assert rewrite.parse_ipmap("[fd00::/8]:[2001:db8::1]") == [(ip_network("fd00::/8"), ip_network("2001:db8::1/128"))]
    assert rewrite.parse_portmap("80:8080,8000-8999:80,1+2:3,4,5:6") == [
        (80, 80, 8080),
        (8000, 8999, 80),
        (1, 1, 3),
        (2, 2, 3),
        (4, 4, 6),
        (5, 5, 6),
    ]
    assert rewrite.parse_macs("2:0:0:0:0:1,") == (bytes.fromhex("020000000001"), None)
    assert rewrite.parse_macs(",02:00:00:00:00:ff") == (None, bytes.fromhex("0200000000ff"))
    assert [rewrite.parse_ttl(text) for text in ("7", "+7", "-7")] == [("", 7), ("+", 7), ("-", 7)]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--enet-dmac=02:00:00:00:00", "--enet-dmac: '02:00:00:00:00' is no MAC address: six bytes in hexadecimal"),
        ("--enet-smac=,", "--enet-smac: ',' is not one MAC address, or two"),
        ("--enet-vlan-tag=5", "--enet-vlan-tag is for --enet-vlan=add"),
        ("--enet-vlan=add", "--enet-vlan=add needs the tag: --enet-vlan-tag=N"),
        ("--enet-vlan-tag=4096", "--enet-vlan-tag: 4096 is not 0 to 4095"),
        ("--enet-vlan-proto=802.1x", "--enet-vlan-proto: '802.1x' is no VLAN protocol: 802.1q or 802.1ad"),
        ("--srcipmap=10.0.0.0", "--srcipmap: '10.0.0.0' is no map of networks: FROM:TO"),
        ("--srcipmap=10.0.0.0/33:1.2.3.4", "--srcipmap: '10.0.0.0/33' is no network"),
        ("--dstipmap=10.0.0.0/8:[fd00::/8]", "'10.0.0.0/8:[fd00::/8]' is no map of networks"),
        ("--pnat=[::/0]:[1.2.3.4]", "'[::/0]:[1.2.3.4]' maps IPv6 to IPv4: both sides are of one version"),
        ("--portmap=80", "--portmap: '80' does not say what becomes of the ports at its end"),
        ("--portmap=80:65536", "--portmap: '65536' is no port: 0 to 65535"),
        ("--portmap=90-80:1", "--portmap: '90-80' is no range of ports"),
        ("--portmap=1-2+3:4", "--portmap: '1-2+3' is a range or a list of ports, not both"),
        ("--ttl=256", "--ttl: '256' is no TTL: 0 to 255"),
        ("--ttl=x", "--ttl: 'x' is no TTL"),
        ("--tos=256", "--tos: 256 is not 0 to 255"),
        ("--tclass=-1", "--tclass: '-1' is not a whole number of 0 or more"),
        ("--flowlabel=1048576", "--flowlabel: 1048576 is not 0 to 1048575"),
        ("--mtu=10", "--mtu: 10 is not 68 to 262144"),
        ("--fixlen=grow", "--fixlen: invalid choice: 'grow'"),
        ("--filter=tcp prot", "filter 'tcp prot': "),
    ],
)
def test_a_wrong_option_is_told_in_one_line_and_nothing_is_written(option, said, capture, fastring, tmp_path):
    outcome = fastring("rewrite", capture([PACKET]), tmp_path / "out.pcap", option)
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out.pcap").exists()


def test_options_that_contradict_each_other_are_told(capture, fastring, tmp_path):
    maps = "10.0.0.0/8:11.0.0.0/8"
    outcome = fastring("rewrite", capture([PACKET]), tmp_path / "out.pcap", f"--pnat={maps}", f"--srcipmap={maps}")
    assert (outcome.status, outcome.err) == (
        2,
        "fastring rewrite: --pnat maps both addresses: not with --srcipmap or --dstipmap\n",
    )
    outcome = fastring("rewrite", capture([PACKET]), tmp_path / "out.pcap", *[f"--pnat={maps}"] * 3)
    assert "--pnat is given once, or twice" in outcome.err


def test_times_and_original_lengths_stay(fastring, tmp_path):
    with CaptureWriter(tmp_path / "in.pcapng") as writer:
        writer.write(PACKET, 1_234_567_891_234_567_891, wire_len=1000)
        writer.write(PACKET, 5, wire_len=54)
    assert fastring("rewrite", tmp_path / "in.pcapng", tmp_path / "out.pcapng", "--enet-vlan=add", "--enet-vlan-tag=5").status == 0
    index = Capture(tmp_path / "out.pcapng").index()
    assert index["time"].tolist() == [1_234_567_891_234_567_891, 5]
    assert index["caplen"].tolist() == [58, 58]
    assert index["wirelen"].tolist() == [1004, 58]


def test_what_became_of_each_packet_is_told(fastring, tmp_path):
    with CaptureWriter(tmp_path / "in.pcap") as writer:
        writer.write(PACKET, 1)
        writer.write(PACKET, 2, wire_len=1000)
        writer.write(PACKET[:30], 3)
        writer.write(bytes(60), 4)
    arguments = ("rewrite", tmp_path / "in.pcap", tmp_path / "out.pcap", "--filter=ip", "--portmap=80:8080", "--fixlen=del")
    outcome = fastring(*arguments)
    assert outcome == (
        0,
        "2 of 4 packets written, 1 of them edited\n"
        "  1 left out: they do not match the filter\n"
        "  1 left out: captured short (--fixlen=del)\n"
        "  1 have headers cut short or wrong: edited as far as these can be believed\n",
        "",
    )
    result = json.loads(fastring(*arguments, "--json").out)
    assert result["read"] == result["written"] + result["filtered"] + result["deleted"] + result["failed"]
    assert Ether(next(iter(Capture(tmp_path / "out.pcap")))[1])[TCP].dport == 8080


def test_a_capture_that_breaks_off_is_written_as_far_as_it_goes(capture, fastring, tmp_path):
    path = capture([PACKET] * 3)
    os.truncate(path, path.stat().st_size - 10)
    outcome = fastring("rewrite", path, tmp_path / "out.pcap", "--ttl=3")
    assert outcome.status == 1
    assert "ends inside a record" in outcome.err
    assert outcome.out == "2 of 2 packets written, 2 of them edited\n"


def test_what_cannot_be_opened_or_written_is_told(capture, fastring, tmp_path):
    path = capture([PACKET])
    assert fastring("rewrite", tmp_path / "none.pcap", tmp_path / "out.pcap").status == 2
    assert fastring("rewrite", path, tmp_path / "none" / "out.pcap").err == (
        f"fastring rewrite: {tmp_path}/none/out.pcap: No such file or directory\n"
    )
    outcome = fastring("rewrite", path, path, "--ttl=3")
    assert (outcome.status, outcome.err) == (2, f"fastring rewrite: {path}: a capture being read or written cannot be overwritten\n")
    outcome = fastring("rewrite", capture([PACKET] * 30000, "many.pcap"), "/dev/full")
    assert outcome.status in (1, 2)
    assert "No space left on device" in outcome.err


def test_it_goes_from_standard_input_to_standard_output(capture, tmp_path):
    command = [sys.executable, "-m", "softnet.cli", "rewrite", "-", "-", "--portmap=80:8080"]
    done = subprocess.run(command, input=capture([PACKET]).read_bytes(), capture_output=True, timeout=60, check=True)
    assert done.stderr == b"1 of 1 packets written, 1 of them edited\n"
    (tmp_path / "out.pcap").write_bytes(done.stdout)
    assert Ether(next(iter(Capture(tmp_path / "out.pcap")))[1])[TCP].dport == 8080


def test_ctrl_c_leaves_a_whole_capture(capture, fastring, tmp_path, monkeypatch):
    pump, rounds = rewrite.pump, []

    def interrupted(*arguments, **options):
        if rounds:
            raise KeyboardInterrupt
        rounds.append(1)
        return pump(*arguments, rounds=1)

    monkeypatch.setattr(rewrite, "pump", interrupted)
    outcome = fastring("rewrite", capture([PACKET] * 1000), tmp_path / "out.pcap", "--ttl=3")
    assert (outcome.status, outcome.err) == (130, "fastring rewrite: interrupted\n")
    assert outcome.out == f"{rewrite.BURST} of {rewrite.BURST} packets written, {rewrite.BURST} of them edited\n"
    assert len(list(Capture(tmp_path / "out.pcap"))) == rewrite.BURST
