"""The small programs that make.py runs inside its namespaces: servers, clients and an 802.1Q trunk."""

import functools
import http.server
import itertools
import os
import random
import select
import socket
import struct
import sys
from pathlib import Path

DNS_PORT, ECHO_PORT, HTTP_PORT = 53, 7, 8080
ETH_P_ALL, ETH_P_8021Q = 0x0003, 0x8100
SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 263, 8, 1 << 4
TUNSETIFF, SIOCSIFHWADDR, SIOCGIFFLAGS, SIOCSIFFLAGS = 0x400454CA, 0x8924, 0x8913, 0x8914
IFF_TAP, IFF_NO_PI, IFF_UP, ARPHRD_ETHER = 0x0002, 0x1000, 0x1, 1
PRIORITY = 3


def write_pages(folder):
    """Write the files the web server serves: the same bytes every time."""
    folder.mkdir()
    (folder / "small.txt").write_text("one segment is enough\n")
    (folder / "text.html").write_text("".join(f"<p>line {n} of a page</p>\n" for n in range(1200)))
    (folder / "random.bin").write_bytes(random.Random(82540).randbytes(80_000))


def ready():
    print("ready", flush=True)


def serve_http(folder):
    """python's http.server on IPv4 and IPv6."""

    class DualStack(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with DualStack(("::", HTTP_PORT), functools.partial(Quiet, directory=folder)) as server:
        ready()
        server.serve_forever()


def udp_server(port):
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("::", port))
    ready()
    return server


def serve_dns(_folder):
    """Answer each DNS question with one A record that points at the question's name."""
    server = udp_server(DNS_PORT)
    while True:
        question, client = server.recvfrom(2048)
        identity = struct.unpack_from("!H", question)[0]
        answer = struct.pack("!HHHIH", 0xC00C, 1, 1, 300, 4) + bytes([10, 0, identity >> 8, identity & 0xFF])
        server.sendto(question[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + question[12:] + answer, client)


def ask(host, count):
    """Ask count questions about names of growing and shrinking length, one at a time."""
    words = ["ring", "wire", "frame", "burst", "poll", "budget", "doorbell", "descriptor"]
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((host, DNS_PORT))
        for identity in range(int(count)):
            labels = [words[identity % 8], *words[: identity % 7], f"n{identity}", "example"]
            name = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"
            client.send(struct.pack("!HHHHHH", identity, 0x0100, 1, 0, 0, 0) + name + struct.pack("!HH", 1, 1))
            client.recv(2048)


def serve_echo(_folder):
    server = udp_server(ECHO_PORT)
    while True:
        server.sendto(*server.recvfrom(2048))


def echo_some(host, count):
    """Send datagrams of 0 to 17 bytes, frames of 42 to 59, and take each one back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((host, ECHO_PORT))
        for length in itertools.islice(itertools.cycle(range(18)), int(count)):
            client.send(bytes(range(length)))
            client.recv(2048)


def trunk(interface, vlan, address):
    """A TAP interface whose frames travel over another interface with an 802.1Q tag: a VLAN without the kernel's 8021q.

    The receiving kernel takes the tag off before it shows a frame, and tells it in the message's auxiliary data.
    """
    tap = open_tap("trunk", address)
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    wire.bind((interface, ETH_P_ALL))
    tag = struct.pack("!HH", ETH_P_8021Q, PRIORITY << 13 | int(vlan))
    ready()
    while True:
        for source in select.select([tap, wire], [], [])[0]:
            if source is wire:
                frame, ancillary, _flags, sender = wire.recvmsg(2048, 64)
                if sender[2] != socket.PACKET_OUTGOING and vlan_of(ancillary) == int(vlan):
                    os.write(tap, frame)
            else:
                frame = os.read(tap, 2048)
                wire.send(frame[:12] + tag + frame[12:])


def open_tap(name, address):
    import fcntl

    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        hardware = bytes.fromhex(address.replace(":", ""))
        fcntl.ioctl(control, SIOCSIFHWADDR, struct.pack("16sH6s16x", name.encode(), ARPHRD_ETHER, hardware))
        flags = struct.unpack_from("16xh", fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16s24x", name.encode())))[0]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", name.encode(), flags | IFF_UP))
    return tap


def vlan_of(ancillary):
    for level, kind, data in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _length, _snapped, _mac, _net, tci = struct.unpack_from("=IIIHHH", data)
            return tci & 0xFFF if status & TP_STATUS_VLAN_VALID else None
    return None


PROGRAMS = {
    "http": serve_http,
    "dns": serve_dns,
    "echo": serve_echo,
    "ask": ask,
    "echo-some": echo_some,
    "trunk": trunk,
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*(Path(word) if os.sep in word else word for word in sys.argv[2:]))
