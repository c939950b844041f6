"""The unlearning run: weighted rows in, a standard PEFT adapter out."""

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unweave import progress
from unweave.data.dates import dated, recorded
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError, TrainingError
from unweave.models.blocks import can_join
from unweave.models.evaluation import without_dropout
from unweave.models.loading import Loaded, load, quiet_transformers
from unweave.models.saving import save_model
from unweave.models.vocabulary import vocabulary_size
from unweave.run.folder import MODEL_WEIGHTS, RunFolder
from unweave.run.identity import NO_EFFECT
from unweave.run.inputs import Input, of_model, of_named_model, of_paths, of_rows
from unweave.train.adapters import save_adapter, write_card
from unweave.train.loop import run_loop
from unweave.train.processes import only_one
from unweave.train.sft import loop_config
from unweave.train.soundness import require_outputs, require_trained, sums
from unweave.unlearning.config import ForgetConfig, config_of, method_of
from unweave.unlearning.context import Context
from unweave.unlearning.effect import drawn_cautions, plan_cautions, require_effect, without_effect
from unweave.unlearning.merging import BASE_FOLDER, OWN_BASE, save_base
from unweave.unlearning.methods import Edit, Objective, Retrain, get_method
from unweave.unlearning.outcome import ROWS, Effect, measured
from unweave.unlearning.reading import read_forget_rows
from unweave.unlearning.roles import Role
from unweave.unlearning.steps import ForgetRow, StepBatch, collate_step, never_drawn, plan_draws
from unweave.unlearning.target import has_target, target_loss
from unweave.unlearning.view import Reference, StepView
from unweave.unlearning.watch import EVERY, Watch, of_each_kind, watched_rows
from unweave.weights.files import summarize


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
        kept_step: The step that the adapter is of: the last one, or the best of a run that diverged while it was watched.
        details: What else the method has to tell. `cautions`: sentences on what had no effect, or could not have; `never_drawn`: how many rows to forget and to
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
    kind = get_method(config.method)
    if not isinstance(config, config_of(kind)):
        raise ConfigError(
            f"The method '{config.method}' takes {config_of(kind).__name__}, not {type(config).__name__}.",
            remedy="use the method's own config",
        )
    method = method_of(config)
    require_effect(config, method)
    if method.draws_retain and config.retain is None:
        raise ConfigError(f"The method '{config.method}' needs rows to keep.", where="--retain", remedy="give them")
    if config.retain_weights is not None and config.retain is None:
        raise ConfigError(
            "There are weights of rows to keep, and no such rows.", where="--retain-weights", remedy="give --retain"
        )
    if config.target_reference is not None and config.target is None:
        raise ConfigError(
            "A reference says how hard held-out rows are, and there are none.",
            where="--target-reference",
            remedy="give held-out rows with --target",
        )
    if has_target(config) and not method.takes_target:
        raise ConfigError(
            f"The method '{config.method}' makes no steps: it can't stop at a target.",
            where="--target, --target-loss",
            remedy="leave the target out, or use a method that trains, or llmeraser",
        )
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


def _forget(run: RunFolder, config: ForgetConfig, method: Objective | Edit, loaded: Loaded) -> ForgetResult:
    config = run.config = dated(config, loaded.tokenizer, loaded.adapter, loaded.base)
    rows, problems, read = read_forget_rows(config, loaded, method)
    run.start(loaded, rows=read, problems=problems)
    looked_at = of_each_kind(rows, ROWS)
    before = [measured(loaded.model, own, pad_token_id=loaded.tokenizer.pad_token_id) for own in looked_at]
    started = time.monotonic()
    cautions = _said(without_effect(config, method))
    context = method.prepare(Context(loaded, rows, config))
    loaded = context.loaded
    context = replace(context, target=target_loss(config, loaded, watched_rows(context)[0]))
    counts = {"forget_rows": sum(row.is_forget for row in rows), "retain_rows": sum(not row.is_forget for row in rows)}
    if isinstance(method, Edit):
        details = _edited(method, context)
        tokens = sum(len(row.example) for row in rows)
        made = {"steps": 0, "planned_steps": 0, "tokens": tokens, "stopped": None, "details": details}
        made |= {"forget_loss_first": float("nan"), "forget_loss_last": float("nan")}
    else:
        made = _train(config, method, context, run)
        loaded = method.finish(context).loaded
    seconds = round(time.monotonic() - started, 3)
    with quiet_transformers():
        if not hasattr(loaded.model, "get_base_model"):
            save_model(loaded.model, loaded.tokenizer, config.output_dir)
        else:
            if loaded.base == OWN_BASE:
                loaded = replace(loaded, base=str(config.output_dir / BASE_FOLDER))
                save_base(loaded, Path(loaded.base))
            save_adapter(loaded.model, loaded.tokenizer, config.output_dir, base=loaded.base, revision=loaded.revision)
    after = [measured(loaded.model, own, pad_token_id=loaded.tokenizer.pad_token_id) for own in looked_at]
    effect = Effect(*zip(before, after, strict=True))
    cautions += [*made["details"].get("cautions", []), *effect.cautions()]
    made["details"] = {**made["details"], "effect": effect.to_json(), "cautions": cautions}
    result = ForgetResult(folder=config.output_dir, method=method.name, seconds=seconds, **counts, **made)
    _write_card(config, loaded, result, rows, method.paper)
    run.finish({**result.__dict__, "folder": str(result.folder)})
    return result


def _edited(method: Edit, context: Context) -> dict[str, Any]:
    """A method's edit, and a look at what it did."""
    model = context.loaded.model
    trained = [own for own in model.parameters() if own.requires_grad]
    before = sums(trained)
    details = method.edit(context)
    _said(details.get("cautions", []))
    require_trained(model, what="The edit")
    require_outputs(model)
    if sums(trained) == before:
        raise TrainingError(
            f"The edit of '{method.name}' changed no weight: nothing was forgotten.",
            remedy="give it more to do by the method's own options (`unweave list methods` lists them), or use another method",
        )
    return details


def _train(config: ForgetConfig, method: Objective, context: Context, run: RunFolder) -> dict[str, Any]:
    """The training loop of a method with an objective, watched where that is asked for."""
    loaded, rows = context.loaded, context.rows
    keeps = method.draws_retain
    drawn_as_retain = [row for row in rows if row.among_retain or not row.is_forget] if keeps else []
    steps = plan_draws(
        [row for row in rows if row.is_forget and not (keeps and row.among_retain)],
        drawn_as_retain,
        retain_ratio=config.retain_ratio if keeps else 0.0,
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=config.seed,
        sampling=config.sampling,
    )
    reference = Reference(loaded.model)
    cautions = _said([*method.cautions(context), *plan_cautions(config, method, steps, rows)])
    watch = _watch(config, context, run)
    limit = config.stop_loss if config.stop_loss is not None else math.log(vocabulary_size(loaded.model))
    watched: list[float] = []
    lengths = [[len(example) for example, _, _ in step.sequences(with_clean=method.uses_clean)] for step in steps]
    joined = can_join(loaded.model, longest=max(map(max, lengths)))

    def step_loss(model: nn.Module, step: StepBatch) -> Tensor:
        view = StepView(model, step.to(next(model.parameters()).device), reference, context)
        loss = method.loss(view)
        # Objectives on hidden states have no token losses at hand: those are left to the watch.
        unwanted, told = view.step.mask(Role.UNWANTED), view.told_losses
        if told is not None and unwanted.any():
            watched.append(float((told.means() * unwanted).sum() / unwanted.sum()))
        return loss

    def diverged() -> bool:
        return bool(watched) and watched[-1] > limit

    with without_dropout(loaded.model) if method.compares else contextlib.nullcontext():
        made = run_loop(
            loaded.model,
            [[step] for step in steps],
            collate=lambda step: collate_step(
                step[0], pad_token_id=loaded.tokenizer.pad_token_id, with_clean=method.uses_clean, joined=joined
            ),
            loss=step_loss,
            config=loop_config(config),
            output_dir=config.output_dir,
            identity=run.identity(),
            description=f"forget with {method.name}",
            should_stop=lambda: diverged() or (watch is not None and watch.should_stop()),
            after_step=watch.after_step if watch else lambda _: None,
            notes=watched,
        )
    stopped = f"the forget rows' loss passed {limit:.2f} nats a token" if diverged() else None
    kept, details = made.steps, method.details(context)
    sets = {"forget": [row for row in rows if row.is_forget], "retain": drawn_as_retain}
    never = {name: never_drawn(steps[: made.steps], own) for name, own in sets.items()}
    cautions += _said(drawn_cautions(never, {name: len(own) for name, own in sets.items()}))
    cautions += _said(details.get("cautions", []))
    details |= {"never_drawn": never, "cautions": cautions}
    if watch is not None:
        kept = watch.finish(steps=made.steps, diverged=diverged())
        stopped = watch.reason or stopped
        details |= {"target": watch.target, "watched": [asdict(point) for point in watch.points]}
        if kept != made.steps:
            progress.say(f"{stopped}; the adapter is that of step {kept}")
    require_outputs(loaded.model)
    return {
        "steps": made.steps,
        "planned_steps": len(steps),
        "tokens": sum(map(sum, lengths[: made.steps])),
        "forget_loss_first": watched[0] if watched else float("nan"),
        "forget_loss_last": watched[-1] if watched else float("nan"),
        "stopped": stopped,
        "kept_step": kept,
        "details": details,
    }


def _watch(config: ForgetConfig, context: Context, run: RunFolder) -> Watch | None:
    if not config.check_every and not has_target(config):
        return None
    forget, retain = watched_rows(context)
    return Watch(
        context.loaded.model,
        forget,
        retain,
        folder=config.output_dir,
        pad_token_id=context.loaded.tokenizer.pad_token_id,
        every=config.check_every or EVERY,
        target=context.target,
        max_retain_increase=config.max_retain_increase,
        fingerprint=run.digest,
    )


def _trained_anew(config: ForgetConfig, method: Retrain) -> ForgetResult:
    """Retraining: a training run's result, told as an unlearning run's."""
    cautions = _said(without_effect(config, method))
    found = method.train(config.adapter or config.model, config.forget, config.output_dir)
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


def _said(cautions: list[str]) -> list[str]:
    for caution in cautions:
        progress.say(f"caution: {caution}")
    return cautions


def _write_card(
    config: ForgetConfig, loaded: Loaded, result: ForgetResult, rows: Sequence[ForgetRow], paper: str
) -> None:
    weights = {is_forget: [row.weight for row in rows if row.is_forget == is_forget] for is_forget in (True, False)}
    # A method without a retain term may have no rows to keep.
    counts = {
        is_forget: f"{len(own)}, effective {summarize(own).effective_sample_size:.1f}" if own else "none"
        for is_forget, own in weights.items()
    }
    facts = {
        "method": f"{result.method} ({paper})",
        "forget rows": counts[True],
        "retain rows": counts[False],
        "steps": f"{result.steps} of {result.planned_steps}"
        + (f"; stopped because {result.stopped}" if result.stopped else ""),
        "learning rate": config.learning_rate,
        "adapter": config.adapter_mode,
        "seed": config.seed,
        "seconds": result.seconds,
    }
    description = (
        "An adapter from which the influence of some training rows was taken out. The evidence for that is empirical and approximate: see the audit "
        "that belongs to it; this card claims nothing."
    )
    write_card(config.output_dir, title=config.output_dir.name, description=description, base=loaded.base, facts=facts)
