"""What a measurement ran on, and how quiet that was."""

from __future__ import annotations

import os
import platform
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

from fastring.ring_loops import spin
from softnet.bench.rings import in_threads, line_round_trip

SYS = Path("/sys/devices/system/cpu")


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _caches() -> str:
    """Of the first CPU, as the kernel tells them: L1d 32K, L2 1024K, L3 32768K."""
    found = []
    for index in sorted(SYS.glob("cpu0/cache/index*")):
        kind = {"Data": "d", "Instruction": "i"}.get(_read(index / "type"), "")
        found.append(f"L{_read(index / 'level')}{kind} {_read(index / 'size')}")
    return ", ".join(found)


def _cpu_model() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "cpu model"):
            return value.strip()
    return platform.machine()


def describe() -> dict[str, str]:
    """The machine in words, by what each is; what it does not tell is left out."""
    hypervisor = _read("/sys/hypervisor/type") or ("yes" if " hypervisor" in _read("/proc/cpuinfo") else "")
    siblings = _read(SYS / "cpu0/topology/thread_siblings_list")
    found = {
        "CPU": _cpu_model(),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
        "threads of the first core": "" if siblings == "0" else siblings,
        "caches": _caches(),
        "governor": _read(SYS / "cpu0/cpufreq/scaling_governor"),
        "virtual machine": hypervisor,
        "kernel": platform.release(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiled by": platform.python_compiler(),
        "compiler": (sysconfig.get_config_var("CC") or "").split(" ")[0],
    }
    return {name: told for name, told in found.items() if told}


def _ticks() -> tuple[float, float, float]:
    """Of all CPUs since boot, in seconds: busy, stolen by a hypervisor, and all."""
    numbers = [int(field) / os.sysconf("SC_CLK_TCK") for field in _read("/proc/stat").splitlines()[0].split()[1:9]]
    user, nice, system, idle, iowait, irq, softirq, steal = numbers
    return user + nice + system + irq + softirq, steal, user + nice + system + idle + iowait + irq + softirq + steal


def _own_seconds(others: Sequence[int]) -> float:
    """CPU time of this process, of its children that ended, and of `others` by their pids."""
    told = os.times()
    total = told.user + told.system + told.children_user + told.children_system
    for pid in others:
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if fields:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


class Noise:
    """Watch the machine while something is measured on it: `look` now and then, `verdict` at the end.

    `pids`: processes of ours that run all along. A look takes a few milliseconds.
    """

    BUSY, STOLEN, UNSTEADY, MOVED = 0.05, 0.01, 0.15, 1.5  # from where on each is called noise
    STEPS = 200_000

    def __init__(self, cpus: Sequence[int], *, pids: Sequence[int] = ()) -> None:
        self.cpus, self.pids = cpus, pids
        self.spins: list[int] = []
        self.lines: list[float] = []
        self.load = os.getloadavg()[0]
        self._ticks, self._own, self._start = _ticks(), _own_seconds(pids), time.monotonic()

    def look(self) -> None:
        """Time a loop that always takes as many cycles, and a cache line's way between the two CPUs."""
        self.spins += in_threads([(cpu, lambda: spin(self.STEPS)) for cpu in self.cpus])
        if len(self.cpus) > 1:
            self.lines.append(min(line_round_trip(self.cpus, 500) for _ in range(3)))

    @property
    def busy(self) -> float:
        """The share of all CPUs' time that others used."""
        busy, _, total = (now - then for now, then in zip(_ticks(), self._ticks, strict=True))
        own = _own_seconds(self.pids) - self._own
        return max(0.0, (busy - own) / total) if total else 0.0

    @property
    def stolen(self) -> float:
        """The share that a hypervisor gave to others."""
        _, stolen, total = (now - then for now, then in zip(_ticks(), self._ticks, strict=True))
        return stolen / total if total else 0.0

    def reasons(self) -> list[str]:
        """Why it was noisy; nothing where it was quiet."""
        found = []
        if (busy := self.busy) > self.BUSY:
            found.append(f"others used {busy:.0%} of its CPUs (load {self.load:.1f} before)")
        if (stolen := self.stolen) > self.STOLEN:
            found.append(f"{stolen:.1%} of its time was stolen")
        if self.spins and max(self.spins) / min(self.spins) - 1 > self.UNSTEADY:
            found.append(f"the same loop took up to {max(self.spins) / min(self.spins):.1f} times as long")
        if self.lines and max(self.lines) / min(self.lines) > self.MOVED:
            found.append(f"a cache line took {min(self.lines):,.0f} to {max(self.lines):,.0f} ns from CPU to CPU and back: "
                         "they were not the same two cores all the time, or not alone")
        return found

    def verdict(self) -> str:
        """One line."""
        reasons = self.reasons()
        return f"this machine is noisy: {'; '.join(reasons)}" if reasons else "this machine was quiet"
