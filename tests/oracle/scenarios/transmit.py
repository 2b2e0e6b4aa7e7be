"""TX: descriptors, the ring, segmentation and checksums (§3.3 to §3.5, §13.4.33 to §13.4.45)."""

from cards import packet
from script import EOP, IC, IFCS, RS, scenario

from e1000 import regs


@scenario("tx")
def one_frame(s):
    s.start()
    s.tx_ring()
    s.post(s.legacy(packet(100)))
    s.sent()


@scenario("tx")
def frames_of_all_lengths(s):
    s.start()
    s.tx_ring(32)
    for length in (60, 61, 64, 65, 127, 128, 255, 256, 511, 512, 1023, 1024, 1513, 1514, 1518):
        s.post(s.legacy(packet(length, seed=length)))
    s.sent()


@scenario("tx")
def ring_wraps(s):
    s.start()
    s.tx_ring(8)
    for round_ in range(5):
        s.post(*(s.legacy(packet(60 + i, seed=round_)) for i in range(5)))
        s.sent()


@scenario("tx")
def frame_in_pieces(s):
    s.start()
    s.tx_ring(16)
    content = packet(1000)
    s.post(s.legacy(content[:14], cmd=IFCS), s.legacy(content[14:400], cmd=IFCS), s.legacy(content[400:]))
    s.post(*(s.legacy(content[i : i + 100], cmd=IFCS | (RS | EOP if i == 900 else 0)) for i in range(0, 1000, 100)))
    s.sent()


@scenario("tx")
def end_comes_later(s):
    s.start()
    s.tx_ring()
    content = packet(300)
    s.post(s.legacy(content[:100], cmd=IFCS))
    s.frames("half a frame")
    s.post(s.legacy(content[100:]))
    s.sent()


@scenario("tx")
def enabled_after_the_doorbell(s):
    s.start()
    s.tx_ring(tctl=regs.TCTL_PSP)
    s.post(s.legacy(packet(80)), s.legacy(packet(90)))
    s.sent()
    s.write("TCTL", regs.TCTL_PSP | regs.TCTL_EN)
    s.sent()


@scenario("tx")
def no_status_without_rs(s):
    s.start()
    s.tx_ring()
    s.post(s.legacy(packet(80), cmd=EOP | IFCS), s.legacy(packet(90)), s.legacy(packet(70), cmd=EOP | IFCS))
    s.sent()


@scenario("tx")
def legacy_checksum_insertion(s):
    s.start()
    s.tx_ring()
    s.post(s.legacy(packet(200), cmd=EOP | IFCS | RS | IC, css=14, cso=24))
    s.sent()
