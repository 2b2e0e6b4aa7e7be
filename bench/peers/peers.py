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


def build_program(source: str) -> Path:
    """Compile a C program of bench/ for this very machine, the floor having every advantage; return it."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Unavailable(f"{source} needs a C compiler to be built")
    path = HERE.parent / source
    program = TARGET / path.stem
    if not program.exists() or program.stat().st_mtime < path.stat().st_mtime:
        TARGET.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, "-O3", "-march=native", str(path), "-o", str(program)], check=True)
    return program


def build_extension(source: Path, target: Path = TARGET) -> ModuleType:
    """Compile a .pyx against the fastring that is imported, as a third party would, into `target`; return the module."""
    try:
        from Cython.Build import cythonize
        from setuptools import Distribution, Extension
    except ImportError as error:
        raise Unavailable(f"{source.name} needs {error.name} to be built") from None
    if shutil.which("cc") is None:
        raise Unavailable(f"{source.name} needs a C compiler to be built")
    import fastring

    include, name = fastring.get_include(), source.stem
    extension = Extension(name, [str(source)], include_dirs=[include], extra_compile_args=["-O3", "-fno-semantic-interposition"])
    directives = {"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True}
    extensions = cythonize([extension], build_dir=str(target), include_path=[include], quiet=True, compiler_directives=directives)
    build = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    build.build_lib = build.build_temp = str(target)
    build.ensure_finalized()
    build.run()
    spec = importlib.util.spec_from_file_location(name, build.get_ext_fullpath(name))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
