"""Wake-up registers (§13.6)."""

from script import scenario

IPAV, IP4AT, IP6AT, WUPL, WUPM, FFLT, FFMT, FFVT = 0x5838, 0x5840, 0x5880, 0x5900, 0x5A00, 0x5F00, 0x9000, 0x9800


@scenario("wol")
def control_and_filter(s):
    s.start()
    s.probe("WUC", 0, 0xF, 0xFFFFFFFF, 0)
    s.probe("WUFC", 0, 0xFFFFFFFF, 0x5A5A5A5A, 0)


@scenario("wol")
def status_is_cleared_by_ones(s):
    s.start()
    s.probe("WUS", 0xFFFFFFFF, 0)


@scenario("wol")
def ip_addresses(s):
    s.start()
    for offset in (IPAV, IP4AT, IP4AT + 8, IP4AT + 16, IP4AT + 24, *range(IP6AT, IP6AT + 16, 4)):
        s.probe(offset, 0x5A5A5A5A, 0xA5A5A5A5, 0)


@scenario("wol")
def packet_memory(s):
    s.start()
    s.read(WUPL)
    for offset in range(WUPM, WUPM + 128, 4):
        s.read(offset)


@scenario("wol")
def flexible_filters(s):
    s.start()
    for i in range(4):
        s.probe(FFLT + 8 * i, 0xFFFFFFFF, 0x40)
    for i in (0, 1, 127):
        s.probe(FFMT + 8 * i, 0xFFFFFFFF, 0x5)
        s.probe(FFVT + 8 * i, 0x12345678, 0xFFFFFFFF)
