"""Register offsets in BAR0 and their bits: §13 of the manual, once, for C and for Python."""

cpdef enum:
    CTRL = 0x0000
    CTRL_DUP = 0x0004   # CTRL again
    STATUS = 0x0008
    EECD = 0x0010
    EERD = 0x0014
    CTRL_EXT = 0x0018
    MDIC = 0x0020
    FCAL = 0x0028
    FCAH = 0x002C
    FCT = 0x0030
    VET = 0x0038
    ICR = 0x00C0
    ITR = 0x00C4
    ICS = 0x00C8
    IMS = 0x00D0
    IMC = 0x00D8
    RCTL = 0x0100
    FCTTV = 0x0170
    TXCW = 0x0178
    RXCW = 0x0180
    TCTL = 0x0400
    TIPG = 0x0410
    AIT = 0x0458
    LEDCTL = 0x0E00
    PBA = 0x1000
    FCRTL = 0x2160
    FCRTH = 0x2168
    RDFH = 0x2410
    RDFT = 0x2418
    RDFHS = 0x2420
    RDFTS = 0x2428
    RDFPC = 0x2430
    RDBAL = 0x2800
    RDBAH = 0x2804
    RDLEN = 0x2808
    RDH = 0x2810
    RDT = 0x2818
    RDTR = 0x2820
    RXDCTL = 0x2828
    RADV = 0x282C
    RSRPD = 0x2C00
    TXDMAC = 0x3000
    TDFH = 0x3410
    TDFT = 0x3418
    TDFHS = 0x3420
    TDFTS = 0x3428
    TDFPC = 0x3430
    TDBAL = 0x3800
    TDBAH = 0x3804
    TDLEN = 0x3808
    TDH = 0x3810
    TDT = 0x3818
    TIDV = 0x3820
    TXDCTL = 0x3828
    TADV = 0x382C
    TSPMT = 0x3830
    # Statistics (§13.7): 0x4000 to 0x40FC
    CRCERRS = 0x4000
    ALGNERRC = 0x4004
    SYMERRS = 0x4008
    RXERRC = 0x400C
    MPC = 0x4010
    SCC = 0x4014
    ECOL = 0x4018
    MCC = 0x401C
    LATECOL = 0x4020
    COLC = 0x4028
    DC = 0x4030
    TNCRS = 0x4034
    SEC = 0x4038
    CEXTERR = 0x403C
    RLEC = 0x4040
    XONRXC = 0x4048
    XONTXC = 0x404C
    XOFFRXC = 0x4050
    XOFFTXC = 0x4054
    FCRUC = 0x4058
    PRC64 = 0x405C
    PRC127 = 0x4060
    PRC255 = 0x4064
    PRC511 = 0x4068
    PRC1023 = 0x406C
    PRC1522 = 0x4070
    GPRC = 0x4074
    BPRC = 0x4078
    MPRC = 0x407C
    GPTC = 0x4080
    GORCL = 0x4088
    GORCH = 0x408C
    GOTCL = 0x4090
    GOTCH = 0x4094
    RNBC = 0x40A0
    RUC = 0x40A4
    RFC = 0x40A8
    ROC = 0x40AC
    RJC = 0x40B0
    MGTPRC = 0x40B4
    MGTPDC = 0x40B8
    MGTPTC = 0x40BC
    TORL = 0x40C0
    TORH = 0x40C4
    TOTL = 0x40C8
    TOTH = 0x40CC
    TPR = 0x40D0
    TPT = 0x40D4
    PTC64 = 0x40D8
    PTC127 = 0x40DC
    PTC255 = 0x40E0
    PTC511 = 0x40E4
    PTC1023 = 0x40E8
    PTC1522 = 0x40EC
    MPTC = 0x40F0
    BPTC = 0x40F4
    TSCTC = 0x40F8
    TSCTFC = 0x40FC
    RXCSUM = 0x5000
    MTA = 0x5200        # 128 words
    RAL0 = 0x5400       # RAL and RAH, 16 pairs
    RAH0 = 0x5404
    VFTA = 0x5600       # 128 words
    WUC = 0x5800
    WUFC = 0x5808
    WUS = 0x5810
    IPAV = 0x5838
    IP4AT = 0x5840      # 4 addresses, 8 bytes apart
    IP6AT = 0x5880      # 4 words
    WUPL = 0x5900
    WUPM = 0x5A00       # 32 words
    SWSM = 0x5B50       # a semaphore of later cards
    FFLT = 0x5F00       # 4 filters, 8 bytes apart
    FFMT = 0x9000       # 128 bytes of the packet, 8 bytes apart
    FFVT = 0x9800
    MANC = 0x5820
    PBM = 0x10000       # packet buffer memory, 64 KiB

cpdef enum:                          # §13.4.1
    CTRL_FD = 1 << 0
    CTRL_ASDE = 1 << 5
    CTRL_SLU = 1 << 6
    CTRL_ILOS = 1 << 7
    CTRL_SPEED_1000 = 2 << 8
    CTRL_SPEED_SHIFT = 8
    CTRL_FRCSPD = 1 << 11
    CTRL_FRCDPLX = 1 << 12
    CTRL_ADVD3WUC = 1 << 20
    CTRL_MDIO = 1 << 20             # with MDC_DIR: MDIO and MDC by hand, as on an 82543
    CTRL_MDC = 1 << 21
    CTRL_MDIO_DIR = 1 << 24
    CTRL_MDC_DIR = 1 << 25
    CTRL_RST = 1 << 26
    CTRL_RFCE = 1 << 27
    CTRL_TFCE = 1 << 28
    CTRL_VME = 1 << 30

cpdef enum:                          # §13.4.3
    EECD_SK = 1 << 0
    EECD_CS = 1 << 1
    EECD_DI = 1 << 2
    EECD_DO = 1 << 3
    EECD_FWE_DIS = 1 << 4
    EECD_FWE = 3 << 4
    EECD_REQ = 1 << 6
    EECD_GNT = 1 << 7
    EECD_PRES = 1 << 8
    EECD_SIZE = 1 << 9

cpdef enum:                          # §13.4.4
    EERD_START = 1 << 0
    EERD_DONE = 1 << 4
    EERD_ADDR_SHIFT = 8
    EERD_DATA_SHIFT = 16

cpdef enum:                          # §13.4.6
    CTRL_EXT_ASDCHK = 1 << 12
    CTRL_EXT_EE_RST = 1 << 13

cpdef enum:                          # §13.4.7
    MDIC_REG_SHIFT = 16
    MDIC_PHY_SHIFT = 21
    MDIC_OP_WRITE = 1 << 26
    MDIC_OP_READ = 2 << 26
    MDIC_READY = 1 << 28
    MDIC_INT_EN = 1 << 29
    MDIC_ERROR = 1 << 30

cpdef enum:                        # §13.4.2
    STATUS_FD = 1 << 0
    STATUS_LU = 1 << 1
    STATUS_TXOFF = 1 << 4
    STATUS_SPEED_1000 = 2 << 6
    STATUS_SPEED_SHIFT = 6
    STATUS_ASDV_SHIFT = 8

cpdef enum:                           # §13.4.17: causes, the same bits in ICS, IMS and IMC
    ICR_TXDW = 1 << 0
    ICR_TXQE = 1 << 1
    ICR_LSC = 1 << 2
    ICR_RXSEQ = 1 << 3
    ICR_RXDMT0 = 1 << 4
    ICR_RXO = 1 << 6
    ICR_RXT0 = 1 << 7
    ICR_MDAC = 1 << 9
    ICR_RXCFG = 1 << 10
    ICR_PHYINT = 1 << 12
    ICR_TXD_LOW = 1 << 15
    ICR_SRPD = 1 << 16

cpdef enum:                          # §13.4.30
    RDTR_DELAY = 0xFFFF

cpdef enum:                          # §13.4.43, §13.4.46: TXDCTL and RXDCTL
    DCTL_WTHRESH_SHIFT = 16
    DCTL_GRAN = 1 << 24
    TXDCTL_LWTHRESH_SHIFT = 25

cpdef enum:                          # §13.6.1
    WUC_APME = 1 << 0
    WUC_PME_EN = 1 << 1
    WUC_PME_STATUS = 1 << 2
    WUC_APMPME = 1 << 3

cpdef enum:                          # §13.6.2: kinds of packet, the same bits in WUS
    WUFC_LNKC = 1 << 0
    WUFC_MAG = 1 << 1
    WUFC_EX = 1 << 2
    WUFC_MC = 1 << 3
    WUFC_BC = 1 << 4
    WUFC_ARP = 1 << 5
    WUFC_IPV4 = 1 << 6
    WUFC_IPV6 = 1 << 7
    WUFC_FLX0 = 1 << 16
    WUFC_FLEXIBLE = 15 << 16

cpdef enum:                          # §13.6.4
    IPAV_V40 = 1 << 0
    IPAV_V60 = 1 << 16

cpdef enum:                          # §13.4.22
    RCTL_EN = 1 << 1
    RCTL_SBP = 1 << 2
    RCTL_UPE = 1 << 3
    RCTL_MPE = 1 << 4
    RCTL_LPE = 1 << 5
    RCTL_LBM = 3 << 6
    RCTL_LBM_MAC = 1 << 6
    RCTL_LBM_PHY = 3 << 6
    RCTL_RDMTS_SHIFT = 8
    RCTL_MO_SHIFT = 12
    RCTL_BAM = 1 << 15
    RCTL_BSIZE_SHIFT = 16
    RCTL_VFE = 1 << 18
    RCTL_CFIEN = 1 << 19
    RCTL_CFI = 1 << 20
    RCTL_DPF = 1 << 22
    RCTL_PMCF = 1 << 23
    RCTL_BSEX = 1 << 25
    RCTL_SECRC = 1 << 26

cpdef enum:                          # §13.4.33
    TCTL_EN = 1 << 1
    TCTL_PSP = 1 << 3
    TCTL_CT_SHIFT = 4
    TCTL_COLD_SHIFT = 12
    TCTL_SWXOFF = 1 << 22
    TCTL_RTLC = 1 << 24

cpdef enum:                          # §13.4.47
    RXCSUM_PCSS = 0xFF
    RXCSUM_IPOFL = 1 << 8
    RXCSUM_TUOFL = 1 << 9
    RXCSUM_IPV6OFL = 1 << 10

cpdef enum:                           # §13.5.3
    RAH_AS_SHIFT = 16

cpdef enum:
    MAX_FRAME = 16384               # bytes with CRC; longer is dropped even with LPE
    MAX_STANDARD_FRAME = 1522       # bytes with CRC without LPE, VLAN tag or not
    MIN_FRAME = 64                  # bytes with CRC
    CRC_LENGTH = 4
    MAX_TX_BUFFER = 16288           # bytes in one legacy descriptor (§3.3.3)

# Bit 31 does not fit an enum's int; their Python names are in regs.pyx.
cdef extern from *:
    """
    #define FASTRING_FCRTL_XONE 0x80000000u
    #define FASTRING_CTRL_PHY_RST 0x80000000u
    #define FASTRING_RAH_AV 0x80000000u
    #define FASTRING_RDTR_FPD 0x80000000u
    """
    const unsigned int FCRTL_XONE "FASTRING_FCRTL_XONE"
    const unsigned int CTRL_PHY_RST "FASTRING_CTRL_PHY_RST"
    const unsigned int RAH_AV "FASTRING_RAH_AV"
    const unsigned int RDTR_FPD "FASTRING_RDTR_FPD"
