"""The driver's answers to ethtool, in the kernel's words (e1000_ethtool.c). rtnl is held where something changes."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING

from e1000 import regs
from e1000.driver.eeprom import EepromWriter
from e1000.driver.flow import Pause
from e1000.driver.hw import EEPROM_WORDS, MII_CR_AUTO_NEG_EN, MII_CR_RESTART_AUTO_NEG, PHY_ADDRESS, PHY_CTRL
from e1000.driver.led import Leds
from e1000.driver.param import MAX_DESCRIPTORS, check_ring, interrupt_rate
from e1000.driver.phy import M88_PHY_SPEC_CTRL, M88_PHY_SPEC_STATUS, PHY_1000T_STATUS, PSSR_MDIX, SUPPORTED
from e1000.driver.power import WAKE
from e1000.driver.selftest import NAMES as TEST_NAMES
from e1000.driver.selftest import self_test

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
PHY_REGISTERS = {
    "PHY_SPEC_STATUS": M88_PHY_SPEC_STATUS, "PHY_SPEC_CTRL": M88_PHY_SPEC_CTRL, "PHY_1000T_STATUS": PHY_1000T_STATUS, "PHY_RX_ERRORS": 21,
}
IDLE_ERRORS = 0xFF  # in PHY_1000T_STATUS
# fmt: on


class Ethtool:
    """ethtool_ops of an E1000Adapter: `device.ethtool_ops`. Control thread."""

    def __init__(self, adapter: E1000Adapter) -> None:
        self.adapter = adapter
        self.leds = Leds(adapter.hw)

    def get_drvinfo(self, device: NetDevice) -> dict[str, str]:
        """`ethtool -i`."""
        return {"driver": "e1000", "version": "", "fw_version": "", "bus_info": repr(self.adapter.bus)}

    def get_link_ksettings(self, device: NetDevice) -> dict[str, int | bool | str | tuple[str, ...]]:
        """`ethtool DEV`: speed in Mbit/s, SPEED_UNKNOWN without a link; link modes by their names."""
        link = self.adapter.hw.link()
        return {
            "speed": link.speed if link.up else SPEED_UNKNOWN,
            "duplex": ("full" if link.full_duplex else "half") if link.up else "unknown",
            "autoneg": bool(self.adapter.hw.read_phy(PHY_CTRL) & MII_CR_AUTO_NEG_EN),
            "port": "tp",
            "phy_address": PHY_ADDRESS,
            "transceiver": "internal",
            "eth_tp_mdix": self._crossing() if device.carrier_ok else "Unknown",
            "supported": SUPPORTED,
            "advertising": self.adapter.copper.advertised if self.adapter.copper.forced is None else (),
        }

    def _crossing(self) -> str:
        """Whether the PHY crosses its pairs over, which it finds out by itself, in ethtool's words."""
        return "on (auto)" if self.adapter.hw.read_phy(M88_PHY_SPEC_STATUS) & PSSR_MDIX else "off (auto)"

    def set_link_ksettings(
        self,
        device: NetDevice,
        *,
        autoneg: bool = True,
        speed: int | None = None,
        duplex: str = "full",
        advertising: Iterable[str] | None = None,
    ) -> None:
        """`ethtool -s`: negotiate, about all modes or those of `advertising`, or force `speed` and `duplex`. At once if it is up.

        Raises OSError EINVAL, with nothing changed.
        """
        copper = self.adapter.copper
        with self.adapter.stack.rtnl:
            before = copper.advertised, copper.forced
            if autoneg:
                copper.advertise(SUPPORTED if advertising is None else advertising)
            else:
                copper.force(0 if speed is None else speed, duplex == "full")
            self._restart(device, copper, advertised=before[0], forced=before[1])

    def get_link(self, device: NetDevice) -> bool:
        """Whether there is a link, asked of the card (e1000_get_link)."""
        return self.adapter.hw.link().up

    def nway_reset(self, device: NetDevice) -> None:
        """`ethtool -r`: negotiate anew. Nothing happens to a device that is down."""
        if device.up:
            self.adapter.hw.write_phy(PHY_CTRL, self.adapter.hw.read_phy(PHY_CTRL) | MII_CR_AUTO_NEG_EN | MII_CR_RESTART_AUTO_NEG)

    def get_pauseparam(self, device: NetDevice) -> dict[str, bool]:
        """`ethtool -a`: what is done now."""
        flow = self.adapter.flow
        return {"autoneg": flow.autoneg, "rx_pause": flow.now.rx, "tx_pause": flow.now.tx}

    def set_pauseparam(self, device: NetDevice, *, autoneg: bool = True, rx_pause: bool, tx_pause: bool) -> None:
        """`ethtool -A`: have it negotiated anew, or, without, do it at once, whatever the other end does. Raises OSError."""
        flow = self.adapter.flow
        with self.adapter.stack.rtnl:
            before = flow.wanted, flow.autoneg
            flow.wanted, flow.autoneg = Pause(rx_pause, tx_pause), autoneg
            self._restart(device, flow, wanted=before[0], autoneg=before[1])

    def _restart(self, device: NetDevice, what: object, **before: object) -> None:
        """Down and up for a change of the link; a device that is down finds it when it is opened. After an error it is as `before`."""
        if device.up:
            try:
                self.adapter.reinit(device)
            except BaseException:
                for name, value in before.items():
                    setattr(what, name, value)
                raise

    def get_wol(self, device: NetDevice) -> dict[str, str]:
        """`ethtool DEV`: what can wake, and what does, in its letters."""
        power = self.adapter.power
        letters = {"supported": power.supported, "wolopts": power.wake}
        return {name: "".join(letter for letter, bit in WAKE.items() if bits & bit) or "d" for name, bits in letters.items()}

    def set_wol(self, device: NetDevice, *, wolopts: str) -> None:
        """`ethtool -s DEV wol LETTERS`: g magic, u unicast, m multicast, b broadcast packets; d none. Raises OSError EOPNOTSUPP."""
        with self.adapter.stack.rtnl:
            self.adapter.power.set_wake(wolopts)

    def self_test(self, device: NetDevice, *, offline: bool = True) -> dict[str, int]:
        """`ethtool -t`: results by name, 0 for passed. Offline, the card is taken from its device meanwhile. Raises OSError."""
        with self.adapter.stack.rtnl:
            return self_test(self.adapter, device, offline=offline)

    def set_phys_id(self, device: NetDevice, state: str) -> int:
        """`ethtool -p`, a step of it: see Leds.set_phys_id."""
        return self.leds.set_phys_id(state)

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

    def set_eeprom(self, device: NetDevice, data: bytes, *, magic: int, offset: int = 0) -> None:
        """`ethtool -E`: write bytes, and the checksum anew. `magic`: what get_eeprom returns.

        Raises OSError EFAULT for another magic, EINVAL outside of it, EOPNOTSUPP for no bytes, EIO if it does not answer.
        """
        size = self.get_eeprom_len(device)
        vendor, number = self.adapter.hw.pci_ids()
        if not data:
            raise OSError(errno.EOPNOTSUPP, f"{device.name}: no bytes for the EEPROM")
        if magic != vendor | number << 16:
            raise OSError(errno.EFAULT, f"{device.name}: the EEPROM's magic is {vendor | number << 16:#x}, not {magic:#x}")
        if not 0 <= offset <= size - len(data):
            raise OSError(errno.EINVAL, f"{device.name}: the EEPROM has bytes 0 to {size - 1}, not {len(data)} from {offset} on")
        first, end = offset // 2, (offset + len(data) + 1) // 2
        words = bytearray(self.adapter.hw.read_eeprom_image()[2 * first : 2 * end])
        words[offset - 2 * first : offset - 2 * first + len(data)] = data
        change = {first + i: int.from_bytes(words[2 * i : 2 * i + 2], "little") for i in range(end - first)}
        EepromWriter(self.adapter.hw).update(change)

    def get_eeprom_len(self, device: NetDevice) -> int:
        """In bytes."""
        return 2 * EEPROM_WORDS

    def get_regs(self, device: NetDevice) -> dict[str, int]:
        """`ethtool -d`: by name, in its order; none that a read changes, but for the PHY's counters of errors."""
        hw = self.adapter.hw
        values = {name: self.adapter.bus.read(getattr(regs, name)) for name in REGISTERS}
        values |= {name: hw.read_phy(register) for name, register in PHY_REGISTERS.items()}
        return values | {"MANC": self.adapter.bus.read(regs.MANC)}

    def get_regs_raw(self, device: NetDevice) -> tuple[int, bytes]:
        """`ethtool -d raw on`: (version, 32 little-endian words), as e1000_get_regs lays them out."""
        values = self.get_regs(device)
        status, control, gigabit = values["PHY_SPEC_STATUS"], values["PHY_SPEC_CTRL"], values["PHY_1000T_STATUS"]
        m88 = (0, status, 0, 0, 0, control, status, 0, control, gigabit & IDLE_ERRORS, values["PHY_RX_ERRORS"], status, gigabit, gigabit)
        words = [values[name] for name in REGISTERS] + [*m88, values["MANC"]]
        device_id = self.adapter.hw.pci_ids()[1]
        revision = self.adapter.bus.config_read(8, 1)
        return 1 << 24 | revision << 16 | device_id, struct.pack("<32I", *words, *[0] * (32 - len(words)))

    def get_strings(self, device: NetDevice, stringset: str = "stats") -> tuple[str, ...]:
        """The names of `ethtool -S`, or with "test" those of `ethtool -t`."""
        return TEST_NAMES if stringset == "test" else tuple(name for name, _ in GSTRINGS_STATS)

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
