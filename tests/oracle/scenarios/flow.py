"""Flow control's registers and its frames (§3.2.9 and after, §13.4.8 to §13.4.12, §13.4.23, §13.4.24)."""

from cards import packet
from script import scenario

from e1000 import regs

PAUSE_TO = bytes.fromhex("0180c2000001")


def pause(quanta):
    """An 802.3 pause frame."""
    return (packet(12, to=PAUSE_TO) + b"\x88\x08\0\1" + quanta.to_bytes(2, "big")).ljust(60, b"\0")


def set_up(s):
    """The registers as every driver has them."""
    for name, value in (("FCAL", 0x00C28001), ("FCAH", 0x0100), ("FCT", 0x8808), ("FCTTV", 0x1234)):
        s.write(name, value)


@scenario("flow")
def addresses_and_type(s):
    s.start()
    s.probe("FCAL", 0x00C28001, 0xFFFFFFFF, 0)
    s.probe("FCAH", 0x0100, 0xFFFFFFFF, 0)
    s.probe("FCT", 0x8808, 0xFFFFFFFF, 0)


@scenario("flow")
def thresholds_and_timer(s):
    s.start()
    s.probe("FCRTL", 0x8000ACC0, 0xFFFFFFFF, 0)
    s.probe("FCRTH", 0x8000ACC8, 0xFFFFFFFF, 0)
    s.probe("FCTTV", 0x5A5A, 0xFFFFFFFF, 0)


@scenario("flow")
def enable_bits(s):
    s.start()
    s.change("CTRL", set=regs.CTRL_RFCE | regs.CTRL_TFCE)
    s.read("CTRL")
    s.change("CTRL", clear=regs.CTRL_RFCE | regs.CTRL_TFCE)
    s.read("CTRL")


@scenario("flow")
def pause_frame_with_flow_control_off(s):
    s.start()
    s.rx_ring(rctl=regs.RCTL_SECRC | regs.RCTL_MPE)
    s.tx_ring()
    s.receive(pause(100))
    s.received()
    s.post(s.legacy(packet(80)))
    s.frames()


@scenario("flow")
def pause_frame_obeyed(s):
    s.start()
    set_up(s)
    s.change("CTRL", set=regs.CTRL_RFCE)
    s.rx_ring(rctl=regs.RCTL_SECRC | regs.RCTL_PMCF)
    s.tx_ring()
    s.receive(pause(0xFFFF))
    s.record("TXOFF", s.machine.read(regs.STATUS) & regs.STATUS_TXOFF)
    s.post(s.legacy(packet(80)))
    s.frames("frame while paused")
    s.receive(pause(0))
    s.frames("frame after XON")


@scenario("flow")
def software_xoff(s):
    s.start()
    set_up(s)
    s.change("CTRL", set=regs.CTRL_TFCE)
    s.tx_ring()
    s.change("TCTL", set=regs.TCTL_SWXOFF)
    s.frames("pause")
