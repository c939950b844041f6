"""What a request costs, by an estimate before it is carried out: an attempt at unlearning, and training again without the rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.errors import ConfigError
from unweave.jobs.planning import UNLEARNING
from unweave.ledger.job import Job
from unweave.ledger.tried import chosen_attempt
from unweave.run.folder import result_on_this_machine
from unweave.train.config import TrainConfig
from unweave.train.recipe import read_recipe
from unweave.train.shard_cost import passes, passes_again
from unweave.train.shards import is_sharded

AUTO, RETRAIN = "auto", "retrain"

EXACT = "exact"
"""The name of retraining where the model was trained in shards, so that only what saw the rows is trained again."""

STEPS = 60
"""Steps of an attempt."""

BATCH = 8
"""Rows a step of an attempt."""

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

    def in_words(self, limit: float) -> str:
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
        return f"by estimate an attempt takes {_minutes(self.attempt)}, {again}; the limit is {_minutes(limit)} (`max_minutes`)"


def _minutes(minutes: float) -> str:
    return f"{minutes:.1f} min" if minutes < 10 else f"{minutes:.0f} min"


def recipe_of(job: Job, *, tuning: str | None = "lora") -> TrainConfig | None:
    """How the model before all requests was trained.

    Args:
        job: The request.
        tuning: What was trained; `None` for anything.

    Returns:
        The config; `None` where there is no record of it, or something else was trained.
    """
    try:
        recipe = read_recipe(job.ledger.origin().model)
    except ConfigError:
        return None
    return recipe if tuning in (None, recipe.tuning) else None


def sharded_recipe(job: Job) -> TrainConfig | None:
    """How the model before all requests was trained, if it was in shards.

    Args:
        job: The request.

    Returns:
        The config; `None` for any other model.
    """
    recipe = recipe_of(job)
    return recipe if recipe is not None and is_sharded(recipe) else None


def require_exact(job: Job) -> None:
    """Refuse an exact request about a model that would have to be trained again as a whole.

    Args:
        job: The request.

    Raises:
        ConfigError: When there is no record of how it was trained, or that was not in shards.
    """
    if not is_sharded(read_recipe(job.ledger.origin().model)):
        raise ConfigError(
            "The model was not trained in shards: all of it would have to be trained again.",
            where="`method`",
            remedy="use `method` retrain, which does that and is exact too, or train the model with `shards` and `slices`",
        )


def stage_folders(job: Job) -> tuple[Path, ...]:
    """Where the stages lie that a request may take over, the newest first. A replay takes none: it is to show what training from nothing gives.

    Args:
        job: The request.

    Returns:
        The adapters of the requests before, and the model before all of them.
    """
    if job.config.replay is not None:
        return ()
    done = reversed(job.ledger.carried_out(until=job.begin))
    adapters = (job.ledger.request_folder(request.id) / "adapter" for request in done)
    return (*adapters, Path(job.ledger.origin().model))


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
    measured = TRAINING * before["seconds"] / max(1, sum(own["rows"] for own in before["sets"].values()))
    return recorded_price(job) or _price(job, measured)


def recorded_price(job: Job) -> Price | None:
    """What attempts and retraining take, by the record of the training alone.

    Args:
        job: The request.

    Returns:
        The price; `None` where there is no such record, or it was made on another machine.
    """
    recipe, trained = recipe_of(job), result_on_this_machine(Path(job.ledger.origin().model))
    if recipe is None or trained is None or trained.get("seconds") is None:
        return None
    if not is_sharded(recipe):
        return _price(job, trained["seconds"] / (len(job.rows) * recipe.epochs))
    from unweave.train.stages import seconds_of_stages

    # Stages that were taken over took their time elsewhere.
    seconds = seconds_of_stages(Path(job.ledger.origin().model)) or trained["seconds"]
    return _price(job, seconds / passes([job.ledger.own_id(row.id) for row in job.rows], recipe))


def _price(job: Job, seconds_a_row: float) -> Price:
    recipe = recipe_of(job)
    again = None if recipe is None else seconds_a_row * _passes(job, recipe) / 60
    return Price(UNLEARNING * seconds_a_row * STEPS * BATCH / 60, again)


def _passes(job: Job, recipe: TrainConfig) -> float:
    """Passes over a row of training again; of a model in shards, of the stages that saw rows which no retraining has taken out yet."""
    if not is_sharded(recipe):
        return len(job.rows) * recipe.epochs
    gone = set(job.request.rows)
    for request in reversed(job.ledger.carried_out(until=job.begin)):
        tried = chosen_attempt(job.ledger.request_folder(request.id))
        if tried is not None and tried.method == RETRAIN:
            break
        gone.update(request.rows)
    ids = [job.ledger.own_id(row.id) for row in job.rows]
    return passes_again(ids, map(job.ledger.own_id, gone), recipe)
