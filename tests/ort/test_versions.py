"""What ONNX Runtime tells of its build."""

import onnxruntime

from xbackend.backends.ort.adapter import Adapter


def test_the_commit_is_told_as_mlas_has_no_version_of_its_own():
    told = Adapter().versions()
    assert told["ort"] == onnxruntime.__version__
    assert f"git-commit-id={told['build']}," in onnxruntime.get_build_info()
