"""Options of a sketch, readable without torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from unweave.registry import OneOf
from unweave.sketch.registry import SKETCHES

Normalize = Literal["tensor", "row", "none"]


@dataclass(frozen=True, kw_only=True)
class SketchConfig:
    """How gradients are compressed.

    Attributes:
        sketch: `fold` (default), `rapidgrad` (the original's bins and signs), `oporp`, `tensorsketch`, `kronecker` (for full weight
            matrices: never makes their gradients), `gaussian` (small models), or `none` (the whole gradient).
        dimension: K, the length of a sketch.
        sketch_seed: Seed of bins and signs; for `rapidgrad` the original's is 42.
        normalize: `tensor` divides each parameter tensor's gradient by its own norm before it is added (RapidIn's layer-wise
            normalisation), `row` divides the finished sketch by its norm, `none` leaves gradients as they are.
    """

    sketch: Annotated[str, OneOf(SKETCHES)] = "fold"
    dimension: int = 65_536
    sketch_seed: int = 42
    normalize: Normalize = "tensor"


@dataclass(frozen=True, kw_only=True)
class GradientConfig(SketchConfig):
    """Which gradients, and how they are sketched.

    Attributes:
        parameters: `lora`, `linear`, `all`, or a regular expression of parameter names.
        reduction: A row's loss is the `mean` or the `sum` over its completion tokens.
        token_budget: Tokens a batch, padding included; halved by itself when memory runs out.
    """

    parameters: str = "lora"
    reduction: Literal["mean", "sum"] = "mean"
    token_budget: int = 1024
