"""The driver's answers to ethtool, in the kernel's words (e1000_ethtool.c). rtnl is held where something changes."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from e1000 import regs
from e1000.driver.hw import EEPROM_WORDS, MII_CR_AUTO_NEG_EN, MII_CR_RESTART_AUTO_NEG, PHY_CTRL
from e1000.driver.param import MAX_DESCRIPTORS, check_ring, interrupt_rate

if TYPE_CHECKING:
    from e1000.driver.control import E1000Adapter
    from softnet.netdev import NetDevice

SPEED_UNKNOWN = -1

# e1000_gstrings_stats: a name, and where its value is: in net_device's statistics, the card's by register, or elsewhere ("").
# fmt: off
GSTRINGS_STATS = (
    ("rx_packets", "gprc"), ("tx_packets", "gptc"), ("rx_bytes", "gorc"), ("tx_bytes", "gotc"), ("rx_broadcast", "bprc"),
    ("tx_broadcast", "bptc"), ("rx_multicast", "mprc"), ("tx_multicast", "mptc"), ("rx_errors", "net"), ("tx_errors", "net"),
    ("tx_dropped", "net"), ("multicast", "mprc"), ("collisions", "colc"), ("rx_length_errors", "net"), ("rx_over_errors", "net"),
    ("rx_crc_errors", "crcerrs"), ("rx_frame_errors", "net"), ("rx_no_buffer_count", "rnbc"), ("rx_missed_errors", "mpc"),
    ("tx_aborted_errors", "ecol"), ("tx_carrier_errors", "tncrs"), ("tx_fifo_errors", "net"), ("tx_heartbeat_errors", "net"),
    ("tx_window_errors", "latecol"), ("tx_abort_late_coll", "latecol"), ("tx_deferred_ok", "dc"), ("tx_single_coll_ok", "scc"),
    ("tx_multi_coll_ok", "mcc"), ("tx_timeout_count", ""), ("tx_restart_queue", ""), ("rx_long_length_errors", "roc"),
    ("rx_short_length_errors", "ruc"), ("rx_align_errors", "algnerrc"), ("tx_tcp_seg_good", "tsctc"), ("tx_tcp_seg_failed", "tsctfc"),
    ("rx_flow_control_xon", "xonrxc"), ("rx_flow_control_xoff", "xoffrxc"), ("tx_flow_control_xon", "xontxc"),
    ("tx_flow_control_xoff", "xofftxc"), ("rx_long_byte_count", "gorc"), ("rx_csum_offload_good", ""),
    ("rx_csum_offload_errors", ""), ("alloc_rx_buff_failed", ""),
    ("tx_smbus", "mgtptc"), ("rx_smbus", "mgtprc"), ("dropped_smbus", "mgtpdc"),
)
# The registers of `ethtool -d`, in its order
REGISTERS = (
    "CTRL", "STATUS", "RCTL", "RDLEN", "RDH", "RDT", "RDTR", "TCTL", "TDLEN", "TDH", "TDT", "TIDV",
)
# fmt: on


class Ethtool:
    """ethtool_ops of an E1000Adapter: `device.ethtool_ops`. Control thread."""

    def __init__(self, adapter: E1000Adapter) -> None:
        self.adapter = adapter

    def get_drvinfo(self, device: NetDevice) -> dict[str, str]:
        """`ethtool -i`."""
        return {"driver": "e1000", "version": "", "fw_version": "", "bus_info": repr(self.adapter.bus)}

    def get_link_ksettings(self, device: NetDevice) -> dict[str, int | bool | str]:
        """`ethtool DEV`: speed in Mbit/s, SPEED_UNKNOWN without a link."""
        link = self.adapter.hw.link()
        return {
            "speed": link.speed if link.up else SPEED_UNKNOWN,
            "duplex": ("full" if link.full_duplex else "half") if link.up else "unknown",
            "autoneg": bool(self.adapter.hw.read_phy(PHY_CTRL) & MII_CR_AUTO_NEG_EN),
            "port": "tp",
        }

    def get_link(self, device: NetDevice) -> bool:
        """Whether there is a link, asked of the card (e1000_get_link)."""
        return self.adapter.hw.link().up

    def nway_reset(self, device: NetDevice) -> None:
        """`ethtool -r`: negotiate anew. Nothing happens to a device that is down."""
        if device.up:
            self.adapter.hw.write_phy(PHY_CTRL, self.adapter.hw.read_phy(PHY_CTRL) | MII_CR_AUTO_NEG_EN | MII_CR_RESTART_AUTO_NEG)

    def get_pauseparam(self, device: NetDevice) -> dict[str, bool]:
        """`ethtool -a`: what CTRL has now."""
        control = self.adapter.bus.read(regs.CTRL)
        return {"autoneg": True, "rx_pause": bool(control & regs.CTRL_RFCE), "tx_pause": bool(control & regs.CTRL_TFCE)}

    def get_ringparam(self, device: NetDevice) -> dict[str, int]:
        """`ethtool -g`."""
        return {
            "rx_max_pending": MAX_DESCRIPTORS,
            "tx_max_pending": MAX_DESCRIPTORS,
            "rx_pending": self.adapter.rx_descriptors,
            "tx_pending": self.adapter.tx_descriptors,
        }

    def set_ringparam(
        self, device: NetDevice, *, rx_pending: int | None = None, tx_pending: int | None = None
    ) -> None:
        """`ethtool -G`: rings of other sizes; the old ones stay if there is no memory. Raises OSError EINVAL, ENOMEM."""
        change = {"rx_descriptors": rx_pending, "tx_descriptors": tx_pending}
        wanted = {name: count for name, count in change.items() if count is not None}
        for name, count in wanted.items():
            check_ring(name, count)
        with self.adapter.stack.rtnl:
            self.adapter.reconfigure(device, **wanted)

    def get_coalesce(self, device: NetDevice) -> dict[str, int]:
        """`ethtool -c`."""
        setting = self.adapter.napi.itr_setting
        return {"rx_coalesce_usecs": setting if setting <= 4 else 1_000_000 // setting}

    def set_coalesce(self, device: NetDevice, *, rx_coalesce_usecs: int) -> None:
        """`ethtool -C rx-usecs`: see param.interrupt_rate. At once if it is up. Raises OSError EINVAL."""
        setting, rate = interrupt_rate(rx_coalesce_usecs)
        with self.adapter.stack.rtnl:
            self.adapter.napi.itr_setting, self.adapter.napi.itr = setting, rate
            if device.up:
                self.adapter.set_itr(rate if setting else 0)

    def get_eeprom(self, device: NetDevice, offset: int = 0, length: int | None = None) -> tuple[int, bytes]:
        """`ethtool -e`: (magic, bytes). Raises OSError EINVAL outside of it, EIO if it does not answer."""
        size = self.get_eeprom_len(device)
        length = size - offset if length is None else length
        if not 0 <= offset < size or not 0 < length <= size - offset:
            raise OSError(errno.EINVAL, f"{device.name}: the EEPROM has bytes 0 to {size - 1}, not {length} from {offset} on")
        vendor, number = self.adapter.hw.pci_ids()
        return vendor | number << 16, self.adapter.hw.read_eeprom_image()[offset : offset + length]

    def get_eeprom_len(self, device: NetDevice) -> int:
        """In bytes."""
        return 2 * EEPROM_WORDS

    def get_regs(self, device: NetDevice) -> dict[str, int]:
        """`ethtool -d`: by name; none that a read changes."""
        return {name: self.adapter.bus.read(getattr(regs, name)) for name in REGISTERS}

    def get_strings(self, device: NetDevice) -> tuple[str, ...]:
        """The names of `ethtool -S`."""
        return tuple(name for name, _ in GSTRINGS_STATS)

    def get_ethtool_stats(self, device: NetDevice) -> dict[str, int]:
        """`ethtool -S`."""
        net = device.stats64
        elsewhere = {
            "tx_timeout_count": self.adapter.tx_timeout_count,
            "tx_restart_queue": device.txq.wakes,
            "rx_csum_offload_good": self.adapter.rx_skbs.csum_good,
            "rx_csum_offload_errors": self.adapter.rx_skbs.csum_errors,
            "alloc_rx_buff_failed": self.adapter.alloc_rx_buff_failed,
        }
        return {
            name: getattr(net, name) if source == "net" else self.adapter.hw_stats.total[source] if source else elsewhere[name]
            for name, source in GSTRINGS_STATS
        }
