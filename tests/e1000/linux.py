"""The Linux e1000 driver's register accesses on an 82540EM, in its order: probe, open, interrupt, watchdog, close, remove.

What it reads and would fail on is asserted here; what else an answer must be is for the test to say.
"""

from mdio import (
    ADVERTISE,
    BMCR,
    LINK,
    NEGOTIATED,
    PARTNER,
    POWER_DOWN,
    SPECIFIC_STATUS,
    STAT1000,
    Mdio,
)
from microwire import Microwire

from e1000 import regs

ALL = 0xFFFFFFFF
COMMAND, MEMORY_MASTER_IO = 0x04, 7
ADDRESSES, TABLE = 15, 128          # RAR entries the driver uses, words of MTA and of VFTA
DESCRIPTORS = 256
ENABLED = regs.ICR_RXT0 | regs.ICR_TXDW | regs.ICR_RXDMT0 | regs.ICR_RXSEQ | regs.ICR_LSC      # IMS_ENABLE_MASK, 0x9D
FULL_DUPLEX_COLD = 63 << regs.TCTL_COLD_SHIFT
# fmt: off
STATISTICS = [
    "CRCERRS", "GPRC", "GORCL", "GORCH", "BPRC", "MPRC", "ROC", "PRC64", "PRC127", "PRC255", "PRC511", "PRC1023",
    "PRC1522", "SYMERRS", "MPC", "SCC", "ECOL", "MCC", "LATECOL", "DC", "SEC", "RLEC", "XONRXC", "XONTXC", "XOFFRXC",
    "XOFFTXC", "FCRUC", "GPTC", "GOTCL", "GOTCH", "RNBC", "RUC", "RFC", "RJC", "TORL", "TORH", "TOTL", "TOTH", "TPR",
    "PTC64", "PTC127", "PTC255", "PTC511", "PTC1023", "PTC1522", "MPTC", "BPTC", "TPT", "COLC", "ALGNERRC", "RXERRC",
    "TNCRS", "CEXTERR", "TSCTC", "TSCTFC",
]
# fmt: on
MANAGEMENT = ["MGTPTC", "MGTPRC", "MGTPDC"]


class Linux:
    """The driver on `bus`; `wait(seconds)` is how time passes for it. `accesses` counts those to registers."""

    def __init__(self, bus, *, wait=lambda seconds: None):
        self.bus, self.wait = bus, wait
        self.accesses = 0
        self.mdio = Mdio(self)
        self.words = {}

    def read(self, offset):
        self.accesses += 1
        return self.bus.read(offset)

    def write(self, offset, value):
        self.accesses += 1
        self.bus.write(offset, value)

    def flush(self):
        self.read(regs.STATUS)

    def change(self, offset, *, on=0, off=0):
        value = self.read(offset) & ~off | on
        self.write(offset, value)
        return value

    # --- e1000_hw.c ---

    def read_eeprom(self, word):
        if word not in self.words:
            self.words[word] = Microwire(self).read_word(word)
        return self.words[word]

    def validate_eeprom_checksum(self):
        assert sum(self.read_eeprom(word) for word in range(64)) & 0xFFFF == 0xBABA

    def reset_hw(self):
        self.write(regs.IMC, ALL)
        self.write(regs.RCTL, 0)
        self.write(regs.TCTL, regs.TCTL_PSP)
        self.flush()
        self.wait(0.01)
        control = self.read(regs.CTRL)
        assert control != ALL
        self.bus.io_write(0, regs.CTRL)
        self.bus.io_write(4, control | regs.CTRL_RST)
        self.wait(0.005)
        self.change(regs.MANC, off=0x2000)
        self.write(regs.IMC, ALL)
        self.read(regs.ICR)
        assert not self.read(regs.CTRL) & regs.CTRL_RST

    def init_hw(self):
        self.read(regs.LEDCTL)
        self.read_eeprom(4)
        assert not self.read(regs.STATUS) & 0x2020, "TBIMODE, PCIX_MODE"
        self.write(regs.VET, 0)
        self.clear_table(regs.VFTA)
        mac = b"".join(self.read_eeprom(i).to_bytes(2, "little") for i in range(3))
        self.set_address(0, mac)
        for i in range(1, ADDRESSES):
            self.set_address(i, None)
        self.clear_table(regs.MTA)
        self.setup_link()
        self.read_statistics()
        return mac

    def clear_table(self, base):
        for i in range(TABLE):
            self.write(base + 4 * i, 0)
            self.flush()

    def set_address(self, i, mac):
        low, high = (0, 0) if mac is None else (int.from_bytes(mac[:4], "little"), int.from_bytes(mac[4:], "little") | regs.RAH_AV)
        self.write(regs.RAL0 + 8 * i, low)
        self.flush()
        self.write(regs.RAH0 + 8 * i, high)
        self.flush()

    def setup_link(self):
        assert self.read_eeprom(0x0F) & 0x3000 == 0x3000, "pause, symmetric and asymmetric"
        self.change(regs.CTRL, on=regs.CTRL_SLU, off=regs.CTRL_FRCSPD | regs.CTRL_FRCDPLX)
        if self.mdio.set_up_as_linux():
            self.configure()
        for name, value in (("FCT", 0x8808), ("FCAH", 0x0100), ("FCAL", 0x00C28001), ("FCTTV", 0xFFFF)):
            self.write(getattr(regs, name), value)
        self.write(regs.FCRTL, 0xACC0 | 1 << 31)
        self.write(regs.FCRTH, 0xACC8)
        self.change(regs.TXDCTL, on=0x01010000)

    def configure(self):
        """e1000_config_collision_dist and e1000_config_fc_after_link_up."""
        self.change(regs.TCTL, on=FULL_DUPLEX_COLD, off=0x3FF << regs.TCTL_COLD_SHIFT)
        self.flush()
        if self.mdio.bmsr() & NEGOTIATED:
            both = self.mdio.read(ADVERTISE) & self.mdio.read(PARTNER)
            assert self.read(regs.STATUS) & regs.STATUS_FD
            pause = regs.CTRL_RFCE | regs.CTRL_TFCE
            self.change(regs.CTRL, on=pause if both & 0x0400 else 0, off=pause)

    def read_statistics(self, names=STATISTICS + MANAGEMENT):
        return {name: self.read(getattr(regs, name)) for name in names}

    # --- e1000_main.c ---

    def probe(self):
        """Finds the card and gives it its name; returns its address."""
        assert self.bus.config_read(0) == 0x100E8086
        self.bus.config_write(COMMAND, MEMORY_MASTER_IO, 2)
        assert not self.read(regs.STATUS) & 0x2020
        self.write(regs.IMC, ALL)
        self.flush()
        assert not self.read(regs.EECD) & regs.EECD_SIZE, "64 words"
        self.reset_hw()
        self.validate_eeprom_checksum()
        self.read_eeprom(0x24)
        mac = self.reset()
        self.change(regs.CTRL, on=regs.CTRL_VME)
        self.change(regs.RCTL, off=regs.RCTL_VFE)
        return mac

    def reset(self):
        """e1000_reset."""
        self.write(regs.PBA, 0x30)
        self.reset_hw()
        self.write(regs.WUC, 0)
        mac = self.init_hw()
        self.write(regs.VET, 0x8100)
        self.write(regs.AIT, 0)
        if self.mdio.bmsr() & LINK:
            assert self.mdio.read(16) & 0x60
            assert self.mdio.read(SPECIFIC_STATUS) & 0x0800
            assert self.mdio.read(SPECIFIC_STATUS) & 0xC000 == 0x8000
            assert self.mdio.read(STAT1000) & 0x3000 == 0x3000
        return mac

    def open(self, tx_base, rx_base):
        """e1000_open, with the VLAN layer's id 0; the watchdog is due when the interrupt it asks for has come."""
        self.mdio.write(BMCR, self.mdio.read(BMCR) & ~POWER_DOWN)
        self.set_rx_mode()
        self.configure_tx(tx_base)
        self.configure_rx(rx_base)
        self.write(regs.RDT, DESCRIPTORS - 2)
        self.write(regs.IMS, ENABLED)
        self.flush()
        self.write(regs.ICS, regs.ICR_LSC)
        self.write(regs.IMC, ALL)
        self.flush()
        self.change(regs.CTRL, on=regs.CTRL_VME)
        self.change(regs.RCTL, on=regs.RCTL_VFE)
        self.write(regs.IMS, ENABLED)
        self.flush()
        self.change(regs.VFTA, on=1)

    def set_rx_mode(self):
        self.change(regs.RCTL, off=regs.RCTL_UPE | regs.RCTL_MPE)
        for i in range(1, ADDRESSES):
            self.set_address(i, None)
        for i in reversed(range(TABLE)):
            self.write(regs.MTA + 4 * i, 0)
        self.flush()

    def configure_tx(self, base):
        self.write(regs.TDLEN, 16 * DESCRIPTORS)
        self.write(regs.TDBAH, base >> 32)
        self.write(regs.TDBAL, base & ALL)
        self.write(regs.TDT, 0)
        self.write(regs.TDH, 0)
        self.write(regs.TIPG, 0x00602008)
        self.write(regs.TIDV, 8)
        self.write(regs.TADV, 32)
        control = self.read(regs.TCTL) & ~(0xFF << regs.TCTL_CT_SHIFT)
        self.change(regs.TCTL, on=FULL_DUPLEX_COLD, off=0x3FF << regs.TCTL_COLD_SHIFT)
        self.flush()
        self.write(regs.TCTL, control | FULL_DUPLEX_COLD | regs.TCTL_PSP | regs.TCTL_RTLC | 15 << regs.TCTL_CT_SHIFT)

    def configure_rx(self, base):
        self.change(regs.RCTL, on=regs.RCTL_BAM, off=regs.RCTL_LPE | 3 << regs.RCTL_BSIZE_SHIFT | regs.RCTL_BSEX)
        control = self.read(regs.RCTL)
        self.write(regs.RCTL, control & ~regs.RCTL_EN)
        self.write(regs.RDTR, 0)
        self.write(regs.RADV, 8)
        self.write(regs.ITR, 195)
        self.write(regs.RDLEN, 16 * DESCRIPTORS)
        self.write(regs.RDBAH, base >> 32)
        self.write(regs.RDBAL, base & ALL)
        self.write(regs.RDT, 0)
        self.write(regs.RDH, 0)
        self.change(regs.RXCSUM, on=0x200)
        self.write(regs.RCTL, control | regs.RCTL_EN)

    def interrupt(self):
        """e1000_intr and the poll behind it; returns the causes, 0 if the interrupt was not this card's."""
        causes = self.read(regs.ICR)
        if causes:
            self.write(regs.IMC, ALL)
            self.flush()
            self.write(regs.ITR, 195)
            self.write(regs.IMS, ENABLED)
            self.flush()
        return causes

    def watchdog(self):
        """e1000_watchdog; returns whether there is a link, and the statistics."""
        self.read(regs.CTRL)
        self.read(regs.STATUS)
        link = bool(self.mdio.bmsr() & LINK)
        if link:
            assert self.mdio.read(SPECIFIC_STATUS) & 0x0800
            self.configure()
            assert self.read(regs.STATUS) & regs.STATUS_LU
            self.read(regs.CTRL)
            self.change(regs.TCTL, on=regs.TCTL_EN)
        statistics = self.read_statistics()
        if link:
            self.mdio.read(STAT1000)
            assert self.mdio.read(21) == 0
        self.write(regs.ICS, regs.ICR_RXDMT0)
        return link, statistics

    def close(self):
        """e1000_down and e1000_power_down_phy."""
        self.change(regs.RCTL, off=regs.RCTL_EN)
        self.change(regs.TCTL, off=regs.TCTL_EN)
        self.flush()
        self.wait(0.01)
        self.write(regs.IMC, ALL)
        self.flush()
        self.reset()
        self.read(regs.MANC)
        self.mdio.write(BMCR, self.mdio.read(BMCR) | POWER_DOWN)

    def remove(self):
        """e1000_phy_hw_reset, the last that the card hears of it."""
        control = self.read(regs.CTRL)
        self.write(regs.CTRL, control | regs.CTRL_PHY_RST)
        self.flush()
        self.wait(0.01)
        self.write(regs.CTRL, control)
        self.flush()
