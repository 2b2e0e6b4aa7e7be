"""The control socket: who is answered when, and what can be asked."""

import errno
import json
import threading

import pytest
from control_socket import background, raw, refusal, until

from fastring.clock import VirtualClock
from softnet import Stack
from softnet.control import ControlClient, ControlServer

pytestmark = pytest.mark.usefixtures("runtime")


# --- when it answers ---


def test_it_is_answered_by_the_thread_that_runs_the_stack(stack):
    answered = []
    with ControlServer(stack) as server:
        server._methods._table["who"] = lambda: answered.append((threading.get_ident(), stack.softirq.in_softirq))
        with ControlClient(server.path) as client:
            asking = threading.Thread(target=client.call, args=("who",))
            asking.start()
            until(lambda: (stack.run(), answered)[1])
            asking.join()
    assert answered == [(threading.get_ident(), False)]


def test_a_timer_answers_where_nobody_calls_stack_run(stack):
    with ControlServer(stack) as server, ControlClient(server.path) as client:
        told = []
        asking = threading.Thread(target=lambda: told.append(client.call("devices")))
        asking.start()
        until(lambda: (stack.clock.fire_due(), told)[1] or not asking.is_alive())  # what a sender's loop does
        asking.join()
        assert told == [["eth0"]]


def test_on_a_virtual_clock_it_arms_no_timer():
    with Stack(clock=VirtualClock()) as stack, ControlServer(stack):
        assert stack.clock.next_deadline is None


def test_while_the_stack_is_busy_it_waits(stack):
    with ControlServer(stack) as server, raw(server) as connection:
        connection.send(b'{"method": "devices"}')
        until(lambda: server._waiting)
        with stack.rtnl:
            assert server.poll() == 0
        queue = stack.devices["eth0"].tx[0]
        queue.lock()
        assert server.poll() == 0
        queue.unlock()
        assert server.poll() == 1
        assert json.loads(connection.recv(65536)) == {"result": ["eth0"]}


def test_a_stack_that_nobody_runs_is_told_after_a_while(stack):
    with ControlServer(stack, patience=0.1) as server, ControlClient(server.path) as client:
        with pytest.raises(OSError, match=r"the stack was not run for 0\.1 s") as refused:
            client.call("link.set", dev="eth0", mtu=1400)
        assert refused.value.errno == errno.ETIMEDOUT
        stack.run()
        assert stack.devices["eth0"].mtu == 1500  # what was given up is not done later
        server.patience = 20
        with background(server):
            assert client.call("devices") == ["eth0"]


def test_who_waits_when_it_closes_is_told(stack):
    with ControlServer(stack) as server:
        connection = raw(server)
        connection.send(b'{"method": "devices"}')
        until(lambda: server._waiting)
    with connection:
        assert json.loads(connection.recv(65536))["error"]["errno"] == errno.ESHUTDOWN
        assert connection.recv(65536) == b""


def test_the_link_is_shown_as_it_is_although_nobody_ran_the_stack(stack):
    stack.devices["eth0"].open()
    with ControlServer(stack) as server, ControlClient(server.path) as client:
        stack.devices["eth0"].carrier_off()
        text = []
        asking = threading.Thread(target=lambda: text.append(client.call("link.show")))
        asking.start()
        until(lambda: server.poll() or text)
        asking.join()
        assert "<NO-CARRIER,BROADCAST,MULTICAST,UP>" in text[0]
        assert " state DOWN " in text[0]


# --- what can be asked ---


@pytest.mark.parametrize(
    ("method", "parameters", "number"),
    [
        ("nope", {}, errno.ENOSYS),
        ("__class__", {}, errno.ENOSYS),
        ("ethtool.operation", {"dev": "eth0"}, errno.ENOSYS),
        ("link.set", {}, errno.EINVAL),
        ("link.set", {"dev": "eth9"}, errno.ENODEV),
        ("link.set", {"dev": None}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "mtu": "1400"}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "mtu": True}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "mtu": 1400.0}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "mtu": 10**30}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "unknown": 1}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "address": "52:54"}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "address": "x"}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "group": -1}, errno.ERANGE),
        ("link.set", {"dev": "eth0", "up": "no"}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "alias": "a\0b"}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "alias": "\udc80"}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "state": "sideways"}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "mode": "sideways"}, errno.EINVAL),
        ("link.set", {"dev": "eth0", "carrier": True}, errno.EOPNOTSUPP),
        ("link.show", {"dev": "eth9"}, errno.ENODEV),
        ("link.show", {"stats": "2"}, errno.EINVAL),
        ("qdisc.show", {"dev": "eth9"}, errno.ENODEV),
        ("ethtool.get_ringparam", {"dev": "eth0"}, errno.EOPNOTSUPP),
        ("ethtool.set_features", {"dev": "eth0", "wanted": 1}, errno.EINVAL),
        ("ethtool.set_features", {"dev": "eth0", "wanted": {"nope": True}}, errno.EOPNOTSUPP),
        ("file.read", {"path": "/etc/passwd"}, errno.ENOENT),
        ("file.read", {"path": "/sys/class/net/../../../etc/passwd"}, errno.ENOENT),
        ("file.read", {"path": "/sys/class/net/eth0/nope"}, errno.ENOENT),
        ("file.read", {"path": "/sys/class/net/eth9/mtu"}, errno.ENOENT),
        ("file.write", {"path": "/sys/class/net/eth0/address", "text": "x"}, errno.EACCES),
        ("file.write", {"path": "/sys/class/net", "text": "x"}, errno.EISDIR),
    ],
)
def test_what_cannot_be_done_is_an_errno_and_a_line(served, method, parameters, number):
    with ControlClient(served.path) as client:
        assert refusal(client.call, method, **parameters) == number
        assert client.call("devices") == ["eth0"]


def test_link_set_changes_all_that_ip_does(served, stack):
    device = stack.devices["eth0"]
    device.max_mtu, device.netdev_ops.set_mac_address = 9000, lambda device, address: None
    with ControlClient(served.path) as client:
        change = {"address": "02:00:00:00:00:07", "mtu": 2000, "group": 3, "alias": "uplink", "txqueuelen": 5, "mode": "dormant"}
        client.call("link.set", dev="eth0", up=True, promisc=True, allmulticast=True, multicast=False, arp=False, name="ring0", **change)
        shown = client.call("link.show", dev="ring0")
    assert shown == (
        "1: ring0: <BROADCAST,NOARP,ALLMULTI,PROMISC,UP,LOWER_UP> mtu 2000 qdisc pfifo_fast state UNKNOWN mode DORMANT group 3 qlen 5\n"
        "    link/ether 02:00:00:00:00:07 brd ff:ff:ff:ff:ff:ff permaddr 52:54:00:00:00:01\n    alias uplink\n"
    )


def test_the_kernels_words_for_an_mtu_come_with_the_error(served):
    with ControlClient(served.path) as client:
        for mtu, words in ((1, "mtu less than device minimum"), (9999, "mtu greater than device maximum")):
            with pytest.raises(OSError, match=f"not {mtu}") as refused:
                client.call("link.set", dev="eth0", mtu=mtu)
            assert (refused.value.errno, refused.value.extack) == (errno.EINVAL, words)


def test_files_are_read_and_written_by_their_paths(served, stack):
    with ControlClient(served.path) as client:
        assert client.call("file.read", path="/sys/class/net") == ["eth0"]
        assert {"statistics", "queues", "mtu"} <= set(client.call("file.read", path="/sys/class/net/eth0/"))
        assert client.call("file.read", path="/sys/class/net/eth0/queues") == ["tx-0"]
        assert client.call("file.read", path="/proc/net/dev").count("\n") == 3
        client.call("file.write", path="/sys/class/net/eth0/mtu", text="1400\n")
        assert client.call("file.read", path="/sys/class/net/eth0/mtu") == "1400\n"
    assert stack.devices["eth0"].mtu == 1400


def test_an_error_of_a_drivers_own_is_an_error_for_the_client_alone(served, stack, caplog):
    def broken(device, stats):
        raise RuntimeError("a driver's mistake")

    stack.devices["eth0"].netdev_ops.get_stats64 = broken
    with ControlClient(served.path) as client:
        with pytest.raises(OSError, match="a driver's mistake"):
            client.call("link.show", stats=1)
        assert client.call("devices") == ["eth0"]
    assert "a control request failed" in caplog.text
