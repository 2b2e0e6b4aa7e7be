"""What outlives what: the guest's reboot, its death, the server's."""

import signal

import pytest
from guests import host_up, served, served_guest, up
from namespaces import namespace
from vm import Guest, missing


@pytest.fixture(autouse=True)
def can_boot():
    reason = missing()
    if reason:
        pytest.skip(reason)


def test_what_is_written_into_the_eeprom_is_there_after_a_reboot(tmp_path):
    with served_guest(tmp_path, "bookworm", "--eeprom", tmp_path / "eeprom") as (guest, _, server):
        guest.run("ethtool -E eth0 magic 0x100e8086 offset 0x10 value 0x5a")
        assert guest.run("ethtool -e eth0 offset 0x10 length 1").split()[-1] == "5a"
        guest.reboot()
        guest.run("insmod /e1000.ko")
        assert guest.run("ethtool -e eth0 offset 0x10 length 1").split()[-1] == "5a"
        up(guest)
        server.send_signal(signal.SIGINT)
        server.wait(60)
    assert (tmp_path / "eeprom").read_bytes()[0x10] == 0x5A


def test_one_guest_after_another_on_one_server(tmp_path):
    with namespace() as where, served(where, tmp_path) as (path, _):
        host_up(where)
        for number in range(2):
            with Guest(tmp_path / f"vm{number}", path, where=where) as guest:
                guest.run("insmod /e1000.ko")
                up(guest)


def test_a_server_that_is_killed_leaves_room_for_the_next(tmp_path):
    with namespace() as where:
        for number in range(2):
            with served(where, tmp_path) as (path, server):
                host_up(where)
                with Guest(tmp_path / f"vm{number}", path, where=where) as guest:
                    guest.run("insmod /e1000.ko")
                    up(guest)
                    server.kill()
                    server.wait(60)
