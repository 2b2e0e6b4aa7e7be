"""CaptureError: one line saying which file, where in it, what is wrong and what would be right; and the names it uses."""

LINKTYPES = {
    0: "NULL", 1: "ETHERNET", 3: "AX25", 6: "IEEE802_5", 7: "ARCNET_BSD", 8: "SLIP", 9: "PPP", 10: "FDDI", 50: "PPP_HDLC",
    51: "PPP_ETHER", 100: "ATM_RFC1483", 101: "RAW", 104: "C_HDLC", 105: "IEEE802_11", 107: "FRELAY", 108: "LOOP", 113: "LINUX_SLL",
    114: "LTALK", 117: "PFLOG", 119: "IEEE802_11_PRISM", 122: "IP_OVER_FC", 127: "IEEE802_11_RADIOTAP", 129: "ARCNET_LINUX",
    143: "DOCSIS", **{147 + n: f"USER{n}" for n in range(16)}, 163: "IEEE802_11_AVS", 165: "BACNET_MS_TP", 166: "PPP_PPPD",
    177: "LINUX_LAPD", 187: "BLUETOOTH_HCI_H4", 189: "USB_LINUX", 192: "PPI", 195: "IEEE802_15_4_WITHFCS", 197: "ERF",
    201: "BLUETOOTH_HCI_H4_WITH_PHDR", 204: "PPP_WITH_DIR", 219: "MPLS", 220: "USB_LINUX_MMAPPED", 224: "FC_2", 226: "IPNET",
    227: "CAN_SOCKETCAN", 228: "IPV4", 229: "IPV6", 230: "IEEE802_15_4_NOFCS", 231: "DBUS", 239: "NFLOG", 240: "NETANALYZER",
    242: "IPOIB", 243: "MPEG_2_TS", 247: "INFINIBAND", 248: "SCTP", 249: "USBPCAP", 251: "BLUETOOTH_LE_LL", 252: "WIRESHARK_UPPER_PDU",
    253: "NETLINK", 254: "BLUETOOTH_LINUX_MONITOR", 256: "BLUETOOTH_LE_LL_WITH_PHDR", 258: "PKTAP", 259: "EPON", 271: "VSOCK",
    272: "NORDIC_BLE", 274: "ETHERNET_MPACKET", 276: "LINUX_SLL2", 283: "IEEE802_15_4_TAP", 285: "DSA_TAG_EDSA",
}

# What the first bytes of other files look like; longest first where one begins another.
OTHER_FORMATS = (
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data: decompress it first"),
    (b"\xfd7zXZ\x00", "xz-compressed data: decompress it first"),
    (b"BZh", "bzip2-compressed data: decompress it first"),
    (b"\x04\x22\x4d\x18", "lz4-compressed data: decompress it first"),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"snoop\x00\x00\x00", "a snoop capture: convert it with `editcap -F pcap`"),
    (b"GMBU", "a Microsoft Network Monitor capture: convert it with `editcap -F pcap`"),
    (b"RTSS", "a Microsoft Network Monitor capture: convert it with `editcap -F pcap`"),
)

PCAP_MAGIC = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}          # -> nanoseconds in a unit of the fraction
SECTION_MAGIC = b"\n\r\r\n"                              # of pcapng

# Magic numbers that announce a pcap with other record headers.
MODIFIED_PCAP = {
    0xA1B2CD34: "Kuznetzov's modified pcap",
    0xA1B234CD: "Mesquita's modified pcap",
    0xA12B3C4D: "Navtel's modified pcap",
    0x1C0001AC: "IXIA's hardware-stamped pcap (lcap)",
    0x1C0001AB: "IXIA's software-stamped pcap (lcap)",
    0xA1B2C3CB: "a cbpf-savefile, a packet filter",
}


def linktype_name(number):
    """``ETHERNET (1)``, or the number alone where it has no name here."""
    return f"{LINKTYPES[number]} ({number})" if number in LINKTYPES else str(number)


def printable(text):
    """`text` on one line: what a terminal would act on, or could not show, is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def not_a_capture(bytes head):
    """The reason to give for a file that begins with `head` and is neither pcap nor pcapng."""
    wanted = "a capture starts with the magic number of pcap or pcapng"
    for magic, what in OTHER_FORMATS:
        if head.startswith(magic):
            return f"this is {what}"
    if head.startswith(b"\x1f\x8b"):
        return "this is gzip inside gzip, and one layer can be read: gunzip it once first"
    text = head.decode("utf-8", "ignore")
    if len(text.encode()) >= len(head) - 3 and all(c.isprintable() or c in "\t\r\n" for c in text):
        return f"this is text ({ascii(text[:20])}), and {wanted}"
    return f"the first bytes are {head[:8].hex(' ')}, and {wanted}"


class CaptureError(ValueError):
    """A capture cannot be read on from `offset` (bytes; after decompression), for `reason`. str() is one line."""

    def __init__(self, filename, offset, reason):
        super().__init__(filename, offset, reason)
        self.filename = filename
        self.offset = offset
        self.reason = reason

    def __str__(self):
        return f"{printable(self.filename)}: offset {self.offset}: {self.reason}"


CaptureError.__module__ = "fastring.capture"    # where users find it
