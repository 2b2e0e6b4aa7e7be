"""ICR, ICS, IMS, IMC, and when the line goes up and down (§3.2.7, §3.4.3, §13.4.17 to §13.4.21)."""

from cards import packet
from script import EOP, IDE, IFCS, RS, scenario

from e1000 import regs

ALL = 0xFFFFFFFF
CAUSES = [bit for bit in range(17) if bit not in (5, 8, 11, 12, 13, 14)]


@scenario("irq")
def each_cause_masked_and_unmasked(s):
    s.start()
    for bit in CAUSES:
        s.write("IMC", ALL)
        s.write("ICS", 1 << bit)
        s.wait(1)
        s.irq("masked")
        s.read("ICR")
        s.write("IMS", 1 << bit)
        s.read("IMS")
        s.irq("nothing yet")
        s.write("ICS", 1 << bit)
        s.wait(1)
        s.irq("unmasked")
        s.read("ICR")
        s.irq("after ICR")


@scenario("irq")
def mask_bits(s):
    s.start()
    for value in (0x1, 0x9D, ALL):
        s.write("IMS", value)
        s.read("IMS")
    for value in (0x1, 0x10, ALL):
        s.write("IMC", value)
        s.read("IMS")
    s.reads("IMC", "ICS")


@scenario("irq")
def unmasking_what_is_pending_raises_the_line(s):
    s.start()
    s.write("ICS", regs.ICR_LSC)
    s.wait(1)
    s.irq()
    s.write("IMS", regs.ICR_LSC)
    s.wait(1)
    s.irq()
    s.write("IMC", regs.ICR_LSC)
    s.irq()
    s.write("IMS", regs.ICR_LSC)
    s.wait(1)
    s.irq()
    s.read("ICR")
    s.irq()


@scenario("irq")
def masking_lowers_the_line_and_keeps_the_cause(s):
    s.start()
    s.write("IMS", regs.ICR_LSC | regs.ICR_RXO)
    s.write("ICS", regs.ICR_LSC | regs.ICR_RXO)
    s.wait(1)
    s.irq()
    s.write("IMC", regs.ICR_LSC)
    s.irq("one left")
    s.write("IMC", regs.ICR_RXO)
    s.irq("none left")
    s.read("ICR")


@scenario("irq")
def causes_written_with_ones_are_cleared(s):
    s.start()
    s.write("IMS", 0xFFFF)
    s.write("ICS", regs.ICR_LSC | regs.ICR_RXO | regs.ICR_MDAC)
    s.wait(1)
    s.write("ICR", regs.ICR_LSC)
    s.irq()
    s.write("ICR", regs.ICR_RXO | regs.ICR_MDAC)
    s.irq()
    s.read("ICR")


@scenario("irq")
def reading_the_cause_with_all_masked_clears_it(s):
    s.start()
    s.write("ICS", regs.ICR_LSC | regs.ICR_RXT0)
    s.read("ICR")
    s.read("ICR")


@scenario("irq")
def a_frame_sent(s):
    s.start()
    s.tx_ring(16)
    s.read("ICR")
    s.write("IMS", regs.ICR_TXDW)
    s.post(s.legacy(packet(60), cmd=EOP | IFCS))
    s.wait(1)
    s.irq("without RS")
    s.read("ICR")
    s.post(s.legacy(packet(60)))
    s.wait(1)
    s.irq("with RS")
    s.read("ICR")
    s.irq("after ICR")


@scenario("irq")
def a_frame_received(s):
    s.start()
    s.rx_ring(16)
    s.read("ICR")
    s.write("IMS", regs.ICR_RXT0)
    s.receive(packet(60))
    s.wait(1)
    s.irq()
    s.read("ICR")
    s.irq("after ICR")
    s.receive(packet(60), packet(61))
    s.wait(1)
    s.irq()
    s.read("ICR")


@scenario("irq", quarter=(0, 1, 2))
def descriptors_get_few(s, quarter):
    """RDMTS: a half, a quarter, an eighth of the ring left (§3.2.5)."""
    s.start()
    s.rx_ring(16, rctl=regs.RCTL_BAM | quarter << regs.RCTL_RDMTS_SHIFT)
    s.read("ICR")
    for i in range(9 if quarter == 0 else 12 if quarter == 1 else 14):
        s.receive(packet(60, seed=i))
        s.record(f"RXDMT0 after {i + 1}", s.machine.read(regs.ICR) & regs.ICR_RXDMT0)
        s.wait(1)


@scenario("irq")
def a_frame_sent_with_delay(s):
    s.start()
    s.write("TIDV", 2000)
    s.tx_ring(16)
    s.read("ICR")
    s.write("IMS", regs.ICR_TXDW)
    s.post(s.legacy(packet(60), cmd=EOP | IFCS | RS | IDE))
    s.sent()
    s.wait(1)
    s.irq("before TIDV")
    s.wait(2)
    s.irq("after TIDV")
    s.read("ICR")


@scenario("irq")
def a_frame_received_with_delay(s):
    s.start()
    s.write("RDTR", 2000)
    s.rx_ring(16)
    s.read("ICR")
    s.write("IMS", regs.ICR_RXT0)
    s.receive(packet(60))
    s.wait(1)
    s.irq("before RDTR")
    s.wait(2)
    s.irq("after RDTR")
    s.read("ICR")


@scenario("irq")
def no_more_often_than_the_interval(s):
    s.start()
    s.write("ITR", 20000)                   # 5.12 ms
    s.write("IMS", regs.ICR_LSC)
    s.write("ICS", regs.ICR_LSC)
    s.wait(0.01)
    s.irq("first")
    s.read("ICR")
    s.write("ICS", regs.ICR_LSC)
    s.wait(2)
    s.irq("too early")
    s.wait(4)
    s.irq("second")
    s.read("ICR")


@scenario("irq")
def interval_off(s):
    s.start()
    s.write("ITR", 0)
    s.write("IMS", regs.ICR_LSC)
    for _ in range(3):
        s.write("ICS", regs.ICR_LSC)
        s.wait(0.2)
        s.irq()
        s.read("ICR")
        s.irq("after ICR")


@scenario("irq")
def delay_registers(s):
    s.start()
    for name in ("RDTR", "RADV", "TIDV", "TADV", "ITR"):
        s.probe(name, 0, 0x5A5A, 0xFFFF, 8)


@scenario("irq")
def many_frames_one_interrupt(s):
    s.start()
    s.rx_ring(32)
    s.tx_ring(32)
    s.read("ICR")
    s.write("IMS", 0x9D)
    for i in range(10):
        s.receive(packet(60, seed=i))
        s.post(s.legacy(packet(60, seed=i)))
    s.wait(1)
    s.irq()
    s.read("ICR")
    s.irq("after ICR")


@scenario("irq")
def as_linux_serves_it(s):
    """Cause, mask, work, unmask; a frame that comes while masked raises the line again at unmasking."""
    s.start()
    s.rx_ring(32)
    s.read("ICR")
    s.write("IMS", 0x9D)
    for i in range(3):
        s.receive(packet(60, seed=i))
        s.wait(1)
        s.irq("frame came")
        s.read("ICR")
        s.write("IMC", ALL)
        s.irq("masked")
        s.receive(packet(61, seed=i))
        s.wait(1)
        s.irq("frame came while masked")
        s.write("IMS", 0x9D)
        s.wait(1)
        s.irq("unmasked")
        s.read("ICR")
        s.wait(1)


@scenario("irq")
def the_link_goes_and_comes(s):
    s.start()
    s.write("IMS", regs.ICR_LSC)
    s.write("MDIC", regs.MDIC_OP_WRITE | 1 << regs.MDIC_PHY_SHIFT | 0x1340)
    s.wait(5000)
    s.irq()
    s.record("LSC", s.read("ICR") & regs.ICR_LSC)
    s.irq("after ICR")
