"""The adapter of PyTorch: from an artifact and settings to a session."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Dict

import torch

from xbackend.worker.contract import Backend
from xbackend.worker.graph import read_graph

from . import SOURCE_FORMAT, SPEC, global_settings
from .compiler import require_compiler
from .program import prepare_program
from .session import TorchSession
from .source.session import prepare_source

if TYPE_CHECKING:
    from xbackend.worker.artifact import Artifact
    from xbackend.worker.contract import Session, Settings

LIBRARIES = {
    "mkl": re.compile(r"Math Kernel Library Version ([\w.]+)"),
    "onednn": re.compile(r"MKL-DNN v([\w.]+)"),
}
"""A library to where PyTorch's description of its build has its version."""


class Adapter(Backend):
    """PyTorch, on the CPU or an NVIDIA GPU."""

    spec = SPEC

    def versions(self) -> Dict[str, str]:
        """Return the versions of PyTorch, MKL, oneDNN and, in a build for GPUs, CUDA and cuDNN."""
        versions = {"torch": str(torch.__version__), **build_versions(torch.__config__.show())}
        commit = getattr(torch.version, "git_version", None)
        if commit:
            versions["build"] = str(commit)
        if torch.version.cuda is not None:
            versions["cuda"] = str(torch.version.cuda)
            if torch.backends.cudnn.is_available():
                versions["cudnn"] = str(torch.backends.cudnn.version())
        return versions

    def prepare(self, artifact: Artifact, settings: Settings) -> Session:
        """Turn the switches, read the graph or the source, and bind it to the device."""
        device = global_settings.apply(settings)
        compiled = settings["mode"] == "compiled"
        if compiled:
            require_compiler(device)
        if artifact.format == SOURCE_FORMAT:
            return prepare_source(artifact, device, compiled, _about(device))
        fused = settings["kernels"] == "fused"
        program = prepare_program(read_graph(artifact.folder), device, fused)
        return TorchSession(program, compiled, _about(device))


def build_versions(told: str) -> Dict[str, str]:
    """Return the versions of the math libraries in what PyTorch says of its build.

    >>> build_versions("  - Intel(R) MKL-DNN v3.12.0 (Git Hash 80afa710)")
    {'onednn': '3.12.0'}
    """
    found = ((name, pattern.search(told)) for name, pattern in LIBRARIES.items())
    return {name: match[1] for name, match in found if match}


def _about(device: torch.device) -> Dict[str, Any]:
    """Describe the device, as far as it decides which kernels run."""
    if device.type == "cpu":
        return {"device": "cpu", "cpu_capability": torch.backends.cpu.get_cpu_capability()}
    major, minor = torch.cuda.get_device_capability(device)
    return {
        "device": torch.cuda.get_device_name(device),
        "capability": f"{major}.{minor}",
        "cuda": str(torch.version.cuda),
        "cudnn": torch.backends.cudnn.version(),
    }
