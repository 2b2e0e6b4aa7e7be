"""Sleep and what wakes: the card's filters, its power state, its configuration space (the kernel's e1000_suspend and e1000_resume)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from e1000 import regs
from e1000.driver.hw import HEADER, PM_D0, PM_D3HOT, PM_PME_ENABLE

if TYPE_CHECKING:
    from e1000.driver.control import E1000Adapter
    from softnet.netdev import NetDevice

# ethtool's letters for what wakes, and WUFC's bits for them: magic, unicast, multicast and broadcast packets
WAKE = {"g": regs.WUFC_MAG, "u": regs.WUFC_EX, "m": regs.WUFC_MC, "b": regs.WUFC_BC}
UNKNOWN = 1 << 32
WITHOUT_WAKE = (0x100F,)  # e1000_wol_exclusion: the 82545EM
EEPROM_APME = 0x0400  # in its word 0x24


class Power:
    """One adapter's. `wake`: WUFC bits that the next suspend arms. `suspended`: the card sleeps, and nothing but `resume` may use it."""

    def __init__(self, adapter: E1000Adapter) -> None:
        self.adapter = adapter
        self.wake = 0
        self.suspended = False
        self._control: int | None = None  # where PMCSR is
        self._header: list[int] = []  # of configuration space, while it sleeps

    @property
    def supported(self) -> int:
        """WUFC bits that this card may be given."""
        try:
            _, device = self.adapter.hw.pci_ids()
        except NotImplementedError:  # a bus without configuration space, and so without PME#
            return 0
        return 0 if device in WITHOUT_WAKE else sum(WAKE.values())

    def set_wake(self, letters: str) -> None:
        """`ethtool -s DEV wol LETTERS`; "d" is none. Raises OSError EOPNOTSUPP for one there is not, or on a card without."""
        wake = 0
        for letter in letters.replace("d", ""):
            wake |= WAKE.get(letter, UNKNOWN)
        if wake & ~self.supported:
            has = "".join(sorted(letter for letter, bit in WAKE.items() if bit & self.supported))
            raise OSError(errno.EOPNOTSUPP, f"{self.adapter.bus!r}: what wakes it is some of {has or 'nothing'!r}; not {letters!r}")
        self.wake = wake

    # --- sleep ---

    def suspend(self, device: NetDevice) -> None:
        """e1000_suspend: what runs stops, rings are given back; filters armed; D3hot. Again is harmless. rtnl.

        Raises OSError, the card awake again if it lets itself be woken; TimeoutError as `stop` does.
        """
        adapter = self.adapter
        if self.suspended:
            return
        self._control = adapter.hw.power_control()
        self._header = [] if self._control is None else [adapter.hw.read_config(offset) for offset in range(0, HEADER, 4)]
        if device.up:
            adapter.suspend_rings(device)
        self.suspended = True
        try:
            self._arm(device)
            if self._control is not None:
                adapter.hw.set_power_state(self._control, PM_D3HOT | (PM_PME_ENABLE if self.wake else 0))
        except BaseException:
            self.resume(device)
            raise

    def _arm(self, device: NetDevice) -> None:
        """__e1000_shutdown: a receiver that is set up, and off, for the filters to look with."""
        adapter, bus = self.adapter, self.adapter.bus
        if not self.wake:
            bus.write(regs.WUC, 0)
            bus.write(regs.WUFC, 0)
            return
        adapter.hw.power_up_phy()
        adapter.copper.setup(adapter.flow.wanted.advertised)
        adapter.rx_filter.forget()
        adapter.rx_filter.set_station(device.dev_addr)
        adapter.set_rx_mode(device)
        mode = adapter.rx_filter.mode | (regs.RCTL_MPE if self.wake & regs.WUFC_MC else 0)
        bus.write(regs.RCTL, mode | regs.RCTL_BAM)
        bus.write(regs.CTRL, adapter.hw.read(regs.CTRL) | regs.CTRL_ADVD3WUC)
        bus.write(regs.WUC, regs.WUC_PME_EN)
        bus.write(regs.WUFC, self.wake)

    def resume(self, device: NetDevice) -> int:
        """e1000_resume: D0, configuration space as it was, rings anew; returns what woke it: WUS. Again is harmless, and returns 0. rtnl.

        Raises OSError with the card still asleep, or if it does not come up: it is without rings then, until it is stopped and opened.
        """
        adapter = self.adapter
        if not self.suspended:
            return 0
        if self._control is not None:
            adapter.hw.set_power_state(self._control, PM_D0)
            for offset in reversed(range(0, HEADER, 4)):
                if adapter.bus.config_read(offset) != self._header[offset // 4]:
                    adapter.bus.config_write(offset, self._header[offset // 4])
        adapter.hw.reset()
        self.suspended = False
        adapter.bus.write(regs.WUC, 0)
        woken = adapter.hw.read(regs.WUS)
        adapter.bus.write(regs.WUS, woken)
        if device.up:
            adapter.resume_rings(device)
        return woken
