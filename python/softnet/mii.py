"""A PHY's registers by ioctl, as mii-tool asks for them (linux/sockios.h, linux/mii.h): see NetDevice.eth_ioctl."""

from __future__ import annotations

import ctypes

SIOCGMIIPHY, SIOCGMIIREG, SIOCSMIIREG = 0x8947, 0x8948, 0x8949  # the PHY's address; a register of it; the same, written


class MiiIoctlData(ctypes.Structure):
    """struct mii_ioctl_data. The driver fills in `phy_id` for SIOCGMIIPHY, `val_out` for SIOCGMIIREG; SIOCSMIIREG writes `val_in`."""

    phy_id: int
    reg_num: int
    val_in: int
    val_out: int
    _fields_ = tuple((name, ctypes.c_uint16) for name in ("phy_id", "reg_num", "val_in", "val_out"))
