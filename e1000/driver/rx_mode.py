"""Which frames the card receives: 16 exact addresses, a hash for 4096 multicast ones, and flags (e1000_set_rx_mode)."""

from __future__ import annotations

from collections.abc import Iterable

from e1000 import regs
from e1000.bus.base import Bus

RAR_ENTRIES = 16  # the first is the station address
MTA_WORDS = 128
EVERYTHING = regs.RCTL_UPE | regs.RCTL_MPE
MODE = EVERYTHING | regs.RCTL_VFE


def hash_mc_addr(address: bytes) -> int:
    """The address' bit in the table: its bits 47:36, as RCTL.MO 0 has it (e1000_hash_mc_addr)."""
    return address[4] >> 4 | address[5] << 4


class RxFilter:
    """What is programmed is remembered, and only what differs is written: most calls change one address.

    Control thread, address lock.
    """

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._mode = 0
        self._rar: list[bytes | bool | None] = []
        self._mta: list[int] = []
        self.forget()

    def forget(self) -> None:
        """After a reset: of RAR and MTA everything must be written; RCTL has none of the flags."""
        self._mode = 0
        self._rar = [False] * RAR_ENTRIES
        self._mta = [-1] * MTA_WORDS

    def set_station(self, address: bytes) -> None:
        """RAR 0 (e1000_rar_set)."""
        self._set(0, address)

    def apply(
        self, *, promiscuous: bool, allmulti: bool, unicast: Iterable[bytes], multicast: Iterable[bytes], vlans: bool = False
    ) -> None:
        """Unicast first, for want of any hash: more than there are registers is unicast-promiscuous. Then multicast, then the hash.

        `vlans`: of VLANs only those in VFTA, unless it is promiscuous.
        """
        mode = EVERYTHING if promiscuous else regs.RCTL_MPE if allmulti else 0
        if vlans and not promiscuous:
            mode |= regs.RCTL_VFE
        unicast, multicast = list(unicast), list(multicast)
        if len(unicast) > RAR_ENTRIES - 1:
            mode |= regs.RCTL_UPE
        exact = [] if mode & regs.RCTL_UPE else unicast
        room = RAR_ENTRIES - 1 - len(exact)
        exact += multicast[:room]
        table = [0] * MTA_WORDS
        for address in multicast[room:]:
            bit = hash_mc_addr(address)
            table[bit >> 5] |= 1 << (bit & 31)
        self._set_mode(mode)
        for i in range(1, RAR_ENTRIES):
            self._set(i, exact[i - 1] if i <= len(exact) else None)
        for i in reversed(range(MTA_WORDS)):
            if self._mta[i] != table[i]:
                self.bus.write(regs.MTA + 4 * i, table[i])
                self._mta[i] = table[i]

    @property
    def mode(self) -> int:
        """RCTL's UPE, MPE and VFE."""
        return self._mode

    def _set_mode(self, mode: int) -> None:
        if mode != self._mode:
            self.bus.write(regs.RCTL, self.bus.read(regs.RCTL) & ~MODE | mode)
            self._mode = mode

    def _set(self, i: int, address: bytes | None) -> None:
        if self._rar[i] == address:
            return
        self._rar[i] = False  # neither, until both halves are written
        if address is None:
            self.bus.write(regs.RAL0 + 8 * i, 0)
            self.bus.write(regs.RAH0 + 8 * i, 0)
        else:
            self.bus.write(regs.RAH0 + 8 * i, 0)  # not valid while it is half written
            self.bus.write(regs.RAL0 + 8 * i, int.from_bytes(address[:4], "little"))
            self.bus.write(regs.RAH0 + 8 * i, int.from_bytes(address[4:], "little") | regs.RAH_AV)
        self._rar[i] = address
