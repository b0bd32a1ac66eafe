"""The contract between the worker and an adapter: what a backend is, takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Dict, FrozenSet, Mapping, Tuple, Union

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Callable, Collection, Iterator, Type

    from xbackend.worker.artifact import Artifact
    from xbackend.worker.tensor import Tensor

SettingValue = Union[bool, int, float, str]
Settings = Mapping[str, SettingValue]

PRECISIONS = ("float32", "float64", "float16", "bfloat16", "int8")


class Unsupported(Exception):
    """The backend cannot do what is asked, which makes the run skipped, not failed.

    The message is one sentence that a user reads: what is missing and, if there is one, the cure.
    """


@dataclass(frozen=True)
class Setting:
    """One knob of a backend that can change a bit of its output."""

    key: str
    """The name after the dot of `--set word.key=value`."""
    default: SettingValue
    """What the framework itself does; never depends on the machine. Its type is the setting's."""
    help: str
    """One line for `xbackend backends`."""
    choices: Tuple[SettingValue, ...] = ()
    """The values that are allowed; empty where every value of the type is."""
    variable: str = ""
    """The environment variable from which the framework reads it when it is loaded, for settings
    that have one: it is set to the value, as it is written here, if that is not the default. The
    adapter sees in `prepare` whether the framework took it."""


GRAPH = "graph"
"""The setting that says what is run where a backend knows the model's own source."""
AUTO, SOURCE, ONNX = "auto", "source", "onnx"
"""Its values: `auto` is the source where there is one, beside the exported graph."""


def graph_setting(own: str) -> Setting:
    """Return the setting of a backend that runs models of its own framework."""
    text = f"what runs: the {own} itself, or the ONNX graph that was exported from it; auto is both"
    return Setting(GRAPH, AUTO, text, (AUTO, SOURCE, ONNX))


@dataclass(frozen=True)
class UnfaithfulOperators:
    """Operators that give other values on an emulated x86 processor than on any real one.

    The emulator computes the estimates `rcpps` and `rsqrtps` in full precision, real processors
    each by a table of their own; all other arithmetic is the real processor's, bit for bit.
    """

    operators: Tuple[str, ...]
    """Names of operators as layers have them, such as `Softmax`."""
    reason: str
    """One sentence: what was measured, where."""
    where: Mapping[str, Tuple[SettingValue, ...]] = field(default_factory=dict)
    """Settings, `precision` among them, to the values for which it holds; others do not matter."""
    unless_version: Tuple[str, ...] = ()
    """Versions of the backend in which these operators were measured to be faithful."""
    unless_flag: Tuple[str, ...] = ()
    """Processor flags with any one of which the framework takes faithful kernels."""


@dataclass(frozen=True)
class BackendSpec:
    """What the coordinator knows of a backend without importing its framework."""

    word: str
    """The one word: folder, entry point, extra, marker, tox environment, command line value."""
    title: str
    """The framework's own name, such as `ONNX Runtime`."""
    adapter: str
    """Where the adapter is, as `package.module:Class`; imported in the worker only."""
    modules: Tuple[str, ...]
    """Import names of the framework, any one of which is enough; empty if NumPy is all."""
    distributions: Tuple[str, ...]
    """Names on the package index whose versions belong to a run's record."""
    formats: Mapping[str, str]
    """Precision to the format of the artifact that the adapter eats: `{"float32": "graph"}`."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """File format of a model of this framework, such as `pt2`, to the format of the artifact from
    which the adapter runs it as it is; empty where every model is run as its ONNX graph. A backend
    that has any has the setting `graph`."""
    operators: FrozenSet[str] = frozenset()
    """Full names of the operators that it has functions for, where it walks the ONNX graph, such
    as `Conv` and `com.microsoft.QGemm`; empty where the framework itself reads the model."""
    source_title: str = ""
    """What such a model is called in a sentence, such as `PyTorch module`."""
    settings: Tuple[Setting, ...] = ()
    """All knobs but threads and precision, which every backend has."""
    unsupported_precisions: Mapping[str, str] = field(default_factory=dict)
    """Precision to the sentence that says why the backend does not have it."""
    default_precision: str = "float32"
    """What runs when `--precision` is not given."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables set before the framework is imported; `{threads}` stands for the thread count."""
    saturation_warning: str = ""
    """Where kernels for 8 bits add pairs of products in 16 bits that saturate, as the beginning of
    a sentence: `ONNX Runtime saturates on …`; empty where none does."""
    exact_integers: bool = False
    """Whether its integers are exact on every processor, so that it judges those of others."""
    required_flags: Mapping[str, str] = field(default_factory=dict)
    """Processor flags without which the framework dies of SIGILL, each with a sentence's beginning
    that says so: `{"avx": "TensorFlow's wheel needs AVX"}`."""
    unfaithful: Tuple[UnfaithfulOperators, ...] = ()
    """What an emulated x86 processor cannot be trusted with; empty where nothing is known."""

    unfused_settings: Mapping[str, SettingValue] = field(default_factory=dict)
    """Settings under which each node of the graph is computed by itself, its result rounded."""

    script: str = ""
    """The function, as `package.module:function`, that writes a small graph as plain code of the
    framework alone; it takes a Graph and the settings and returns statements that read `inputs`
    and make `outputs`, both arrays by name, or nothing where it cannot. Empty where there is none.
    """

    def defaults(self) -> Dict[str, SettingValue]:
        """Return every setting with its default."""
        return {setting.key: setting.default for setting in self.settings}

    def check(self, settings: Settings) -> None:
        """Raise Unsupported where a setting has a value that is none of its choices."""
        for setting in self.settings:
            value = settings[setting.key]
            if setting.choices and value not in setting.choices:
                known = ", ".join(str(choice) for choice in setting.choices)
                raise Unsupported(
                    f"{self.word}.{setting.key} cannot be '{value}': choose one of {known}."
                )


class Session:
    """A model that is ready to run. Made by `Backend.prepare`, closed by leaving its `with`.

    `run` is the untapped inference, whose outputs are the run's. `tap` is a second, instrumented
    one. Both take inputs that already have the artifact's names, dtypes and shapes.
    """

    taps: Tuple[str, ...] = ()
    """Names of the tensors that `tap` can give, those of ONNX values, in order of computation."""

    def run(self, inputs: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """Return the outputs by name, in ONNX layout, from an inference that nothing watches."""
        raise NotImplementedError

    def tap(
        self, inputs: Mapping[str, Tensor], wanted: Collection[str]
    ) -> Iterator[Tuple[str, Tensor]]:
        """Yield the wanted taps from one instrumented inference, graph outputs among them.

        In ONNX layout (NCHW), in the order of `taps`. A tensor that this backend does not
        compute (fused away) is left out, never made up.
        """
        raise NotImplementedError

    def facts(self) -> Dict[str, Any]:
        """Return what can only be known afterwards, JSON values only.

        Such as which provider ran which node, or where TensorFlow placed an operation. The key
        `settings` holds settings that were resolved (`auto` became `litert`).
        """
        return {}

    def close(self) -> None:
        """Free what the framework holds."""

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: Type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Backend:
    """An adapter: the only place where its framework is imported."""

    spec: ClassVar[BackendSpec]

    def versions(self) -> Dict[str, str]:
        """Return the framework's version under the backend's word, and those of what is inside it.

        `{"ort": "1.31.1", "cuda": "13.0"}`: the first key is always the word itself.
        """
        raise NotImplementedError

    def prepare(self, artifact: Artifact, settings: Settings) -> Session:
        """Load an artifact under settings, `threads` (int) and `precision` (str) among them.

        Raises `Unsupported` where the framework cannot do what is asked. Any other exception is
        recorded as a failure at the stage `prepare`.
        """
        raise NotImplementedError


def load_adapter(path: str, importer: Callable[[str], Any]) -> Backend:
    """Import and make the adapter that `spec.adapter` names, as `package.module:Class`.

    `importer` is `importlib.import_module`. Raises ImportError where the framework is missing.
    """
    module, _, name = path.partition(":")
    adapter = getattr(importer(module), name)()
    if not isinstance(adapter, Backend):
        raise TypeError(f"{path} is not a subclass of xbackend.worker.contract.Backend.")
    return adapter
