"""One training loop for fine-tuning and for forgetting: Hugging Face `Trainer` underneath, a planned list of steps on top.

The whole run is planned before it starts: a list of steps, each a list of examples. A rerun with the same plan continues at the last
checkpoint, so that a killed run loses at most the steps since then.

Under `accelerate launch` every process makes the same plan and takes its share of each step; what a share counts is its part of the step's tokens, and
gradients are averaged before the optimizer's step. So a step is the same whatever the number of processes.
"""

import math
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from transformers import TrainingArguments

from unweave import progress
from unweave.errors import ConfigError, TrainingError, nearest
from unweave.files import write_json
from unweave.models.quiet import quiet_transformers
from unweave.ranges import require_in_range
from unweave.run.folder import identity_digest
from unweave.train.config import Schedule
from unweave.train.optimizer import MasterAdamW
from unweave.train.planned import Callbacks, PlannedSteps, PlannedTrainer, Step, StepLoss
from unweave.train.processes import Processes, processes
from unweave.train.recorder import Recorder
from unweave.train.resuming import StepRecord, ended_at, resumable
from unweave.train.soundness import sums
from unweave.train.splitting import Split
from unweave.train.trackers import tracked_arguments, tracking

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How a planned run is optimised.

    Attributes:
        learning_rate: Peak step size of AdamW.
        lr_scheduler: Name of a transformers schedule that needs no more than a number of steps.
        warmup_ratio: Share of the steps with a rising step size.
        weight_decay: Decoupled weight decay.
        max_grad_norm: Gradients are clipped to this norm.
        seed: Of the adapter's first values, of dropout and of the plan.
        checkpoints: How many times a run is saved on its way.
    """

    learning_rate: float = 2e-4
    lr_scheduler: Schedule = "cosine"
    warmup_ratio: float = 0.0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    seed: int = 0
    checkpoints: int = 4


@dataclass(frozen=True)
class LoopResult:
    """What a run of the loop did.

    Attributes:
        steps: Steps made, those before an interruption included.
        losses: The loss of each of them.
    """

    steps: int
    losses: list[float]

    @property
    def final_loss(self) -> float:
        """The mean loss of the last tenth of the steps; NaN without any."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(last) / len(last) if last else math.nan


def plan_epochs(lengths: Sequence[int], *, batch_size: int, epochs: float, seed: int) -> list[list[int]]:
    """Plan the steps of a run: every epoch shuffled, neighbours of like length together, no row twice in an epoch.

    Args:
        lengths: Tokens of each example.
        batch_size: Examples a step; the last step of an epoch may have fewer.
        epochs: May be a fraction.
        seed: Of the shuffles.

    Returns:
        Indices of examples, a list a step; at least one step.

    Raises:
        ConfigError: When the epochs or the batch size are not positive.
    """
    if epochs <= 0 or batch_size < 1:
        raise ConfigError(
            f"{epochs} epochs of batches of {batch_size} rows can't be trained.",
            where="`epochs`, `batch_size`",
            remedy="give numbers above 0",
        )
    rng = random.Random(seed)
    per_epoch = -(-len(lengths) // batch_size)
    steps: list[list[int]] = []
    wanted = max(1, round(epochs * per_epoch))
    while len(steps) < wanted:
        order = list(range(len(lengths)))
        rng.shuffle(order)
        window = batch_size * 16
        batches: list[list[int]] = []
        for start in range(0, len(order), window):
            nearby = sorted(order[start : start + window], key=lambda index: lengths[index])
            batches += [nearby[first : first + batch_size] for first in range(0, len(nearby), batch_size)]
        rng.shuffle(batches)
        steps += batches
    return steps[:wanted]


def warmup_steps(ratio: float, steps: int) -> int:
    """Steps with a rising step size. The first of them has a step size of zero: the only step of a run must not be one.

    Args:
        ratio: Their share.
        steps: All steps.

    Returns:
        How many.
    """
    return min(math.ceil(ratio * steps), steps - 1)


def run_loop(
    model: Any,
    steps: Sequence[Step],
    *,
    collate: Callable[[Step], Any],
    loss: StepLoss,
    config: LoopConfig,
    output_dir: Path | None,
    identity: dict[str, Any] | None,
    description: str,
    size: Callable[[Any], float] = lambda _: 1.0,
    should_stop: Callable[[], bool] = lambda: False,
    after_step: Callable[[int], None] = lambda _: None,
    notes: list[float] | None = None,
    report_to: str = "none",
    measured: Callable[[], dict[str, float]] = dict,
    recorder: Recorder | None = None,
    split: Split | None = None,
) -> LoopResult:
    """Run the planned steps, continuing an interrupted run of the same plan.

    Args:
        model: A model whose trainable parameters require gradients.
        steps: What each step sees.
        collate: Makes a step's batch.
        loss: The loss of a batch, a scalar.
        config: Step size, schedule, seed.
        output_dir: Where checkpoints go; they stay until its owner has recorded the run's result, so that a kill in between loses nothing. `None` writes none.
        identity: What makes it the same run: a checkpoint of another identity is not continued.
        description: For the progress bar.
        size: What an example counts in its step's loss, where the step is shared among processes: for a mean over tokens, its labelled tokens.
        should_stop: Asked after each step; true ends the run there.
        after_step: Called after each step with the number of steps made.
        notes: What the loss notes of its steps, by adding to this list; of a run that goes on, what it had noted up to there is put into it.
        report_to: A tracker that the steps go to (`unweave.train.trackers`).
        measured: Asked before the first step and after each one; what has been measured since then goes to the tracker too.
        recorder: Keeps what the run can be repeated from; dropout is then seeded at each step.
        split: How a step is cut where memory runs out; `None` ends the run there.

    Returns:
        Steps and losses.

    Raises:
        TrainingError: When a loss or a weight is not finite, or all gradients were zero.
    """
    _require_options(config)
    here = processes()
    folder = None if output_dir is None else output_dir / CHECKPOINTS
    resume = None if folder is None else _resumed(folder, identity_digest(identity or {}), here)
    steps = steps[: ended_at(resume)]
    device = next(model.parameters()).device
    arguments = (_WhereItIs if folder else _NothingWritten)(
        output_dir=str(folder) if folder else None,
        per_device_train_batch_size=1,
        max_steps=len(steps),
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler,
        warmup_steps=warmup_steps(config.warmup_ratio, len(steps)),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        seed=config.seed,
        save_strategy="steps" if folder else "no",
        save_steps=max(1, -(-len(steps) // (config.checkpoints + 1))),
        save_total_limit=1,
        **tracked_arguments(report_to, output_dir),
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=device.type == "cpu",
        dataloader_pin_memory=False,
    )
    # Trainer would take every GPU that it sees, and copy the model to each.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    arguments.held = device if here.count == 1 else None
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = MasterAdamW(trainable, lr=config.learning_rate, weight_decay=config.weight_decay)
    kept = (recorder.rates, recorder.norms) if recorder is not None else ()
    record = StepRecord([], [] if notes is None else notes, *kept)
    if recorder is not None:
        recorder.begin(model, optimizer, resumed=resume is not None)
    before = sums(trainable)
    with progress.task(description, len(steps)) as advance, quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = Callbacks(advance, should_stop, after_step, record, model, _recording(recorder, optimizer))
        trainer = PlannedTrainer(
            model=model,
            args=arguments,
            train_dataset=PlannedSteps(steps, here.count, size),  # type: ignore[arg-type]
            data_collator=lambda items: {
                "batch": collate(items[0].examples) if items[0].part else None,
                "part": items[0].part,
                "examples": items[0].examples,
            },
            optimizers=(optimizer, None),
            callbacks=[*tracking(report_to, output_dir), ours],
        )
        trainer.measured = measured
        ours.report = trainer.report
        trainer.remove_callback(_printer())
        if here.count == 1:
            trainer.accelerator.device_placement = False
        trainer.step_loss, trainer.losses, trainer.here, trainer.trained = loss, record.losses, here, trainable
        trainer.recorder, trainer.split, trainer.notes = recorder, split, record.notes
        trainer.train(resume_from_checkpoint=resume)
    if sums(trainable) == before:
        if optimizer.moved is False:
            raise TrainingError(
                f"None of {trainer.state.global_step} step(s) had a gradient other than zero: nothing was trained.",
                remedy="check that the rows' weights and the objective's factors are not zero",
            )
        progress.say(
            f"{description}: no step changed a weight; the step size is below what the weights' precision can add"
        )
    if recorder is not None:
        recorder.finish(record.losses, optimizer)
    model.eval()
    here.wait()
    return LoopResult(trainer.state.global_step, record.losses)


class _WhereItIs(TrainingArguments):
    """Arguments of a run whose model stays on its device: Trainer's own choice is the first GPU.

    Attributes:
        held: The device; `None` where several processes have one each, as their launcher gave them.
    """

    held: torch.device | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.held or super().device

    @property
    def place_model_on_device(self) -> bool | None:
        """Only where a launcher says where."""
        return super().place_model_on_device if self.held is None else False


class _NothingWritten(_WhereItIs):
    """Arguments of a run that has no folder."""

    @property
    def should_save(self) -> bool:
        """Never."""
        return False


def _resumed(folder: Path, fingerprint: str, here: Processes) -> str | None:
    """The checkpoint that a run goes on from, and the mark of whose those are that it makes."""
    with here.first_goes_first():
        resume = resumable(folder, fingerprint)
        if here.is_first:
            write_json(folder / "identity.json", {"fingerprint": fingerprint})
    return resume


def _require_options(config: LoopConfig) -> None:
    require_in_range(config)
    if config.lr_scheduler not in get_args(Schedule):
        raise ConfigError(
            f"There is no schedule '{config.lr_scheduler}' that needs no more than a number of steps.",
            where="`lr_scheduler`",
            remedy=nearest(config.lr_scheduler, get_args(Schedule)),
        )


def _recording(recorder: Recorder | None, optimizer: MasterAdamW) -> Callable[[int], None]:
    """What is recorded of a step."""
    return lambda step: None if recorder is None else recorder.after_step(step, optimizer)


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback
