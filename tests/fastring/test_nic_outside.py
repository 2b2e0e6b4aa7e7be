"""Nics on wires to the world outside the process: waiting at them, and hearing of their end."""

import asyncio
import socket
import threading

import pytest

import softnet

LONG = 60  # seconds that nothing takes
PACKETS = [bytes([2 * i]) * (60 + i) for i in range(100)]


@pytest.fixture
def ends(socket_wire):
    """Three wires, and the sockets at their other ends."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(3)]
    yield [(socket_wire.SocketWire(near.fileno()), far) for near, far in pairs]
    for near, far in pairs:
        near.close()
        far.close()


@pytest.fixture(params=[True, False], ids=["card", "port"])
def nic(request, ends):
    with softnet.open_nic(ends[0][0], card=request.param) as nic:
        yield nic


@pytest.fixture
def far(ends):
    ends[0][1].setblocking(False)
    return ends[0][1]


def test_it_sleeps_until_a_frame_comes(nic, far):
    sender = threading.Timer(0.05, far.send, [PACKETS[3]])
    sender.start()
    assert list(nic.recv(LONG)) == [PACKETS[3]]
    nic.send(PACKETS[4])
    assert far.recv(4096) == PACKETS[4]
    sender.join()


def test_a_packet_that_another_thread_lets_in_wakes_the_one_that_waits(nic, far):
    got, started = [], threading.Event()

    def read():
        started.set()
        got.extend(nic.recv(LONG))

    reader = threading.Thread(target=read)
    reader.start()
    started.wait()
    far.send(PACKETS[1])
    while reader.is_alive():
        nic.run()
    assert got == [PACKETS[1]]


def test_asyncio_waits_for_frames_and_for_room(nic, far):
    async def main():
        async with asyncio.timeout(LONG):
            loop = asyncio.get_running_loop()
            loop.call_later(0.02, far.send, PACKETS[2])
            first = await nic.arecv()
            sending = asyncio.create_task(nic.asend([bytes([i]) * 1400 for i in range(200)]))
            got = []
            while len(got) < 200:
                await asyncio.sleep(0.001)
                while True:
                    try:
                        got.append(far.recv(4096)[:1])
                    except BlockingIOError:
                        break
                nic.run()  # what the card still has goes on when there is room
            return list(first), await sending, got

    assert asyncio.run(main()) == ([PACKETS[2]], 200, [bytes([i]) for i in range(200)])


def test_a_wire_that_takes_nothing_times_out(nic):
    with pytest.raises(TimeoutError, match=r"took nothing for 0\.01 s"):
        nic.send([bytes(1400)] * 5000, timeout=0.01)


def test_a_dead_wire_is_told_after_what_arrived_before(nic, far):
    far.send(PACKETS[1])
    far.close()
    assert list(nic.recv(LONG)) == PACKETS[1:2]
    with pytest.raises(OSError, match="has failed"):
        nic.send(PACKETS[:2])
    for _ in range(2):
        with pytest.raises(OSError, match="has failed"):
            nic.recv(LONG)


def test_a_dead_wire_is_no_matter_to_others(ends):
    with softnet.open_nic(ends[0][0]) as dead, softnet.open_nic(ends[1][0]) as card, softnet.open_nic(ends[2][0], card=False) as port:
        ends[0][1].close()
        with pytest.raises(OSError, match="has failed"):
            dead.send(PACKETS)
        for nic, (_, far) in ((card, ends[1]), (port, ends[2])):
            far.send(PACKETS[5])
            assert list(nic.recv(LONG)) == [PACKETS[5]]
            nic.send(PACKETS[6])
            assert far.recv(4096) == PACKETS[6]
