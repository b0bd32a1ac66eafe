"""Which math libraries a process has loaded, and what they say of themselves.

What is loaded stands in /proc/self/maps; asking a library that is loaded already costs nothing.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Callable, Dict, Iterable, List

MATH = (
    "libacl", "libarm_compute", "libarmpl", "libblas", "libblis", "libcblas", "libcublas",
    "libcuda.", "libcudart", "libcudnn", "libcufft", "libdnnl", "libgomp", "libiomp", "liblapack",
    "libm-", "libm.", "libmkl_", "libmvec", "libnvinfer", "libomp", "libopenblas",
    "libscipy_openblas", "libsvml", "libtbb",
)  # fmt: skip
"""Beginnings of the file names of what computes, or decides how many threads do."""

LONGEST = 256
"""Bytes that a library may fill with its version."""


class _DnnlVersion(ctypes.Structure):
    """The beginning of oneDNN's `dnnl_version_t`."""

    _fields_ = [("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int)]


def loaded_libraries(maps: str = "/proc/self/maps") -> List[str]:
    """Return the paths of the math libraries in this process, sorted; none where Linux is not."""
    try:
        with open(maps, encoding="utf-8", errors="replace") as stream:
            paths = {line.split(None, 5)[5].strip() for line in stream if "/" in line}
    except OSError:
        return []
    return sorted(path for path in paths if os.path.basename(path).startswith(MATH))


def file_names(paths: Iterable[str]) -> List[str]:
    """Return file names, which often tell a version.

    >>> file_names(["/usr/lib/libm.so.6", "/opt/libm.so.6"])
    ['libm.so.6']
    """
    return sorted({os.path.basename(path) for path in paths})


def library_versions(paths: Iterable[str]) -> Dict[str, str]:
    """Return the versions that loaded libraries tell, and the kernels that OpenBLAS has chosen."""
    found: Dict[str, str] = {}
    for path in sorted(paths, key=_is_numpys):
        name = os.path.basename(path)
        for beginning, ask in ASKED.items():
            if name.startswith(beginning):
                try:
                    found.update(ask(ctypes.CDLL(path)))
                except (OSError, AttributeError, ValueError):
                    continue  # It does not say.
    return found


def _is_numpys(path: str) -> bool:
    """Tell NumPy's own library, which counts where another package has brought one too."""
    return "/numpy" in path


def _openblas(library: Any) -> Dict[str, str]:
    """Ask an OpenBLAS, whose names its builders change."""
    found = {}
    config = _text(library, "openblas_get_config")
    if config:
        found["openblas"] = " ".join(config.split()[1:2])
    core = _text(library, "openblas_get_corename")
    if core:
        found["openblas_core"] = core
    return found


def _text(library: Any, name: str) -> str:
    for whole in (name, name + "64_", "scipy_" + name, "scipy_" + name + "64_"):
        function = getattr(library, whole, None)
        if function is not None:
            function.restype = ctypes.c_char_p
            return (function() or b"").decode("ascii", "replace")
    return ""


def _mkl(library: Any) -> Dict[str, str]:
    text = ctypes.create_string_buffer(LONGEST)
    library.mkl_get_version_string(text, LONGEST - 1)
    return {"mkl": mkl_version(text.value.decode("ascii", "replace"))}


def mkl_version(text: str) -> str:
    """Return the version in what MKL says of itself.

    >>> mkl_version("Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 …")
    '2024.2'
    """
    return text.partition("Version ")[2].partition("-")[0].split(" ")[0] or text.strip()


def _dnnl(library: Any) -> Dict[str, str]:
    library.dnnl_version.restype = ctypes.POINTER(_DnnlVersion)
    told = library.dnnl_version().contents
    return {"onednn": f"{told.major}.{told.minor}.{told.patch}"}


def _cudnn(library: Any) -> Dict[str, str]:
    library.cudnnGetVersion.restype = ctypes.c_size_t
    return {"cudnn": str(library.cudnnGetVersion())}


def _cublas(library: Any) -> Dict[str, str]:
    library.cublasLtGetVersion.restype = ctypes.c_size_t
    return {"cublas": str(library.cublasLtGetVersion())}


ASKED: Dict[str, Callable[[Any], Dict[str, str]]] = {
    "libopenblas": _openblas,
    "libscipy_openblas": _openblas,
    "libmkl_rt": _mkl,
    "libdnnl": _dnnl,
    "libcudnn.so": _cudnn,
    "libcublasLt": _cublas,
}
"""The beginning of a library's file name to what asks it."""
