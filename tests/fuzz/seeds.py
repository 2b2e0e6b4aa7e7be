"""Where the fuzzers start, one file each: python tests/fuzz/seeds.py device|capture|vfio_user FOLDER

For the device: scripts of what drivers really do. For the capture reader: the captures of tests/data, as far as an input is long.
For the vfio-user server: seeds_vfio_user.

Actions and registers are read out of the harness, so that a seed means what it says as long as the harness does.
"""

import gzip
import re
import struct
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
import seeds_vfio_user

HERE = Path(__file__).parent
SCRIPT = (HERE / "fuzz_script.pxd").read_text()
ACTIONS = {
    name: i for i, name in enumerate(re.findall(r"^    ([A-Z_]+)(?: +#|$)", SCRIPT.partition("cpdef enum:")[2].partition("\n\n")[0], re.M))
}
NAMES = re.search(r"REGISTER_NAMES = \((.*?)\n\)", (HERE / "fuzz_host.pyx").read_text(), re.S)[1]
REGISTERS = {name: i for i, name in enumerate(re.findall(r'"(\w+)"', NAMES))}


def do(action, *content):
    """One action; what follows it as ints of one byte, or bytes."""
    return bytes([ACTIONS[action]]) + b"".join(c if isinstance(c, bytes) else bytes([c]) for c in content)


def u16(value):
    return struct.pack("<H", value)


def u32(value):
    return struct.pack("<I", value)


def write(register, value):
    return do("WRITE", REGISTERS[register], 0xFF, u32(value))


def read(register):
    return do("READ", REGISTERS[register])


def packet(layers, length, how=0, noise=1, extra=b""):
    return bytes([layers, how]) + u16(length) + bytes([noise]) + extra


IPV4, IPV6, TAG, PAUSE, MAGIC = 4 << 4, 5 << 4, 8, 1 << 4, 2 << 4
TAG_7 = u16(7 << 8)
UDP, OPTIONS, FRAGMENT, BAD_IP, BAD_TRANSPORT = 1, 2, 4, 16, 32
RINGS = do("RINGS", 0x8A)  # 32 descriptors, INTx
BUFFER = bytes([2, 0])  # the buffers' first byte, as take_address reads it
SECOND = do("CLOCK", 250, 22)


def phy(register, value):
    return do("PHY", register, u16(value))


def frames(*packets, pieces=1, lossless=False, errors=b""):
    return do("FRAMES", len(packets) - 1 | (pieces - 1) << 3 | lossless << 6 | (len(errors) << 7), errors, *packets)


def rings(rctl, tctl=0x3F0F8, how=0x8A):
    return do("RINGS", how | 0x30, 0xFF, u32(rctl), 0xFF, u32(tctl))


def send(*descriptors, slot=0):
    return do("TX_DESCRIPTORS", slot, len(descriptors), *descriptors) + do("DOORBELL", len(descriptors))


def legacy(length, how=0x0B, extra=b""):
    return bytes([how]) + BUFFER + u16(length) + extra


def data(length, how=0x4B, options=0):
    return bytes([how]) + BUFFER + u16(length) + bytes([options])


def segments(layers, length, mss, parts, how=0, extra=b"", options=0):
    return do("TSO", how, u16(mss), parts - 1, packet(layers, length, options, extra=extra))


def eeprom(bits, count, how=0):
    return do("EEPROM", how | count, u32(bits << (32 - count)))


SEEDS = {
    "probe": read("STATUS")
    + write("IMC", 0xFFFFFFFF)
    + do("IO", 0x82, 0, 0, 0)
    + do("IO", 0x92, 0xFF, u32(1 << 26))
    + eeprom(0b110000001, 25, 0x80)
    + write("EERD", 1)
    + read("EERD")
    + do("PHY", 0x80)
    + phy(0, 0x9140)
    + SECOND
    + do("PHY", 0x81),
    "eeprom write": eeprom(0b100110000, 9)
    + eeprom(0b101000001 << 16 | 0xBEEF, 25)
    + eeprom(0b111000001, 9)
    + eeprom(0b100010000 << 16, 25)
    + eeprom(0b100100000, 9)
    + eeprom(0b100000000, 9)
    + do("RESET", 3),
    "receive": RINGS
    + frames(packet(IPV4, 100), packet(IPV4 | 1, 1514, UDP), packet(IPV6 | 3, 300, UDP))
    + read("ICR")
    + do("DOORBELL", 0x84)
    + frames(packet(IPV6, 90), pieces=4)
    + read("GPRC")
    + read("TORH"),
    "receive all": write("RXCSUM", 0x300)
    + rings(0x0400803E | 1 << 25 | 3 << 16)
    + frames(packet(IPV4, 9000), packet(0x33, 40))
    + frames(packet(IPV4, 200, OPTIONS | BAD_IP), packet(IPV4, 300, UDP | BAD_TRANSPORT), packet(IPV4, 80, FRAGMENT))
    + frames(packet(IPV4, 16380), pieces=8)
    + frames(packet(IPV4, 16381)),
    "receive bad frames": RINGS
    + b"".join(frames(packet(IPV4, 100), packet(IPV4, 30), packet(IPV4, 1600), errors=bytes([1 << i])) for i in range(1, 7))
    + rings(0x8006)
    + frames(packet(IPV4, 100), packet(IPV4, 30), errors=b"\x7e"),
    "receive small buffers, CRC": rings(0x8022 | 3 << 16) + frames(packet(IPV4, 1514), packet(IPV4 | TAG, 1518, extra=TAG_7), pieces=3),
    "VLAN": write("CTRL", 0x40000241)
    + do("FLIP", REGISTERS["VFTA"], 7)
    + rings(0x04048002)
    + frames(packet(IPV4 | TAG, 200, extra=TAG_7))
    + frames(packet(IPV4 | TAG, 200, extra=u16(0x1008)))
    + write("VET", 0x8100)
    + frames(packet(IPV6 | TAG, 64, extra=TAG_7))
    + send(legacy(100, 0x1F, b"\x10\x0e" + u16(0x2007)), data(200, 0x5B) + u16(5)),
    "FIFO": do("RINGS", 0xC8) + frames(*[packet(IPV4, 1514)] * 8) * 6 + do("DOORBELL", 0x87) * 8,
    "lossless": do("RINGS", 0xC8)
    + frames(*[packet(IPV4, 500)] * 8, lossless=True)
    + do("DOORBELL", 0x87)
    + frames(packet(1, 60), lossless=True),
    "transmit": RINGS
    + do("PACKET", BUFFER, packet(IPV4 | 1, 1514))
    + send(legacy(60), legacy(1514), legacy(30), data(1000, 0x4A), data(500)),
    "transmit many": do("RINGS", 0x0D)
    + send(*[legacy(60)] * 79)
    + do("DOORBELL", 79)
    + send(*[legacy(5, 0x08)] * 78, legacy(60), slot=158)
    + do("WIRE", 0x02)
    + send(*[legacy(90)] * 8, slot=237)
    + do("WIRE", 0x47),
    "checksum": RINGS + segments(IPV4, 500, 0, 3, 8) + segments(IPV6, 500, 0, 2, 8) + segments(IPV4, 300, 0, 1, 8, options=UDP),
    "TSO": RINGS
    + segments(IPV4, 9000, 1448, 3, options=OPTIONS)
    + segments(IPV6, 5000, 1400, 7)
    + segments(IPV4, 4000, 1000, 2, options=UDP)
    + segments(IPV6 | TAG, 3000, 512, 2, extra=TAG_7, options=UDP),
    "TSO cut": RINGS + segments(IPV4, 9000, 1448, 8, 0x20) + do("WIRE", 3) + segments(IPV4, 9000, 100, 2) + do("WIRE", 0x47),
    "TSO wrong": RINGS + segments(IPV4, 9000, 0, 3) + segments(IPV4, 100, 1448, 3, 0x40) + segments(IPV4, 1000, 100, 3, 0x85),
    "pause": write("FCTTV", 0x100)
    + write("FCRTL", 0x80000800)
    + write("FCRTH", 0x1000)
    + write("CTRL", 0x18000241)
    + write("FCT", 0x8808)
    + write("FCAL", 0x00C28001)
    + write("FCAH", 0x0100)
    + rings(0x0080803E)
    + frames(packet(PAUSE | 4, 60, extra=b"\x01" + u16(100)))
    + send(legacy(100))
    + SECOND
    + do("RINGS", 0xC8)
    + frames(*[packet(IPV4, 1514)] * 8) * 4,
    "timers": write("ITR", 195)
    + write("RDTR", 10)
    + write("RADV", 20)
    + write("TIDV", 8)
    + write("TADV", 32)
    + write("RSRPD", 128)
    + RINGS
    + frames(packet(IPV4, 60))
    + do("CLOCK", 20, 10)
    + frames(packet(IPV4, 1514))
    + send(legacy(60, 0x0B | 1))
    + SECOND
    + read("ICR")
    + SECOND,
    "write-back": write("TXDCTL", 0x01010000)
    + write("RXDCTL", 0x01080000)
    + do("FLIP", REGISTERS["TXDCTL"], 25)
    + RINGS
    + send(*[legacy(60)] * 9)
    + frames(packet(IPV4, 60))
    + SECOND,
    "loopback": rings(0x040080C2) + write("CTRL", 0x241) + phy(0, 0x4140) + send(legacy(100), legacy(1514)) + SECOND,
    "echo": RINGS + do("WIRE", 0x0F) + send(*[legacy(100)] * 4) + do("WIRE", 0x3F) + send(legacy(200), slot=4) + do("RESET", 0),
    "wake": write("WUC", 2)
    + write("WUFC", 0xFFFF)
    + do("CONFIG", 0x81, 0xE0, 0xFF, u32(0x103))
    + frames(packet(MAGIC, 130), packet(IPV4, 60))
    + do("CONFIG", 0x81, 0xE0, 0)
    + read("WUS")
    + do("CONFIG", 1, 0xE0),
    "MSI": do("CONFIG", 0x82, 0xF4, 0xFF, u32(0x100100))
    + do("CONFIG", 0x81, 0xF2, 1)
    + RINGS
    + frames(packet(IPV4, 60))
    + read("ICR")
    + do("CONFIG", 0x81, 4, 2)
    + frames(packet(IPV4, 60))
    + do("CONFIG", 0x81, 4, 6),
    "link": do("CABLE", 0) + SECOND + do("CABLE", 1) + SECOND + phy(0, 0x2100) + SECOND + phy(0, 0x0800) + phy(0, 0x1000) + do("PHY", 0xB1),
    "snapshots": RINGS
    + frames(packet(IPV4, 60))
    + do("SNAPSHOT")
    + do("RINGS", 0xC8)
    + frames(*[packet(IPV4, 1514)] * 8)
    + do("SNAPSHOT")
    + do("DOORBELL", 0x87)
    + do("FORGE", 2, u16(0), 0, u16(100), 1)
    + do("CABLE", 1)
    + do("SNAPSHOT")
    + SECOND
    + do("FORGE", 0),
    "watched": do("WATCH", 3)
    + RINGS
    + frames(packet(IPV4, 60), packet(IPV4, 1514), packet(IPV4, 1600))
    + send(legacy(60), data(100), legacy(20, 0x0A))
    + segments(IPV4, 3000, 1000, 3)
    + do("IO", 0x82, 0xFF, u32(0x10))
    + do("CONFIG", 0x81, 4, 6)
    + read("ICR")
    + do("WATCH", 2)
    + write("RDLEN", 77)
    + write("TDT", 4000)
    + write("RDBAL", 0x1008)
    + do("EEPROM", 9, u32(0xC0000000))
    + write("STATUS", 5)
    + do("RESET", 0)
    + frames(packet(IPV4, 60)),
    "faults": do("WATCH", 4)
    + RINGS
    + 4 * (frames(packet(IPV4, 60), packet(IPV4, 1514)) + send(legacy(60), data(100), legacy(600, 0x0A)))
    + SECOND
    + write("RDLEN", 0x80)
    + write("TDLEN", 0x80)
    + segments(IPV4, 3000, 1000, 3)
    + do("SNAPSHOT")
    + read("ICR")
    + do("RESET", 0)
    + do("WATCH", 0),
    "MDIO": do("MDIO", 0xA0, u32(0x30000000)) + do("MDIO", 0xE0, u32(0x00040000)) + do("MDIO", 0xA0, u32(0x10001200)),
    "resets": RINGS + frames(packet(IPV4, 60)) + do("RESET", 0) + do("RESET", 1) + do("RESET", 3) + RINGS + frames(packet(IPV4, 60)),
}


LONGEST = 4096  # bytes of an input


def captures():
    """(name, input): each capture's beginning, plain and gzipped, with each kind of walk."""
    for path in sorted((HERE.parent / "data").rglob("*.pcap*")):
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        for options in (0x06, 0xF7, 0x3E):
            yield f"{path.stem}-{options:02x}", bytes([options]) + data[: LONGEST - 1]


def main(harness, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds_vfio_user.inputs() if harness == "vfio_user" else SEEDS.items() if harness == "device" else captures():
        (folder / name.replace(" ", "-").replace(",", "")).write_bytes(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
