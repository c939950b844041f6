"""Making an adapter without the rows: by an unlearning method and its options, or by training again."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unweave.config import load_yaml
from unweave.data.config import AS_WRITTEN
from unweave.data.remembered import read_beside
from unweave.data.rows import Row
from unweave.errors import ConfigError
from unweave.files import write_jsonl
from unweave.jobs.forget import forget_rows
from unweave.ledger.job import Job
from unweave.ledger.price import RETRAIN, stage_folders
from unweave.ledger.records import hidden_stage
from unweave.ledger.tokens import encoding_of
from unweave.outputs import SNAPSHOTS
from unweave.train.recipe import read_recipe
from unweave.train.sft import fine_tune
from unweave.train.shards import is_sharded
from unweave.train.stages import Elsewhere
from unweave.unlearning.config import ForgetConfig, config_of
from unweave.unlearning.methods import Retrain, available, get_method

WEIGHTS = "forget_weights.jsonl", "retain_weights.jsonl"


@dataclass(frozen=True)
class Attempt:
    """One way of making the adapter.

    Attributes:
        method: An unlearning method, or `retrain`.
        options: Options of the method that differ from the request's own.
    """

    method: str
    options: dict[str, Any] = field(default_factory=dict)

    def in_words(self) -> str:
        """The attempt in words."""
        named = ", ".join(
            f"{name.replace('_', ' ')} {value:.3g}" for name, value in self.options.items() if name == "learning_rate"
        )
        return self.method + (f", {named}" if named else "")


def make(job: Job, attempt: Attempt, folder: Path) -> None:
    """Make the adapter.

    Args:
        job: The request; its rows are in files.
        attempt: How.
        folder: Where to.
    """
    if attempt.method == RETRAIN:
        _retrain(job, folder)
    else:
        forget_rows(unlearning(job, attempt, folder))


def unlearning(job: Job, attempt: Attempt, folder: Path) -> ForgetConfig:
    """The config of an unlearning run.

    Args:
        job: The request.
        attempt: Method and options.
        folder: Where the adapter goes.

    Returns:
        An instance of the method's own config.
    """
    config, kind = job.config, config_of(attempt.method)
    files: Any = {"forget": job.work / "forget.jsonl", "retain": job.work / "retain.jsonl", "output_dir": folder}
    base = (
        replace(load_yaml(kind, config.forget_config, command="forget"), **files)
        if config.forget_config
        else kind(**files)
    )
    base = replace(base, **encoding_of(job).__dict__)
    weights = [job.folder / name if (job.folder / name).is_file() else None for name in WEIGHTS]
    is_adapter = (Path(job.before) / "adapter_config.json").is_file()
    model: Any = {
        "model": job.before,
        "adapter": None,
        "adapter_mode": "continue" if is_adapter else "new",
        "dtype": config.dtype,
        "device": config.device,
        # A request has criteria of its own: where they name no target, every step is made.
        "stop_at_base": False,
        **AS_WRITTEN,
    }
    if has_option(attempt.method, "request"):
        model["request"] = job.request.kind
    if has_option(attempt.method, "replacement") and job.request.kind == "modification":
        model["replacement"] = job.work / "replacement.jsonl"
    own = {"forget_weights": weights[0], "retain_weights": weights[1], "seed": config.seed}
    return replace(base, **model, **own, **attempt.options)


def _retrain(job: Job, folder: Path) -> None:
    """The original training again, without what all requests up to this one took out, and with what they put in its place."""
    recipe = read_recipe(job.ledger.origin().model)
    gone: dict[str, Row | None] = {}
    for other in [*job.ledger.carried_out(until=job.begin), job.request]:
        new = {row.id: row for row in job.ledger.new_rows(other)}
        gone |= {row_id: new.get(row_id) for row_id in other.rows}
    without = {job.ledger.name_of(row.id) for row in read_beside(recipe.without, recipe)} if recipe.without else set()
    rows = [row for old in job.rows if old.id not in without and (row := gone.get(old.id, old)) is not None]
    if is_sharded(recipe):
        # Shards go by the ids of the data.
        rows = [replace(row, id=job.ledger.own_id(row.id)) for row in rows]
    write_jsonl(job.work / "train.jsonl", [row.to_record() for row in rows])
    training = replace(
        recipe,
        data=job.work / "train.jsonl",
        without=None,
        **AS_WRITTEN,
        output_dir=folder,
        snapshots=(),
        dtype=recipe.dtype if job.config.dtype == "auto" else job.config.dtype,
        device=recipe.device if job.config.device == "auto" else job.config.device,
    )
    if training.tuning != "lora":
        raise ConfigError("A ledger's models are adapters.", where="`method`", remedy="train with `tuning` lora")
    fine_tune(training, elsewhere=Elsewhere(stage_folders(job), lambda name: hidden_stage(job, name)))
    shutil.rmtree(folder / SNAPSHOTS, ignore_errors=True)


def has_option(method: str, name: str) -> bool:
    """Whether a method has an option.

    Args:
        method: Its name.
        name: The option's.

    Returns:
        The answer.
    """
    return name in config_of(method).__dataclass_fields__


def hears_clean_answers(name: str) -> bool:
    """Whether a method itself learns the clean answers of forget rows.

    Args:
        name: The method's.

    Returns:
        The answer.
    """
    method = get_method(name)
    return (method.uses_clean and not method.brings_clean) or issubclass(method, Retrain)


def able(kind: str) -> list[str]:
    """The methods that can express a request.

    Args:
        kind: The request's.

    Returns:
        Their names.
    """
    return [name for name, method in available().items() if kind in method.requests]
