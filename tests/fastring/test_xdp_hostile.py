"""XdpWire against rings that no kernel would write: what it shares with one is checked, and nothing crashes or goes on for ever."""

import errno
import mmap
import socket
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interface_ends import FRAMES, listening

from fastring.burst import Burst
from fastring.xdp import XdpWire

AF_XDP, SOL_XDP, XDP_MMAP_OFFSETS = 44, 283, 1
PAGES = {"rx": 0, "tx": 0x80000000, "fill": 0x100000000, "completion": 0x180000000}
CHUNK, ENTRIES = 4096, 2048
words = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([ENTRIES - 1, ENTRIES, ENTRIES + 1, 2 * ENTRIES, 1 << 31, -1 << 31]),
    st.integers(-1 << 31, (1 << 31) - 1),
)
addresses = st.one_of(
    st.integers(0, 2 * ENTRIES).map(lambda chunk: chunk * CHUNK),
    st.integers(0, 2 * ENTRIES * CHUNK),
    st.integers(0, (1 << 64) - 1),
)
lengths = st.one_of(st.integers(0, 2 * CHUNK), st.integers(0, (1 << 32) - 1))
descriptors = st.lists(st.tuples(addresses, lengths, st.integers(0, (1 << 32) - 1) | st.integers(0, 1)), max_size=80)


class Shared:
    """The rings of a wire, mapped a second time: the kernel's side of them."""

    def __init__(self, wire):
        again = socket.socket(AF_XDP, socket.SOCK_RAW, 0, fileno=wire.fileno())
        offsets = struct.unpack("16Q", again.getsockopt(SOL_XDP, XDP_MMAP_OFFSETS, 128))
        again.detach()
        self.rings = {}
        for number, (name, page) in enumerate(PAGES.items()):
            producer, consumer, entries, _flags = offsets[4 * number : 4 * number + 4]
            self.size = 16 if name in ("rx", "tx") else 8
            memory = mmap.mmap(wire.fileno(), entries + ENTRIES * self.size, offset=page)
            self.rings[name] = (memory, producer, consumer, entries, self.size)

    def move(self, name, which, by):
        """Add to an index, which runs free."""
        memory, producer, consumer, *_ = self.rings[name]
        at = producer if which == "producer" else consumer
        memory[at : at + 4] = struct.pack("=I", (struct.unpack("=I", memory[at : at + 4])[0] + by) % (1 << 32))

    def put(self, name, entries):
        """Write entries from the producer's index on."""
        memory, producer, _, first, size = self.rings[name]
        start = struct.unpack("=I", memory[producer : producer + 4])[0]
        for i, (address, length, options) in enumerate(entries):
            at = first + (start + i) % ENTRIES * size
            memory[at : at + size] = struct.pack("=QII", address, length, options)[:size]

    def close(self):
        for memory, *_ in self.rings.values():
            memory.close()


@pytest.fixture
def near(ends):
    with ends.near.inside():
        yield ends.near


def used(port):
    """Send and poll a few times, until it fails; what that was."""
    try:
        for _ in range(3):
            port.poll()
            port.send(Burst.from_packets(FRAMES[:40]), patience=0.01)
            port.poll()
    except OSError as error:            # TimeoutError is one
        return error
    return None


moves = st.tuples(st.sampled_from(sorted(PAGES)), st.sampled_from(["producer", "consumer"]), words, descriptors)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(moves, min_size=1, max_size=6))
def test_rings_of_any_content_are_no_crash(near, changes):
    with listening(XdpWire("near")) as port:
        shared = Shared(port.wire)
        try:
            for ring, which, by, entries in changes:
                shared.put(ring, entries)
                shared.move(ring, which, by)
                used(port)
        finally:
            shared.close()


@pytest.mark.parametrize(("ring", "which", "sign"), [("rx", "producer", 1), ("completion", "producer", 1), ("tx", "consumer", -1)])
@pytest.mark.parametrize("by", [ENTRIES + 1, 1 << 31, -5])
def test_an_index_that_cannot_be_is_a_protocol_error(near, ring, which, sign, by):
    with listening(XdpWire("near")) as port:
        shared = Shared(port.wire)
        shared.move(ring, which, sign * by)
        shared.close()
        error = used(port)
        assert error.errno == errno.EPROTO
        assert "near" in str(error)


def test_an_index_that_cannot_be_does_not_hold_up_the_end(near):
    """Of the TX ring: all of what it says is left would be gone through, a system call for each."""
    wire = XdpWire("near")
    with listening(wire):
        shared = Shared(wire)
        shared.move("tx", "consumer", 5)
        shared.close()
    assert wire.drops["unfinished"] <= ENTRIES


def test_a_chunk_that_is_not_the_kernels_is_a_protocol_error(near):
    for address, length in ((ENTRIES * CHUNK, 60), (7 * CHUNK, CHUNK + 1), (7 * CHUNK + 4095, 2), ((1 << 64) - 1, 60), (0, (1 << 32) - 1)):
        with listening(XdpWire("near")) as port:
            shared = Shared(port.wire)
            shared.put("rx", [(address, length, 0)])
            shared.move("rx", "producer", 1)
            shared.close()
            assert used(port).errno == errno.EPROTO
            assert port.sink.packets == []
