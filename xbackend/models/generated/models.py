"""Which models code makes: the paper's three networks, their variants, and the bits of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from xbackend.models.variant import BATCHNORM, LINEAR, RELU, SIGMOID, Variant
from xbackend.plugins.installed import cache_folder


@dataclass(frozen=True)
class GeneratedModel:
    """A model that code makes."""

    name: str
    """What `xbackend run` takes."""
    description: str
    """One line."""
    builder: str
    """The module whose `build` adds the layers to a graph; its output is `softmax`."""
    parameters: int
    """How many numbers are drawn, as the paper counts its parameters."""
    digests: tuple[str, str]
    """SHA-256 of the ONNX file and of the samples."""
    seed: str
    """Of weights and samples: variants of one network begin with the same numbers."""
    variant: Variant = RELU

    @property
    def folder(self) -> Path:
        """Where it is kept; other bits lie elsewhere."""
        return cache_folder() / "models" / f"{self.name}-{self.digests[0][:12]}"

    def with_variant(self, variant: Variant, digest: str) -> GeneratedModel:
        """Return a variant of this network, whose ONNX file has that digest."""
        return replace(
            self,
            name=f"{self.seed}-{variant.word}",
            description=f"{self.description}: {variant.description}",
            digests=(digest, self.digests[1]),
            variant=variant,
        )


SMALL = GeneratedModel(
    name="cifar10-small",
    description="the paper's small CNN, with random weights",
    builder="xbackend.models.generated.small",
    parameters=59_354,
    digests=("", "ab7125581547a2c08c17293e5709ddccbdecda81a1879b159fe27f0432e3683f"),
    seed="cifar10-small",
)
"""Of this one the variants only: the name is that of the shipped, trained one."""

R18 = GeneratedModel(
    name="cifar10-r18",
    description="the paper's ResNet18 for 32x32 pictures, with random weights",
    builder="xbackend.models.generated.r18",
    parameters=11_191_306,
    digests=(
        "50a223e2ccb2f0073ebb9e35a1d106f59feb3e61f9f960e13392ff6fb6fb06f3",
        "db6335f8d218b506fe2d0300656d4833dd4b6dd4cfd2bb30cc0f679653793b71",
    ),
    seed="cifar10-r18",
)

R50V2 = GeneratedModel(
    name="deepweeds-r50v2",
    description="the paper's ResNet50V2 for 256x256 pictures, with random weights",
    builder="xbackend.models.generated.r50v2",
    parameters=24_744_457,
    digests=(
        "2def113baaf3abe58efc4afa791d3cbdcf954180c23929554c0a9f9d8da5af6f",
        "f09587fe81d35f5f4c51cd20b859cee7e1d76de51b4feb1b42acf3baee16f20f",
    ),
    seed="deepweeds-r50v2",
)

MODELS = (
    SMALL.with_variant(RELU, "fde64c45e0d24cd1663434381253b399b80e0ff6401eb826ec45abea965e036a"),
    SMALL.with_variant(SIGMOID, "2509b22fc7ab4b91365495d1749aa5541ca22caaff8f8b83776e72ff926ade5c"),
    SMALL.with_variant(LINEAR, "f9e72803b72830afb9f1e2b8f0c0f11db271c3fb16ba90af9dca2a95edd3136e"),
    R18,
    R18.with_variant(SIGMOID, "ee87f565833691db16ba56badc77e714d4a6b95a91d9cee212fd0c178671dd0c"),
    R18.with_variant(LINEAR, "cfbbffca77f64db68e5e76ff2042ef24471496173c8ab00faada710c9918a142"),
    R18.with_variant(BATCHNORM, "c4b0d727be31ccf777fba6b52b507c4ebdcb96693f99bbdc936b473c461d9668"),
    R50V2,
    R50V2.with_variant(SIGMOID, "be6f96a5b2ea59bf3138de649f5dce384a554a5420c26ff762ca46210b236dda"),
    R50V2.with_variant(LINEAR, "fbc372017631c78a40f66b340a37bb08343a644e494e722efce20c1977e75b22"),
    R50V2.with_variant(
        BATCHNORM, "9bda86e049a2f27cba3331c31133edff3e3693a5e3f5291821a2570201d278b4"
    ),
)
"""All of them."""
