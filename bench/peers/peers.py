"""Build what the benches compare with, into build/bench; a peer that cannot be built here raises Unavailable with the reason."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = ROOT / "build" / "bench"


class Unavailable(Exception):
    """The peer is not on this machine: the message says what is missing."""


def build_rte_ring() -> Path:
    """Compile rte_ring.c against the system's DPDK; return the program."""
    compiler = shutil.which("cc")
    if compiler is None or shutil.which("pkg-config") is None:
        raise Unavailable("a C compiler and pkg-config are needed to build DPDK's rte_ring")
    if subprocess.run(["pkg-config", "--exists", "libdpdk"]).returncode:
        raise Unavailable("DPDK is not installed (Debian: libdpdk-dev)")
    source, program = HERE / "rte_ring.c", TARGET / "rte_ring"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        TARGET.mkdir(parents=True, exist_ok=True)
        flags = {kind: subprocess.check_output(["pkg-config", kind, "libdpdk"], text=True).split() for kind in ("--cflags", "--libs")}
        subprocess.run([compiler, "-O3", "-pthread", *flags["--cflags"], str(source), "-o", str(program), *flags["--libs"]], check=True)
    return program


def build_extension(name: str) -> ModuleType:
    """Compile NAME.pyx from this folder against the fastring that is imported, as a third party would; return the module."""
    try:
        from Cython.Build import cythonize
        from setuptools import Distribution, Extension
    except ImportError as error:
        raise Unavailable(f"the benches' own loops need {error.name} to be built") from None
    import fastring

    extension = Extension(name, [str(HERE / f"{name}.pyx")], include_dirs=[fastring.get_include()],
                          extra_compile_args=["-O3", "-fno-semantic-interposition"])
    extensions = cythonize([extension], build_dir=str(TARGET), include_path=[fastring.get_include()], quiet=True,
                           compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True,
                                                "initializedcheck": False})
    build = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    build.build_lib = build.build_temp = str(TARGET)
    build.ensure_finalized()
    build.run()
    spec = importlib.util.spec_from_file_location(name, build.get_ext_fullpath(name))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
