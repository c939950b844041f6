"""Supervised fine-tuning: makes the model to be traced, and without the forget rows the retrained reference."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from unweave import progress
from unweave.data.dates import dated, recorded
from unweave.data.encoding import Example, encode_rows
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError
from unweave.models.holding import require_whole
from unweave.models.loading import Loaded, load
from unweave.models.merging import is_quantised, merged_model
from unweave.models.quiet import quiet_transformers
from unweave.models.saving import save_model
from unweave.models.vocabulary import require_tokens
from unweave.ranges import require_in_range
from unweave.run.folder import MODEL_WEIGHTS, RunFolder
from unweave.run.inputs import Input, of_rows, of_value
from unweave.run.model_inputs import of_model
from unweave.train.adapters import add_lora, save_adapter, write_card
from unweave.train.config import TrainConfig
from unweave.train.loop import LoopResult, warmup_steps
from unweave.train.private import write_privacy
from unweave.train.processes import Processes, only_one, processes
from unweave.train.record import state_steps
from unweave.train.recorder import Recorder
from unweave.train.shard_cost import cost_in_words
from unweave.train.shards import is_sharded, require_shards
from unweave.train.snapshots import due_steps, require_shares, save_snapshot, snapshot_folder
from unweave.train.stages import Elsewhere, Sharded, base_fingerprint, train_stages
from unweave.train.trackers import require_tracker
from unweave.train.tuning import TuningPlan, plan_private_tuning, plan_tuning, tune


@dataclass(frozen=True)
class TrainResult:
    """What a fine-tuning run gave.

    Attributes:
        folder: The adapter, or the full model.
        rows: Rows trained on.
        tokens: Their tokens, padding apart.
        steps: Optimizer steps.
        seconds: Wall time, loading apart.
        final_loss: Mean loss of the last tenth of the steps; NaN for private training, which reports none. With shards that of each last stage, their mean.
        stages: With shards, each stage (`shard.slice`) to `trained`, or `reused` where it was taken over from another training.
    """

    folder: Path
    rows: int
    tokens: int
    steps: int
    seconds: float
    final_loss: float
    stages: dict[str, str] | None = None


def fine_tune(config: TrainConfig, *, loaded: Loaded | None = None, elsewhere: Elsewhere | None = None) -> TrainResult:
    """Fine-tune a model on rows, with loss on completions only: the mean over their tokens.

    A run that was interrupted goes on where it stood; a run that is done is not repeated.

    Args:
        config: Model, rows, adapter, optimisation.
        loaded: The base model, where it is loaded already; it is changed in place.
        elsewhere: Other trainings in shards: stages of theirs that would come out the same are taken over.

    Returns:
        Where the result is, and what it took.
    """
    require_tracker(config.report_to, private=config.dp_epsilon is not None)
    require_in_range(config)
    require_whole(config, "Training")
    if config.tuning == "full" and config.quantization != "none":
        _refuse_quantised()
    if is_sharded(config):
        require_shards(config)
        only_one("Training in shards")
    here = processes()
    config = recorded(config, config.output_dir)
    run = RunFolder(config.output_dir, "train", config, inputs=train_inputs(config, loaded, processes=here.count))
    with run.held(here=here.is_first):
        done = run.finished(files=MODEL_WEIGHTS)
        if done is not None:
            return TrainResult(**{**done, "folder": config.output_dir})
        progress.silence(progress.silenced() or not here.is_first)
        return _fine_tune(run, config, loaded or load(config), here, elsewhere or Elsewhere())


def train_inputs(config: TrainConfig, loaded: Loaded | None = None, *, processes: int = 1) -> dict[str, Input]:
    """What a training run reads.

    Args:
        config: Its config.
        loaded: The base model, where it is in memory already.
        processes: How many train together: a step has as many times the batch.

    Returns:
        Option to input.
    """
    return {
        **of_model(config, loaded),
        "data": of_rows(config.data, config),
        "without": of_rows(config.without, config),
        "processes": of_value(processes),
    }


def _fine_tune(
    run: RunFolder, config: TrainConfig, loaded: Loaded, here: Processes, elsewhere: Elsewhere
) -> TrainResult:
    config = dated(config, loaded.tokenizer, loaded.adapter, loaded.base)
    # Midnight may lie between the processes.
    config = run.config = replace(config, date=here.of_first(config.date))
    rows = read_training_rows(config.data, config, without=config.without)
    encoded = encode_rows(rows, loaded.tokenizer, config)
    require_tokens(loaded.model, encoded.examples, tokenizer=loaded.tokenizer)
    _require_trainable(config, loaded)
    if here.is_first:
        run.start(loaded, rows=rows.rows, problems=[*rows.problems, *encoded.problems])
    started = time.monotonic()
    if loaded.adapter is not None:
        # An adapter on an adapter is no folder that PEFT could load: what was learned before becomes part of the base.
        loaded = merged_model(loaded, config.output_dir / "base", save=config.tuning == "lora" and here.is_first)
    base = base_fingerprint(loaded) if is_sharded(config) else ""
    model = add_lora(loaded.model, config, seed=config.seed) if config.tuning == "lora" else loaded.model
    if config.tuning == "full":
        model.requires_grad_(True)
    examples = encoded.examples
    if is_sharded(config):
        made = _train_shards(run, config, loaded, model, examples, base, elsewhere)
        result = _result_of_shards(made, config, len(examples), time.monotonic() - started)
        _write(run, config, loaded, made.model, result)
        if not elsewhere.folders:
            progress.say(cost_in_words(config))
        return result
    plan = (
        plan_private_tuning(config, examples, model)
        if config.dp_epsilon is not None
        else plan_tuning(config, examples, processes=here.count)
    )
    done_loop = tune(
        model,
        examples,
        plan,
        pad_token_id=loaded.tokenizer.pad_token_id,
        output_dir=config.output_dir,
        identity=run.identity(),
        description=f"train {config.output_dir.name}",
        after_step=_snapshots(config, model, loaded, total=len(plan.steps)) if here.is_first else lambda _: None,
        report_to=config.report_to,
        recorder=_recorder(config, examples, plan) if config.record else None,
    )
    seconds = time.monotonic() - started
    # What a private step is worth must not be reported.
    final = done_loop.final_loss if plan.privacy is None else float("nan")
    result = TrainResult(
        config.output_dir, len(examples), plan.tokens(examples), len(plan.steps), round(seconds, 3), final
    )
    if not here.is_first:
        return result
    if plan.privacy is not None:
        write_privacy(config.output_dir, plan.privacy)
    _write(run, config, loaded, model, result)
    return result


def _train_shards(
    run: RunFolder, config: TrainConfig, loaded: Loaded, model: Any, examples: Sequence[Example], base: str, elsewhere: Elsewhere
) -> Sharded:  # fmt: skip
    def train(
        own: Sequence[Example], epochs: float, identity: dict[str, Any], described: str
    ) -> tuple[LoopResult, int]:
        plan = plan_tuning(replace(config, epochs=epochs), own)
        done = tune(
            model,
            own,
            plan,
            pad_token_id=loaded.tokenizer.pad_token_id,
            output_dir=config.output_dir,
            # Half a stage is gone on from under the same versions only.
            identity={**identity, "run": run.identity()},
            description=described,
        )
        return done, plan.tokens(own)

    return train_stages(model, examples, config, loaded, base=base, train=train, elsewhere=elsewhere)


def _result_of_shards(made: Sharded, config: TrainConfig, rows: int, seconds: float) -> TrainResult:
    tokens, steps = (sum(getattr(record, name) for record in made.stages.values()) for name in ("tokens", "steps"))
    stages = {name: str(record.made) for name, record in made.stages.items()}
    return TrainResult(config.output_dir, rows, tokens, steps, round(seconds, 3), made.final_loss, stages)


def _write(run: RunFolder, config: TrainConfig, loaded: Loaded, model: Any, result: TrainResult) -> None:
    """Write what was trained, its card, and last that it is complete."""
    with quiet_transformers():
        if config.tuning == "lora":
            save_adapter(model, loaded.tokenizer, config.output_dir, base=loaded.base, revision=loaded.revision)
        else:
            save_model(model, loaded.tokenizer, config.output_dir)
    facts = {
        "training data": config.data.name,
        "rows": result.rows,
        "left out": config.without.name if config.without else "nothing",
        "epochs": config.epochs,
        "learning rate": config.learning_rate,
        "seed": config.seed,
        **({"shards": config.shards, "slices": config.slices} if is_sharded(config) else {}),
    }
    write_card(
        config.output_dir,
        title=config.output_dir.name,
        description="A fine-tuned model: the adapters of several shards of its rows, combined."
        if is_sharded(config)
        else "A fine-tuned model.",
        base=loaded.base,
        facts=facts,
    )
    kept = {name: value for name, value in result.__dict__.items() if value is not None}
    run.finish({**kept, "folder": str(result.folder)})


def _require_trainable(config: TrainConfig, loaded: Loaded) -> None:
    if config.tuning == "full" and is_quantised(loaded.model):
        _refuse_quantised()


def _refuse_quantised() -> NoReturn:
    raise ConfigError(
        "Quantised weights can't be trained.",
        where="`tuning`, `quantization`",
        remedy="use `tuning` lora, or `quantization` none with an unquantised model",
    )


def _snapshots(config: TrainConfig, model: Any, loaded: Loaded, *, total: int) -> Callable[[int], None]:
    """What to do after a step: save the adapter where a snapshot is asked for."""
    shares = require_shares(config.snapshots, where="`snapshots`")
    if shares and config.tuning == "full":
        raise ConfigError("Snapshots are adapters.", where="`snapshots`", remedy="use `tuning` lora")
    due = due_steps(shares, total, warms_up=warmup_steps(config.warmup_ratio, total) > 0)

    def after_step(step: int) -> None:
        for share in due.get(step, []):
            place = snapshot_folder(config.output_dir, share)
            save_snapshot(model, loaded.tokenizer, place, base=loaded.base, revision=loaded.revision)

    return after_step


def recorded_steps(config: TrainConfig, total: int) -> list[int]:
    """After which steps a recorded run keeps its optimizer's state.

    Args:
        config: The run.
        total: Its steps.

    Returns:
        Numbers of steps made, from 0.
    """
    due = due_steps(config.snapshots, total, warms_up=warmup_steps(config.warmup_ratio, total) > 0)
    return state_steps(total, config.record_states, sorted(due))


def _recorder(config: TrainConfig, examples: Sequence[Example], plan: TuningPlan) -> Recorder:
    only_one("A recorded training")
    if plan.privacy is not None:
        raise ConfigError(
            "What a private training did at each step must not be kept.",
            where="`record`, `dp_epsilon`",
            remedy="leave one of them out",
        )
    return Recorder(
        config.output_dir,
        examples,
        plan.steps,
        states=recorded_steps(config, len(plan.steps)),
        seed=config.seed,
        max_grad_norm=plan.loop.max_grad_norm,
    )
