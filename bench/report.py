"""All questions of questions.py, answered on one page: `make bench-report`, some minutes. Opened from a file, without a network."""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

from peers import TARGET, Unavailable
from questions import QUESTIONS, ROUNDS, close, partner, two_cpus

from softnet.bench.machine import Noise, describe
from softnet.bench.page import write_page


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--out", type=Path, default=TARGET / "report.html", help="the page (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each question (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="questions that have this in their name")
    chosen = parser.parse_args()
    try:
        noise = Noise(two_cpus(), pids=[partner().pid])
    except Unavailable as reason:
        sys.exit(f"bench-report: {reason}")
    found = []
    for asked in QUESTIONS.values():
        if chosen.only not in asked.name:
            continue
        for name, reason in asked.missing().items():
            print(f"{asked.name}: without {name}: {reason}", file=sys.stderr)
        found.append(replace(asked, rounds=chosen.rounds).answer(noise))
        print(f"{found[-1]}\n", flush=True)
    verdict = noise.verdict()
    close()
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    title = f"Rings and pools compared, {time.strftime('%Y-%m-%d %H:%M')}"
    write_page(chosen.out, title=title, comparisons=found, machine=describe(), verdict=verdict)
    print(f"{verdict}\n{chosen.out}")


if __name__ == "__main__":
    main()
