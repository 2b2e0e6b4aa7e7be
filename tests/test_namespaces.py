"""The namespaces that tests make: apart from the machine's, joined by veth, and gone with their holder."""

import os
import socket
import threading
import time

from namespaces import namespace, veth


def own():
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_what_is_done_inside_is_not_done_to_the_machine():
    before, home = os.listdir("/sys/class/net"), own()
    with namespace() as ns:
        assert ns.ip("-br", "link").split()[:2] == ["lo", "UNKNOWN"]
        ns.ip("link", "add", "one", "type", "veth", "peer", "name", "two")
        with ns.inside():
            assert own() != home
            seen = []
            threading.Thread(target=lambda: seen.append(own())).start()
            assert dict(map(reversed, socket.if_nameindex())).keys() == {"lo", "one", "two"}
        assert own() == home
        assert os.listdir("/sys/class/net") == before


def test_it_is_left_when_something_fails_inside():
    home = own()
    with namespace() as ns:
        try:
            with ns.inside():
                raise KeyError
        except KeyError:
            assert own() == home


def test_a_veth_joins_two_of_them():
    with namespace() as left, namespace() as right:
        veth(left, "eth0", right, "eth1", mtu=9000)
        left.ip("addr", "add", "10.0.0.1/24", "dev", "eth0")
        right.ip("addr", "add", "10.0.0.2/24", "dev", "eth1")
        assert "0% packet loss" in left.run("ping", "-c1", "-W10", "10.0.0.2").stdout
        right.ip("link", "del", "eth1")
        assert left.run("ping", "-c1", "-W1", "10.0.0.2", check=False).returncode != 0


def test_interfaces_are_silent_unless_ipv6_is_asked_for():
    with namespace() as quiet, namespace(ipv6=True) as other:
        veth(quiet, "eth0", other, "eth0")
        deadline = time.monotonic() + 20
        while "fe80" not in other.ip("-6", "addr"):
            assert time.monotonic() < deadline
        assert "fe80" not in quiet.ip("-6", "addr")


def test_a_tool_finds_it_by_its_path():
    with namespace() as a, namespace() as b:
        a.ip("link", "add", "one", "type", "veth", "peer", "name", "two")
        a.ip("link", "set", "two", "netns", b.path)
        assert "two@" in b.ip("link")


def test_nothing_of_it_is_left():
    with namespace() as ns:
        number = os.fstat(ns.fd).st_ino
        child = ns.popen("sleep", "60")
        assert os.stat(f"/proc/{child.pid}/ns/net").st_ino == number
        child.kill()
        child.wait()
    assert ns.fd == -1
    ns.close()
