"""A virtual machine whose memory the card cannot map: QEMU reaches it for the card, by messages."""

import re

import pytest
from guests import GUEST, HOST, served_guest
from vm import missing


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    reason = missing()
    if reason:
        pytest.skip(reason)
    with served_guest(tmp_path_factory.mktemp("guest"), "bookworm", shared=False, cpus=2) as made:
        yield made


def lost(output):
    return re.search(r"(\d+)% packet loss", output)[1]


def test_pings_of_many_sizes(machine):
    guest, *_ = machine
    sizes = "0 1 2 3 17 18 19 100 999 1000 1471 1472"
    told = guest.run(f"for s in {sizes}; do ping -q -c 1 -W 5 -s $s {HOST} > /dev/null || echo lost $s; done")
    assert told == ""
    for size in (1473, 4433, 8000):
        assert lost(guest.run(f"ping -q -c 3 -s {size} {HOST}")) == "0"


def test_a_flood_of_pings_while_registers_are_read(machine):
    guest, where, _ = machine
    guest.run("(while :; do ethtool -d eth0; ethtool -S eth0; done) > /dev/null 2>&1 & echo $! > /reader")
    told = where.run("ping", "-q", "-f", "-c", "500", "-s", "1000", GUEST).stdout
    guest.run("kill $(cat /reader)")
    assert int(lost(told)) <= 1


def test_the_interface_goes_down_and_up_under_traffic(machine):
    guest, *_ = machine
    for _ in range(3):
        guest.run("ip link set eth0 down && ip link set eth0 up")
        guest.wait_for("grep -q 1 /sys/class/net/eth0/carrier")
        guest.wait_for(f"ping -c 1 -W 1 {HOST}")
