"""`fastring replay` with a filter and edits: what arrives is what `fastring rewrite` writes, and the account is right."""

import subprocess

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Dot1Q, Ether

from fastring.capture import Capture

EDITS = ("--filter=tcp port 8080", "--portmap=8080:80", "--ttl=-1", "--enet-dmac=02:00:00:00:aa:01", "--srcipmap=10.0.0.0/8:192.168.0.0/16")


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_what_arrives_is_what_rewrite_writes(clock, data, fastring, replayed, frames_of, tmp_path):
    assert fastring("rewrite", data / "mixed.pcap", tmp_path / "written.pcap", *EDITS).status == 0
    status, result = replayed(data / "mixed.pcap", "--clock", clock, "--out", tmp_path / "out.pcap", *EDITS)
    written = [frame for _, frame in Capture(tmp_path / "written.pcap")]
    assert [frame for _, frame in Capture(tmp_path / "out.pcap")] == written
    assert (status, result["sent"], result["lost"]) == (0, len(written), 0)
    assert result["filtered"] == 11017 - len(written) > 0
    assert result["edited"] == len(written)


def test_the_limit_is_of_what_matches(data, replayed, tmp_path):
    _, result = replayed(data / "mixed.pcap", "--filter=udp", "--limit=100", "--out", tmp_path / "out.pcap")
    assert (result["sent"], len(list(Capture(tmp_path / "out.pcap")))) == (100, 100)
    _, result = replayed(data / "dns.pcap", "--filter=udp dst port 5353 or udp", "--limit=3000", "--loop=0")
    assert result["sent"] == 3000
    _, result = replayed(data / "dns.pcap", "--filter=arp", "--loop=0")
    assert result["sent"] == 0 < result["filtered"]


def test_tags_make_room_in_the_mtu(data, replayed, tmp_path):
    _, result = replayed(data / "http.pcap", "--enet-vlan=add", "--enet-vlan-tag=5", "--out", tmp_path / "out.pcap")
    assert (result["lost"], result["mtu"]) == (0, 1504)
    assert all(Dot1Q in Ether(frame) for _, frame in list(Capture(tmp_path / "out.pcap"))[:50])


def test_a_person_reads_what_was_edited(data, fastring):
    told = fastring("replay", data / "http.pcap", "--fixcsum", "--filter=tcp dst port 8080", "--portmap=8080:80").out
    assert "filtered   " in told
    assert " frames  that do not match the filter\n" in told
    assert " frames  before they were sent\n" in told


def test_a_wrong_filter_or_edit_is_told_in_one_line(data, fastring):
    for option, said in (("--filter=tcp prot 1", "filter 'tcp prot 1': "), ("--enet-vlan=add", "needs the tag"), ("--ttl=x", "is no TTL")):
        outcome = fastring("replay", data / "http.pcap", option)
        assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
        assert said in outcome.err


def test_a_cache_file_says_whose_packets_get_which_address(data, fastring, replayed, tmp_path):
    cache = tmp_path / "http.cache"
    subprocess.run(["tcpprep", "-a", "client", "-i", data / "http.pcap", "-o", cache], check=True, capture_output=True, timeout=60)
    edits = ("--enet-dmac=02:00:00:00:aa:01,02:00:00:00:bb:02", "--pnat=10.0.0.1:1.1.1.1,10.0.0.2:2.2.2.2")
    one, two = tmp_path / "one.pcap", tmp_path / "two.pcap"
    _, result = replayed(data / "http.pcap", "--intf1", f"pcap:{one}", "--intf2", f"pcap:{two}", "--topspeed", "--cachefile", cache, *edits)
    assert result["sent"] == 944
    clients, servers = ([Ether(frame) for _, frame in Capture(path)] for path in (one, two))
    assert {frame.dst for frame in clients} == {"02:00:00:00:aa:01"}
    assert {frame.dst for frame in servers} == {"02:00:00:00:bb:02"}
    assert {frame[TCP].dport for frame in clients if IP in frame} == {8080}
    command = ["tcprewrite", "-i", data / "http.pcap", "-o", tmp_path / "theirs.pcap", "-c", cache, *edits]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert fastring("rewrite", data / "http.pcap", tmp_path / "ours.pcap", "--cachefile", cache, *edits).status == 0
    ours, theirs = ([frame for _, frame in Capture(tmp_path / name)] for name in ("ours.pcap", "theirs.pcap"))
    assert ours == theirs
    assert sorted(ours) == sorted(bytes(frame) for frame in clients + servers)


def test_a_cache_file_of_another_capture_is_refused(data, fastring, tmp_path):
    cache = tmp_path / "arp.cache"
    subprocess.run(["tcpprep", "-p", "-i", data / "short.pcap", "-o", cache], check=True, capture_output=True, timeout=60)
    outcome = fastring("rewrite", data / "http.pcap", tmp_path / "out.pcap", "--cachefile", cache)
    assert (outcome.status, outcome.err) == (2, f"fastring rewrite: {cache}: made of 880 packets, and {data}/http.pcap has 944\n")
