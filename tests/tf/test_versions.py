"""What TensorFlow tells of its build, and of the libraries in it."""

import re
from pathlib import Path

import pytest
import tensorflow as tf

from xbackend.backends.tf.adapter import Adapter, build_versions


def test_build_compiler_and_eigen_are_told_once_tensorflow_is_imported():
    told = Adapter().versions()
    assert told["tf"] == tf.__version__
    assert told["build"] == tf.version.GIT_VERSION
    assert told["compiler"] == tf.version.COMPILER_VERSION
    assert re.match(r"\d+\.\d+\.\d+", told["eigen"])
    assert ("cuda_build" in told) == ("cuda_version" in tf.sysconfig.get_build_info())


NEW = """
#define EIGEN_WORLD_VERSION 3
#define EIGEN_MAJOR_VERSION 5
#define EIGEN_MINOR_VERSION 0
#define EIGEN_VERSION_STRING "5.0.1-dev"
"""
OLD = """
#define EIGEN_WORLD_VERSION 3
#define EIGEN_MAJOR_VERSION 4
#define EIGEN_MINOR_VERSION 99
#define EIGEN_VERSION_AT_LEAST(x,y,z) 1
"""


@pytest.mark.parametrize(
    ("file", "text", "version"),
    [("Version", NEW, "5.0.1-dev"), ("src/Core/util/Macros.h", OLD, "3.4.99")],
)
def test_eigens_version_is_read_from_the_headers_of_any_time(
    tmp_path, monkeypatch, file, text, version
):
    header: Path = tmp_path / "Eigen" / file
    header.parent.mkdir(parents=True)
    header.write_text(text)
    monkeypatch.setattr(tf.sysconfig, "get_include", lambda: str(tmp_path))
    assert build_versions(tf)["eigen"] == version


def test_a_build_without_headers_tells_no_eigen(tmp_path, monkeypatch):
    monkeypatch.setattr(tf.sysconfig, "get_include", lambda: str(tmp_path))
    assert "eigen" not in build_versions(tf)


def test_a_tensorflow_without_tf32_says_that_none_is_allowed(monkeypatch):
    """TensorFlow 2.3 has neither the switch nor TF32; it ran as a platform python:PATH."""
    from types import SimpleNamespace

    from xbackend.backends.tf.framework import _set_tf32

    old = SimpleNamespace(config=SimpleNamespace(experimental=SimpleNamespace()))
    assert _set_tf32(old, True) is False
    assert _set_tf32(tf, True) is True
