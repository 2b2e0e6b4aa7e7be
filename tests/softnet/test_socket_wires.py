"""Wires over sockets: `unix:`, `udp:`, `unix-stream:` and `tcp:`."""

import errno
import os
import socket
import stat
import struct
import threading
from contextlib import ExitStack, suppress

import pytest
from wire_ends import End, numbered, until

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst
from fastring.clock import MonotonicClock
from softnet import Stack
from softnet.wire import open_wire

PACKETS = numbered(1000)
LONGEST = 69632


@pytest.fixture
def undo():
    with ExitStack() as stack:
        yield stack


def free_port(kind=socket.SOCK_DGRAM, host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def datagram_specs(which, folder):
    if which == "unix":
        return f"unix:{folder}/a,remote={folder}/b", f"unix:{folder}/b,remote={folder}/a"
    host = "127.0.0.1" if which == "udp" else "::1"
    ports, text = [free_port(host=host) for _ in range(2)], host if which == "udp" else f"[{host}]"
    return tuple(f"udp:{text}:{there},local={text}:{here}" for here, there in (ports, ports[::-1]))


def stream_specs(which, folder):
    name = f"unix-stream:{folder}/s" if which == "unix-stream" else f"tcp:127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    return f"{name},server=on", name


KINDS = [
    *(pytest.param(datagram_specs, which, id=which) for which in ("unix", "udp", "udp-ipv6")),
    *(pytest.param(stream_specs, which, id=which) for which in ("unix-stream", "tcp")),
]


def meet(server, client):
    until(lambda: server.wire.connected and client.wire.connected, server, client)


def arrive(count, *ends):
    until(lambda: all(len(end.sink.packets) >= count for end in ends), *ends)


@pytest.fixture
def raw_server(undo, tmp_path):
    """What listens at a path with nothing but a socket, and the spec of its client's wire."""
    listener = undo.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(str(tmp_path / "raw"))
    listener.listen()
    return listener, f"unix-stream:{tmp_path}/raw"


# --- both kinds ---


@pytest.mark.parametrize(("specs", "which"), KINDS)
def test_frames_pass_both_ways_byte_for_byte(undo, tmp_path, specs, which):
    left, right = (End(undo, spec) for spec in specs(which, tmp_path))
    until(lambda: getattr(left.wire, "connected", True), left, right)
    for start in range(0, len(PACKETS), 20):
        some = PACKETS[start : start + 20]
        assert left.send(*some) == right.send(*some) == 20
        until(lambda end=start + 20: len(left.sink.packets) >= end and len(right.sink.packets) >= end, left, right)
    assert left.take() == right.take() == PACKETS
    assert left.wire.drops == right.wire.drops == {}
    assert left.wire.tx_packets == right.wire.rx_packets == len(PACKETS)


@pytest.mark.parametrize(("specs", "which"), KINDS)
def test_pieces_become_one_frame_and_what_is_too_long_is_lost_alone(undo, tmp_path, specs, which):
    left, right = (End(undo, spec) for spec in specs(which, tmp_path))
    until(lambda: getattr(left.wire, "connected", True), left, right)
    assert left.port.send(Burst.from_packets([[b"one ", b"frame"], [bytes(1000)] * 70, [b"x"] * 200, bytes(60)])) == 4
    until(lambda: len(right.sink.packets) >= 3, left, right)
    assert right.take() == [b"one frame", b"x" * 200, bytes(60)]
    assert left.wire.drops == {"too_long": 1}


@pytest.mark.parametrize("which", ["unix-stream", "tcp"])
def test_the_longest_frames_pass_a_stream_in_parts(undo, tmp_path, which):
    server, client = (End(undo, spec) for spec in stream_specs(which, tmp_path))
    packets = [bytes([i]) * (LONGEST - i) for i in range(100)]
    until(lambda: server.wire.connected, server, client)
    cut = False
    while (sent := server.port.tx_packets) < 100:
        with suppress(TimeoutError):
            server.port.send(Burst.from_packets(packets[sent:]), patience=0.001)
        cut = cut or server.wire.held_up        # in the middle of a frame
        until(lambda: not server.wire.held_up and len(client.sink.packets) == server.port.tx_packets, server, client)
    assert cut
    assert client.take() == packets


# --- datagrams ---


def test_a_unix_peer_may_come_late_leave_and_come_back(undo, tmp_path):
    left = End(undo, f"unix:{tmp_path}/a,remote={tmp_path}/b")
    assert left.send(*PACKETS[:3]) == 3
    assert left.wire.drops == {"no_peer": 3}
    for turn in range(2):
        with ExitStack() as there:
            right = End(there, f"unix:{tmp_path}/b,remote={tmp_path}/a")
            left.send(PACKETS[turn])
            right.port.poll()
            assert right.take() == [PACKETS[turn]]
            right.send(PACKETS[5])
            left.port.poll()
            assert left.take() == [PACKETS[5]]
        assert left.send(*PACKETS[:2]) == 2
        assert left.wire.drops == {"no_peer": 5 + 2 * turn}
        assert left.port.poll() == 0
    assert left.wire.failure() is None
    assert left.wire.refusals > 0


def test_a_unix_wire_without_a_remote_only_receives(undo, tmp_path):
    left = End(undo, f"unix:{tmp_path}/a")
    right = End(undo, f"unix:{tmp_path}/b,remote={tmp_path}/a")
    assert left.send(bytes(60)) == 1
    assert left.wire.drops == {"no_peer": 1}
    right.send(*PACKETS[:5])
    left.port.poll()
    assert left.take() == PACKETS[:5]


def test_a_udp_peer_that_nobody_listens_at_is_no_failure(undo):
    port = free_port()
    left = End(undo, f"udp:127.0.0.1:{port},local=127.0.0.1:{(own := free_port())}")
    for _ in range(5):
        assert left.send(PACKETS[0]) == 1
    until(lambda: left.wire.refusals >= 3, left)
    right = End(undo, f"udp:127.0.0.1:{own},local=127.0.0.1:{port}")
    left.send(PACKETS[1])
    until(lambda: right.sink.packets, left, right)
    assert right.take() == [PACKETS[1]]
    assert left.wire.failure() is None


def test_a_peer_that_does_not_read_holds_the_card_up(undo, tmp_path):
    left, right = (End(undo, spec) for spec in datagram_specs("unix", tmp_path))
    packets = [bytes([i % 251]) * 1500 for i in range(3000)]
    with pytest.raises(TimeoutError):
        left.port.send(Burst.from_packets(packets), patience=0.01)
    sent = left.port.tx_packets
    assert left.wire.held_up
    assert 0 < sent < 3000
    assert left.wire.drops == {}
    until(lambda: len(right.sink.packets) == sent, right)
    left.port.poll()
    assert not left.wire.held_up
    assert right.take() == packets[:sent]


def test_what_the_kernel_drops_is_counted(undo):
    left, right = (End(undo, spec) for spec in datagram_specs("udp", None))
    for _ in range(20):
        left.send(*[bytes(1400)] * 200)
    until(lambda: right.port.poll() == 0, right)
    arrived = len(right.take())
    assert 0 < arrived < 4000
    assert right.wire.drops == {"rcvbuf_errors": 4000 - arrived}


def test_empty_and_cut_datagrams_are_counted_and_no_end(undo, tmp_path):
    left = End(undo, f"unix:{tmp_path}/a")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for content in (b"", bytes(LONGEST + 1), bytes(LONGEST), b"last"):
            raw.sendto(content, f"{tmp_path}/a")
    until(lambda: len(left.sink.packets) == 2, left)
    assert left.take() == [bytes(LONGEST), b"last"]
    assert left.wire.drops == {"empty": 1, "truncated": 1}


def test_a_multicast_group_hears_all_but_oneself(undo):
    spec = f"udp:239.255.77.1:{free_port()},local=127.0.0.1"
    try:
        ends = [End(undo, spec) for _ in range(3)]
    except OSError as error:
        pytest.skip(f"no multicast here: {error}")
    for i, end in enumerate(ends):
        end.send(PACKETS[i])
    until(lambda: all(len(end.sink.packets) == 2 for end in ends), *ends)
    for i, end in enumerate(ends):
        end.port.poll()
        assert sorted(end.take()) == sorted(PACKETS[:i] + PACKETS[i + 1 : 3])


# --- streams ---


def test_a_server_waits_for_the_next_client(undo, tmp_path):
    spec = f"unix-stream:{tmp_path}/s"
    server = End(undo, f"{spec},server=on")
    assert server.send(PACKETS[0]) == 1
    assert server.wire.drops == {"no_peer": 1}
    for turn in range(1, 4):
        with ExitStack() as there:
            client = End(there, spec)
            until(lambda turn=turn: server.wire.connections == turn, server)
            client.send(*PACKETS[:10])
            until(lambda: len(server.sink.packets) == 10, server)
            assert server.take() == PACKETS[:10]
        until(lambda turn=turn: server.wire.disconnections == turn, server)
        assert not server.wire.connected
    assert server.wire.failure() is None


def test_a_client_fails_with_its_connection_and_has_what_came_before(undo, raw_server):
    listener, spec = raw_server
    client = End(undo, spec)
    peer, _ = listener.accept()
    peer.sendall(struct.pack(">I", 4) + b"last")
    peer.close()
    client.send(bytes(60))
    with pytest.raises(ConnectionResetError, match=r"unix-stream:.* has failed"):
        until(lambda: False, client)
    assert client.take() == [b"last"]
    with pytest.raises(ConnectionResetError):
        client.send(bytes(60))
    assert client.wire.drops["wire_failed"] == 1


def test_a_client_told_to_connects_again(undo, tmp_path):
    spec = f"tcp:127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    client = End(undo, f"{spec},reconnect-ms=5")
    assert not client.wire.connected
    for turn in range(1, 3):
        with ExitStack() as there:
            server = End(there, f"{spec},server=on")
            meet(server, client)
            client.send(PACKETS[turn])
            arrive(1, server)
            assert server.take() == [PACKETS[turn]]
        until(lambda turn=turn: client.wire.disconnections == turn, client)
    assert client.wire.failure() is None


def test_frames_that_come_byte_by_byte_are_whole(undo, raw_server):
    listener, spec = raw_server
    client = End(undo, spec)
    peer = undo.enter_context(listener.accept()[0])
    for byte in b"".join(struct.pack(">I", len(packet)) + packet for packet in PACKETS[:5]):
        peer.sendall(bytes([byte]))
        client.port.poll()
    assert client.take() == PACKETS[:5]


@pytest.mark.parametrize("length", [LONGEST + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_an_impossible_length_ends_the_connection_after_what_came_before(undo, raw_server, length):
    listener, spec = raw_server
    client = End(undo, spec)
    peer = undo.enter_context(listener.accept()[0])
    peer.sendall(struct.pack(">I", 4) + b"fine" + struct.pack(">I", length) + bytes(1000))
    with pytest.raises(OSError, match="Protocol error") as raised:
        until(lambda: False, client)
    assert raised.value.errno == errno.EPROTO
    assert client.take() == [b"fine"]
    assert client.wire.violations == 1


def test_a_server_hangs_up_on_it_and_takes_the_next(undo, tmp_path):
    server = End(undo, f"unix-stream:{tmp_path}/s,server=on")
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(f"{tmp_path}/s")
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        until(lambda: server.wire.violations == 1, server)
        assert raw.recv(1) == b""
    client = End(undo, f"unix-stream:{tmp_path}/s")
    client.send(bytes(60))
    until(lambda: server.sink.packets, server, client)


def test_empty_frames_without_end_keep_nobody(undo, raw_server):
    listener, spec = raw_server
    client = End(undo, spec)
    peer = undo.enter_context(listener.accept()[0])
    stop = threading.Event()

    def flood():
        peer.settimeout(0.01)
        while not stop.is_set():
            with suppress(TimeoutError):
                peer.send(bytes(1 << 16), socket.MSG_NOSIGNAL)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for _ in range(20):
            assert client.port.poll() == 0
        until(lambda: client.wire.drops.get("empty", 0) > 1000, client)
    finally:
        stop.set()
        thread.join()


def test_waiting_ends_when_a_stream_has_something_or_room(undo, tmp_path):
    spec = f"unix-stream:{tmp_path}/s"
    cabling = open_wire(f"{spec},server=on", clock=MonotonicClock())
    undo.callback(cabling.close)
    with Stack() as stack, probe(LocalBus(E1000Device(wire=cabling.near)), stack, flow_control="none", rx_usecs=0) as device:
        stack.run()
        assert stack.wait(0) is False
        client = End(undo, spec)
        assert stack.wait(60) is True
        until(lambda: stack.run() >= 0 and cabling.near.connected)
        packets = [bytes([i % 251]) * 1500 for i in range(600)]
        thread = threading.Thread(target=lambda: until(lambda: len(client.sink.packets) == 600, client))
        sent = device.xmit(Burst.from_packets(packets[:200]))
        thread.start()
        for start in (200, 400):
            sent += device.xmit(Burst.from_packets(packets[start : start + 200]))
        while thread.is_alive():
            stack.run()
            stack.wait(0.1)
        thread.join()
        assert sent == 600
    assert client.take() == packets


# --- what a spec may say ---


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("unix:", "needs a path"),
        ("unix:a,remote=", "it is a path"),
        ("unix:a,server=on", "no option 'server'"),
        ("udp:nonsense", "HOST:PORT"),
        ("udp:::1:5", r"\[IPV6\]:PORT"),
        ("udp:127.0.0.1:99999", "HOST:PORT"),
        ("udp:127.0.0.1:0", "nobody has port 0"),
        ("udp:127.0.0.1:5,local=x", "HOST:PORT"),
        ("tcp:127.0.0.1:5,server=yes", "'on' or 'off'"),
        ("tcp:127.0.0.1:5,reconnect-ms=0", "whole number"),
        ("tcp:127.0.0.1:5,server=on,reconnect-ms=5", "a client's"),
        ("unix-stream:a,server=on,reconnect-ms=5", "a client's"),
    ],
)
def test_a_spec_that_makes_no_sense_is_one_line(spec, match):
    with pytest.raises(ValueError, match=match) as raised:
        open_wire(spec, clock=MonotonicClock())
    assert "\n" not in str(raised.value)


def refused(number, spec, filename=None):
    with pytest.raises(OSError, match=r".") as raised:
        open_wire(spec, clock=MonotonicClock())
    assert raised.value.errno == number, raised.value
    assert filename is None or raised.value.filename == filename


@pytest.mark.parametrize("kind", ["unix:{}", "unix:a,remote={}", "unix-stream:{}", "unix-stream:{},server=on"])
def test_a_path_that_no_socket_can_have_is_named(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = "x" * 108
    refused(errno.ENAMETOOLONG, kind.format(path), path)


@pytest.mark.parametrize("kind", ["unix:{}", "unix-stream:{},server=on"])
def test_a_socket_file_left_behind_is_replaced_and_nothing_else_is(undo, tmp_path, kind):
    path = str(tmp_path / "s")
    spec = kind.format(path)
    with ExitStack() as first:
        End(first, spec)
        refused(errno.EADDRINUSE, spec, path)
        assert stat.S_ISSOCK(os.stat(path).st_mode)
    assert not os.path.exists(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "unix:{}" else socket.SOCK_STREAM) as stale:
        stale.bind(path)
    End(undo, spec)
    undo.close()
    (tmp_path / "s").write_text("precious")
    refused(errno.EADDRINUSE, spec, path)
    assert (tmp_path / "s").read_text() == "precious"


def test_a_socket_that_took_its_place_is_left_alone(undo, tmp_path):
    path = str(tmp_path / "s")
    End(undo, f"unix:{path}")
    os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        undo.close()
        assert os.path.exists(path)


def test_what_cannot_be_reached_is_named(tmp_path):
    refused(errno.ENOENT, f"unix-stream:{tmp_path}/none", f"{tmp_path}/none")
    refused(errno.ENOENT, f"unix:{tmp_path}/no/such", f"{tmp_path}/no/such")
    port = free_port(socket.SOCK_STREAM)
    refused(errno.ECONNREFUSED, f"tcp:127.0.0.1:{port}", f"127.0.0.1:{port}")
    refused(errno.EADDRNOTAVAIL, "udp:no-such-host.invalid:5", "no-such-host.invalid:5")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(errno.EADDRINUSE, f"tcp:127.0.0.1:{port},server=on", f"127.0.0.1:{port}")
