"""The unlearning run: weighted rows in files in, a standard PEFT adapter out."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from unweave import progress
from unweave.data.dates import dated, recorded
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError
from unweave.models.holding import HOLDING, require_whole
from unweave.models.loading import Loaded, load
from unweave.run.folder import MODEL_WEIGHTS, RunFolder
from unweave.run.identity import NO_EFFECT
from unweave.run.inputs import Input, of_paths, of_rows
from unweave.run.model_inputs import of_model, of_named_model
from unweave.train.processes import only_one
from unweave.train.trackers import require_tracker
from unweave.unlearning.config import ForgetConfig, config_of, given_options, method_of
from unweave.unlearning.effect import Given, require_effect, without_effect
from unweave.unlearning.methods import Edit, Objective, Retrain, get_method
from unweave.unlearning.reading import RowSet, encode_sets
from unweave.unlearning.running import Kept, Run, carry_out
from unweave.unlearning.target import Target
from unweave.unlearning.writing import write_unlearned
from unweave.weights.files import read_weights


@dataclass(frozen=True)
class ForgetResult:
    """What an unlearning run gave.

    Attributes:
        folder: The adapter.
        method: Which method.
        forget_rows: Rows to forget.
        retain_rows: Rows to keep.
        steps: Optimizer steps made.
        planned_steps: Optimizer steps planned; 0 for a method that edits.
        tokens: Tokens of all sequences, padding apart.
        seconds: Wall time, loading apart.
        forget_loss_first: Mean loss of the unwanted answers in the first step that had one, nats a token.
        forget_loss_last: The same in the last.
        stopped: Why it ended early; `None` when all steps were made.
        kept_step: The step that the adapter is of: the last one, or the best of a run that diverged while it was measured.
        details: What else there is to say. `cautions`: sentences on what had no effect, or could not have; `never_drawn`: how many rows to forget and to
            keep were in no step.
    """

    folder: Path
    method: str
    forget_rows: int
    retain_rows: int
    steps: int
    planned_steps: int
    tokens: int
    seconds: float
    forget_loss_first: float
    forget_loss_last: float
    stopped: str | None
    kept_step: int = 0
    details: dict[str, Any] = field(default_factory=dict)


def forget_rows(config: ForgetConfig, *, loaded: Loaded | None = None) -> ForgetResult:
    """Unlearn rows with a method. An interrupted run goes on where it stood; a complete one is not repeated.

    Args:
        config: The config of the method: an instance of its own config class.
        loaded: The model, where it is loaded already; it is changed in place.

    Returns:
        Where the adapter is, and what it took.

    Raises:
        ConfigError: When the config is not the method's, or it needs retain rows and has none.
    """
    only_one("Unlearning")
    require_tracker(config.report_to)
    kind = get_method(config.method)
    if not isinstance(config, config_of(kind)):
        raise ConfigError(
            f"The method '{config.method}' takes {config_of(kind).__name__}, not {type(config).__name__}.",
            remedy="use the method's own config",
        )
    require_whole(config, "Unlearning")
    method = method_of(config)
    require_effect(_given(config), method)
    if isinstance(method, Retrain):
        return _trained_anew(config, method)
    config = recorded(config, config.output_dir)
    run = RunFolder(config.output_dir, "forget", config, inputs=forget_inputs(config, loaded))
    with run.held():
        done = run.finished(files=MODEL_WEIGHTS)
        if done is not None:
            return ForgetResult(**{**done, "folder": config.output_dir})
        return _forget(run, config, method, loaded or load(config))


def forget_inputs(config: ForgetConfig, loaded: Loaded | None = None) -> dict[str, Input]:
    """What an unlearning run reads: every option of its method that is a path, rows as rows, and the models.

    Args:
        config: Its config.
        loaded: The model, where it is in memory already.

    Returns:
        Option to input.
    """
    return {
        **of_paths(config, but=NO_EFFECT),
        **of_model(config, loaded),
        "forget": of_rows(config.forget, config),
        "retain": of_rows(config.retain, config),
        "target": of_rows(config.target, config),
        "target_reference": of_named_model(config.target_reference),
        **{name: of_named_model(getattr(config, name)) for name in get_method(config.method).models},
    }


def _given(config: ForgetConfig) -> Given:
    return Given(**{own.name: getattr(config, own.name) is not None for own in fields(Given)})


def _forget(run: RunFolder, config: ForgetConfig, method: Objective | Edit, loaded: Loaded) -> ForgetResult:
    config = run.config = dated(config, loaded.tokenizer, loaded.adapter, loaded.base)
    forget = _row_set(config.forget, config.forget_weights, config, signed=False)
    retain = None if config.retain is None else _row_set(config.retain, config.retain_weights, config, signed=True)
    rows, problems = encode_sets(forget, retain, config, loaded, method)
    run.start(loaded, rows=[*forget.rows, *(retain.rows if retain else ())], problems=problems)
    made = carry_out(
        Run(
            method,
            config,
            frozenset(given_options(config)),
            target=_target(config),
            kept=Kept(config.output_dir, run.identity(), run.digest),
            say=lambda caution: progress.say(f"caution: {caution}"),
            report_to=config.report_to,
        ),
        loaded,
        rows,
    )
    write_unlearned(made, config.output_dir, repeatable=True)
    losses = made.forget_losses or [float("nan")]
    result = ForgetResult(
        folder=config.output_dir,
        forget_loss_first=losses[0],
        forget_loss_last=losses[-1],
        details={**made.details, "cautions": made.cautions},
        **{name: getattr(made, name) for name in SAME},
    )
    run.finish({**result.__dict__, "folder": str(result.folder)})
    return result


SAME = (
    "method", "forget_rows", "retain_rows", "steps", "planned_steps", "tokens", "seconds", "stopped", "kept_step",
)  # fmt: skip
"""What a run in files says as one in memory does."""


def _row_set(path: Path, weights: Path | None, config: ForgetConfig, *, signed: bool) -> RowSet:
    rows = read_training_rows(path, config)
    found = read_weights(weights, count=len(rows), signed=signed) if weights else None
    return RowSet(rows, found, str(path), str(weights))


def _target(config: ForgetConfig) -> Target:
    if config.target is None:
        return Target(loss=config.target_loss)
    reference = config.target_reference
    model = None if reference is None else replace(config, model=reference, adapter=None, revision=None)
    return Target(read_training_rows(config.target, config).rows, None if model is None else lambda: load(model))


def _trained_anew(config: ForgetConfig, method: Retrain) -> ForgetResult:
    """Retraining: a training run's result, as an unlearning run's."""
    cautions = without_effect(given_options(config), config, method, has_target=False)
    for caution in cautions:
        progress.say(f"caution: {caution}")
    # What is left at its default is the recipe's.
    asked = {name: getattr(config, name) for name in HOLDING if name in given_options(config)}
    found = method.train(config.adapter or config.model, config.forget, config.output_dir, holding=asked)
    nan = float("nan")
    return ForgetResult(
        folder=config.output_dir,
        method=method.name,
        forget_rows=len(read_training_rows(config.forget, config)),
        retain_rows=found.rows,
        steps=found.steps,
        planned_steps=found.steps,
        tokens=found.tokens,
        seconds=found.seconds,
        forget_loss_first=nan,
        forget_loss_last=nan,
        stopped=None,
        kept_step=found.steps,
        details={"cautions": cautions},
    )
