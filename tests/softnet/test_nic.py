"""A card on a wire in one line: sending and receiving, by threads and by asyncio."""

import asyncio
import errno
import threading

import pytest

import softnet
from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst
from fastring.packet_queue import PacketQueue
from fastring.wire import NullWire, Wire, pair
from softnet.nic import host_stack

LONG = 60  # seconds that nothing takes
PACKETS = [bytes([2 * i]) * (60 + i) for i in range(100)]
CARDS = [(True, True), (True, False), (False, True), (False, False)]


@pytest.fixture(params=CARDS, ids=["cards", "card-port", "port-card", "ports"])
def nics(request):
    a, b = pair()
    with softnet.open_nic(a, card=request.param[0]) as near, softnet.open_nic(b, card=request.param[1]) as far:
        yield near, far


def test_what_one_sends_the_other_receives(nics):
    near, far = nics
    assert near.send(PACKETS) == 100
    assert far.send(PACKETS[7]) == 1
    got = far.recv(LONG, count=100)
    assert list(got) == PACKETS
    assert all(got.times)
    assert list(near.recv(LONG)) == [PACKETS[7]]
    assert near.drops == far.drops == {}


def test_more_than_any_ring_holds(nics):
    near, far = nics
    assert near.send(Burst.from_packets(PACKETS * 30)) == 3000
    assert list(far.recv(LONG, count=3000)) == PACKETS * 30


def test_received_packets_can_be_kept_viewed_and_sent_on(nics):
    near, far = nics
    near.send(PACKETS[:3])
    burst = far.recv(LONG, count=3)
    view = burst.view()
    far.send(burst)
    assert list(near.recv(LONG, count=3)) == PACKETS[:3]
    assert bytes(view.payload[view.offset[1] :][: view.length[1]]) == PACKETS[1]


def test_nothing_arrives_and_it_does_not_wait(nics):
    assert len(nics[0].recv(0)) == 0
    assert len(nics[0].recv(0.01)) == 0


def test_a_count_waits_no_longer_than_the_timeout(nics):
    near, far = nics
    near.send(PACKETS[:2])
    assert len(far.recv(0.02, count=5)) == 2


def test_a_full_queue_is_given_back_instead_of_waited_for():
    a, b = pair()
    with softnet.open_nic(a) as near, softnet.open_nic(b, queue_bytes=4096) as far:
        receiver = threading.Thread(target=lambda: got.append(far.recv(LONG, count=1000)))
        got = []
        receiver.start()
        near.send(PACKETS)
        receiver.join(LONG)
        dropped = far.drops["queue_byte_limit"]
        assert 0 < len(got[0]) == 100 - dropped or len(got[0]) + len(far.recv(0)) + far.drops["queue_byte_limit"] == 100


def test_threads_send_and_receive(nics):
    near, far = nics
    got = []
    receiver = threading.Thread(target=lambda: got.extend(far.recv(LONG, count=100)))
    receiver.start()
    for packet in PACKETS:
        near.send(packet)
    receiver.join(LONG)
    assert got == PACKETS


def test_who_waits_for_several_is_woken_by_the_last(nics):
    near, far = nics
    got = []
    receiver = threading.Thread(target=lambda: got.extend(far.recv(LONG, count=3)))
    receiver.start()
    for packet in PACKETS[:3]:
        near.send(packet)
        receiver.join(0.05)  # time to see that it is not enough, and to sleep again
    receiver.join(LONG / 2)
    assert got == PACKETS[:3]


def test_a_task_that_waits_for_several_is_woken_by_the_last(nics):
    near, far = nics

    async def main():
        receiver = asyncio.create_task(far.arecv(LONG, count=3))
        for packet in PACKETS[:3]:
            await near.asend(packet)
            await asyncio.sleep(0.05)
        return list(await asyncio.wait_for(receiver, LONG / 2))

    assert asyncio.run(main()) == PACKETS[:3]


def test_who_waits_for_one_is_not_kept_by_who_waits_for_several(nics):
    near, far = nics
    several, one = [], []
    patient = threading.Thread(target=lambda: several.extend(far.recv(LONG, count=3)))
    patient.start()
    patient.join(0.05)
    hasty = threading.Thread(target=lambda: one.extend(far.recv(LONG, count=1)))
    hasty.start()
    hasty.join(0.05)
    near.send(PACKETS[0])
    hasty.join(LONG / 2)
    near.send(PACKETS[1:4])
    patient.join(LONG / 2)
    assert (one, several) == (PACKETS[:1], PACKETS[1:4])


def test_a_loop_over_bursts_ends_when_another_thread_closes_it(nics):
    near, far = nics
    got, some = [], threading.Event()

    def read():
        for burst in far:
            got.extend(burst)
            some.set()

    reader = threading.Thread(target=read)
    reader.start()
    near.send(PACKETS[:1])
    assert some.wait(LONG)
    far.close()
    reader.join(LONG)
    assert not reader.is_alive()
    assert got == PACKETS[:1]


def test_asyncio_both_ways_at_once(nics):
    async def reader(nic):
        got = []
        async for burst in nic:
            got += list(burst)
            if len(got) == 1000:
                return got
        return None

    async def main():
        async with asyncio.timeout(LONG):
            readers = [asyncio.create_task(reader(nic)) for nic in nics]
            await asyncio.sleep(0)
            assert await asyncio.gather(*(nic.asend(PACKETS * 10) for nic in nics)) == [1000, 1000]
            return await asyncio.gather(*readers)

    assert asyncio.run(main()) == [PACKETS * 10, PACKETS * 10]


def test_asyncio_waits_for_a_thread_and_for_closing(nics):
    near, far = nics

    async def main():
        async with asyncio.timeout(LONG):
            sender = threading.Timer(0.02, near.send, [PACKETS[1]])
            sender.start()
            first = await far.arecv()
            assert len(await far.arecv(0.01)) == 0
            closer = threading.Timer(0.02, far.close)
            closer.start()
            rest = [burst async for burst in far]
            sender.join()
            closer.join()
            return list(first), rest

    assert asyncio.run(main()) == ([PACKETS[1]], [])


def test_two_tasks_wait_at_one_nic(nics):
    near, far = nics

    async def main():
        async with asyncio.timeout(LONG):
            tasks = [asyncio.create_task(far.arecv()) for _ in range(2)]
            await asyncio.sleep(0.01)
            await near.asend(PACKETS[0])
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await near.asend(PACKETS[1])
            return sorted(packet for burst in await asyncio.gather(*tasks) for packet in burst), len(done)

    assert asyncio.run(main())[0] == PACKETS[:2]


def test_frames_too_long_are_counted():
    a, b = pair()
    with softnet.open_nic(a) as near, softnet.open_nic(b):
        assert near.send([bytes(60), bytes(2000), bytes(61)]) == 2
        assert near.drops == {"mtu_exceeded": 1}


def test_a_wire_that_takes_nothing_ends_in_a_timeout():
    a, b = pair()
    held = probe(LocalBus(E1000Device(wire=b)), softnet.Stack())  # which never runs
    held.promiscuous = True
    with held, softnet.open_nic(a) as near, pytest.raises(TimeoutError, match=r"took nothing for 0\.01 s"):
        near.send(PACKETS * 100, timeout=0.01)


def test_several_listen_and_each_hears_all(nics):
    near, far = nics
    other = PacketQueue()
    far.listen(other)
    near.send(PACKETS[:2])
    assert list(far.recv(LONG, count=2)) == list(other.take()) == PACKETS[:2]
    far.unlisten(other)
    near.send(PACKETS[:1])
    assert len(far.recv(LONG)) == 1
    assert len(other) == 0


def test_over_a_device_there_is_already():
    a, b = pair()
    with softnet.Stack() as stack:
        device = probe(LocalBus(E1000Device(wire=a)), stack)
        device.promiscuous = True
        with softnet.open_nic(b, stack=stack) as far:
            with softnet.open_nic(device) as near:
                near.send(PACKETS[0])
                assert list(far.recv(LONG)) == PACKETS[:1]
                far.send(PACKETS[1])
                assert list(near.recv(LONG)) == PACKETS[1:2]
                with pytest.raises(OSError, match="already"):
                    softnet.open_nic(device)
            assert not device.registered
            assert device.sink is None


def test_a_device_that_is_up_stays_up():
    a, _ = pair()
    with softnet.Stack() as stack, probe(LocalBus(E1000Device(wire=a)), stack) as device:
        with softnet.open_nic(device):
            pass
        assert device.up


def test_closing_leaves_nothing_behind():
    before = set(host_stack().devices)
    wire = NullWire()
    for card in (True, False):
        nic = softnet.open_nic(wire, card=card)
        assert nic.send(PACKETS[0]) == 1
        nic.close()
        nic.close()
        assert set(nic.stack.devices) == before
        for use in (nic.recv, lambda nic=nic: nic.send(b"x" * 60)):
            with pytest.raises(OSError, match="is closed") as closed:
                use()
            assert closed.value.errno == errno.EBADF
    assert wire.packets == 2


def test_what_cannot_be_opened_is_told_and_undone():
    before = set(host_stack().devices)
    for spec, message in [("pair", "second end"), ("null:x", "takes no argument"), ("nothing", "there is no wire")]:
        with pytest.raises(ValueError, match=message):
            softnet.open_nic(spec)
    wire = Wire()
    with pytest.raises(OSError, match="MTU"):
        softnet.open_nic(wire, mtu=20000)
    with softnet.open_nic(wire), pytest.raises(OSError, match="already"):
        softnet.open_nic(wire)
    assert set(host_stack().devices) == before


def test_a_send_only_nic_does_not_receive():
    with softnet.open_nic("null", receive=False) as nic, pytest.raises(OSError, match="send only"):
        nic.recv()
