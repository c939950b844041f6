"""Retraining: the same training without the forget rows. What all other methods are measured by."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from unweave.train.recipe import read_recipe
from unweave.train.sft import TrainResult, fine_tune
from unweave.unlearning.config import ForgetConfig
from unweave.unlearning.methods.base import ALL_REQUESTS, Method


@dataclass(frozen=True, kw_only=True)
class RetrainConfig(ForgetConfig):
    """Train again without the forget rows, by the recipe of the model. Exact for what entered through the adapter.

    Attributes:
        method: The unlearning method.
        recipe: config.yaml of the training run; by default the one beside the model.
        seed: In the place of the recipe's.
        dtype: In the place of the recipe's.
        device: In the place of the recipe's.
    """

    method: str = "retrain"
    recipe: Path | None = None
    seed: int | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    device: str | None = None  # pyright: ignore[reportIncompatibleVariableOverride]


def train(config: RetrainConfig) -> TrainResult:
    """Train.

    Args:
        config: The recipe and the rows to leave out.

    Returns:
        The result of the training run.
    """
    recipe = read_recipe(config.recipe or config.adapter or config.model)
    changes: dict[str, Any] = {"without": config.forget, "output_dir": config.output_dir, "snapshots": ()}
    given = {name: getattr(config, name) for name in ("seed", "dtype", "device")}
    return fine_tune(replace(recipe, **changes, **{name: value for name, value in given.items() if value is not None}))


METHOD = Method(
    name="retrain",
    summary="the same training without the forget rows",
    paper="exact for what entered through the adapter",
    config_type=RetrainConfig,
    train=train,
    uses_retain=False,
    requests=ALL_REQUESTS,
    cost="a training run",
    search={},
)
