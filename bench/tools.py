"""Replaying onto a veth pair: `fastring replay` against Debian's tcpreplay, in turns, in the same run. `make bench-tools`, as root.

Top speed: both with --topspeed --preload-pcap, packets a second as each tells it itself, median of so many runs; the kernel's count of
what arrived is held against what should have. Pace: --pps for a while, measured at the far end of the pair by the time stamps the kernel
gives a packet socket (tcpdump's), the same for both. Drift: how much longer the last frame took from the first than the rate says.
Lateness: how far frames are from a schedule laid through their middle, since the far end cannot know when the first one was due.

On a busy machine both wait for a CPU; nothing else is seen. `--under "chrt -f 10" --seconds 0.3` runs them in front of all others,
until the kernel throttles who spins (sched_rt_runtime_us), which counts the start of a program, too.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/shared"))

from namespaces import namespace, veth

from fastring.capture import Capture
from fastring.capture_writer import CaptureWriter

FRAMES = 100_000  # in the capture, which is looped
FASTRING = (sys.executable, "-m", "softnet.cli", "replay")


def make_capture(path, length):
    frame = b"\xff" * 6 + b"\x02\0\0\0\0\x01\x88\xb5"
    with CaptureWriter(path) as writer:
        for number in range(FRAMES):
            writer.write((frame + number.to_bytes(4, "big") * (length // 4))[:length], number * 1000)


def arrived(far):
    return json.loads(far.ip("-j", "-s", "link", "show", "far0"))[0]["stats64"]["rx"]["packets"]


def fastring_pps(near, path, *options, under=()):
    result = json.loads(near.run(*under, *FASTRING, path, "--intf1=near0", "--json", *options, timeout=600).stdout)
    return result["received"] / result["seconds"]


def tcpreplay_pps(near, path, *options, under=()):
    told = near.run(*under, "tcpreplay", "--intf1=near0", *options, path, timeout=600).stdout
    packets, seconds = re.search(r"Actual: (\d+) packets .* sent in ([0-9.]+) seconds", told).groups()
    return int(packets) / float(seconds)


TOOLS = {"fastring": fastring_pps, "tcpreplay": tcpreplay_pps}


def top_speed(near, far, path, length, runs, loops):
    options = ("--topspeed", "--preload-pcap", f"--loop={loops}")
    found = {name: [] for name in TOOLS}
    for _ in range(runs):
        for name, run in TOOLS.items():
            before = arrived(far)
            found[name].append(run(near, path, *options))
            if arrived(far) - before != FRAMES * loops:
                sys.exit(f"bench-tools: {name} sent {FRAMES * loops} frames, and {arrived(far) - before} arrived")
    ours, theirs = (statistics.median(found[name]) for name in TOOLS)
    print(f"topspeed, {length} bytes, {FRAMES * loops:,} frames, median of {runs}: "
          f"fastring {ours / 1e3:,.0f} kpps, tcpreplay {theirs / 1e3:,.0f} kpps, ratio {ours / theirs:.2f}")


def pace(near, far, path, folder, name, rate, seconds, under):
    """Send at a rate and tell drift and lateness."""
    count, dump = int(rate * seconds), folder / "arrived.pcap"
    command = (*under, "tcpdump", "-i", "far0", "-Q", "in", "-s", "64", "-B", "262144", "--time-stamp-precision=nano", "-w", "-")
    with open(dump, "wb") as file:
        listener = far.popen(*command, stdout=file, stderr=subprocess.PIPE, text=True)
    while "listening on" not in (line := listener.stderr.readline()):
        if not line:
            sys.exit("bench-tools: tcpdump ended")
    TOOLS[name](near, path, "--preload-pcap", f"--pps={rate}", "--loop=0" if name == "fastring" else f"--loop={count // FRAMES + 1}",
                f"--limit={count}", under=under)
    time.sleep(1)
    listener.terminate()
    told = listener.communicate(timeout=60)[1]
    with Capture(dump) as capture:
        times = capture.index()["time"]
    dump.unlink()
    dropped = re.search(r"(\d+) packets dropped by kernel", told)
    if len(times) != count:
        lost = dropped[1] if dropped else "?"
        print(f"  {name}: {len(times):,} of {count:,} frames were seen ({lost} dropped by the socket): no figures")
        return
    offsets = times - times[0] - (np.arange(count) * (10**9 / rate)).astype("i8")
    away = np.abs(offsets - np.median(offsets).astype("i8")) / 1000
    print(f"  {name:<9} drift {(offsets[-1] - offsets[0]) / 1e6:+.3f} ms; |sent - scheduled| "
          f"p50 {np.percentile(away, 50):.1f} µs, p99 {np.percentile(away, 99):.1f} µs, max {away.max():.1f} µs")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="of each tool at top speed (default: %(default)s)")
    parser.add_argument("--loops", type=int, default=10, help=f"passes over {FRAMES:,} frames in each (default: %(default)s)")
    parser.add_argument("--pps", type=int, default=50_000, help="the rate to keep (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="how long (default: %(default)s)")
    parser.add_argument("--under", default="", help="what runs both and who listens at a rate: --under 'chrt -f 10'")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, namespace() as near, namespace() as far:
        veth(near, "near0", far, "far0")
        folder = Path(folder)
        for length in (60, 1514):
            make_capture(folder / f"{length}.pcap", length)
            if chosen.runs:
                top_speed(near, far, folder / f"{length}.pcap", length, chosen.runs, chosen.loops)
        if chosen.seconds:
            print(f"{chosen.pps:,} pps for {chosen.seconds:g} s, at the far end of a veth pair:")
            for name in TOOLS:
                pace(near, far, folder / "60.pcap", folder, name, chosen.pps, chosen.seconds, tuple(chosen.under.split()))


if __name__ == "__main__":
    main()
