"""Rings from elsewhere, and a pool, each a program around the loops of harness.h: built when first asked for, run for one measurement."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from peers import HERE, TARGET, Unavailable

COMPILERS = {".c": "cc", ".cpp": "c++"}


@dataclass(frozen=True)
class Peer:
    """Where a ring's source is, and what it takes to compile it."""

    name: str
    source: str
    package: str  # Debian's, that it needs
    header: str
    sync: str = ""  # which of the source's several
    pkg_config: str = ""
    many: bool = False  # producers and consumers
    processes: bool = True  # can two of them share it
    words: int = 1  # of 8 bytes, an item; single items have one

    def build(self) -> Path:
        """The program, compiled as fastring is. Raises Unavailable."""
        path = HERE / self.source
        compiler = shutil.which(COMPILERS[path.suffix])
        if compiler is None:
            raise Unavailable(f"{self.source} needs a compiler, {COMPILERS[path.suffix]}, to be built")
        flags: dict[str, list[str]] = {"--cflags": [], "--libs": []}
        if self.pkg_config:
            if shutil.which("pkg-config") is None:
                raise Unavailable(f"{self.source} needs pkg-config to be built")
            if subprocess.run(["pkg-config", "--exists", self.pkg_config]).returncode:
                raise Unavailable(f"{self.name} is not installed (Debian: {self.package})")
            flags = {kind: subprocess.check_output(["pkg-config", kind, self.pkg_config], text=True).split() for kind in flags}
        elif not Path("/usr/include", self.header).exists():
            raise Unavailable(f"{self.name} is not installed (Debian: {self.package})")
        return self._compile(compiler, path, flags)

    def _compile(self, compiler: str, path: Path, flags: dict[str, list[str]]) -> Path:
        program = TARGET / "-".join(filter(None, (path.stem, self.sync, str(self.words) if self.words > 1 else "")))
        newest = max(file.stat().st_mtime for file in (path, *HERE.glob("harness*.h")))
        if not program.exists() or program.stat().st_mtime < newest:
            TARGET.mkdir(parents=True, exist_ok=True)
            chosen = [f"-DITEM_WORDS={self.words}", *([f"-DSYNC={self.sync}"] if self.sync else [])]
            half_made = program.with_suffix(f".{os.getpid()}")  # others may be compiling it, or running it
            command = [compiler, "-O3", "-pthread", *flags["--cflags"], *chosen, str(path), "-o", str(half_made), *flags["--libs"]]
            subprocess.run(command, check=True)
            half_made.replace(program)
        return program

    def run(self, **options: object) -> dict[str, Any]:
        """One measurement: what the program prints. `options`: those of harness.h. Raises Unavailable."""
        arguments = [f"{name}={value}" for name, value in options.items()]
        told = subprocess.run([self.build(), *arguments], stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout
        found: dict[str, Any] = json.loads(told)
        return found


DPDK = {"source": "rte_ring.c", "package": "libdpdk-dev", "header": "dpdk/rte_ring.h", "pkg_config": "libdpdk"}
CK = {"source": "ck_ring.c", "package": "libck-dev", "header": "ck_ring.h"}

PEERS = (
    Peer("rte_ring SP/SC", sync="sp", **DPDK),
    Peer("ck_ring SPSC", sync="spsc", **CK),
    Peer("Boost spsc_queue", "boost_spsc.cpp", "libboost-dev", "boost/lockfree/spsc_queue.hpp"),
    Peer("ReaderWriterQueue", "moodycamel.cpp", "libreaderwriterqueue-dev", "readerwriterqueue/readerwriterqueue.h", processes=False),
    Peer("rte_ring MP/MC", sync="mp", many=True, **DPDK),
    Peer("rte_ring RTS", sync="rts", many=True, **DPDK),
    Peer("rte_ring HTS", sync="hts", many=True, **DPDK),
    Peer("ck_ring MPMC", sync="mpmc", many=True, **CK),
)
MEMPOOL = Peer("rte_mempool", "rte_mempool.c", "libdpdk-dev", "dpdk/rte_mempool.h", pkg_config="libdpdk")
WIDE = tuple(replace(peer, words=2) for peer in PEERS if peer.name in ("rte_ring SP/SC", "Boost spsc_queue"))  # that have bulks
