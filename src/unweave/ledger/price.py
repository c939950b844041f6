"""What a request costs, told before it is carried out: an attempt at unlearning, and training again without the rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.errors import ConfigError
from unweave.files import read_record
from unweave.ledger.job import Job
from unweave.run.folder import RESULT, environment
from unweave.train.config import TrainConfig
from unweave.train.recipe import read_recipe

AUTO, RETRAIN = "auto", "retrain"

STEPS = 60
"""Steps of an attempt."""

BATCH = 8
"""Rows a step of an attempt."""

UNLEARNING = 1.4
"""Training steps that an unlearning step takes, of as many rows: more tokens, and a model before to compare with."""

TRAINING = 3.0
"""Passes that a training step costs: one forward, and two for the derivatives of activations and of weights."""


@dataclass(frozen=True)
class Price:
    """Minutes, by estimate.

    Attributes:
        attempt: Of an attempt of `STEPS` steps.
        retraining: Of training again; `None` where the model can't be.
    """

    attempt: float
    retraining: float | None

    def told(self, limit: float) -> str:
        """The price in words.

        Args:
            limit: The most minutes that may be spent.

        Returns:
            A sentence.
        """
        again = (
            "the model can't be trained again"
            if self.retraining is None
            else f"training again {_minutes(self.retraining)}"
        )
        return f"by estimate an attempt takes {_minutes(self.attempt)}, {again}; the limit is {_minutes(limit)} (--max-minutes)"


def _minutes(minutes: float) -> str:
    return f"{minutes:.1f} min" if minutes < 10 else f"{minutes:.0f} min"


def recipe_of(job: Job, *, tuning: str | None = "lora") -> TrainConfig | None:
    """How the model before all requests was trained.

    Args:
        job: The request.
        tuning: What was trained; `None` for anything.

    Returns:
        The config; `None` where it is not known, or something else was trained.
    """
    try:
        recipe = read_recipe(job.ledger.origin().model)
    except ConfigError:
        return None
    return recipe if tuning in (None, recipe.tuning) else None


def may_retrain(job: Job) -> bool:
    """Whether the request may be carried out by training again.

    Args:
        job: The request.

    Returns:
        The answer.
    """
    return job.config.method == RETRAIN or (job.config.method == AUTO and recipe_of(job) is not None)


def price_of(job: Job, before: Mapping[str, Any]) -> Price:
    """What attempts and retraining take.

    By the record of the training, where it was made on a machine like this one; else by the time of the pass in which the model before was measured.

    Args:
        job: The request.
        before: Measurements of the model before, with `seconds` and all sets' rows.

    Returns:
        The price.
    """
    recipe, rows = recipe_of(job), len(job.rows)
    recorded = _recorded_seconds(Path(job.ledger.origin().model))
    if recipe is not None and recorded is not None:
        a_row = recorded / (rows * recipe.epochs)
    else:
        a_row = TRAINING * before["seconds"] / max(1, sum(own["rows"] for own in before["sets"].values()))
    again = None if recipe is None else a_row * rows * recipe.epochs / 60
    return Price(UNLEARNING * a_row * STEPS * BATCH / 60, again)


def _recorded_seconds(folder: Path) -> float | None:
    """What the training took, if its record is there and of a machine like this one."""
    run, result = folder / "run.json", folder / RESULT
    if not (run.is_file() and result.is_file()):
        return None
    then, now = read_record(run, what="The record of the training").get("environment", {}), environment()
    if any(then.get(name) != now[name] for name in ("system", "cpu", "cores")):
        return None
    return read_record(result, what="The result of the training")["result"].get("seconds")
