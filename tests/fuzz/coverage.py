"""Branch coverage of the device by a fuzzing corpus: python tests/fuzz/coverage.py BUILD CORPUS...

Of the C that Cython makes, what counts is the nogil functions of e1000/device: everything else in it is Cython's own, or Python's.
A function that is inline in several modules counts once, as covered where any of them was. Prints what is not, with --missing.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# A function that holds Python objects, or raises, runs with the GIL: no part of an engine
PYTHON = re.compile(r"__Pyx_(RefNanny|AddTraceback|GOTREF|DECREF|XDECREF|INCREF)|\bPy[A-Z]\w+\(")


def functions_of(source):
    """{name: its text} of the C functions that Cython made of the device's own cdef functions."""
    found = {}
    for match in re.finditer(r"^(?:static )?[^\n;#]*?\b(__pyx_f_\w+)\([^;{]*\) \{\n(.*?)^\}", source.read_text(), re.M | re.S):
        found[match[1]] = match[2]
    return found


def measure(build, corpora, llvm):
    """What llvm-cov says about the device's modules after the harness went through the corpus once."""
    libraries = build.absolute() / "lib"
    objects = sorted((libraries / "e1000" / "device").glob("*.so"))
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(libraries), "LLVM_PROFILE_FILE": f"{folder}/%m.profraw"}
        subprocess.run([build.absolute() / "fuzz_device", "-runs=0", *corpora], env=environment, check=True, stderr=subprocess.DEVNULL)
        merged = f"{folder}/merged"
        subprocess.run([f"llvm-profdata{llvm}", "merge", "-o", merged, *Path(folder).glob("*.profraw")], check=True)
        told = subprocess.run(
            [f"llvm-cov{llvm}", "export", "-instr-profile", merged, objects[0], *(f"-object={o}" for o in objects[1:])],
            check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    return json.loads(told.stdout)["data"][0]["functions"]


def branches(functions):
    """{(function, branch): [taken, not taken, file, line]}, summed over all copies of an inline function."""
    texts, out = {}, collections.defaultdict(lambda: [0, 0, "", 0])
    for function in functions:
        source = Path(function["filenames"][0])
        name = function["name"].rpartition(":")[2]
        if source not in texts:
            texts[source] = functions_of(source)
        own = re.fullmatch(r"__pyx_f_5e1000_6device_(\d+)(\w+)", name)
        if own is None or PYTHON.search(texts[source].get(name, "PyNone(")):
            continue
        for number, branch in enumerate(function["branches"]):
            taken = out[name, number]
            taken[0] += branch[4]
            taken[1] += branch[5]
            taken[2:] = [source, branch[0]]
    return out


def where(source, line):
    """The .pyx line that a line of C was made of."""
    lines = source.read_text().splitlines()[:line]
    for text in reversed(lines):
        if match := re.match(r' ?/\* "(.*)":(\d+)$', text.strip()) or re.match(r'\s*/\* "(.*)":(\d+)', text):
            return f"{match[1]}:{match[2]}"
    return "?"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path, help="folder of the harness, built with FASTRING_FUZZ=coverage")
    parser.add_argument("corpus", type=Path, nargs="+")
    parser.add_argument("--llvm", default="-14", help="what its tools' names end in")
    parser.add_argument("--missing", action="store_true", help="list what was never taken, or always")
    parser.add_argument("--least", type=float, default=0, help="exit 1 below so many percent")
    arguments = parser.parse_args()
    found = branches(measure(arguments.build, arguments.corpus, arguments.llvm))
    by_module = collections.defaultdict(lambda: [0, 0])
    for (name, _), (taken, passed, source, line) in sorted(found.items()):
        counts = by_module[module_of(name)]
        counts[0] += (taken > 0) + (passed > 0)
        counts[1] += 2
        if arguments.missing and not (taken and passed):
            print(f"{where(source, line)}: {name.split('_', 8)[-1]}: {'never' if not taken else 'always'}")
    for module, (covered, total) in sorted(by_module.items()):
        print(f"{module:14} {covered:5} of {total:5} branches {100 * covered / total:5.1f} %")
    covered, total = (sum(counts[i] for counts in by_module.values()) for i in range(2))
    print(f"{'device':14} {covered:5} of {total:5} branches {100 * covered / total:5.1f} %")
    return 1 if 100 * covered < arguments.least * total else 0


def module_of(name):
    """e1000.device.rx of __pyx_f_5e1000_6device_2rx_store: the number is the length of what follows."""
    length, rest = re.match(r"__pyx_f_5e1000_6device_(\d+)(.*)", name).groups()
    return rest[: int(length)]


if __name__ == "__main__":
    sys.exit(main())
