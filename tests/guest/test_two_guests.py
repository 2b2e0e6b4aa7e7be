"""Two virtual machines, a card each, on one server's switch with the host's kernel: everybody reaches everybody."""

import re

import pytest
from guests import GUEST, host_up, served, up
from namespaces import namespace
from vm import Guest, missing

OTHER = "10.9.0.3"
SIZE = 16 << 20


@pytest.fixture
def two(tmp_path):
    """(namespace, one guest, the other)."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with namespace() as where, served(where, tmp_path, "--socket", tmp_path / "other") as (path, _):
        host_up(where)
        with (
            Guest(tmp_path / "a", path, where=where) as one,
            Guest(tmp_path / "b", tmp_path / "other", where=where, kernel="forky") as other,
        ):
            for guest, address in ((one, GUEST), (other, OTHER)):
                guest.run("insmod /e1000.ko")
                up(guest, address)
            yield where, one, other


def test_two_guests_and_the_host_talk_at_the_same_time(two):
    where, one, other = two
    assert "52:54:00:12:34:57" in other.run("cat /sys/class/net/eth0/address")
    for guest, address in ((one, OTHER), (other, GUEST)):
        assert " 0% packet loss" in guest.run(f"ping -q -c 20 -i 0.02 -s 1472 {address}")
    pings = [where.popen("ping", "-q", "-i", "0.05", "-w", "600", address, stdout=-1, text=True) for address in (GUEST, OTHER)]
    try:
        for sender, receiver, address in ((one, other, OTHER), (other, one, GUEST)):
            receiver.run("mkfifo /tmp/nothing; nc -l -p 7002 <> /tmp/nothing > /tmp/got &")  # nc ends when the other one does, not before
            sender.run(f"head -c {SIZE} /dev/urandom > /tmp/sent")
            sender.wait_for(f"nc {address} 7002 < /tmp/sent")
            receiver.run("wait")
            assert receiver.run("md5sum < /tmp/got") == sender.run("md5sum < /tmp/sent")
    finally:
        for ping in pings:
            ping.send_signal(2)
    for ping in pings:
        told, _ = ping.communicate(timeout=60)
        sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", told).groups())
        assert received >= sent - 1 > 10, told  # the last one may still be on its way
