"""Retraining: the same training without the forget rows. What all other methods are measured by."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unweave.forget.config import ForgetConfig
from unweave.forget.methods.base import ALL_REQUESTS, Method
from unweave.train.recipe import read_recipe
from unweave.train.sft import TrainResult, fine_tune


@dataclass(frozen=True, kw_only=True)
class RetrainConfig(ForgetConfig):
    """Train again without the forget rows, by the recipe of the model. Exact for what entered through the adapter.

    Attributes:
        method: The unlearning method.
        recipe: config.yaml of the training run; by default the one beside the model.
    """

    method: str = "retrain"
    recipe: Path | None = None


def train(config: RetrainConfig) -> TrainResult:
    """Train.

    Args:
        config: The recipe and the rows to leave out.

    Returns:
        The result of the training run.
    """
    recipe = read_recipe(config.recipe or config.adapter or config.model)
    changes: dict[str, Any] = {"without": config.forget, "output_dir": config.output_dir, "snapshots": ()}
    return fine_tune(replace(recipe, **changes, seed=config.seed, dtype=config.dtype, device=config.device))


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
