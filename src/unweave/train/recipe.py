"""How a model was trained: the config that `unweave train` left beside it, with which it can be trained again."""

from dataclasses import replace
from pathlib import Path

from unweave.config import load_yaml, read_value
from unweave.errors import ConfigError
from unweave.train.config import TrainConfig


def read_recipe(place: Path | str | None) -> TrainConfig:
    """The config of the training run that made a model.

    Args:
        place: A config.yaml, the model's folder, or that of one of its snapshots.

    Returns:
        The config.

    Raises:
        ConfigError: When there is none, or it is no training run's.
    """
    if place is not None:
        path = Path(place)
        for candidate in (path, path / "config.yaml", path.parent.parent / "config.yaml"):
            if candidate.is_file():
                recipe = load_yaml(TrainConfig, candidate, command="train")
                # Runs from before conversations had several answers learned the last one.
                recipe = recipe if read_value(candidate, "loss") else replace(recipe, loss="last-turn")
                # Who followed that run has not asked to follow another.
                return replace(recipe, report_to="none")
    raise ConfigError(
        "How the model was trained is not known, so it can't be trained again.",
        where=str(place),
        remedy="give the config.yaml of an `unweave train` run",
    )
