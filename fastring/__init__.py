"""fastring: rings, buffers, bursts, clocks and captures, with no idea of any card or stack.

Everything here is usable from Python and, faster, from a .pyx that cimports it:
add ``fastring.get_include()`` to the extension's include_dirs.
"""

from pathlib import Path


def get_include() -> str:
    """Return the include directory a third-party Cython extension needs for ``fastring/*.h``."""
    return str(Path(__file__).resolve().parent.parent)
