"""What a run sends to an experiment tracker: each step's loss, gradient norm and step size, and what is measured on the way.

Nothing is sent where no tracker was asked for. The callbacks are those of transformers: their environment variables (`WANDB_PROJECT`, `WANDB_MODE`,
`TRACKIO_DIR`, `TENSORBOARD_LOGGING_DIR`, ...) hold here as well.
"""

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from unweave.errors import ConfigError, MissingPackageError, nearest
from unweave.train.config import Tracker

if TYPE_CHECKING:
    from transformers import TrainerCallback

PROJECT = "unweave"
FOLDER = "tensorboard"
"""Where TensorBoard's files go, below the run's output folder."""


def require_tracker(name: str, *, private: bool = False) -> None:
    """Refuse a tracker that there is not, before any work.

    Args:
        name: Its name, or `none`.
        private: Whether the run has a privacy budget, which what is seen of its losses is not counted in.

    Raises:
        ConfigError: When there is no such tracker, or the run is private.
        MissingPackageError: When its package is not installed.
    """
    if name not in get_args(Tracker):
        raise ConfigError(
            f"There is no tracker '{name}'.", where="`report_to`", remedy=nearest(name, get_args(Tracker))
        )
    if name == "none":
        return
    if private:
        raise ConfigError(
            "What a private run's steps measure is not covered by its guarantee, and is not reported.",
            where="`report_to`, `dp_epsilon`",
            remedy="leave `report_to` at none",
        )
    if importlib.util.find_spec(name) is None:
        raise MissingPackageError(name, purpose=f"`report_to` {name}")


def tracking(name: str, folder: Path | None) -> "list[TrainerCallback]":
    """The callbacks of a `Trainer` that send what it logs.

    Args:
        name: A tracker, or `none`.
        folder: The run's output folder.

    Returns:
        One callback; none without a tracker.
    """
    if name == "none":
        return []
    from transformers.integrations import integration_utils

    kinds: dict[str, Any] = {
        "tensorboard": integration_utils.TensorBoardCallback,
        "trackio": integration_utils.TrackioCallback,
        "wandb": integration_utils.WandbCallback,
    }
    callback = kinds[name]()
    if name == "tensorboard" and folder is not None and "TENSORBOARD_LOGGING_DIR" not in os.environ:
        # Its own choice lies below the checkpoints, which are removed with the last step.
        callback.logging_dir = str(folder / FOLDER)
    return [callback]


def tracked_arguments(name: str, folder: Path | None) -> dict[str, Any]:
    """The arguments of a `Trainer` that has a tracker.

    Args:
        name: A tracker, or `none`.
        folder: The run's output folder.

    Returns:
        Names to values for `TrainingArguments`.
    """
    if name == "none":
        return {"logging_strategy": "no", "report_to": "none"}
    return {
        "logging_strategy": "steps",
        "logging_steps": 1,
        "report_to": "none",
        "run_name": folder.name if folder else None,
        "project": PROJECT,
        # Otherwise trackio publishes a page of each run that it keeps on the hub.
        "trackio_static_space_id": False,
    }
