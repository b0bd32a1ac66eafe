"""What PyTorch tells of the libraries in it."""

import re

import torch

from xbackend.backends.torch.adapter import Adapter, build_versions


def test_the_versions_of_mkl_and_onednn_are_those_that_pytorch_reports_elsewhere():
    told, report = Adapter().versions(), torch.__config__.parallel_info()
    assert f"v{told['onednn']} " in report
    assert torch.backends.mkl.is_available() == ("mkl" in told)
    assert told.get("mkl", "") in report
    assert re.fullmatch(r"[0-9a-f]{40}", told["build"])


def test_a_build_without_them_tells_none():
    assert build_versions("PyTorch built with:\n  - GCC 13.3\n  - LAPACK is enabled") == {}
