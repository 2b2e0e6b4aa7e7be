"""Wake-up registers (§13.6)."""

from script import scenario

IPAV, IP4AT, IP6AT, WUPL, WUPM, FFLT, FFMT, FFVT = 0x5838, 0x5840, 0x5880, 0x5900, 0x5A00, 0x5F00, 0x9000, 0x9800


@scenario("wol")
def status_is_cleared_by_ones(s):
    s.start()
    s.probe("WUS", 0xFFFFFFFF, 0)


@scenario("wol")
def packet_memory(s):
    s.start()
    s.read(WUPL)
    for offset in range(WUPM, WUPM + 128, 4):
        s.read(offset)
