"""Statistics, on the QEMU that keeps them (§13.7)."""

from cards import BROADCAST, packet
from script import EOP, IFCS, RS, VLE, scenario

from e1000 import regs

NAMES = [name for name, offset in vars(regs).items() if isinstance(offset, int) and 0x4000 <= offset < 0x4100]
GROUP = bytes([1, 0, 0x5E, 0, 0, 1])
SIZES = (60, 61, 123, 124, 251, 252, 507, 508, 1019, 1020, 1514)


@scenario("stats", counting=True)
def all_zero_after_power_on(s):
    s.start()
    s.reads(*NAMES)


@scenario("stats", counting=True)
def frames_sent(s):
    s.start()
    s.tx_ring(32)
    for length in SIZES:
        s.post(s.legacy(packet(length)))
    s.post(s.legacy(packet(60, to=BROADCAST)), s.legacy(packet(60, to=GROUP)), s.legacy(packet(100, to=GROUP)))
    s.frames()
    s.reads(*NAMES)


@scenario("stats", counting=True)
def frames_received(s):
    s.start()
    s.rx_ring(32, rctl=regs.RCTL_BAM | regs.RCTL_MPE)
    for length in SIZES:
        s.receive(packet(length))
    s.receive(packet(60, to=BROADCAST), packet(60, to=GROUP), packet(100, to=GROUP))
    s.reads(*NAMES)


@scenario("stats", counting=True)
def reading_clears(s):
    s.start()
    s.tx_ring(8)
    s.post(s.legacy(packet(100)))
    s.frames()
    s.reads("GPTC", "GPTC", "TPT", "TPT", "PTC127", "PTC127")
    s.reads("GOTCL", "GOTCL", "GOTCH", "GOTCL")
    s.reads("TOTL", "TOTL", "TOTH", "TOTL")


@scenario("stats", counting=True)
def writing_changes_nothing(s):
    s.start()
    s.tx_ring(8)
    s.post(s.legacy(packet(100)))
    s.frames()
    for name in ("GPTC", "TPT", "GOTCL", "GPRC", "MPC"):
        s.write(name, 0x1234)
        s.read(name)


@scenario("stats", counting=True)
def oversize_and_undersize(s):
    s.start()
    s.rx_ring(8, rctl=regs.RCTL_BAM)
    s.receive(packet(1600), packet(2000), packet(60))
    s.reads("ROC", "RUC", "GPRC", "TPR", "PRC64", "PRC1522", "RJC", "RFC")


@scenario("stats", counting=True)
def filtered_frames(s):
    s.start()
    s.rx_ring(8, rctl=regs.RCTL_BAM)
    s.receive(packet(60, to=b"\x02\0\0\0\0\x09"), packet(60))
    s.reads("GPRC", "TPR", "GORCL", "TORL", "PRC64")


@scenario("stats", counting=True)
def segments(s):
    from scenarios.transmit import TCP, tso

    tso(s, 2500, TCP, 4)
    s.reads("TSCTC", "TSCTFC", "GPTC", "TPT", "GOTCL", "TOTL", "PTC1522", "PTC1023", "PTC511", "PTC64")


@scenario("stats", counting=True)
def frames_without_room(s):
    s.start()
    s.rx_ring(8, give=1)
    s.receive(packet(60), packet(61))
    s.reads("GPRC", "RNBC", "MPC")


@scenario("stats", counting=True)
def frames_received_without_their_crc(s):
    s.start()
    s.rx_ring(32, rctl=regs.RCTL_BAM | regs.RCTL_SECRC)
    for length in SIZES:
        s.receive(packet(length))
    s.reads(*NAMES)


@scenario("stats", counting=True)
def frames_with_tags(s):
    s.start()
    s.change("CTRL", set=regs.CTRL_VME)
    s.write("VET", 0x8100)
    s.tx_ring(8)
    s.rx_ring(8)
    s.post(s.legacy(packet(100), cmd=EOP | IFCS | RS | VLE, special=5))
    s.frames()
    plain = packet(100)
    s.receive(plain[:12] + b"\x81\x00\x00\x05" + plain[12:])
    s.reads(*NAMES)
