"""A device that lies to the driver: descriptors that cannot be true are dropped and counted, and no buffer is lost."""

import random
import struct

import pytest
from cards import DD, RX_EOP, RXE, RecordingSink, packet

from e1000 import regs
from e1000.bus import Bus, HostMemory
from e1000.driver import probe
from fastring.burst import Burst
from fastring.clock import VirtualClock
from softnet.stack import Stack

MAC = bytes.fromhex("525400123456")
COUNT = 80


class LyingCard(Bus):
    """Registers that store, and nothing behind them: the test plays the device, by writing descriptors."""

    def __init__(self, memory):
        super().__init__(memory=memory)
        self.registers = {}
        self.icr = 0
        self.eeprom = [*struct.unpack("<3H", MAC), *[0] * 61]
        self.eeprom[63] = 0xBABA - sum(self.eeprom) & 0xFFFF

    def read(self, offset):
        if offset == regs.ICR:
            causes, self.icr = self.icr, 0
            self.irq.lower_irq()
            return causes
        if offset == regs.EERD:
            return regs.EERD_DONE | self.eeprom[self.registers[offset] >> regs.EERD_ADDR_SHIFT] << regs.EERD_DATA_SHIFT
        if offset == regs.MDIC:
            return regs.MDIC_READY
        return self.registers.get(offset, 0)

    def write(self, offset, value):
        self.registers[offset] = value & ~regs.CTRL_RST if offset == regs.CTRL else value

    def raise_causes(self, causes=regs.ICR_RXT0):
        self.icr |= causes
        self.irq.raise_irq()


class Victim:
    def __init__(self, undo):
        self.memory = undo.enter_context(HostMemory(size=1 << 22))
        self.card = LyingCard(self.memory)
        self.stack = Stack(clock=VirtualClock())
        self.device = probe(self.card, self.stack, tx_descriptors=COUNT, rx_descriptors=COUNT)
        self.sink = self.device.sink = RecordingSink()
        self.device.register()
        self.device.open()
        self.ops = self.device.netdev_ops
        self.rx_base, self.tx_base = self.ops.rx.iova, self.ops.tx.iova
        self.next = 0
        undo.callback(self.check)

    def address(self, slot):
        return struct.unpack("<Q", self.memory.addresses.read(self.rx_base + 16 * slot, 8))[0]

    def write(self, length, status, errors=0, *, content=None):
        """Fill in the next receive descriptor."""
        slot = self.next
        if content is not None:
            self.memory.addresses.write(self.address(slot), content)
        self.memory.addresses.write(self.rx_base + 16 * slot + 8, struct.pack("<HHBBH", length, 0, status, errors, 0))
        self.next = (slot + 1) % COUNT

    def poll(self):
        self.card.raise_causes()
        self.stack.run()

    def receives(self):
        """Whether an honest packet still gets through."""
        before = len(self.sink.packets)
        self.write(100, DD | RX_EOP, content=packet(100))
        self.poll()
        return self.sink.packets[before:] == [packet(100)]

    def check(self):
        pool = self.ops.rx.pool
        assert len(pool.outstanding) == COUNT - 1       # what the ring holds; the rest is back
        self.device.stop()
        assert pool.available == 0                      # closed, which it refuses while a buffer is out
        assert (pool.double_frees, pool.foreign_frees) == (0, 0)
        assert self.memory.arena.allocated == 0


@pytest.fixture
def victim(undo):
    return Victim(undo)


# --- receive ---


@pytest.mark.parametrize("length", [0, 2049, 4096, 0xFFFF])
def test_a_length_that_cannot_be_is_an_error(victim, length):
    victim.write(length, DD | RX_EOP)
    victim.poll()
    assert victim.sink.packets == []
    assert victim.device.stats64.rx_errors == 1
    assert victim.receives()


@pytest.mark.parametrize("errors", [1 << bit for bit in range(8)])
def test_a_packet_with_an_error_bit_is_dropped_and_counted(victim, errors):
    victim.write(100, DD | RX_EOP, errors)
    victim.poll()
    assert victim.sink.packets == []
    assert victim.device.stats64.rx_errors == 1
    assert victim.receives()


@pytest.mark.parametrize("bad", range(4))
def test_one_impossible_length_spoils_its_chain_alone(victim, bad):
    for i in range(4):
        victim.write(0 if i == bad else 2048, DD | (RX_EOP if i == 3 else 0))
    victim.poll()
    assert victim.sink.packets == []
    assert victim.device.stats64.rx_errors == 1
    assert victim.receives()


def test_a_chain_is_put_together(victim):
    parts = [bytes([i]) * 2048 for i in range(3)] + [b"end"]
    for part in parts:
        victim.write(len(part), DD | (RX_EOP if part == b"end" else 0), content=part)
    victim.poll()
    assert victim.sink.packets == [b"".join(parts)]


def test_a_whole_ring_without_an_end_is_one_error_and_the_ring_goes_on(victim):
    for _ in range(COUNT - 1):
        victim.write(2048, DD)
    victim.poll()
    assert victim.sink.packets == []
    assert victim.device.stats64.rx_errors == 1
    assert victim.receives()


def test_a_chain_whose_end_is_not_written_yet_waits(victim):
    victim.write(2048, DD, content=bytes(2048))
    victim.write(2048, DD, content=bytes(2048))
    victim.poll()
    assert victim.sink.packets == []
    assert victim.device.stats64.rx_errors == 0
    victim.write(5, DD | RX_EOP, content=b"hello")
    victim.poll()
    assert victim.sink.packets == [bytes(4096) + b"hello"]


def test_a_descriptor_out_of_turn_waits_for_those_before_it(victim):
    victim.next = 1
    victim.write(101, DD | RX_EOP, content=packet(101))
    victim.poll()
    assert victim.sink.packets == []
    victim.next = 0
    victim.write(60, DD | RX_EOP, content=packet(60))
    victim.poll()
    assert victim.sink.packets == [packet(60), packet(101)]
    victim.next = 2


@pytest.mark.parametrize("address", [0, 1, 2**64 - 1, 1 << 40])
def test_an_address_the_device_wrote_is_not_believed(victim, address):
    content = packet(100, seed=3)
    victim.write(100, DD | RX_EOP, content=content)
    victim.memory.addresses.write(victim.rx_base, struct.pack("<Q", address))
    victim.poll()
    assert victim.sink.packets == [content]


def test_a_descriptor_the_driver_has_not_given_is_not_taken(victim):
    slot = COUNT - 1                                    # the one that always stays free
    victim.next = slot
    victim.write(100, DD | RX_EOP)
    victim.poll()
    assert victim.sink.packets == []
    victim.next = 0


def test_the_descriptor_the_driver_has_not_given_does_not_end_a_chain(victim):
    victim.next = COUNT - 1
    victim.write(1, DD | RX_EOP)
    for _ in range(COUNT - 1):
        victim.write(2048, DD)
    victim.poll()
    assert victim.sink.packets == []
    assert victim.device.stats64.rx_errors == 1


@pytest.mark.parametrize("seed", range(20))
def test_random_descriptors_lose_packets_but_never_a_buffer(victim, seed):
    rng = random.Random(seed)
    for _ in range(60):
        for _ in range(rng.randint(1, COUNT - 1)):
            status = rng.choice([0, DD, DD | RX_EOP, rng.getrandbits(8)])
            victim.write(rng.choice([0, 1, 60, 2048, 2049, rng.getrandbits(16)]), status, rng.choice([0, 0, 0, RXE, rng.getrandbits(8)]))
        victim.poll()
        victim.next = victim.card.registers[regs.RDT] + 1 + rng.randint(0, 3)
        victim.next %= COUNT
    assert all(0 < len(p) <= 2048 * COUNT for p in victim.sink.packets)
    stats = victim.device.stats64
    assert stats.rx_packets == len(victim.sink.packets)
    assert stats.rx_bytes == sum(map(len, victim.sink.packets))


# --- transmit ---


def test_done_on_descriptors_nobody_sent_completes_nothing(victim):
    for slot in range(COUNT):
        victim.memory.addresses.write(victim.tx_base + 16 * slot + 12, b"\xff")
    victim.poll()
    stats = victim.device.stats64
    assert (stats.tx_packets, stats.tx_bytes) == (0, 0)


def test_done_on_every_descriptor_completes_only_what_was_sent(victim):
    victim.device.xmit(Burst.from_packets([packet(60)] * 5))
    for slot in range(COUNT):
        victim.memory.addresses.write(victim.tx_base + 16 * slot + 12, b"\x01")
    victim.poll()
    assert victim.device.stats64.tx_packets == 5
    assert victim.device.txq.bql_excess == 0
    assert victim.device.txq.inflight == 0


def test_packets_that_are_never_done_are_given_up_at_stop(victim):
    victim.device.xmit(Burst.from_packets([packet(60)] * 5))
    victim.device.stop()
    assert victim.device.stats64.tx_errors == 5
    victim.device.open()


def test_a_card_that_never_completes_is_a_timeout_and_not_a_hang(victim):
    sender = victim.device.transmitter()
    with pytest.raises(TimeoutError, match="no progress"):
        sender.send(Burst.from_packets([packet(60)] * 200), patience=0.05)
    assert sender.packets < COUNT
    victim.device.stop()
    assert victim.device.stats64.tx_errors == sender.packets
    victim.device.open()


# --- interrupts ---


def test_an_interrupt_without_a_cause_is_spurious_and_polls_nothing(victim):
    polls = victim.ops.napi.polls
    victim.card.raise_causes(0)
    victim.stack.run()
    assert (victim.ops.napi.spurious, victim.ops.napi.interrupts, victim.ops.napi.polls) == (1, 0, polls)


def test_every_cause_at_once_is_survived(victim):
    for _ in range(50):
        victim.card.raise_causes(0xFFFFFFFF)
        victim.stack.run()
    assert victim.ops.napi.interrupts == 50
    assert victim.receives()
