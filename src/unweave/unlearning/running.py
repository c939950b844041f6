"""Carrying an unlearning out: a method, a model and rows in memory, and what came of it. The job adds files, the library copies the model."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor, nn

from unweave import progress
from unweave.data.encoding import Example
from unweave.errors import TrainingError
from unweave.models.evaluation import without_dropout
from unweave.models.loading import Loaded
from unweave.models.model import IN_MEMORY
from unweave.models.vocabulary import vocabulary_size
from unweave.train.loop import LoopResult, run_loop
from unweave.train.soundness import require_outputs, require_trained, sums
from unweave.train.splitting import Split
from unweave.train.tuning import loop_config
from unweave.unlearning.config import UnlearnOptions
from unweave.unlearning.context import Context
from unweave.unlearning.effect import plan_cautions, sampling_cautions, without_effect
from unweave.unlearning.methods import Edit, Objective
from unweave.unlearning.outcome import ROWS, Effect, measured
from unweave.unlearning.planned import Steps
from unweave.unlearning.roles import Role
from unweave.unlearning.rows import ForgetRow
from unweave.unlearning.steps import SampledStep, StepBatch, never_sampled
from unweave.unlearning.stopping import EVERY, EarlyStopping, checked_rows, of_each_kind
from unweave.unlearning.target import BaseLosses, Target, base_losses, target_loss
from unweave.unlearning.unlearned import Unlearned, UnlearnStep
from unweave.weights.files import summarize

Say = Callable[[str], None]


@dataclass(frozen=True)
class Kept:
    """Where a run keeps what it has done, so that it can go on when it was interrupted.

    Attributes:
        folder: Its folder.
        identity: What makes it the same run.
        digest: A short name for that.
    """

    folder: Path
    identity: dict[str, Any]
    digest: str


@dataclass(frozen=True)
class Run:
    """What is to be done.

    Attributes:
        method: The method.
        options: The options that all methods share.
        changed: Options of the run and of the method that are not at their defaults.
        target: Where to end.
        kept: Where it keeps what it has done; `None` keeps nothing.
        say: Called with each caution as soon as it is known.
        advance: Called with the number of steps just made.
        trainable: Called with the model as soon as it is known what of it will change.
        report_to: A tracker that the steps of a method that trains go to.
    """

    method: Objective | Edit
    options: UnlearnOptions
    changed: frozenset[str] = frozenset()
    target: Target = Target()  # noqa: RUF009  # frozen
    kept: Kept | None = None
    say: Say = lambda _: None
    advance: Callable[[int], None] = lambda _: None
    trainable: Callable[[nn.Module], None] = lambda _: None
    report_to: str = "none"


def carry_out(run: Run, loaded: Loaded, rows: Sequence[ForgetRow]) -> Unlearned:
    """Unlearn rows.

    Args:
        run: Method and options.
        loaded: The model; it is changed in place.
        rows: All rows, to forget and to keep.

    Returns:
        The model and what happened.
    """
    method = run.method
    looked_at = of_each_kind(rows, ROWS)
    pad = loaded.tokenizer.pad_token_id
    before = [measured(loaded.model, own, pad_token_id=pad) for own in looked_at]
    started = time.monotonic()
    # Asked before the method prepares, which may merge the adapter away.
    implied = (
        None if run.target or not method.ends_at_base else _at_base(run, loaded, rows, looked_at[0], before[0].loss)
    )
    cautions = _said(run, without_effect(run.changed, run.options, method, has_target=bool(run.target)))
    context = method.prepare(Context(loaded, rows, run.options))
    run.trainable(context.loaded.model)
    given = target_loss(run.target, run.options, context.loaded, checked_rows(context)[0])
    if isinstance(method, Edit):
        context = replace(context, target=given if implied is None else implied.mean)
        made: dict[str, Any] = {"history": (), "steps": 0, "planned_steps": 0, "details": _edited(run, method, context)}
        made["tokens"] = sum(len(row.example) for row in rows)
    else:
        made = _train(run, method, replace(context, target=given, limits=implied and implied.by_row))
        context = method.finish(context)
    seconds = round(time.monotonic() - started, 3)
    loaded = context.loaded
    adapter = IN_MEMORY if hasattr(loaded.model, "get_base_model") else None
    after = [measured(loaded.model, own, pad_token_id=pad) for own in looked_at]
    effect = Effect(*zip(before, after, strict=True))
    cautions += [*made["details"].get("cautions", []), *effect.cautions()]
    made["details"] = {**made["details"], "effect": effect.to_json(), "cautions": cautions}
    result = Unlearned(
        model=replace(loaded, adapter=adapter),
        method=method.name,
        forget_rows=sum(row.is_forget for row in rows),
        retain_rows=sum(not row.is_forget for row in rows),
        seconds=seconds,
        **made,
    )
    return replace(result, facts=_facts(run, result, rows))


def _at_base(
    run: Run, loaded: Loaded, rows: Sequence[ForgetRow], looked_at: Sequence[Example], before: float
) -> BaseLosses | None:
    """Where forgetting ends where nothing says it."""
    forget = looked_at if isinstance(run.method, Edit) else [row.example for row in rows if row.is_forget]
    found = base_losses(run.options, loaded, forget, looked_at, before=before)
    if found is not None:
        progress.say(f"target: {found.mean:.2f} nats a token, which the forget rows have with the adapter off")
    return found


def _edited(run: Run, method: Edit, context: Context) -> dict[str, Any]:
    """A method's edit, and a look at what it did."""
    model = context.loaded.model
    trained = [own for own in model.parameters() if own.requires_grad]
    before = sums(trained)
    details = method.edit(context)
    _said(run, details.get("cautions", []))
    require_trained(model, what="The edit")
    require_outputs(model)
    if sums(trained) == before:
        raise TrainingError(
            f"The edit of '{method.name}' changed no weight: nothing was forgotten.",
            remedy="give it more to do by the method's own options (`unweave list methods` lists them), or use another method",
        )
    return details


def _train(run: Run, method: Objective, context: Context) -> dict[str, Any]:
    """The training loop of a method with an objective, measured on the way where that is asked for."""
    options, model, rows = run.options, context.loaded.model, context.rows
    plan = Steps(method, context)
    cautions = _said(run, [*method.cautions(context), *plan_cautions(method, plan.planned, rows)])
    noted: list[float] = []
    stopping = _early_stopping(run, context)
    limit = options.stop_loss if options.stop_loss is not None else math.log(vocabulary_size(model))
    if options.stop_loss is None and stopping is not None and stopping.points[0].forget_loss > limit:
        # Rows that begin above it have not diverged by staying there.
        limit = math.inf

    def step_loss(model: nn.Module, step: StepBatch) -> Tensor:
        view = plan.view(model, step)
        loss = method.loss(view)
        # Objectives on hidden states have no token losses at hand: those are left to early stopping.
        unwanted, losses, count = view.step.mask(Role.UNWANTED), view.free_losses, view.step.count(Role.UNWANTED)
        # Of a part of a step, what it adds to the mean of the whole.
        noted.append(float((losses.means() * unwanted).sum() / count) if losses is not None and count else math.nan)
        return loss

    def part(step: list[SampledStep], index: int, parts: int) -> tuple[StepBatch | None, float]:
        return plan.collate_part(step[0], index, parts), 1.0

    def diverged() -> bool:
        return bool(noted) and noted[-1] > limit

    def after_step(step: int) -> None:
        if stopping is not None:
            stopping.after_step(step)
        run.advance(1)

    with without_dropout(model) if method.compares else contextlib.nullcontext():
        made = run_loop(
            model,
            [[step] for step in plan.planned],
            collate=lambda step: plan.collate(step[0]),
            loss=step_loss,
            config=loop_config(options),
            output_dir=run.kept.folder if run.kept else None,
            identity=run.kept.identity if run.kept else None,
            description=f"forget with {method.name}",
            should_stop=lambda: diverged() or (stopping is not None and stopping.should_stop()),
            after_step=after_step,
            notes=noted,
            report_to=run.report_to,
            measured=dict if stopping is None else stopping.unreported,
            split=None if method.whole_steps else Split(lambda step: len(step[0].rows), part),
        )
    stopped = f"the forget rows' loss passed {limit:.2f} nats a token" if diverged() else None
    kept, details = made.steps, method.details(context)
    sets = {"forget": [row for row in rows if row.is_forget], "retain": plan.retain}
    never = {name: never_sampled(plan.planned[: made.steps], own) for name, own in sets.items()}
    cautions += _said(run, sampling_cautions(never, {name: len(own) for name, own in sets.items()}))
    cautions += _said(run, details.get("cautions", []))
    details |= {"never_drawn": never, "cautions": cautions}
    if context.limits is not None:
        details["base_loss"] = fmean(context.limits.values())
    if stopping is not None:
        kept = stopping.finish(steps=made.steps, diverged=diverged())
        stopped = stopping.reason or stopped
        details |= {"target": stopping.target, "watched": [asdict(point) for point in stopping.points]}
        if kept != made.steps:
            progress.say(f"{stopped}; the adapter is that of step {kept}")
    require_outputs(model)
    return {
        "history": _history(made, noted),
        "steps": made.steps,
        "planned_steps": len(plan.planned),
        "tokens": sum(map(sum, plan.lengths[: made.steps])),
        "stopped": stopped,
        "kept_step": kept,
        "details": details,
    }


def _history(made: LoopResult, noted: Sequence[float]) -> tuple[UnlearnStep, ...]:
    pairs = zip_longest(made.losses, noted, fillvalue=math.nan)
    return tuple(UnlearnStep(number, loss, forget) for number, (loss, forget) in enumerate(pairs, start=1))


def _early_stopping(run: Run, context: Context) -> EarlyStopping | None:
    options = run.options
    if not options.check_every and context.target is None:
        return None
    forget, retain = checked_rows(context)
    return EarlyStopping(
        context.loaded.model,
        forget,
        retain,
        folder=run.kept.folder if run.kept else None,
        pad_token_id=context.loaded.tokenizer.pad_token_id,
        every=options.check_every or EVERY,
        target=context.target,
        max_retain_increase=options.max_retain_increase,
        fingerprint=run.kept.digest if run.kept else "",
    )


def _said(run: Run, cautions: list[str]) -> list[str]:
    for caution in cautions:
        run.say(caution)
    return cautions


def _facts(run: Run, result: Unlearned, rows: Sequence[ForgetRow]) -> dict[str, Any]:
    """Lines of the model card."""
    weights = {is_forget: [row.weight for row in rows if row.is_forget == is_forget] for is_forget in (True, False)}
    # A method without a retain term may have no rows to keep.
    counts = {
        is_forget: f"{len(own)}, effective {summarize(own).effective_sample_size:.1f}" if own else "none"
        for is_forget, own in weights.items()
    }
    return {
        "method": f"{result.method} ({run.method.paper})",
        "forget rows": counts[True],
        "retain rows": counts[False],
        "steps": f"{result.steps} of {result.planned_steps}"
        + (f"; stopped because {result.stopped}" if result.stopped else ""),
        "learning rate": run.options.learning_rate,
        "adapter": run.options.adapter_mode,
        "seed": run.options.seed,
        "seconds": result.seconds,
    }
