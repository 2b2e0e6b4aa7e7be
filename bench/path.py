"""The whole path (softnet.bench.path) against the floor: bench/floor.c, the least that carrying a packet can cost."""

import statistics
import subprocess

from peers import build_program

from softnet.bench.path import FAR_MAC, NEAR_MAC, Path, packets, two_cards
from softnet.bench.rings import cpus

__all__ = ["FAR_MAC", "NEAR_MAC", "Path", "alternate", "cpus", "floor_nanoseconds", "packets", "two_cards"]


def floor_nanoseconds(size: int, count: int) -> float:
    """Per packet, of bench/floor.c in a process of its own."""
    return float(subprocess.run([build_program("floor.c"), str(size), str(count)], capture_output=True, text=True, check=True).stdout)


def alternate(size: int, *, runs: int, count: int, **options: int) -> tuple[float, float]:
    """Medians of `runs` alternating runs: nanoseconds per packet of the path, and of the floor."""
    ours, floor = [], []
    with Path(size, **options) as path:
        path.send(count // 10)
        for _ in range(runs):
            ours.append(path.nanoseconds(count))
            floor.append(floor_nanoseconds(size, count))
    return statistics.median(ours), statistics.median(floor)
