"""Doorbells without messages: the rings' registers in pages that a client maps."""

import errno
import gc
import json
import mmap
import os
import random
import socket
import struct
import time

import pytest
from qemu_guest import frames, raises
from served_cards import SECONDS, TwoRemoteCards, serving
from test_vfio_user_client import READ, REGION, SIZES, VERSION, liar  # noqa: F401
from test_vfio_user_server import Client

from e1000 import regs
from e1000.device import E1000Device
from e1000.vfio_user import VfioUserServer
from fastring.burst import Burst
from fastring.wire import NullWire

FAR = bytes.fromhex("525400000002")
START, SIZE = 0x2000, 0x2000
SPARSE = struct.pack("=2H3I2Q", 1, 1, 0, 1, 0, START, SIZE)
CONFIG, BAR0 = 7, 0


@pytest.fixture
def cards(undo, tmp_path):
    return TwoRemoteCards(undo, tmp_path, map_doorbells=True)


def region_info(client, argsz):
    """(flags, argsz and capabilities that the reply has, descriptor or None)."""
    client.sent += 1
    request = struct.pack("=4I2Q", argsz, 0, 0, 0, 0, 0)
    client.socket.sendall(struct.pack("=HHIII", client.sent, 5, 16 + len(request), 0, 0) + request)
    reply, fds, _, _ = socket.recv_fds(client.socket, 4096, 4)
    assert struct.unpack_from("=HHIII", reply) == (client.sent, 5, len(reply), 1, 0)
    needed, flags, index, _, size, place = struct.unpack_from("=4I2Q", reply, 16)
    assert (index, size, place) == (0, 0x20000, 0)
    return flags, needed, reply[48:], fds


class Mapping:
    """A client that knows the protocol and no word of ours, as QEMU; with the pages."""

    def __init__(self, path):
        self.client = Client(path)
        self.client.write(CONFIG, 4, b"\7\0")
        _, _, _, (fd,) = region_info(self.client, 4096)
        self.pages = mmap.mmap(fd, SIZE, offset=START)
        self.fd = fd

    def store(self, offset, value):
        self.pages[offset - START : offset - START + 4] = struct.pack("=I", value)

    def load(self, offset):
        return struct.unpack("=I", self.pages[offset - START : offset - START + 4])[0]

    def close(self):
        self.client.socket.close()
        self.pages.close()
        os.close(self.fd)


@pytest.fixture
def server(undo, tmp_path):
    """A card that is served, with pages to map."""
    card = undo.enter_context(E1000Device(wire=NullWire()))
    server = undo.enter_context(VfioUserServer(card, tmp_path / "card", map_doorbells=True))
    undo.enter_context(serving(server))
    return server


@pytest.fixture
def mapping(undo, server):
    mapping = Mapping(server.path)
    undo.callback(mapping.close)
    return mapping


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


# --- our client ---


def test_packets_go_without_a_message_for_each(cards):
    packets = frames(2000, seed=1, to=FAR)
    before = cards.buses[0].messages
    for start in range(0, 2000, 10):
        assert cards.near.xmit(Burst.from_packets(packets[start : start + 10])) == 10
        cards.stack.run()
    cards.until(lambda: len(cards.sinks[1].packets) == 2000)
    assert cards.sinks[1].packets == packets
    after = cards.buses[0].messages
    assert all(bus.maps_doorbells for bus in cards.buses)
    assert after["stores"] - before["stores"] >= 200


def test_a_server_that_went_to_sleep_is_woken_by_a_store(cards):
    """A wake-up that is lost leaves the packet in the ring, for ever: nothing else sends a message."""
    source = random.Random(4)
    for number, packet in enumerate(frames(300, seed=2, to=FAR), start=1):
        time.sleep(source.choice((0, 0.00004, 0.00006, 0.001)))  # it looks for 50 µs before it sleeps
        assert cards.near.xmit(Burst.from_packets([packet])) == 1
        cards.until(lambda: len(cards.sinks[1].packets) == number)  # noqa: B023 - called before it changes


def test_a_store_overtakes_no_write_that_counts(cards):
    bus = cards.buses[0]
    bus.read(regs.STATUS)
    stores = bus.messages["stores"]
    tail = bus.read(regs.RDT)
    for offset in (regs.IMC, regs.IMS):
        bus.write(offset, 0)
    bus.write(regs.RDT, tail)
    assert bus.messages["stores"] == stores + 1  # they hold nothing up
    for write in (lambda: bus.write(regs.VET, 0x8100), lambda: bus.config_write(0xC, 0, 1), lambda: bus.io_write(0, regs.VET)):
        write()
        bus.write(regs.RDT, tail)
        assert bus.messages["stores"] == stores + 1  # a message, in its turn
        bus.read(regs.STATUS)
        bus.write(regs.RDT, tail)
        stores += 1
        assert bus.messages["stores"] == stores + 1


def test_cards_that_are_reset_amid_traffic_lose_no_ring(cards):
    for turn in range(10):
        for device in cards.devices:
            device.mtu = 1500 + turn % 2
        cards.link_up()
        before = len(cards.sinks[1].packets)
        packets = frames(50, seed=turn, to=FAR)
        assert cards.near.xmit(Burst.from_packets(packets)) == 50
        cards.until(lambda: len(cards.sinks[1].packets) == before + 50)  # noqa: B023 - called before it changes
        assert cards.sinks[1].packets[before:] == packets


# --- another client ---


def test_the_pages_are_offered_as_vfio_has_it(server, undo):
    client = Client(server.path)
    flags, needed, capabilities, fds = region_info(client, 32)
    assert (flags, needed, capabilities, fds) == (0xF, 32 + len(SPARSE), b"", [])
    flags, needed, capabilities, fds = region_info(client, needed)
    assert (flags, needed, capabilities, len(fds)) == (0xF, 32 + len(SPARSE), SPARSE, 1)
    undo.callback(os.close, fds[0])
    assert os.fstat(fds[0]).st_size == 0x20000
    with raises(errno.EPERM, "not permitted"):
        os.ftruncate(fds[0], 0)


def test_words_of_ours_are_for_who_asked(tmp_path, server):
    for asks in (False, True):
        client = Client(server.path, None)
        offered = json.dumps({"capabilities": {"fastring_doorbells": True} if asks else {}}).encode()
        _, answer = client.call(1, struct.pack("=2H", 0, 0) + offered + b"\0")
        words = json.loads(answer[4:-1])["capabilities"].get("fastring_doorbells")
        assert words == ({"interrupts": 0x3FF8, "wakeup": 0x3FFC} if asks else None)
        client.socket.close()


def test_a_store_is_a_register_write_though_the_server_sleeps(server, mapping):
    for number in range(1, 30):
        time.sleep(0.001 * (number % 4))
        mapping.store(regs.RDBAL, number * 0x1000)
        mapping.store(regs.RDT, number)
        until(lambda: server.device.peek(regs.RDT) == number)  # noqa: B023 - called before it changes
        assert server.device.peek(regs.RDBAL) == number * 0x1000
    mapping.store(regs.TADV, 7)  # without a doorbell
    until(lambda: server.device.peek(regs.TADV) == 7)


def test_a_store_comes_before_the_message_after_it(mapping):
    for number in range(1, 200):
        mapping.store(regs.RADV, number)
        assert mapping.client.read(BAR0, regs.RADV, 4) == struct.pack("=I", number)


def test_a_register_is_shown_as_it_is(mapping):
    mapping.client.write(BAR0, regs.TDBAL, struct.pack("=I", 0x1230))
    assert mapping.load(regs.TDBAL) == 0x1230
    mapping.store(regs.TDBAL, 0xFFFFFFFF)  # its low four bits are none
    until(lambda: mapping.load(regs.TDBAL) == 0xFFFFFFF0)
    mapping.client.write(BAR0, regs.CTRL, struct.pack("=I", 1 << 26))
    assert mapping.load(regs.RDT) == 0
    mapping.store(regs.RDT, 5)
    assert mapping.client.read(BAR0, regs.RDT, 4) == struct.pack("=I", 5)
    assert mapping.client.call(13)[0] == 0  # DEVICE_RESET: memory space is off
    assert mapping.load(regs.RDT) == 0
    mapping.store(regs.RDT, 9)
    until(lambda: mapping.load(regs.RDT) == 0)  # nobody took it


def test_whatever_is_stored_the_server_goes_on(server, mapping):
    source = random.Random(3)
    mapping.client.write(BAR0, regs.TCTL, struct.pack("=I", 2))
    mapping.client.write(BAR0, regs.RCTL, struct.pack("=I", 2))
    for _ in range(300):
        at = source.randrange(SIZE // 4) * 4
        mapping.pages[at : at + 4] = source.randbytes(4)
        if source.random() < 0.1:
            mapping.pages[:] = source.randbytes(SIZE)
        if source.random() < 0.3:
            assert len(mapping.client.read(BAR0, regs.STATUS, 4)) == 4
    assert mapping.client.read(BAR0, regs.TDT, 4) == struct.pack("=I", mapping.load(regs.TDT))
    assert server.connected


def test_the_next_client_has_pages_of_its_own(server, mapping):
    mapping.client.socket.close()
    until(lambda: not server.connected)
    after = Mapping(server.path)
    try:
        mapping.store(regs.RDT, 77)
        after.store(regs.RADV, 1)
        until(lambda: server.device.peek(regs.RADV) == 1)
        assert server.device.peek(regs.RDT) == after.load(regs.RDT) == 0
    finally:
        after.close()


def test_clients_leave_no_descriptor_and_no_mapping(server):
    def held():
        gc.collect()
        with open("/proc/self/maps") as maps:
            return len(os.listdir("/proc/self/fd")), sum("e1000-bar0" in line for line in maps)

    before = held()
    for _ in range(20):
        mapping = Mapping(server.path)
        mapping.store(regs.RDT, 3)
        mapping.close()
        until(lambda: not server.connected)
    assert held() == before


# --- a server that lies ---


def mappable(said, fd_size=0x20000, *, index=0, kind=None):
    """Answer for region info: flags 0xF, these capabilities, and a descriptor of so many bytes."""

    def say(command, payload):
        asked = struct.unpack_from("=4I", payload)[2]
        if asked != index:
            return struct.pack("=4I2Q", 32, 3, asked, 0, SIZES.get(asked, 0), 0)
        fd = os.memfd_create("lies") if kind is None else kind()
        if kind is None:
            os.ftruncate(fd, fd_size)
        say.fds.append(fd)
        return struct.pack("=4I2Q", 32 + len(said), 0xF, asked, 32, SIZES[asked], 0) + said, [fd]

    say.fds = []
    return say


def words(**named):
    return struct.pack("=2H", 0, 0) + json.dumps({"capabilities": {"fastring_doorbells": named}}).encode() + b"\0"


@pytest.mark.parametrize(
    "capabilities",
    [
        b"",
        SPARSE[:12],
        SPARSE[:-8],
        struct.pack("=2H3I", 7, 1, 32, 0, 0),  # a chain that goes in circles
        struct.pack("=2H3I2Q", 1, 1, 0, 0xFFFFFFFF, 0, 0x1000, 0x1000),
        struct.pack("=2H3I2Q", 1, 1, 0, 1, 0, START, 1 << 40),
        struct.pack("=2H3I2Q", 1, 1, 0, 1, 0, START + 2, SIZE),
    ],
)
def test_areas_that_are_none_are_not_mapped(liar, capabilities):  # noqa: F811
    bus, _ = liar({REGION: mappable(capabilities)})
    assert not bus.maps_doorbells
    bus.write(regs.RDT, 1)
    assert bus.messages["stores"] == 0


@pytest.mark.parametrize(
    ("kind", "number"), [(lambda: os.eventfd(0), errno.ENODEV), (lambda: os.open("/dev/null", os.O_RDONLY), errno.EACCES)]
)
def test_what_cannot_be_mapped_is_an_error(liar, kind, number):  # noqa: F811
    say = mappable(SPARSE, kind=kind)
    with raises(number, "cannot map"):
        liar({REGION: say})
    os.close(say.fds[0])


@pytest.mark.parametrize("named", [{"wakeup": "x"}, {"wakeup": -4, "interrupts": 0x3FFD}, {"wakeup": 0x100000, "interrupts": 0}, {}])
def test_words_that_lie_nowhere_are_not_heeded(liar, named):  # noqa: F811
    bus, _ = liar({REGION: mappable(SPARSE), VERSION: words(**named)})
    assert bus.maps_doorbells
    assert not bus.irq.handle_irq()


def test_pages_that_are_cut_short_lose_doorbells_and_nothing_else(liar):  # noqa: F811
    say = mappable(SPARSE)
    answers = {REGION: say, VERSION: words(interrupts=0x3FF8, wakeup=0x3FFC), READ: lambda command, payload: payload + bytes(4)}
    bus, _ = liar(answers)
    assert bus.read(regs.STATUS) == 0
    os.ftruncate(say.fds[0], 0)
    for value in range(10):
        bus.write(regs.RDT, value)
        assert not bus.irq.handle_irq()
    assert bus.messages["stores"] == 10
    os.close(say.fds[0])
