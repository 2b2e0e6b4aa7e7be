"""RX: buffers, filters, offloads (§3.2, §13.4.22)."""

import struct

from cards import BROADCAST, MAC, STATION, packet
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from script import scenario

from e1000 import regs


@scenario("rx")
def one_frame(s):
    s.start()
    s.rx_ring()
    s.receive(packet(100))
    s.received()


@scenario("rx")
def frames_of_all_lengths(s):
    s.start()
    s.rx_ring(32)
    for length in (60, 61, 64, 65, 127, 128, 255, 256, 511, 512, 1023, 1024, 1513, 1514):
        s.receive(packet(length, seed=length))
    s.received()


@scenario("rx")
def crc_stripped(s):
    s.start()
    s.rx_ring(rctl=regs.RCTL_SECRC | regs.RCTL_BAM)
    s.receive(packet(60), packet(1514))
    s.received()


@scenario("rx")
def broadcast_with_and_without_bam(s):
    s.start()
    s.rx_ring(rctl=regs.RCTL_BAM)
    s.receive(packet(60, to=BROADCAST))
    s.rctl(regs.RCTL_EN)
    s.receive(packet(61, to=BROADCAST))
    s.received()


def multicast(low, high=0):
    """A group address with these two bytes at its end, which the hash looks at."""
    return bytes([1, 0, 0x5E, 0, low, high])


def tagged(length, tag, *, ethertype=0x8100, **options):
    plain = packet(length, **options)
    return plain[:12] + struct.pack(">HH", ethertype, tag) + plain[12:]


@scenario("rx", size=(256, 512, 1024, 2048))
def buffers_and_chains(s, size):
    s.start()
    s.rx_ring(16, buffer=size, rctl=regs.RCTL_BAM | regs.RCTL_SECRC | {2048: 0, 1024: 1, 512: 2, 256: 3}[size] << regs.RCTL_BSIZE_SHIFT)
    for length in (60, 256, 257, 1024, 1514):
        s.receive(packet(length, seed=length))
        s.received()


@scenario("rx", size=(4096, 8192, 16384))
def large_buffers(s, size):
    s.start()
    code = {16384: 1, 8192: 2, 4096: 3}[size] << regs.RCTL_BSIZE_SHIFT
    s.rx_ring(8, buffer=size, rctl=regs.RCTL_SECRC | regs.RCTL_LPE | regs.RCTL_BSEX | code)
    for length in (60, 4096, 9000, 15000):
        s.receive(packet(length, seed=length))
    s.received()


@scenario("rx")
def long_frames_refused(s):
    s.start()
    s.rx_ring(rctl=regs.RCTL_SECRC)
    for length in (1514, 1515, 1518, 1519, 1523, 4000):
        s.receive(packet(length, seed=length))
    s.received()


@scenario("rx")
def long_frames_with_lpe(s):
    s.start()
    s.rx_ring(16, rctl=regs.RCTL_SECRC | regs.RCTL_LPE)
    for length in (1515, 1523, 4000, 9000):
        s.receive(packet(length, seed=length))
    s.received()


@scenario("rx")
def short_frames(s):
    s.start()
    s.rx_ring(rctl=regs.RCTL_SECRC)
    for length in (60, 59, 20):
        s.receive(packet(length, seed=length))
    s.received()


@scenario("rx")
def station_addresses(s):
    s.start()
    s.rx_ring(16, rctl=regs.RCTL_SECRC)
    others = [bytes([2, 0, 0, 0, 0, i]) for i in range(4)]
    for i, address in enumerate(others[:3]):
        s.write("RAL0", int.from_bytes(address[:4], "little"), index=i + 1)
        s.write("RAH0", int.from_bytes(address[4:], "little") | (regs.RAH_AV if i != 1 else 0), index=i + 1)
    for i, address in enumerate(others):
        s.receive(packet(60 + i, to=address))
    s.receive(packet(70))
    s.received()


@scenario("rx", position=(1, 7, 15))
def the_address_in_any_entry(s, position):
    s.start()
    s.write("RAH0", 0)
    s.write("RAL0", 0x44332202, index=position)
    s.write("RAH0", regs.RAH_AV | 0x6655, index=position)
    s.rx_ring(rctl=regs.RCTL_SECRC)
    s.receive(packet(60), packet(61, to=bytes.fromhex("022233445566")))
    s.received()


@scenario("rx", offset=(0, 1, 2, 3))
def multicast_hash(s, offset):
    s.start()
    s.rx_ring(16, rctl=regs.RCTL_SECRC | offset << regs.RCTL_MO_SHIFT)
    wanted = multicast(0x5A, 0xC3)
    hashed = (wanted[4] >> (4, 3, 2, 0)[offset] | wanted[5] << (4, 5, 6, 8)[offset]) & 0xFFF
    s.receive(packet(60, to=wanted))
    s.write("MTA", 1 << (hashed & 31), index=hashed >> 5)
    s.receive(packet(61, to=wanted), packet(62, to=multicast(0x5B, 0x3C)))
    s.received()


@scenario("rx")
def multicast_address_in_an_entry(s):
    s.start()
    address = multicast(7)
    s.write("RAL0", int.from_bytes(address[:4], "little"), index=2)
    s.write("RAH0", int.from_bytes(address[4:], "little") | regs.RAH_AV, index=2)
    s.rx_ring(rctl=regs.RCTL_SECRC)
    s.receive(packet(60, to=address), packet(61, to=multicast(8)))
    s.received()


@scenario("rx", mode=("none", "UPE", "MPE", "BAM", "UPE MPE", "UPE MPE BAM"))
def promiscuous(s, mode):
    s.start()
    bits = 0 if mode == "none" else sum(getattr(regs, f"RCTL_{name}") for name in mode.split())
    s.rx_ring(16, rctl=regs.RCTL_SECRC | bits)
    for i, address in enumerate((STATION, b"\x02\0\0\0\0\x09", multicast(9), BROADCAST)):
        s.receive(packet(60 + i, to=address))
    s.received()


@scenario("rx")
def multicast_hash_of_a_unicast_address(s):
    s.start()
    s.rx_ring(rctl=regs.RCTL_SECRC)
    for index in range(128):
        s.write("MTA", 0xFFFFFFFF, index=index)
    s.receive(packet(60, to=b"\x02\0\0\0\0\x09"))
    s.received()


@scenario("rx")
def vlan_stripped(s):
    s.start()
    s.change("CTRL", set=regs.CTRL_VME)
    s.write("VET", 0x8100)
    s.rx_ring(rctl=regs.RCTL_SECRC)
    s.receive(tagged(80, 0x6123), packet(90), tagged(60, 0xEFFF), tagged(100, 0x0001, ethertype=0x88A8))
    s.received()


@scenario("rx")
def vlan_kept(s):
    s.start()
    s.change("CTRL", clear=regs.CTRL_VME)
    s.write("VET", 0x8100)
    s.rx_ring(rctl=regs.RCTL_SECRC)
    s.receive(tagged(80, 0x6123), tagged(1514, 5))
    s.received()


@scenario("rx")
def vlan_filter(s):
    s.start()
    s.change("CTRL", set=regs.CTRL_VME)
    s.write("VET", 0x8100)
    s.write("VFTA", 1 << 3, index=9)                    # tag 0x123
    s.rx_ring(rctl=regs.RCTL_SECRC | regs.RCTL_VFE)
    s.receive(tagged(80, 0x6123), tagged(81, 0x0124), packet(82), tagged(83, 0x0123))
    s.received()


@scenario("rx")
def vlan_canonical_form(s):
    s.start()
    s.change("CTRL", set=regs.CTRL_VME)
    s.write("VET", 0x8100)
    s.write("VFTA", 1 << 3, index=9)
    s.rx_ring(rctl=regs.RCTL_SECRC | regs.RCTL_VFE | regs.RCTL_CFIEN)
    s.receive(tagged(83, 0x0123), tagged(84, 0x1123))
    s.received()


@scenario("rx")
def ring_wraps(s):
    s.start()
    s.rx_ring(8, rctl=regs.RCTL_SECRC)
    for i in range(20):
        s.receive(packet(60 + i, seed=i))
        s.give(1)
    s.received()


@scenario("rx")
def ring_full_to_the_last_descriptor(s):
    s.start()
    s.rx_ring(8, rctl=regs.RCTL_SECRC)
    for i in range(7):
        s.receive(packet(60 + i, seed=i))
    s.received()


@scenario("rx")
def no_descriptor(s):
    """RDH == RDT: nothing is written; what the card does with the frame is its FIFO's matter (§3.2.6)."""
    s.start()
    s.rx_ring(8, rctl=regs.RCTL_SECRC, give=0)
    s.receive(packet(60))
    s.received()
    s.read("ICR")


@scenario("rx")
def frames_wait_in_the_fifo(s):
    s.start()
    s.rx_ring(8, rctl=regs.RCTL_SECRC, give=2)
    for i in range(4):
        s.receive(packet(60 + i, seed=i))
    s.received()
    s.give(3)
    s.wait(1)
    s.received()


@scenario("rx")
def receiver_off(s):
    s.start()
    s.rx_ring(8, rctl=regs.RCTL_SECRC)
    s.receive(packet(60))
    s.rctl(regs.RCTL_SECRC)
    s.receive(packet(61))
    s.received()
    s.rctl(regs.RCTL_SECRC | regs.RCTL_EN)
    s.read("RDH", label="RDH when on again")


@scenario("rx")
def the_head_starts_anywhere(s):
    s.start()
    s.rx_ring(8, rctl=regs.RCTL_SECRC, give=0)
    s.write("RDT", 5)
    s.write("RDH", 5)
    s.rx.tail = 5
    s.give(5)
    for i in range(5):
        s.receive(packet(60 + i, seed=i))
    s.received()


@scenario("rx")
def null_buffers_are_skipped(s):
    """A descriptor whose buffer is at address 0 is done with and takes nothing (§3.2.3)."""
    s.start()
    s.rx_ring(8, rctl=regs.RCTL_SECRC, give=0)
    s.store(s.rx.base + 16, bytes(8))
    s.give(5)
    for i in range(2):
        s.receive(packet(60 + i, seed=i))
    s.read("RDH")
    s.record("descriptors", s.load(s.rx.base, 64))


@scenario("rx", kind=("tcp", "udp", "bad tcp", "bad ip"))
def checksum_offload(s, kind):
    s.start()
    s.write("RXCSUM", 0x300)
    s.rx_ring(rctl=regs.RCTL_SECRC)
    frame = IP() / (TCP(sport=1, dport=2) if "tcp" in kind or "ip" in kind else UDP(sport=1, dport=2)) / Raw(bytes(range(50)))
    raw = bytearray(bytes(Ether(dst=MAC, src="02:00:00:00:00:01") / frame))
    if kind == "bad tcp":
        raw[50] ^= 1
    if kind == "bad ip":
        raw[24] ^= 1
    s.receive(bytes(raw))
    s.received()


@scenario("rx")
def packet_checksum(s):
    s.start()
    s.write("RXCSUM", 14)
    s.rx_ring(rctl=regs.RCTL_SECRC)
    s.receive(packet(60), packet(61, seed=3))
    s.received()


@scenario("rx")
def ring_registers(s):
    s.start()
    for name in ("RDBAL", "RDBAH", "RDLEN"):
        s.probe(name, 0x5A5A5A50, 0xA5A5A5A0, 0xFFFFFFF0, 0)
    for name in ("RDH", "RDT"):
        s.probe(name, 0x5A5A, 0xFFFF, 0)


@scenario("rx")
def control_registers(s):
    s.start()
    s.probe("RCTL", 0, 0x5A5A5A58, 0xA5A5A5A0, 0x06DFB3FC, 0)
    s.probe("RXCSUM", 0, 0x3FF, 0x300)
    s.probe("RXDCTL", 0, 0x01010000)


@scenario("rx")
def a_ring_of_no_length(s):
    s.start()
    s.rx_ring(8, rctl=regs.RCTL_SECRC)
    s.write("RDLEN", 0)
    s.receive(packet(60))
    s.read("RDH")
    s.received()


@scenario("rx")
def the_crc_alone_in_the_last_buffer(s):
    s.start()
    s.rx_ring(8, buffer=256, rctl=3 << regs.RCTL_BSIZE_SHIFT)
    for length in (252, 253, 255, 256, 257):
        s.receive(packet(length, seed=length))
    s.read("RDH")
    for i in range(8):
        s.record(f"word {i}", int.from_bytes(s.load(s.rx.base + 16 * i + 8, 2), "little"))
