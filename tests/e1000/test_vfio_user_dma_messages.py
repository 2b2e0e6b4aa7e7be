"""Memory that a served card reaches by messages: it works as other memory does, and a client that plays false harms itself alone."""

import errno
import os
import random
import struct
from contextlib import ExitStack

import pytest
from dma_clients import BASE, DMA_READ, DMA_WRITE, RING, RX_DATA, RX_RING, SIZE, TX_DATA, DmaClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served_cards import TwoRemoteCards
from test_vfio_user_bus import both_ways
from test_vfio_user_server import Client, server  # noqa: F401 - a fixture

from e1000 import regs
from e1000.bus import VfioUserBus
from e1000.vfio_user import SharedMemory

FRAMES = [random.Random(n).randbytes(size) for n, size in enumerate((60, 61, 1514, 1000, 777, 64))]
MASTER_ABORT = 1 << 13


def connect(server, *, far=SIZE, fd=None, flags=3, **options):  # noqa: F811
    """A DmaClient whose last `far` bytes are without a descriptor."""
    client = DmaClient(server.path, **options)
    if far < SIZE:
        assert client.map(BASE, SIZE - far, fd) == 0
    assert client.map(BASE + SIZE - far, far, flags=flags) == 0
    return client


def status(client):
    return struct.unpack("=H", client.read(7, 6, 2))[0]


def is_hung_up_on(client):
    """Whether the server ends the connection as it has frames to send."""
    try:
        client.send_frames(FRAMES)
        client.reg(regs.STATUS)
    except (EOFError, ConnectionError):
        return True
    return False


def works(server):  # noqa: F811
    """Whether the next client has a card and memory."""
    client = connect(server)
    client.call(13)
    client.write(7, 4, b"\x07\0")
    client.start()
    client.send_frames(FRAMES)
    assert client.done(len(FRAMES)) == len(FRAMES)
    assert client.received(len(FRAMES)) == FRAMES


# --- our driver ---


@pytest.mark.parametrize(("mapped", "least"), [(0, 600), (1 << 20, 1)])
def test_our_driver_needs_no_memory_that_is_mapped(tmp_path, mapped, least):
    """1 MiB: its rings, and some of its buffers; frames lie in either, and across."""
    with ExitStack() as undo:
        cards = TwoRemoteCards(undo, tmp_path, mapped=mapped)
        both_ways(cards, 600, seed=1, at_once=200)
        assert all(bus.messages["dma"] >= least and bus.messages["strays"] == 0 for bus in cards.buses)


def test_only_whole_pages_of_what_there_is_can_be_mapped(tmp_path):
    with SharedMemory(size=1 << 20) as memory:
        for mapped in (-4096, 100, (1 << 20) + 4096):
            with pytest.raises(ValueError, match="so many whole pages"):
                VfioUserBus(tmp_path / "none", memory=memory, mapped=mapped)


# --- a client of messages ---


@pytest.mark.parametrize("layout", ["=2Q", "=QI"])  # of the specification; of QEMU, with 32 bits for the count
def test_frames_go_both_ways(server, layout):  # noqa: F811
    client = connect(server, layout=layout)
    client.start()
    client.send_frames(FRAMES)
    assert client.done(len(FRAMES)) == len(FRAMES)
    assert client.received(len(FRAMES)) == FRAMES
    assert status(client) & MASTER_ABORT == 0


def test_only_what_the_card_wrote_is_written(server):  # noqa: F811
    client = connect(server)
    client.start()
    client.send_frames(FRAMES)
    for command, address, count in client.dma:
        if command == DMA_WRITE and address < BASE + TX_DATA:
            assert (address % 16, count % 16) == (8, 8)
        elif command == DMA_WRITE:
            assert count == len(FRAMES[(address - BASE - RX_DATA) // 2048])


def test_no_message_has_more_than_the_client_takes(server):  # noqa: F811
    client = connect(server, most=100)
    client.start()
    client.send_frames(FRAMES)
    assert client.received(len(FRAMES)) == FRAMES
    assert max(count for _, _, count in client.dma) == 100


def test_a_client_that_takes_nothing_has_no_dma(server):  # noqa: F811
    client = connect(server, most=0)
    client.start()
    client.send_frames(FRAMES)
    assert client.done(len(FRAMES)) == 0
    assert status(client) & MASTER_ABORT
    assert client.dma == []


def test_a_buffer_may_lie_half_in_memory_that_is_mapped(server):  # noqa: F811
    """Its first 700 bytes lie in a file, which has what the client's memory has not."""
    boundary = TX_DATA + 4096
    fd = os.memfd_create("guest")
    os.ftruncate(fd, boundary)
    client = connect(server, far=SIZE - boundary, fd=fd)
    client.start(ring=BASE + SIZE - 4096, rx_ring=BASE + SIZE - 8192)
    frame = FRAMES[2]
    os.pwrite(fd, frame[:700], boundary - 700)
    client.memory[boundary : boundary + len(frame) - 700] = frame[700:]
    struct.pack_into("=2Q", client.memory, SIZE - 4096, BASE + boundary - 700, len(frame) | 0x0B << 24)
    struct.pack_into("=2Q", client.memory, SIZE - 8192, BASE + boundary - 700, 0)
    client.reg(regs.TDT, 1)
    assert client.memory[SIZE - 4096 + 12] & 1
    assert client.memory[SIZE - 8192 + 12] & 1
    assert os.pread(fd, 700, boundary - 700) + client.memory[boundary : boundary + len(frame) - 700] == frame
    assert status(client) & MASTER_ABORT == 0
    os.close(fd)


@pytest.mark.parametrize("flags", [0, 1, 2])
def test_memory_allows_what_it_was_mapped_for(server, flags):  # noqa: F811
    """The rings may be updated, the buffers only read (1), only written (2), or neither."""
    client = DmaClient(server.path)
    assert client.map(BASE, TX_DATA) == 0
    assert client.map(BASE + TX_DATA, RX_DATA - TX_DATA, flags=flags if flags != 2 else 3) == 0
    assert client.map(BASE + RX_DATA, SIZE - RX_DATA, flags=flags if flags != 1 else 1) == 0
    client.start()
    client.send_frames(FRAMES[:1])
    word = struct.unpack_from("=Q", client.memory, RX_RING + 8)[0]
    if flags == 2:
        assert client.received(1) == FRAMES[:1]
        assert status(client) & MASTER_ABORT == 0
    else:
        assert word >> 40 & 0x80 if flags == 1 else word == 0  # RXE; nothing was sent
        assert status(client) & MASTER_ABORT


def test_a_segmentation_reads_what_it_needs(server):  # noqa: F811
    client = connect(server)
    client.start()
    ip, tcp = "4500002800000000400600000a0000010a000002", "0001000200000000000000005010000000000000"
    header = bytes.fromhex("ffffffffffff525400000001" + "0800" + ip + tcp)
    payload = random.Random(5).randbytes(5000)
    client.memory[TX_DATA : TX_DATA + len(header) + len(payload)] = header + payload
    size, mss = len(header), 1400
    context = 14 | 24 << 8 | 33 << 16 | 34 << 32 | 50 << 40, len(payload) | 0 << 20 | (0x20 | 4 | 2 | 1 | 8) << 24 | size << 40 | mss << 48
    data = BASE + TX_DATA, size + len(payload) | 1 << 20 | (0x20 | 8 | 4 | 1 | 2) << 24
    struct.pack_into("=4Q", client.memory, RING, *context, *data)
    client.reg(regs.TDT, 2)
    got = client.received(4)
    assert b"".join(frame[size:] for frame in got) == payload
    assert [len(frame) - size for frame in got] == [1400, 1400, 1400, 800]


def test_an_interrupt_comes_after_what_it_tells_of(server):  # noqa: F811
    client = connect(server)
    client.start()
    event = os.eventfd(0, os.EFD_NONBLOCK)
    assert client.call(8, struct.pack("=5I", 20, 1 << 2 | 1 << 5, 0, 0, 1), [event])[0] == 0
    client.reg(regs.IMS, 0x80)
    before = []

    def obey(command, address, *_):
        if command == DMA_WRITE and address >= BASE + RX_RING:
            with pytest.raises(BlockingIOError):
                os.eventfd_read(event)
            before.append(address)
        return True

    client.obey = obey
    client.send_frames(FRAMES[:1])
    client.obey = lambda *_: True
    assert before == [BASE + RX_DATA, BASE + RX_RING + 8]
    assert client.received(1) == FRAMES[:1]
    os.eventfd_read(event)
    os.close(event)


# --- what a client does meanwhile ---


def meanwhile(client, what, *, at=DMA_READ):
    """Do it, once, before the first DMA of that kind is answered."""

    def obey(command, address, count, number):
        if command == at:
            client.obey = lambda *_: True
            what()
        return True

    client.obey = obey


def test_registers_are_answered_while_a_dma_is_not(server):  # noqa: F811
    """As QEMU has it: it holds its lock while it waits for a register, and DMA waits for the lock."""
    client = connect(server)
    client.start()
    seen = []
    meanwhile(client, lambda: seen.append(client.reg(regs.STATUS)))
    client.send_frames(FRAMES)
    assert seen[0] & 2
    assert client.received(len(FRAMES)) == FRAMES


def test_a_doorbell_meanwhile_is_heard(server):  # noqa: F811
    client = connect(server)
    client.start()
    for slot, frame in enumerate(FRAMES):
        client.place(slot, frame, TX_DATA + 2048 * slot)
    meanwhile(client, lambda: client.reg(regs.TDT, len(FRAMES)), at=DMA_WRITE)
    client.reg(regs.TDT, 1)
    client.reg(regs.STATUS)
    assert client.received(len(FRAMES)) == FRAMES


@pytest.mark.parametrize("at", [DMA_READ, DMA_WRITE])
@pytest.mark.parametrize("reset", ["device", "CTRL"])
def test_after_a_reset_meanwhile_nothing_is_done(server, at, reset):  # noqa: F811
    client = connect(server)
    client.start()
    done = []

    def do():
        if reset == "device":
            assert client.call(13)[0] == 0
        else:
            client.reg(regs.CTRL, 1 << 26)
        done.append(len(client.dma))

    meanwhile(client, do, at=at)
    client.send_frames(FRAMES)
    assert client.call(4, struct.pack("=4I", 16, 0, 0, 0))[0] == 0
    client.write(7, 4, b"\x07\0")
    assert (client.reg(regs.TDH), client.reg(regs.TDT), client.reg(regs.RDH)) == (0, 0, 0)
    if at == DMA_READ:
        assert [command for command, *_ in client.dma[done[0] :] if command == DMA_WRITE] == []
    client.memory[:] = bytes(SIZE)
    client.start()
    client.send_frames(FRAMES)
    assert client.received(len(FRAMES)) == FRAMES


@pytest.mark.parametrize("at", [DMA_READ, DMA_WRITE])
def test_memory_may_be_unmapped_meanwhile(server, at):  # noqa: F811
    client = connect(server)
    client.start()
    meanwhile(client, lambda: client.unmap(BASE, SIZE), at=at)
    client.send_frames(FRAMES)
    assert status(client) & MASTER_ABORT
    assert client.map(BASE, SIZE) == 0
    client.memory[:] = bytes(SIZE)
    client.call(13)
    client.write(7, 4, b"\x07\0")
    client.start()
    client.send_frames(FRAMES)
    assert client.received(len(FRAMES)) == FRAMES


def test_memory_with_a_descriptor_stays_until_the_dma_is_over(server):  # noqa: F811
    """The ring and a frame lie in a file, which is unmapped while the next frame is fetched."""
    fd = os.memfd_create("guest")
    os.ftruncate(fd, TX_DATA + 2048)
    client = connect(server, far=SIZE - TX_DATA - 2048, fd=fd)
    client.start()
    for slot, frame in enumerate(FRAMES):
        client.place(slot, frame, TX_DATA + 2048 * slot)
    os.pwrite(fd, client.memory[: TX_DATA + 2048], 0)
    meanwhile(client, lambda: client.unmap(BASE, TX_DATA + 2048))
    client.reg(regs.TDT, len(FRAMES))
    assert client.reg(regs.STATUS) & 2
    assert repr(server).count("1 mappings") == 1
    os.close(fd)


# --- clients that play false ---


def test_a_client_that_does_not_answer_is_hung_up_on(server):  # noqa: F811
    server.served.messages.patience = 0.2
    client = connect(server)
    client.start()
    client.obey = lambda *_: False
    assert is_hung_up_on(client)
    server.served.messages.patience = 60
    works(server)


def test_one_that_talks_instead_of_answering_is_too(server):  # noqa: F811
    server.served.messages.patience = 0.2
    client = connect(server)
    client.start()

    def talk(*_):
        while True:
            client.reg(regs.STATUS)

    client.obey = talk
    assert is_hung_up_on(client)
    server.served.messages.patience = 60
    works(server)


@pytest.mark.parametrize("at", [DMA_READ, DMA_WRITE])
def test_a_client_may_die_meanwhile(server, at):  # noqa: F811
    client = connect(server)
    client.start()
    meanwhile(client, client.socket.close, at=at)
    with pytest.raises(OSError, match="Bad file"):
        client.send_frames(FRAMES)
    works(server)


@pytest.mark.parametrize("at", [DMA_READ, DMA_WRITE])
def test_what_a_client_refuses_is_a_master_abort(server, at):  # noqa: F811
    client = connect(server)
    client.start()

    def refuse(command, address, count, number):
        if command == at:
            client.answer(number, command, error=errno.EFAULT)
        return command != at

    client.obey = refuse
    client.send_frames(FRAMES)
    assert status(client) & MASTER_ABORT
    assert server.served.messages.failures > 0


def test_a_reply_to_nothing_is_passed_over(server):  # noqa: F811
    client = connect(server)
    client.start()

    def stray(command, address, count, number):
        client.answer(number ^ 0x5555, command, bytes(16 + count))
        client.answer(number, 13)
        return True

    client.obey = stray
    client.send_frames(FRAMES)
    assert client.received(len(FRAMES)) == FRAMES


@pytest.mark.parametrize("change", [(0, 0, -1), (0, 0, 1), (8, 0, 0), (0, 1, 0), (0, 1 << 40, 0)])
def test_a_reply_that_does_not_fit_ends_the_connection(server, change):  # noqa: F811
    client = connect(server)
    client.start()

    def lie(command, address, count, number):
        data = bytes(count + change[2])
        client.answer(number, command, struct.pack("=2Q", address + change[0], count + change[1]) + data)
        return False

    client.obey = lie
    assert is_hung_up_on(client)
    works(server)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(
        st.one_of(
            st.sampled_from([("well", None)] * 3 + [("unmap", None), ("reset", None), ("read", None), ("nothing", None)]),
            st.tuples(st.just("bytes"), st.tuples(st.binary(max_size=64), st.sampled_from([0, 0, 14]))),
            st.tuples(st.just("number"), st.integers(0, 0xFFFF)),
            st.tuples(st.just("size"), st.integers(0, 1 << 21)),
        ),
        max_size=20,
    )
)
def test_whatever_a_client_answers_the_next_one_has_a_card(server, script):  # noqa: F811
    server.served.messages.patience = 0.05
    client = connect(server)
    left = iter(script)

    def answer(command, address, count, number):
        how, what = next(left, ("well", None))
        if how == "bytes":
            client.answer(number, command, *what)
        elif how == "number":
            client.answer(what, command, struct.pack("=2Q", address, count) + bytes(count))
        elif how == "size":
            client.socket.sendall(struct.pack("=HHIII", number, command, what, 1, 0))
        elif how == "unmap":
            client.send(3, struct.pack("=2I2Q", 24, 2, 0, 0), flags=0x10)
        elif how == "reset":
            client.send(13, flags=0x10)
        elif how == "read":
            client.reg(regs.STATUS)
        return how in ("well", "unmap", "reset", "read")

    client.obey = answer
    try:
        client.start()
        client.send_frames(FRAMES)
        client.reg(regs.STATUS)
    except (EOFError, OSError, RecursionError):
        pass
    client.socket.close()
    server.served.messages.patience = 60
    works(server)


def test_registers_of_another_client_do_not_wait(server):  # noqa: F811
    """Nothing of a DMA outlives its client."""
    client = connect(server)
    client.start()
    meanwhile(client, lambda: client.send(9, struct.pack("=QII", 8, 0, 4)))
    client.send_frames(FRAMES[:1])
    client.socket.close()
    assert Client(server.path).read(7, 0, 4) == bytes.fromhex("86800e10")
