"""A served card that is stopped, read out, and goes on elsewhere; and what is no card's state is refused whole."""

import errno
import random
import struct

import pytest
from cards import BareCard, RecordingWire
from dma_clients import BASE, SIZE, TX_DATA, DmaClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from served_cards import Servers
from test_vfio_user_dma_messages import FRAMES, connect
from test_vfio_user_server import run_server, server  # noqa: F401 - a fixture

from e1000 import regs
from e1000.device import E1000Device
from e1000.vfio_user.control import Control
from e1000.vfio_user.guest_memory import GuestMemory
from e1000.vfio_user.migration import DEVICE_FEATURE, ERROR, MIG_DATA_READ, MIG_DATA_WRITE, RESUMING, RUNNING, STOP, STOP_COPY
from e1000.vfio_user.served import ServedCard
from fastring.burst import Burst
from fastring.clock import VirtualClock
from fastring.wire import pair

GET, SET, PROBE = 1 << 16, 1 << 17, 1 << 18
MIGRATION, DEVICE_STATE, LOGGING_START = 1, 2, 6
EINVAL, ENOTTY = errno.EINVAL, errno.ENOTTY


def feature(client, flags, data=b"", argsz=16):
    return client.call(DEVICE_FEATURE, struct.pack("=2I", argsz, flags) + data)


def go(client, state):
    return feature(client, SET | DEVICE_STATE, struct.pack("=2I", state, 0))[0]


def state_of(client):
    error, answer = feature(client, GET | DEVICE_STATE)
    assert (error, answer[:8]) == (0, struct.pack("=2I", 16, GET | DEVICE_STATE))
    return struct.unpack("=2I", answer[8:])[0]


def read_out(client, at_once=50_000):
    stream = b""
    while True:
        error, answer = client.call(MIG_DATA_READ, struct.pack("=2I", 8 + at_once, at_once))
        assert error == 0
        argsz, size = struct.unpack_from("=2I", answer)
        assert argsz == len(answer) == 8 + size
        stream += answer[8:]
        if size < at_once:
            return stream


def write_in(client, stream, at_once=70_000):
    for start in range(0, len(stream), at_once):
        data = stream[start : start + at_once]
        assert client.call(MIG_DATA_WRITE, struct.pack("=2I", 8 + len(data), len(data)) + data) == (0, b"")


class Direct:
    """A served card asked without a socket."""

    def __init__(self, **options):
        self.device = E1000Device(**options)
        self.served = ServedCard(self.device)
        self.control = Control(self.served, GuestMemory(self.served.addresses, self.served.messages))

    def call(self, command, payload=b""):
        try:
            return 0, self.control(command, payload, [])[0]
        except OSError as error:
            return error.errno, b""


# --- features ---


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (PROBE | MIGRATION, 0),
        (PROBE | GET | MIGRATION, 0),
        (PROBE | SET | MIGRATION, EINVAL),
        (PROBE | GET | SET | DEVICE_STATE, 0),
        (GET | MIGRATION, 0),
        (SET | MIGRATION, EINVAL),
        (GET | SET | DEVICE_STATE, EINVAL),
        (DEVICE_STATE, EINVAL),
        (1 << 19 | GET | DEVICE_STATE, EINVAL),
        (PROBE | LOGGING_START, ENOTTY),
        (SET | LOGGING_START, ENOTTY),
        (GET | 0xFFFF, ENOTTY),
        (SET | DEVICE_STATE, EINVAL),  # to which?
    ],
)
def test_features(flags, error):
    card = Direct()
    told = feature(card, flags)
    assert told[0] == error
    if flags & PROBE and not error:
        assert told[1] == struct.pack("=2I", 16, flags)
    elif not error:
        assert told[1] == struct.pack("=2IQ", 16, flags, 1)


@pytest.mark.parametrize("payload", [b"", bytes(7), struct.pack("=2I", 7, GET | MIGRATION), struct.pack("=2I", 15, GET | MIGRATION)])
def test_requests_without_room(payload):
    assert Direct().call(DEVICE_FEATURE, payload)[0] == EINVAL


# --- states ---


@pytest.mark.parametrize("first", [RUNNING, STOP, STOP_COPY, RESUMING])
@pytest.mark.parametrize("then", range(9))
def test_from_each_state_to_each(first, then):
    """Without PRE_COPY and P2P; and RESUMING is left with a card's state, which nobody wrote here."""
    card = Direct()
    assert go(card, first) == 0
    possible = then in (RUNNING, STOP, STOP_COPY, RESUMING) and (first != RESUMING or then == RESUMING)
    assert go(card, then) == (0 if possible else EINVAL)
    assert state_of(card) == (then if possible else first)
    assert card.served.stopped == (state_of(card) != RUNNING)


def test_error_is_no_state_to_go_to():
    assert go(Direct(), ERROR) == EINVAL


@pytest.mark.parametrize("state", [STOP, STOP_COPY, RESUMING])
def test_a_reset_lets_it_run(state):
    card = Direct()
    assert go(card, state) == 0
    assert card.call(13)[0] == 0
    assert state_of(card) == RUNNING


def test_the_next_client_finds_it_running(server):  # noqa: F811
    client = connect(server)
    assert go(client, STOP_COPY) == 0
    client.socket.close()
    assert state_of(DmaClient(server.path)) == RUNNING


@pytest.mark.parametrize("state", [RUNNING, STOP, RESUMING])
def test_data_is_read_in_stop_copy_alone(state):
    card = Direct()
    assert go(card, state) == 0
    assert card.call(MIG_DATA_READ, struct.pack("=2I", 16, 8))[0] == EINVAL


@pytest.mark.parametrize("state", [RUNNING, STOP, STOP_COPY])
def test_data_is_written_in_resuming_alone(state):
    card = Direct()
    assert go(card, state) == 0
    assert card.call(MIG_DATA_WRITE, struct.pack("=2I", 16, 8) + bytes(8))[0] == EINVAL


@pytest.mark.parametrize(
    ("command", "payload"),
    [
        (MIG_DATA_READ, b""),
        (MIG_DATA_READ, struct.pack("=2I", 8, 1)),
        (MIG_DATA_READ, struct.pack("=2I", (1 << 32) - 1, (1 << 32) - 9)),
        (MIG_DATA_WRITE, b""),
        (MIG_DATA_WRITE, struct.pack("=2I", 16, 9) + bytes(8)),
        (MIG_DATA_WRITE, struct.pack("=2I", 16, (1 << 32) - 1) + bytes(8)),
    ],
)
def test_data_messages_that_make_no_sense(command, payload):
    card = Direct()
    assert go(card, STOP_COPY if command == MIG_DATA_READ else RESUMING) == 0
    assert card.call(command, payload)[0] == EINVAL


def test_there_is_an_end_to_what_is_kept_of_data():
    card = Direct()
    assert go(card, RESUMING) == 0
    data = struct.pack("=2I", 0, 1 << 19) + bytes(1 << 19)
    assert [card.call(MIG_DATA_WRITE, data)[0] for _ in range(4)] == [0, 0, EINVAL, EINVAL]


# --- moving ---


def move(source, target):
    assert go(source, STOP_COPY) == 0
    stream = read_out(source)
    assert go(target, RESUMING) == 0
    write_in(target, stream)
    assert go(target, STOP) == 0
    return stream


@pytest.mark.parametrize("elsewhere", [False, True])
def test_traffic_goes_on_at_another_server(undo, tmp_path, server, elsewhere):  # noqa: F811
    """Half of the frames leave before; the other half lies in the ring as the card is read out."""
    if elsewhere:
        path = Servers(undo, tmp_path).paths[0]
    else:
        (tmp_path / "other").mkdir()
        path = undo.enter_context(run_server(tmp_path / "other")).path
    source = connect(server)
    source.start()
    frames = [random.Random(n).randbytes(60 + 20 * n) for n in range(40)]
    source.send_frames(frames[:20])
    assert source.received(20) == frames[:20]
    assert go(source, STOP) == 0
    done = len(source.dma)
    for slot, frame in enumerate(frames):
        source.place(slot, frame, TX_DATA + 2048 * slot)
    source.reg(regs.TDT, len(frames))
    rings = regs.TDBAL, regs.TDH, regs.TDT, regs.RDBAL, regs.RDH, regs.RDT
    registers = *rings, regs.CTRL, regs.RCTL, regs.TCTL, regs.RAL0, regs.RAH0, regs.IMS
    before = [source.reg(register) for register in registers]
    assert before[1:3] == [20, 40]
    target = DmaClient(path)
    move(source, target)
    assert len(source.dma) == done
    assert [target.reg(register) for register in registers] == before
    target.memory = source.memory
    assert target.map(BASE, SIZE) == 0
    assert target.dma == []
    assert go(target, RUNNING) == 0
    while target.reg(regs.TDH) != len(frames):
        pass
    assert target.received(40) == frames
    assert (target.reg(regs.TPT), target.reg(regs.TPR)) == (40, 40)
    assert len(source.dma) == done


def test_time_stands_still():
    clock = VirtualClock()
    card = Direct(wire=RecordingWire(), clock=clock)
    device = card.device
    device.config_write(4, 7, 2)
    device.write(regs.CTRL, 0x40)
    assert not device.read(regs.STATUS) & 2
    assert go(card, STOP) == 0
    clock.advance(60_000_000_000)
    assert not device.read(regs.STATUS) & 2
    assert go(card, STOP_COPY) == 0
    stream = read_out(card)
    assert go(card, RUNNING) == 0
    assert not device.read(regs.STATUS) & 2
    clock.advance(60_000_000_000)
    assert device.read(regs.STATUS) & 2
    assert go(card, RESUMING) == 0
    write_in(card, stream)
    assert go(card, STOP) == 0
    clock.advance(60_000_000_000)
    assert not device.read(regs.STATUS) & 2
    assert go(card, RUNNING) == 0
    clock.advance(60_000_000_000)
    assert device.read(regs.STATUS) & 2


class Receiver(Direct):
    """With a receive ring in memory of its own."""

    def __init__(self, wire):
        super().__init__(wire=wire)
        self.memory = bytearray(1 << 17)
        for slot in range(64):
            struct.pack_into("=2Q", self.memory, 16 * slot, BASE + 4096 + 1024 * slot, 0)
        self.served.addresses.map(self.memory, iova=BASE)
        self.device.config_write(4, 7, 2)
        settings = {regs.CTRL: 0x40, regs.RDBAL: BASE, regs.RDLEN: 1024, regs.RDT: 63, regs.RCTL: 1 << 1 | 1 << 3 | 1 << 4 | 1 << 26}
        for register, value in settings.items():
            self.device.write(register, value)

    def received(self):
        return sum(self.memory[16 * slot + 12] & 1 for slot in range(64))


def test_frames_wait_on_a_wire_that_can(undo):
    near, far = pair(lossless=True)
    card, sender = Receiver(near), BareCard(undo, wire=far)
    sender.tx_ring()
    assert go(card, STOP) == 0
    slots = sender.post_packets(*FRAMES)
    assert not any(sender.tx_done(slot) for slot in slots)
    assert card.received() == 0
    assert go(card, RUNNING) == 0
    card.served.run_owed()
    assert all(sender.tx_done(slot) for slot in slots)
    assert card.received() == len(FRAMES)


def test_frames_of_another_wire_are_counted_as_dropped():
    wire = RecordingWire()
    card = Receiver(wire)
    assert go(card, STOP) == 0
    wire.inject(Burst.from_packets(FRAMES))
    assert (card.received(), card.device.drops["rx_disabled"]) == (0, len(FRAMES))
    assert go(card, RUNNING) == 0
    wire.inject(Burst.from_packets(FRAMES))
    assert card.received() == len(FRAMES)


# --- what is no card's state ---


@pytest.fixture(scope="module")
def stream():
    card = Direct(mac="52:54:00:77:77:77")
    assert go(card, STOP_COPY) == 0
    return read_out(card)


def offer(stream):
    """(errno, whether the card is as it was) of a stream that a new card gets."""
    card = Direct()
    assert go(card, RESUMING) == 0
    before = card.served.snapshot()
    write_in(card, stream)
    error = go(card, STOP)
    if error:
        assert state_of(card) == RESUMING
    same = card.served.snapshot() == before
    assert go(card, RUNNING) == error
    card.served.close()
    return error, same


def test_the_whole_of_it_is_taken(stream):
    assert offer(stream) == (0, False)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_part_of_it_is(stream, data):
    assert offer(stream[: data.draw(st.integers(0, len(stream) - 1))]) == (EINVAL, True)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bit=st.one_of(st.integers(0, 8 * 80), st.integers(0, 1 << 20)))
@example(bit=0)
def test_a_bit_that_was_flipped_is_noticed_or_does_no_harm(stream, bit):
    """What the checksum does not cover says whether there was a cable."""
    changed = bytearray(stream)
    changed[bit // 8 % len(stream)] ^= 1 << bit % 8
    error, same = offer(bytes(changed))
    assert (error, same) in ((EINVAL, True), (0, False))
    if not error:
        assert bit // 8 % len(stream) in range(16 + 24, 16 + 28)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=100))
def test_nothing_else_is(stream):
    assert offer(stream) == (EINVAL, True)


def test_more_than_it_is_not(stream):
    assert offer(stream + b"\0") == (EINVAL, True)
