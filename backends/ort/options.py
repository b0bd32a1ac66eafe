"""Settings as options of a session, and the proof that they hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Tuple

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from xbackend.worker.contract import Unsupported

from . import SPEC
from .providers import chain, missing, provider_name
from .words import CPU, CUDA, EXECUTION, LEVELS

if TYPE_CHECKING:
    from xbackend.worker.contract import Settings

ERRORS_ONLY = 3
"""ONNX Runtime's log level from which it writes to standard error."""


@dataclass(frozen=True)
class Options:
    """How both sessions of a run are opened."""

    threads: int
    precision: str
    provider: str
    """ONNX Runtime's full name, such as `CPUExecutionProvider`."""
    level: str
    """A name within `GraphOptimizationLevel`."""
    execution: str
    """A name within `ExecutionMode`."""
    deterministic: bool
    entries: Dict[str, str]
    """Entries of the session's configuration, in ONNX Runtime's own words."""
    provider_options: Dict[str, str]
    """Options of the provider that was asked for."""
    disabled_optimizers: Tuple[str, ...]

    def session_options(self) -> Any:
        """Make the object that ONNX Runtime takes."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = self.threads if self.execution == "ORT_PARALLEL" else 1
        options.graph_optimization_level = self._level()
        options.execution_mode = getattr(onnxruntime.ExecutionMode, self.execution)
        if self.deterministic:
            options.use_deterministic_compute = True
        for key, value in self.entries.items():
            options.add_session_config_entry(key, value)
        return options

    def _level(self) -> Any:
        level = getattr(onnxruntime.GraphOptimizationLevel, self.level, None)
        if level is None:
            raise Unsupported(
                f"ONNX Runtime {onnxruntime.__version__} has no level {self.level}; "
                "choose another ort.optimization."
            )
        return level

    def open(self, path: str, **changes: Any) -> Any:
        """Load a model with no fallback to other providers; `changes` are set on the options."""
        options = self.session_options()
        for key, value in changes.items():
            setattr(options, key, value)
        return onnxruntime.InferenceSession(
            path,
            options,
            providers=chain(self.provider, self.provider_options),
            disabled_optimizers=list(self.disabled_optimizers),
            enable_fallback=0,
            read_config_from_model=0,
        )

    def check(self, session: Any) -> None:
        """Read the options of an open session back. Raises Unsupported where one did not hold."""
        if self.provider not in session.get_providers():
            raise Unsupported(missing(self.provider))
        held = session.get_session_options()
        if held.execution_mode != getattr(onnxruntime.ExecutionMode, self.execution):
            raise Unsupported(
                f"ort.execution=parallel needs two threads or more, not {self.threads}."
            )
        self._expect("threads", held.intra_op_num_threads, self.threads)
        self._expect("ort.optimization", held.graph_optimization_level, self._level())
        if self.deterministic:
            self._expect("ort.deterministic", held.use_deterministic_compute, True)
        for key, value in self.entries.items():
            self._expect(key, _entry(held, key), value)
        given = session.get_provider_options().get(self.provider, {})
        for key, value in self.provider_options.items():
            self._expect(f"{self.provider}'s {key}", given.get(key), value)

    def _expect(self, what: str, held: object, wanted: object) -> None:
        if held != wanted:
            raise Unsupported(
                f"ONNX Runtime {onnxruntime.__version__} did not take {what}={wanted}: "
                f"it is {held}."
            )


def _entry(options: Any, key: str) -> str | None:
    """Return what an entry of a session's configuration is, None where it has none."""
    try:
        return str(options.get_session_config_entry(key))
    except RuntimeError:
        return None


def read_options(settings: Settings) -> Options:
    """Translate settings into ONNX Runtime's words. Raises Unsupported for unknown values."""
    provider = provider_name(str(settings["provider"]))
    SPEC.check(settings)
    threads = int(settings["threads"])
    if threads < 1:
        raise Unsupported(f"ONNX Runtime needs one thread or more, not {threads}.")
    return Options(
        threads=threads,
        precision=str(settings["precision"]),
        provider=provider,
        level=LEVELS[str(settings["optimization"])],
        execution=EXECUTION[str(settings["execution"])],
        deterministic=bool(settings["deterministic"]),
        entries=config_entries(settings),
        provider_options=provider_options(provider, settings),
        disabled_optimizers=optimizers(str(settings["disabled_optimizers"])),
    )


def config_entries(settings: Settings) -> Dict[str, str]:
    """Return entries of the session's configuration.

    Threads that wait do not spin, which changes no bit: several workers share the cores.
    """
    return {
        "session.intra_op.allow_spinning": "0",
        "session.inter_op.allow_spinning": "0",
        "session.disable_prepacking": "0" if settings["prepacking"] else "1",
        "session.record_ep_graph_assignment_info": "1",
    }


def provider_options(provider: str, settings: Settings) -> Dict[str, str]:
    """Return the options of CUDA. Raises Unsupported for one that another provider cannot heed."""
    search = str(settings["conv_algo_search"]).upper()
    if provider == CUDA:
        tf32 = "1" if settings["tf32"] else "0"
        return {"cudnn_conv_algo_search": search, "use_tf32": tf32}
    if search != "EXHAUSTIVE":
        raise Unsupported("ort.conv_algo_search needs ort.provider=cuda.")
    if not settings["tf32"] and provider != CPU:
        raise Unsupported("ort.tf32=false needs ort.provider=cuda or cpu, which has no TF32.")
    return {}


def optimizers(names: str) -> Tuple[str, ...]:
    """Split a list of names. Raises Unsupported for one that the library does not hold.

    ONNX Runtime itself ignores names that it does not know.
    """
    wanted = tuple(name.strip() for name in names.split(",") if name.strip())
    if not wanted:
        return ()
    library = Path(native.__file__).read_bytes()
    for name in wanted:
        text = name.encode()
        if not re.search(rb"\0%b\0|[0-9]%bE" % (re.escape(text), re.escape(text)), library):
            raise Unsupported(
                f"ONNX Runtime {onnxruntime.__version__} has no optimizer named '{name}'."
            )
    return wanted
