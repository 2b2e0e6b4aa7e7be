"""RX: buffers, filters, offloads (§3.2, §13.4.22)."""

from cards import BROADCAST, packet
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
