"""Register offsets in BAR0 and their bits: §13 of the manual, once, for C and for Python. All of it is in regs.pxd,
whose enums make the Python names; the ones that an enum cannot hold get theirs here."""

globals().update(CTRL_PHY_RST=CTRL_PHY_RST, FCRTL_XONE=FCRTL_XONE, RAH_AV=RAH_AV, RDTR_FPD=RDTR_FPD)
