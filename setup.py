"""Build of fastring's three packages; everything declarative is in pyproject.toml.

Environment switches, all off by default:
  FASTRING_DEBUG=1       bounds and ownership checks, assertions, UBSAN
  FASTRING_SANITIZE=1    FASTRING_DEBUG plus ASAN (run it as `make sanitize` does, with libasan preloaded)
  FASTRING_FUZZ=1        FASTRING_DEBUG, ASAN and libFuzzer's instrumentation, and the harness in tests/fuzz; CC=clang-14
  FASTRING_FUZZ=coverage the same harness with clang's coverage instrumentation instead
  FASTRING_NATIVE=1      -march=native, for local builds only: such a wheel runs on this CPU and its like
  FASTRING_NO_COMPILE=1  no compiled module: for an editable install whose `build_ext --inplace` follows, as the Makefile's does
"""

import hashlib
import os
import re
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup


def switch(name):
    return os.environ.get(name, "") not in ("", "0")


SANITIZE = switch("FASTRING_SANITIZE")
FUZZ = os.environ.get("FASTRING_FUZZ", "") if switch("FASTRING_FUZZ") else None
COVERAGE = FUZZ == "coverage"
DEBUG = SANITIZE or switch("FASTRING_DEBUG") or FUZZ is not None

compile_args = ["-std=gnu11", "-Wno-unreachable-code", "-Wno-unused-function", "-Wno-sign-compare"]
link_args = []
macros = []
if COVERAGE:
    compile_args += ["-O1", "-g", "-fprofile-instr-generate", "-fcoverage-mapping"]
    link_args += ["-fprofile-instr-generate"]
elif FUZZ:
    compile_args += ["-O1", "-g", "-fno-omit-frame-pointer", "-UNDEBUG", "-fno-sanitize-recover=undefined"]
    compile_args += ["-fsanitize=fuzzer-no-link,address,undefined"]
    link_args += ["-fsanitize=fuzzer-no-link,address,undefined"]
    macros += [("FASTRING_DEBUG", "1")]
elif DEBUG:
    compile_args += ["-O1", "-g", "-fno-omit-frame-pointer", "-UNDEBUG", "-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
    link_args += ["-fsanitize=undefined"]
    macros += [("FASTRING_DEBUG", "1")]
else:
    compile_args += ["-O3", "-fno-semantic-interposition"]
if SANITIZE:
    compile_args += ["-fsanitize=address"]
    link_args += ["-fsanitize=address"]
if switch("FASTRING_NATIVE"):
    compile_args += ["-march=native"]


def layout():
    """A fingerprint of every struct and enum of the device: a snapshot is copied into a card only if both have the same."""
    text = "".join(source.read_text() for source in sorted(Path("e1000/device").glob("*.p[xy][dx]")))
    blocks = re.findall(r"^(?:ctypedef struct|cdef enum)\b.*?(?=^\S)", re.sub(r"#.*", "", text), re.M | re.S)
    return hashlib.sha256("".join("".join(blocks).split()).encode()).hexdigest()[:16]


def headers_of(source):
    """What C a module may include: the rings' headers only where rings are."""
    rings = re.search(r"\bfastring\.ring|ring_\w+\.h", source.read_text()) or source.stem.startswith("ring")
    return [header for header in Path("fastring").glob("*.h") if rings or not header.name.startswith("ring_")]


macros += [("FASTRING_LAYOUT", f"0x{layout()}ull")]
extensions = [
    Extension(
        str(source.with_suffix("")).replace(os.sep, "."),
        [str(source)],
        include_dirs=["."],
        depends=[
            *map(str, headers_of(source)),
            *(map(str, Path("e1000/device").glob("*.p*")) if source.stem == "snapshot" else ()),
        ],
        define_macros=macros,
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )
    for package in ("fastring", "e1000")
    for source in sorted(Path(package).rglob("*.pyx"))
]
if FUZZ:
    extensions += [
        Extension(source.stem, [str(source)], include_dirs=["."], extra_compile_args=compile_args, extra_link_args=link_args)
        for source in sorted(Path("tests/fuzz").glob("*.pyx"))
    ]

setup(
    packages=[*(p for p in find_packages(".") if p.split(".")[0] in ("fastring", "e1000")), *find_packages("python")],
    package_dir={"": "python", "fastring": "fastring", "e1000": "e1000"},
    package_data={"": ["*.pxd", "*.pyi", "*.h", "py.typed"]},
    options={"build_ext": {"parallel": True}},
    ext_modules=cythonize(
        [] if switch("FASTRING_NO_COMPILE") else extensions,
        nthreads=os.cpu_count() or 1,
        # The checks of a debug build change the generated C, so it gets files of its own.
        # (Never for an ordinary build: with build_dir an sdist loses its .pyx.)
        build_dir=f"build/cython-{'fuzz' if FUZZ else 'sanitize' if SANITIZE else 'debug'}" if DEBUG else None,
        compiler_directives={
            "language_level": 3,
            # Hot paths index plain pointers, which no directive slows down; everything else keeps Python's checks.
            "initializedcheck": DEBUG,
            "cdivision": True,
            "embedsignature": True,
            "legacy_implicit_noexcept": False,
            # Importing no module of ours turns the GIL on again in a free-threaded Python.
            "freethreading_compatible": True,
        },
    ),
)
