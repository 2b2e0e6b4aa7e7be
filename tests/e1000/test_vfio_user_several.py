"""Several cards in one process: what one client does is no other's loss."""

import struct
import threading

import pytest
from served_cards import serving
from test_vfio_user_server import Client

from e1000.device import E1000Device
from e1000.vfio_user import VfioUserServer
from fastring.wire import NullWire


@pytest.fixture
def servers(tmp_path):
    with E1000Device(wire=NullWire()) as a, E1000Device(wire=NullWire()) as b, \
            VfioUserServer(a, tmp_path / "a") as one, VfioUserServer(b, tmp_path / "b") as two, serving(one, two):
        yield one, two


def test_a_client_that_floods_keeps_no_other_away(servers):
    flooded, other = servers
    flood, stopped = Client(flooded.path), threading.Event()
    writes = struct.pack("=HHIIIQII4x", 1, 10, 36, 0x10, 0, 0x5200, 0, 4) * 1000

    def pour():
        while not stopped.is_set():
            flood.socket.sendall(writes)

    thread = threading.Thread(target=pour)
    thread.start()
    try:
        for _ in range(5):
            client = Client(other.path)
            assert client.read(7, 0, 2) == b"\x86\x80"
            client.socket.close()
    finally:
        stopped.set()
        thread.join(60)
    assert flooded.served.writes > 1000


def test_cards_are_each_their_own(servers):
    one, two = (Client(server.path) for server in servers)
    for client, value in ((one, b"1234"), (two, b"5678")):
        client.write(7, 4, b"\7\0")
        client.write(0, 0x5200, value)
    assert (one.read(0, 0x5200, 4), two.read(0, 0x5200, 4)) == (b"1234", b"5678")
