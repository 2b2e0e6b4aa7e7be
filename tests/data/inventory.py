"""README.md of this folder, made from the capture files themselves with scapy's reader (not with fastring's own)."""

from pathlib import Path

from scapy.utils import RawPcapReader

HERE = Path(__file__).resolve().parent
TEXT = """# Captures

Real traffic that the project made itself: programs talking between two network namespaces of one machine over a veth,
captured whole, with the cards' offloads off. `sudo python3 tests/data/make.py` makes them all again, and this file.
"Bytes" are of the frames, without the preamble, the FCS and the capture's own headers.

{table}

{total}
"""


def captures():
    return sorted(path for path in HERE.iterdir() if ".pcap" in path.name)


def frames(path):
    """Every frame of a capture as bytes, in the order of the file."""
    with RawPcapReader(str(path)) as reader:
        for data, _metadata in reader:
            yield data


def readme(made_by):
    """The text of README.md; made_by is what made each file, by file name."""
    rows = ["| file | frames | bytes | frame sizes | made by |", "|---|--:|--:|--:|---|"]
    counts = []
    for path in captures():
        sizes = [len(frame) for frame in frames(path)]
        counts.append((len(sizes), sum(sizes), path.stat().st_size))
        made = made_by[path.name].strip()
        rows.append(f"| {path.name} | {len(sizes):,} | {sum(sizes):,} | {min(sizes)} to {max(sizes)} | {made} |")
    number, size, on_disk = map(sum, zip(*counts, strict=True))
    total = f"{number:,} frames of {size:,} bytes in {len(counts)} files of {on_disk:,} bytes."
    return TEXT.format(table="\n".join(rows), total=total)
