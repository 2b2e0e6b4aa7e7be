"""The PHY's registers by ioctl (the kernel's e1000_mii_ioctl)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from e1000.driver.hw import MII_CR_AUTO_NEG_EN, MII_CR_POWER_DOWN, PHY_ADDRESS, PHY_CTRL
from e1000.driver.phy import M88_EXT_PHY_SPEC_CTRL, M88_PHY_SPEC_CTRL, MII_CR_FULL_DUPLEX, MII_CR_RESET, MII_CR_SPEED_100, SUPPORTED
from softnet.mii import SIOCGMIIPHY, SIOCGMIIREG, SIOCSMIIREG, MiiIoctlData

if TYPE_CHECKING:
    from e1000.driver.control import E1000Adapter
    from softnet.netdev import NetDevice

MAX_REGISTER = 0x1F
MII_CR_SPEED_1000 = 0x0040


def mii_ioctl(adapter: E1000Adapter, device: NetDevice, command: int, argument: object) -> None:
    """SIOCGMIIPHY, SIOCGMIIREG, SIOCSMIIREG with a MiiIoctlData. rtnl.

    Raises OSError: EOPNOTSUPP for another command, ENODEV while it is suspended, EFAULT for another argument or a write to a register
    above 31, EINVAL for a speed there is not, EIO if the PHY does not answer; what `reinit` does.
    """
    if command not in (SIOCGMIIPHY, SIOCGMIIREG, SIOCSMIIREG):
        raise OSError(errno.EOPNOTSUPP, f"{device.name}: its ioctls are SIOCGMIIPHY, SIOCGMIIREG and SIOCSMIIREG, not {command:#x}")
    if adapter.power.suspended:
        raise OSError(errno.ENODEV, f"{device.name} is suspended: resume it first")
    if not isinstance(argument, MiiIoctlData):
        raise OSError(errno.EFAULT, f"{device.name}: the argument of this ioctl is a MiiIoctlData, not {argument!r}")
    if command == SIOCGMIIPHY:
        argument.phy_id = PHY_ADDRESS
    elif command == SIOCGMIIREG:
        argument.val_out = adapter.hw.read_phy(argument.reg_num & MAX_REGISTER)
    else:
        write_register(adapter, device, argument.reg_num, argument.val_in)


def write_register(adapter: E1000Adapter, device: NetDevice, register: int, value: int) -> None:
    """And what follows from it: the driver, too, must know how the link is made, or its next reset would undo it."""
    if register > MAX_REGISTER:
        raise OSError(errno.EFAULT, f"{device.name}: a PHY has registers 0 to {MAX_REGISTER}, not {register}")
    adapter.hw.write_phy(register, value)
    if register == PHY_CTRL and not value & MII_CR_POWER_DOWN:
        take_over(adapter, value)
        if device.up:
            adapter.reinit(device)
        else:
            adapter.mtu = device.mtu
            adapter.reset_hw()
    elif register in (M88_PHY_SPEC_CTRL, M88_EXT_PHY_SPEC_CTRL):  # they count from a reset on (e1000_phy_reset)
        adapter.hw.write_phy(PHY_CTRL, adapter.hw.read_phy(PHY_CTRL) | MII_CR_RESET)


def take_over(adapter: E1000Adapter, control: int) -> None:
    """What PHY_CTRL says, as the driver's wish: all modes, or one speed; that of a mere MII_CR_RESET is 10, as in the kernel."""
    if control & MII_CR_AUTO_NEG_EN:
        adapter.copper.advertise(SUPPORTED)
    else:
        speed = 1000 if control & MII_CR_SPEED_1000 else 100 if control & MII_CR_SPEED_100 else 10
        adapter.copper.force(speed, bool(control & MII_CR_FULL_DUPLEX))
