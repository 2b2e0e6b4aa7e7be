#!/usr/bin/env python3
"""Make every capture of this folder again: real programs talking between two network namespaces.

    sudo python3 tests/data/make.py [NAME ...]     make the named captures, or all of them, then README.md
    python3 tests/data/make.py --readme            write README.md's table again from the files (no root)

The namespaces, mounts and processes live inside an `unshare` that dies with this script, whatever ends it (even
kill -9), and reach nothing but each other. The cards' offloads are off, so what is captured is what a wire carries:
frames within the MTU, checksums filled in, no two segments merged.
"""

import gzip
import io
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import traffic

HERE = Path(__file__).resolve().parent
TOOLS = {  # command: the Debian package that has it
    "ip": "iproute2",
    "ethtool": "ethtool",
    "ping": "iputils-ping",
    "curl": "curl",
    "iperf3": "iperf3",
    "tcpdump": "tcpdump",
    "dumpcap": "wireshark-common",
    "reordercap": "wireshark-common",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro", "lro", "txvlan", "rxvlan")
HTTP_PORT = 8080
VLAN = 7


class Lab:
    """Two namespaces, left (clients, captured) and right (servers), joined by a veth; processes end with the block."""

    def __init__(self, folder, *, mtu=1500, mss=None):
        self.folder, self.mtu, self.mss = Path(folder), mtu, mss
        self.children = []

    def __enter__(self):
        for name in ("left", "right"):
            run("ip", "netns", "add", name)
        self.cable("eth0", 0)
        self.web = self.folder / "web"
        traffic.write_pages(self.web)
        return self

    def cable(self, interface, number):
        """Join the two namespaces with a veth whose ends are 10.NUMBER.0.1 and .2, fd0NUMBER::1 and ::2."""
        run("ip", "-n", "left", "link", "add", interface, "type", "veth", "peer", "name", interface, "netns", "right")
        for side, host in (("left", 1), ("right", 2)):
            self.inside(side, "ethtool", "-K", interface, *(word for feature in OFFLOADS for word in (feature, "off")))
            address = f"02:00:00:00:{number:02x}:{host:02x}"
            run("ip", "-n", side, "link", "set", interface, "address", address, "mtu", self.mtu, "up")
            run("ip", "-n", side, "addr", "add", f"10.{number}.0.{host}/24", "dev", interface)
            run("ip", "-n", side, "addr", "add", f"fd{number:02x}::{host}/64", "dev", interface, "nodad")
            if self.mss:  # small segments: many frames in few bytes
                route = f"10.{number}.0.0/24 dev {interface} src 10.{number}.0.{host} advmss {self.mss}"
                run("ip", "-n", side, "route", "change", *route.split())

    def __exit__(self, *exc):
        for child in reversed(self.children):
            child.kill()
            child.wait()
        for name in ("left", "right"):
            run("ip", "netns", "del", name)

    def inside(self, name, *command):
        """Run a command in a namespace and wait for it."""
        run("ip", "netns", "exec", name, *command)

    def start(self, name, *command, ready=None):
        """Start a command in a namespace; with ready, wait until a line of its stderr or stdout has that text."""
        child = subprocess.Popen(["ip", "netns", "exec", name, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.children.append(child)
        seen = b""
        while ready and ready.encode() not in seen:
            line = child.stdout.readline()
            if not line:
                raise SystemExit(f"make.py: {command[0]} ended before it was ready, saying: {seen.decode().strip()}")
            seen += line
        return child

    def serve(self, what, *, port=5201):
        """Start a server: http, dns, echo (traffic.py) or iperf3."""
        if what == "iperf3":
            return self.start("right", "iperf3", "--server", "--forceflush", "--port", port, ready="Server listening")
        return self.start("right", sys.executable, HERE / "traffic.py", what, self.web, ready="ready")

    def together(self, *commands):
        """Run several client commands at once in the left namespace and wait for all of them."""
        running = [(command, self.start("left", *command)) for command in commands]
        for command, child in running:
            output = child.communicate()[0]
            if child.returncode:
                raise SystemExit(f"make.py: {' '.join(map(str, command))} failed: {output.decode().strip()}")

    def capture(self, path, *, expression):
        """tcpdump on the left end of the cable."""
        return Capture(self, path, ["tcpdump", "-i", "eth0", "-s", "0", "--immediate-mode", "-B", "16384", "-w", path, expression])


class Capture:
    """A capture that runs while its block does; it must not have lost one frame."""

    def __init__(self, lab, path, command):
        self.lab, self.path = lab, path
        self.command = [str(word) for word in command]

    def __enter__(self):
        ready = "listening on" if self.command[0] == "tcpdump" else "File:"
        self.process = self.lab.start("left", *self.command, ready=ready)
        time.sleep(0.3)
        return self

    def __exit__(self, *exc):
        time.sleep(0.5)
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate()[0].decode()
        if exc[0] is None and not lost_nothing(said):
            raise SystemExit(f"make.py: the capture of {self.path.name} lost frames, or did not say that it lost none: {said.strip()}")


def lost_nothing(said):
    """Whether tcpdump's or dumpcap's closing words, one line for each interface, say that no frame was dropped."""
    dumpcap = re.findall(r"received/dropped on interface .*?: \d+/(\d+) ", said)
    tcpdump = re.findall(r"^(\d+) packets? dropped by kernel", said, re.MULTILINE)
    return bool(dumpcap or tcpdump) and not any(map(int, dumpcap + tcpdump))


def run(*command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise SystemExit(f"make.py: {' '.join(map(str, command))} failed: {done.stdout.decode().strip()}")


def dumpcap(lab, path, *interfaces):
    return Capture(lab, path, ["dumpcap", "-n", "-q", "-B", "16", *(w for i in interfaces for w in ("-i", i)), "-w", path])


def client(what, *arguments):
    return [sys.executable, HERE / "traffic.py", what, *map(str, arguments)]


def ping(address, count, size=56, interval="0.002"):
    return ["ping", "-q", "-c", count, "-s", size, "-i", interval, address]


def fetch(*urls):
    return ["curl", "--silent", "--show-error", "--fail", *(word for url in urls for word in ("--output", "/dev/null", url))]


def pages(host="10.0.0.2", names=("small.txt", "text.html", "random.bin")):
    return fetch(*(f"http://{host}:{HTTP_PORT}/{name}" for name in names))


def iperf3(*options, port=5201, host="10.0.0.2"):
    return ["iperf3", "--client", host, "--port", port, "--interval", "0", *options]


# One function a scene. Its docstring is what README.md says made the file.


def http(folder, path):
    """curl fetching pages and a file from python's http.server, MTU 1500."""
    with Lab(folder) as lab:
        lab.serve("http")
        with lab.capture(path, expression="tcp"):
            for _ in range(6):
                lab.together(pages())


def iperf(folder, path):
    """iperf3, TCP in both directions with MSS 536, then UDP in datagrams of 200 bytes."""
    with Lab(folder) as lab:
        lab.serve("iperf3")
        with lab.capture(path, expression="tcp or udp"):
            lab.together(iperf3("-n", "900K", "-M", "536"))
            lab.together(iperf3("-n", "600K", "-M", "536", "--reverse"))
            lab.together(iperf3("--udp", "-b", "20M", "-l", "200", "-n", "150K"))


def dns(folder, path):
    """A DNS-like client and server in Python, 1,000 questions, an answer each."""
    with Lab(folder) as lab:
        lab.serve("dns")
        with lab.capture(path, expression="udp"):
            lab.together(client("ask", "10.0.0.2", 1000))


def dns_ns_gz(folder, path):
    """The same programs over IPv6, 500 questions, nanosecond times, gzip."""
    plain = Path(folder) / "dns.pcap"
    with Lab(folder) as lab:
        lab.serve("dns")
        capture = lab.capture(plain, expression="ip6 and udp")
        capture.command.insert(1, "--time-stamp-precision=nano")
        with capture:
            lab.together(client("ask", "fd00::2", 500))
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=9, mtime=0) as out:
        out.write(plain.read_bytes())
    path.write_bytes(packed.getvalue())


def fragments(folder, path):
    """ping with 8,000 bytes of payload, each packet in six IPv4 fragments, or six of IPv6."""
    with Lab(folder) as lab, lab.capture(path, expression="icmp or ip6"):
        lab.together(ping("10.0.0.2", 40, 8000))
        lab.together(ping("fd00::2", 10, 8000))


def ipv6(folder, path):
    """IPv6 alone: neighbour discovery, ping, curl from http.server, the DNS-like pair."""
    with Lab(folder) as lab:
        lab.serve("http")
        lab.serve("dns")
        with lab.capture(path, expression="ip6"):
            for _ in range(12):
                lab.inside("left", "ip", "-6", "neigh", "flush", "dev", "eth0")
                lab.inside("right", "ip", "-6", "neigh", "flush", "dev", "eth0")
                lab.together(ping("fd00::2", 5))
            lab.together(pages("[fd00::2]"), client("ask", "fd00::2", 200), ping("fd00::2", 50, 1000))


def vlan(folder, path):
    """ARP, ping, curl and IPv6 ping in VLAN 7 (802.1Q, priority 3), frames up to 1,518 bytes."""
    with Lab(folder) as lab:
        for side, host in (("left", 1), ("right", 2)):
            lab.start(side, *client("trunk", "eth0", VLAN, f"02:00:00:00:07:0{host}"), ready="ready")
            run("ip", "-n", side, "addr", "add", f"10.7.0.{host}/24", "dev", "trunk")
            run("ip", "-n", side, "addr", "add", f"fd07::{host}/64", "dev", "trunk", "nodad")
        lab.serve("http")
        with lab.capture(path, expression="vlan"):
            lab.together(ping("10.7.0.2", 50), pages("10.7.0.2"), ping("fd07::2", 50))
            lab.together(ping("10.7.0.2", 10, 3000), pages("10.7.0.2"))


def resolve_again(lab, times):
    for _ in range(times):
        for side in ("left", "right"):
            lab.inside(side, "ip", "neigh", "flush", "dev", "eth0")
        lab.together(ping("10.0.0.2", 1, 0))


def arp(folder, path):
    """ARP alone: requests and replies as ping makes them, tables flushed before each; 42 bytes a frame."""
    with Lab(folder) as lab, lab.capture(path, expression="arp"):
        resolve_again(lab, 100)


def short(folder, path):
    """Frames under 60 bytes, that a card must pad: ARP, ping without payload, UDP of 0 to 17 bytes."""
    with Lab(folder) as lab:
        lab.serve("echo")
        with lab.capture(path, expression="less 59"):
            resolve_again(lab, 20)
            lab.together(ping("10.0.0.2", 100, 0), client("echo-some", "10.0.0.2", 300))


def jumbo(folder, path):
    """curl from http.server, iperf3 and ping -s 8000 at MTU 9000."""
    with Lab(folder, mtu=9000) as lab:
        lab.serve("http")
        lab.serve("iperf3")
        with lab.capture(path, expression="greater 60"):
            lab.together(pages(), ping("10.0.0.2", 20, 8000))
            lab.together(iperf3("-n", "800K"))


def everything_at_once(lab, megabytes):
    """Every kind of program at the same time: what a busy link looks like."""
    amount = f"{int(megabytes * 1024)}K"
    lab.together(
        iperf3("-n", amount),
        iperf3("-n", amount, "--reverse", port=5202),
        iperf3("--udp", "-b", "8M", "-l", "160", "-n", "160K", port=5203),
        iperf3("-n", "300K", port=5204, host="fd00::2"),
        pages(),
        pages("[fd00::2]", ("text.html", "small.txt")),
        client("ask", "10.0.0.2", 600),
        client("ask", "fd00::2", 300),
        ping("10.0.0.2", 100),
        ping("10.0.0.2", 20, 8000),
        ping("fd00::2", 50, 512),
    )


def busy_lab(lab):
    lab.serve("http")
    lab.serve("dns")
    for port in (5201, 5202, 5203, 5204):
        lab.serve("iperf3", port=port)


def mixed(folder, path):
    """iperf3 (TCP both ways, UDP, IPv6), curl, DNS-like, ping and fragments at once; none under 60 bytes, sorted by time."""
    raw = Path(folder) / "as-captured.pcap"
    with Lab(folder, mss=536) as lab:
        busy_lab(lab)
        with lab.capture(raw, expression="greater 60"):
            everything_at_once(lab, 1.9)
    run("reordercap", raw, path)


def mixed_ns(folder, path):
    """The programs of mixed.pcap, fewer bytes of each, captured by dumpcap: pcapng, nanosecond times."""
    with Lab(folder, mss=536) as lab:
        busy_lab(lab)
        with dumpcap(lab, path, "eth0"):
            everything_at_once(lab, 0.2)


def two_interfaces(folder, path):
    """One pcapng of two interfaces, ping and curl from http.server on each, captured by dumpcap."""
    with Lab(folder) as lab:
        lab.cable("eth1", 1)
        lab.serve("http")
        with dumpcap(lab, path, "eth0", "eth1"):
            lab.together(ping("10.0.0.2", 30), ping("10.1.0.2", 30), pages(), pages("10.1.0.2"))


SCENES = {
    "arp.pcap": arp,
    "dns.pcap": dns,
    "dns-ns.pcap.gz": dns_ns_gz,
    "fragments.pcap": fragments,
    "http.pcap": http,
    "iperf3.pcap": iperf,
    "ipv6.pcap": ipv6,
    "jumbo.pcap": jumbo,
    "mixed.pcap": mixed,
    "mixed-ns.pcapng": mixed_ns,
    "short.pcap": short,
    "two-interfaces.pcapng": two_interfaces,
    "vlan.pcap": vlan,
}


def without_kernel_name(capture):
    """A pcapng names the kernel it was captured on: of this machine, and no use to a test. The length stays."""
    name = f"Linux {platform.release()}".encode()
    return capture.replace(name, b"Linux".ljust(len(name)))


def make(names):
    """Inside the unshare: run the scenes, each into a temporary file that replaces the old one when it is whole."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    for name in names:
        with tempfile.TemporaryDirectory(dir="/run/netns") as folder:
            path = Path(folder) / name
            SCENES[name](folder, path)
            (HERE / name).write_bytes(without_kernel_name(path.read_bytes()))
        print(f"{name}: {(HERE / name).stat().st_size:,} bytes", flush=True)


def main():
    names = [word for word in sys.argv[1:] if not word.startswith("--")] or list(SCENES)
    if unknown := [name for name in names if name not in SCENES]:
        raise SystemExit(f"make.py: no capture called {unknown[0]}; there are {', '.join(SCENES)}")
    if "--inside" in sys.argv:
        return make(names)
    try:
        import inventory
    except ImportError:
        raise SystemExit("make.py: needs scapy, to count the frames for README.md: pip install scapy") from None
    if "--readme" not in sys.argv:
        if os.geteuid():
            raise SystemExit("make.py: needs root, for network namespaces and captures: run it with sudo")
        if missing := sorted(f"{tool} (package {package})" for tool, package in TOOLS.items() if not shutil.which(tool)):
            raise SystemExit(f"make.py: missing {', '.join(missing)}: install with apt-get install PACKAGE")
        os.makedirs("/run/netns", exist_ok=True)
        # pdeathsig and --kill-child tie the whole tree, namespaces included, to this process's life.
        tied = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        if subprocess.run([*tied, sys.executable, __file__, "--inside", *names], check=False).returncode:
            raise SystemExit(1)
    (HERE / "README.md").write_text(inventory.readme({name: scene.__doc__ for name, scene in SCENES.items()}))
    return None


if __name__ == "__main__":
    main()
