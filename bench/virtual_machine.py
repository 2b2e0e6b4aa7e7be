"""A virtual machine's traffic over `fastring serve` against QEMU's own e1000, in turns: same guest, same TAP. `make bench-guest`, as root.

Each turn boots the guest anew, with one card or the other, and the host's kernel answers behind the TAP. TCP and UDP by iperf3, UDP as
what arrived of datagrams of 64 bytes; ping as the median of its times. Medians over the runs, and ours by the other's.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/shared"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/guest"))

from guests import HOST, host_up, served_guest, up
from namespaces import namespace
from vm import Guest, missing

BUILT_IN = ["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no", "-device", "e1000,netdev=net"]
FIGURES = {"TCP out": "Mbit/s", "TCP in": "Mbit/s", "UDP, 64 bytes, out": "kpps", "ping": "ms"}


@contextmanager
def built_in_guest(folder, kernel):
    """As served_guest, on QEMU's card."""
    with namespace() as where:
        where.ip("tuntap", "add", "tap0", "mode", "tap")
        host_up(where)
        with Guest(folder / "vm", BUILT_IN, where=where, kernel=kernel) as guest:
            guest.run("insmod /e1000.ko")
            up(guest)
            yield guest, where, None


def iperf(guest, seconds, *options):
    told = guest.run(f"iperf3 -c {HOST} -t {seconds} -J {' '.join(options)}", timeout=60 + 10 * seconds)
    return json.loads(told)["end"]


def measure(guest, where, seconds):
    """The figures of one boot."""
    times = re.findall(r"time=([0-9.]+) ms", guest.run(f"ping -i 0.01 -c {100 * seconds} {HOST}", timeout=60 + seconds))
    server = where.popen("iperf3", "-s", stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        found = {}
        for name, option in (("TCP out", "-P1"), ("TCP in", "-R")):
            found[name] = iperf(guest, seconds, option)["sum_received"]["bits_per_second"] / 1e6
        udp = iperf(guest, seconds, "-u", "-b0", "-l64")["sum"]
        found["UDP, 64 bytes, out"] = (udp["packets"] - udp["lost_packets"]) / udp["seconds"] / 1e3
    finally:
        server.kill()
        server.wait()
    return found | {"ping": statistics.median(map(float, times))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="boots of each (default: 5)")
    parser.add_argument("--seconds", type=int, default=3, help="for each figure (default: 3)")
    parser.add_argument("--kernel", default="bookworm", choices=["bookworm", "forky"])
    parser.add_argument("--serve", default="", metavar="OPTIONS", help='more options of fastring serve, such as "--map-doorbells"')
    arguments = parser.parse_args()
    if reason := missing():
        sys.exit(f"bench/virtual_machine.py: {reason}")
    kernel, options = arguments.kernel, arguments.serve.split()
    found = {"ours": [], "built in": []}
    for _ in range(arguments.runs):
        for name, runs in found.items():
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder)
                booted = served_guest(place, kernel, *options) if name == "ours" else built_in_guest(place, kernel)
                with booted as (guest, where, _):
                    runs.append(measure(guest, where, arguments.seconds))
    print(f"{'':20}{'ours':>12}{'built in':>12}{'':8}{'ours : built in':>18}{'range over the runs':>24}")
    for figure, unit in FIGURES.items():
        pairs = [(ours[figure], theirs[figure]) for ours, theirs in zip(*found.values(), strict=True)]
        ours, theirs = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratios = [one / other for one, other in pairs]
        print(f"{figure:20}{ours:12.1f}{theirs:12.1f} {unit:7}{ours / theirs:18.2f}{min(ratios):14.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
