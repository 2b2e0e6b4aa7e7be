"""Captures built byte by byte (other tests take the builders from here), and that libpcap and scapy read the same records from them."""

import ctypes
import ctypes.util
import struct
from typing import NamedTuple

import pytest
from scapy.utils import RawPcapNgReader, RawPcapReader

from fastring.capture import Capture

SECOND = 1_000_000_000


class Packet(NamedTuple):
    """One record as it is written: units of the file's resolution since 1970."""

    units: int
    data: bytes
    orig: int | None = None
    interface: int = 0

    @property
    def wirelen(self):
        return len(self.data) if self.orig is None else self.orig


def pcap(packets, *, order="<", nano=False, version=(2, 4), snaplen=262144, linktype=1, swap_lengths=False):
    """A pcap; `units` are micro- or nanoseconds."""
    per_second = SECOND if nano else 1_000_000
    out = [struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, *version, 0, 0, snaplen, linktype)]
    for packet in packets:
        lengths = len(packet.data), packet.wirelen
        out.append(struct.pack(order + "IIII", *divmod(packet.units, per_second), *(reversed(lengths) if swap_lengths else lengths)))
        out.append(packet.data)
    return b"".join(out)


def block(kind, body, *, order="<"):
    """A pcapng block, padded and with its length at both ends."""
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + total + body + total


def section(*, order="<", version=(1, 0), length=-1, magic=0x1A2B3C4D):
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", magic, *version, length), order=order)


def interface(*, order="<", linktype=1, snaplen=262144, tsresol=None, tsoffset=None, options=b""):
    if tsresol is not None:
        options += struct.pack(order + "HHBxxx", 9, 1, tsresol)
    if tsoffset is not None:
        options += struct.pack(order + "HHq", 14, 8, tsoffset)
    if options:
        options += bytes(4)
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + options, order=order)


def enhanced(packet, *, order="<", options=b""):
    head = struct.pack(order + "IIIII", packet.interface, packet.units >> 32, packet.units & 0xFFFFFFFF, len(packet.data), packet.wirelen)
    return block(6, head + packet.data + bytes(-len(packet.data) % 4) + options, order=order)


def obsolete(packet, *, order="<"):
    head = struct.pack(order + "HHIIII", packet.interface, 7, packet.units >> 32, packet.units & 0xFFFFFFFF, len(packet.data),
                       packet.wirelen)
    return block(2, head + packet.data, order=order)


def simple(data, *, orig=None, order="<"):
    return block(3, struct.pack(order + "I", len(data) if orig is None else orig) + data, order=order)


T = 1_700_000_000_123_456       # microseconds
PACKETS = [Packet(T, b"a" * 60), Packet(T + 1, b"b" * 61), Packet(T + 5, b"c" * 64, 1514), Packet(T - 9, bytes(range(256)) * 5 + b"x"),
           Packet(T + 10, b"d" * 9000)]

FILES = {
    **{f"pcap{order}{'ns' if nano else 'us'}": pcap(PACKETS, order=order, nano=nano) for order in "<>" for nano in (False, True)},
    "old lengths": pcap(PACKETS, version=(2, 2), swap_lengths=True),
    "version 2.3": pcap(PACKETS[:2], version=(2, 3)) + pcap([PACKETS[2]], swap_lengths=True)[24:],
    "DG/UX": pcap(PACKETS, version=(543, 0), swap_lengths=True),
    "longer than snaplen": pcap(PACKETS, snaplen=62),
    "fraction past a second": pcap([]) + struct.pack("<IIII", 1000, 2_500_000, 4, 4) + b"late",
    "orig below caplen": pcap([Packet(T, b"z" * 60, 40), Packet(T, b"y" * 50, 0)]),
    "empty among others": pcap([PACKETS[0], Packet(T, b"", 60), PACKETS[1]]),
    **{f"pcapng{order}": section(order=order) + interface(order=order) + b"".join(enhanced(p, order=order) for p in PACKETS)
       for order in "<>"},
    "several interfaces": section() + interface() + interface(tsresol=9) + interface(tsresol=3, tsoffset=1000) + interface(tsresol=0x8A)
    + interface(tsresol=10) + interface(tsresol=0) + interface(tsresol=0x80 | 20, tsoffset=-5)
    + b"".join(enhanced(Packet(int(1_699_999_999.987654321 * ticks), bytes([n]) * (60 + n), None, n))
               for n, ticks in enumerate((10**6, 10**9, 10**3, 2**10, 10**10, 1, 2**20))),
    "all packet blocks": section(length=400) + block(0xBAD, b"unknown block") + interface(snaplen=100)
    + enhanced(PACKETS[0], options=b"\1\0\4\0text" + bytes(4)) + simple(b"s" * 90)
    + simple(b"t" * 100, orig=1514) + obsolete(PACKETS[1]) + block(5, bytes(12)),
    "two sections": section(version=(1, 2)) + interface() + enhanced(PACKETS[0]) + section() + interface(tsresol=9) + enhanced(PACKETS[1]),
}


class Frame(ctypes.Structure):
    """The C struct of burst.pxd: what Python is not shown of a packet."""

    _fields_ = [("data", ctypes.c_void_p), ("iova", ctypes.c_uint64), ("time", ctypes.c_int64), ("len", ctypes.c_uint32),
                ("buffer", ctypes.c_uint32), ("wire_len", ctypes.c_uint32), ("flags", ctypes.c_uint16), ("queue", ctypes.c_uint16)]


def frames_of(burst, count):
    """The first `count` Frames of a burst, for looking at and changing."""
    frames = id(burst) + object.__basicsize__ + 8       # behind what every object has, longer without a GIL, and the vtable
    return (Frame * count).from_address(ctypes.c_size_t.from_address(frames).value)


class PcapPacketHeader(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("frac", ctypes.c_long), ("caplen", ctypes.c_uint32), ("len", ctypes.c_uint32)]


def libpcap_records(path):
    """(time, wirelen, data) of each record, as libpcap reads them with nanoseconds; and its error text, if it stopped at one."""
    name = ctypes.util.find_library("pcap")
    if name is None:
        pytest.skip("libpcap is not installed")
    lib = ctypes.CDLL(name)
    lib.pcap_open_offline_with_tstamp_precision.restype = ctypes.c_void_p
    lib.pcap_geterr.restype = ctypes.c_char_p
    lib.pcap_geterr.argtypes = lib.pcap_close.argtypes = [ctypes.c_void_p]
    errors = ctypes.create_string_buffer(256)
    handle = lib.pcap_open_offline_with_tstamp_precision(str(path).encode(), 1, errors)
    if not handle:
        return [], errors.value.decode()
    header, data = ctypes.POINTER(PcapPacketHeader)(), ctypes.POINTER(ctypes.c_uint8)()
    records = []
    while (outcome := lib.pcap_next_ex(ctypes.c_void_p(handle), ctypes.byref(header), ctypes.byref(data))) == 1:
        h = header.contents
        records.append((h.sec * SECOND + h.frac, h.len, ctypes.string_at(data, h.caplen)))
    error = lib.pcap_geterr(handle).decode() if outcome == -1 else None
    lib.pcap_close(handle)
    return records, error


def our_records(capture):
    """The same of ours, out of the index."""
    data = capture.data
    return [(int(e["time"]), int(e["wirelen"]), bytes(data[e["offset"] : e["offset"] + e["caplen"]])) for e in capture.index()]


@pytest.mark.parametrize("name", FILES)
def test_every_record_is_the_same_to_libpcap(tmp_path, name):
    path = tmp_path / "capture"
    path.write_bytes(FILES[name])
    theirs, error = libpcap_records(path)
    assert error is None
    with Capture(path) as capture:
        # An original length below the captured one is raised to it, and a record without a byte is no frame.
        assert our_records(capture) == [(time, max(orig, len(data)), data) for time, orig, data in theirs if data]


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith("pcap")])
def test_every_record_is_the_same_to_scapy(tmp_path, name):
    path = tmp_path / "capture"
    path.write_bytes(FILES[name])
    theirs = []
    if name.startswith("pcapng"):
        with RawPcapNgReader(str(path)) as reader:
            for data, meta in reader:
                theirs.append((((meta.tshigh << 32) + meta.tslow) * 1000, meta.wirelen, data))
    else:
        with RawPcapReader(str(path)) as reader:
            for data, meta in reader:
                theirs.append((meta.sec * SECOND + meta.usec * (1 if reader.nano else 1000), meta.wirelen, data))
    with Capture(path) as capture:
        assert our_records(capture) == theirs


@pytest.mark.parametrize("name", [n for n in FILES if n != "fraction past a second"])
@pytest.mark.parametrize("cut", [1, 5, 17, 70])
def test_a_file_that_breaks_off_gives_the_same_records_as_libpcap(tmp_path, name, cut):
    path = tmp_path / "capture"
    path.write_bytes(FILES[name][:-cut])
    theirs, error = libpcap_records(path)
    with Capture(path) as capture:
        assert our_records(capture) == [(time, max(orig, len(data)), data) for time, orig, data in theirs if data]
        assert (capture.scan().broken_off is None) == (error is None or "no Interface Description" in error)
