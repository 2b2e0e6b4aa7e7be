"""What `ethtool -d` says of an e1000: the text that ethtool's own e1000.c prints for the same registers."""

import pytest

from e1000.register_text import CTRL, PHY_CONTROL, PHY_STATUS, RCTL, STATUS, TCTL, register_text

REGISTERS = {
    "CTRL": 0x18140A69, "STATUS": 0x00008B83, "RCTL": 0x0605803A, "RDLEN": 4096, "RDH": 17, "RDT": 255, "RDTR": 0, "TCTL": 0x0103F0FA,
    "TDLEN": 4096, "TDH": 5, "TDT": 9, "TIDV": 0, "PHY_SPEC_STATUS": 0xAC48, "PHY_SPEC_CTRL": 0x0868,
}  # fmt: skip
# ethtool 5.4 printed this for them.
PRINTED = """\
MAC Registers
-------------
0x00000: CTRL (Device control register)  0x18140A69
      Endian mode (buffers):             little
      Link reset:                        reset
      Set link up:                       1
      Invert Loss-Of-Signal:             no
      Receive flow control:              enabled
      Transmit flow control:             enabled
      VLAN mode:                         disabled
      Auto speed detect:                 enabled
      Speed select:                      1000Mb/s
      Force speed:                       yes
      Force duplex:                      no
0x00008: STATUS (Device status register) 0x00008B83
      Duplex:                            full
      Link up:                           link config
      TBI mode:                          disabled
      Link speed:                        1000Mb/s
      Bus type:                          PCI
      Bus speed:                         66MHz
      Bus width:                         32-bit
0x00100: RCTL (Receive control register) 0x0605803A
      Receiver:                          enabled
      Store bad packets:                 disabled
      Unicast promiscuous:               enabled
      Multicast promiscuous:             enabled
      Long packet:                       enabled
      Descriptor minimum threshold size: 1/2
      Broadcast accept mode:             accept
      VLAN filter:                       enabled
      Canonical form indicator:          disabled
      Discard pause frames:              filtered
      Pass MAC control frames:           don't pass
      Receive buffer size:               16384
0x02808: RDLEN (Receive desc length)     0x00001000
0x02810: RDH   (Receive desc head)       0x00000011
0x02818: RDT   (Receive desc tail)       0x000000FF
0x02820: RDTR  (Receive delay timer)     0x00000000
0x00400: TCTL (Transmit ctrl register)   0x0103F0FA
      Transmitter:                       enabled
      Pad short packets:                 enabled
      Software XOFF Transmission:        disabled
      Re-transmit on late collision:     enabled
0x03808: TDLEN (Transmit desc length)    0x00001000
0x03810: TDH   (Transmit desc head)      0x00000005
0x03818: TDT   (Transmit desc tail)      0x00000009
0x03820: TIDV  (Transmit delay timer)    0x00000000
PHY type:                                M88
M88 PHY STATUS REGISTER:                 0x0000AC48
      Jabber:                            no
      Polarity:                          normal
      Downshifted:                       no
      MDI/MDIX:                          MDIX
      Cable Length Estimate:             0-50 meters
      Link State:                        Up
      Speed & Duplex Resolved:           Yes
      Page Received:                     No
      Duplex:                            Full
      Speed:                             1000 mbps
M88 PHY CONTROL REGISTER:                0x00000868
      Jabber function:                   enabled
      Auto-polarity:                     disabled
      SQE Test:                          disabled
      CLK125:                            enabled
      Auto-MDIX:                         auto
      Extended 10Base-T Distance:        disabled
      100Base-TX Interface:              MII
      Scrambler:                         enabled
      Force Link Good:                   disabled
      Assert CRS on Transmit:            enabled
"""


def test_it_is_what_ethtool_prints():
    assert register_text(REGISTERS) == PRINTED


def test_what_the_driver_does_not_tell_is_left_out():
    mac = {name: value for name, value in REGISTERS.items() if not name.startswith("PHY")}
    assert register_text(mac | {"MANC": 1}) == PRINTED.partition("PHY type")[0]


def test_an_order_of_registers_is_ethtools_whatever_the_drivers():
    assert register_text(dict(reversed(REGISTERS.items()))) == PRINTED


@pytest.mark.parametrize("fields", [CTRL, STATUS, RCTL, TCTL, PHY_STATUS, PHY_CONTROL])
def test_every_value_of_a_field_has_a_meaning(fields):
    assert all(len(meanings) == 1 << size and all(meanings) for _, _, size, meanings in fields)
