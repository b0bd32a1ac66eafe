"""Architectures of torchvision, timm, transformers and Keras with random weights, exported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """A network that is made and exported here."""

    name: str
    package: str
    make: Callable[[], tuple[Any, tuple[Any, ...]]]
    """Gives a module and example inputs; a Keras model and nothing."""
    exporter: str
    """`legacy`, `dynamo` or `keras`."""
    opset: int = 0

    @property
    def title(self) -> str:
        """What the table calls it."""
        how = self.exporter if self.exporter == "keras" else f"{self.exporter}, opset {self.opset}"
        return f"{self.name} ({self.package}; {how})"


def _allow_missing_operators() -> None:
    """Declare what torchvision's compiled part brings, which another build of PyTorch lacks.

    Classifiers call none of it, but torchvision asks for it while it is imported.
    """
    import torch

    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", schema)


def _vision(name: str, size: int = 64, **options: Any) -> tuple[Any, tuple[Any, ...]]:
    import torch

    _allow_missing_operators()
    import torchvision.models as models

    torch.manual_seed(0)
    return getattr(models, name)(weights=None, **options).eval(), (torch.rand(1, 3, size, size),)


def _timm(name: str, size: int = 64, **options: Any) -> tuple[Any, tuple[Any, ...]]:
    import torch

    _allow_missing_operators()
    import timm

    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=10, **options).eval()
    return model, (torch.rand(1, 3, size, size),)


def _text(kind: str, **options: Any) -> tuple[Any, tuple[Any, ...]]:
    """Make a language model of two small layers."""
    import torch

    _allow_missing_operators()
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**options)
    config.return_dict = False
    config.use_cache = False
    model = getattr(transformers, f"{kind}Model")._from_config(config, attn_implementation="eager")
    return model.eval(), (torch.arange(12).reshape(1, 12) % 50,)


def _pictures(kind: str, **options: Any) -> tuple[Any, tuple[Any, ...]]:
    model, _ = _text(kind, **options)
    import torch

    return model, (torch.rand(1, 3, 32, 32),)


def _keras(name: str, size: int = 64, **options: Any) -> tuple[Any, tuple[Any, ...]]:
    import keras

    keras.utils.set_random_seed(0)
    make = getattr(keras.applications, name)
    return make(weights=None, input_shape=(size, size, 3), classes=10, **options), ()


LEGACY, DYNAMO = "legacy", "dynamo"
GOOGLE = {"init_weights": False, "aux_logits": False}
SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "vocab_size": 50, "max_position_embeddings": 32,
}  # fmt: skip
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_positions": 32}
DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 50}
VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip

ARCHITECTURES = (
    Architecture("resnet18", "torchvision", partial(_vision, "resnet18"), LEGACY, 11),
    Architecture("resnet18", "torchvision", partial(_vision, "resnet18"), DYNAMO, 18),
    Architecture("squeezenet1_1", "torchvision", partial(_vision, "squeezenet1_1"), LEGACY, 12),
    Architecture("mobilenet_v2", "torchvision", partial(_vision, "mobilenet_v2"), LEGACY, 13),
    Architecture("mobilenet_v3", "torchvision", partial(_vision, "mobilenet_v3_small"), DYNAMO, 18),
    Architecture("shufflenet", "torchvision", partial(_vision, "shufflenet_v2_x0_5"), LEGACY, 14),
    Architecture("mnasnet0_5", "torchvision", partial(_vision, "mnasnet0_5"), LEGACY, 15),
    Architecture("efficientnet_b0", "torchvision", partial(_vision, "efficientnet_b0"), LEGACY, 16),
    Architecture("regnet_y_400mf", "torchvision", partial(_vision, "regnet_y_400mf"), LEGACY, 17),
    Architecture("densenet121", "torchvision", partial(_vision, "densenet121"), LEGACY, 17),
    Architecture(
        "googlenet", "torchvision", partial(_vision, "googlenet", 96, **GOOGLE), LEGACY, 17
    ),
    Architecture(
        "vit_tiny", "timm", partial(_timm, "vit_tiny_patch16_224", img_size=64), DYNAMO, 20
    ),
    Architecture("mixer", "timm", partial(_timm, "mixer_s32_224", 224), LEGACY, 18),
    Architecture("convnext_atto", "timm", partial(_timm, "convnext_atto"), DYNAMO, 21),
    Architecture("ghostnet_050", "timm", partial(_timm, "ghostnet_050"), LEGACY, 17),
    Architecture("mobilevit_xxs", "timm", partial(_timm, "mobilevit_xxs"), LEGACY, 17),
    Architecture("bert", "transformers", partial(_text, "Bert", **SMALL), DYNAMO, 18),
    Architecture("distilbert", "transformers", partial(_text, "DistilBert", **DISTIL), LEGACY, 17),
    Architecture("gpt2", "transformers", partial(_text, "GPT2", **GPT), DYNAMO, 18),
    Architecture("llama", "transformers", partial(_text, "Llama", **SMALL), DYNAMO, 23),
    Architecture("vit", "transformers", partial(_pictures, "ViT", **VIT), DYNAMO, 22),
    *(
        Architecture(name, "Keras", partial(_keras, name), "keras")
        for name in "MobileNetV2 MobileNetV3Small EfficientNetB0 NASNetMobile ResNet50V2".split()
    ),
)


def export(each: Architecture, cache: Path) -> Path:
    """Write an architecture's file into the cache, unless it is there."""
    suffix = "keras" if each.exporter == "keras" else "onnx"
    target = cache / "exports" / f"{each.name}-{each.exporter}-{each.opset}.{suffix}"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    model, inputs = each.make()
    if suffix == "keras":
        model.save(target)
        return target
    import torch

    unfinished = target.with_suffix(".tmp.onnx")
    dynamo = each.exporter == "dynamo"
    more = {"external_data": False} if dynamo else {}
    torch.onnx.export(model, inputs, unfinished, opset_version=each.opset, dynamo=dynamo, **more)
    unfinished.replace(target)
    return target
