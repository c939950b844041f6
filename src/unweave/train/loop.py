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
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments

from unweave import progress
from unweave.errors import ConfigError, TrainingError, nearest
from unweave.files import write_json
from unweave.models.quiet import quiet_transformers
from unweave.ranges import require_in_range
from unweave.run.folder import identity_digest
from unweave.train.config import Schedule
from unweave.train.optimizer import MasterAdamW
from unweave.train.processes import Processes, processes
from unweave.train.resuming import StepRecord, ended_at, resumable
from unweave.train.soundness import require_trained, sums

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


Step = list[Any]
StepLoss = Callable[[nn.Module, Any], Tensor]


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
        logging_strategy="no",
        report_to="none",
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
    record = StepRecord([], [] if notes is None else notes)
    before = sums(trainable)
    with progress.task(description, len(steps)) as advance, quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = _PlannedTrainer(
            model=model,
            args=arguments,
            train_dataset=_Steps(steps, here.count, size),  # type: ignore[arg-type]
            data_collator=lambda items: {
                "batch": collate(items[0].examples) if items[0].part else None,
                "part": items[0].part,
            },
            optimizers=(optimizer, None),
            callbacks=[_Callbacks(advance, should_stop, after_step, record, model)],
        )
        trainer.remove_callback(_printer())
        if here.count == 1:
            trainer.accelerator.device_placement = False
        trainer.step_loss, trainer.losses, trainer.here, trainer.trained = loss, record.losses, here, trainable
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


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


@dataclass(frozen=True)
class _Share:
    """What a process does of a step.

    Attributes:
        examples: Its examples; neighbours, which are of like length, go to different processes.
        part: What they count of the whole step, in [0, 1].
    """

    examples: Step
    part: float


class _Steps(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """The plan as a data set: a step has one item for each process, in their order, as accelerate deals them out.

    Args:
        steps: The plan.
        count: Processes.
        size: What an example counts.
    """

    def __init__(self, steps: Sequence[Step], count: int, size: Callable[[Any], float]):
        self.steps, self.count, self.size = steps, count, size

    def __len__(self) -> int:
        return len(self.steps) * self.count

    def __getitem__(self, index: int) -> _Share:
        number, rank = divmod(index, self.count)
        step = self.steps[number]
        if self.count == 1:
            return _Share(step, 1.0)
        own = step[rank :: self.count]
        return _Share(own, sum(map(self.size, own)) / sum(map(self.size, step)))


class _PlannedTrainer(Trainer):
    """A Trainer that takes the steps in their order and the loss from outside."""

    step_loss: StepLoss
    losses: list[float]
    here: Processes
    trained: list[nn.Parameter]

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset or self.train_dataset)  # type: ignore[arg-type]

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of a planned step.

        Args:
            model: The model.
            inputs: The collated step.
            return_outputs: Whether to return a pair.
            num_items_in_batch: Unused: the loss is a mean over rows already.

        Returns:
            The loss.

        Raises:
            TrainingError: When it is not finite.
        """
        del num_items_in_batch
        # Of several processes' model accelerate makes one that averages gradients after its own forward pass; steps run parts of the model themselves.
        inner, part = self.accelerator.unwrap_model(model), inputs["part"]
        if part:
            loss = self.step_loss(inner, inputs["batch"]) * (part * self.here.count)
        else:
            loss = sum((parameter.sum() * 0.0 for parameter in self.trained), torch.zeros(()))
        value = self.here.average(float(loss.detach()))
        if value != value or abs(value) == float("inf"):
            raise TrainingError(
                f"The loss is {value} at step {self.state.global_step}.", remedy="lower `learning_rate`"
            )
        self.losses.append(value)
        return (loss, None) if return_outputs else loss

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """A step's forward and backward pass, and the mean of the gradients over processes.

        Args:
            args: As in `Trainer`.
            kwargs: As in `Trainer`.

        Returns:
            The loss.
        """
        loss = super().training_step(*args, **kwargs)
        self.here.average_gradients(self.trained)
        return loss

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the estimate of transformers knows nothing of a planned step.

        Args:
            inputs: The collated step.

        Returns:
            0.
        """
        del inputs
        return 0


class _Callbacks(TrainerCallback):
    """Moves the progress bar, looks at what a step did, and ends a run that has nothing more to do."""

    def __init__(
        self,
        advance: progress.Advance,
        should_stop: Callable[[], bool],
        after_step: Callable[[int], None],
        record: StepRecord,
        model: nn.Module,
    ):
        self.model = model
        self.advance = advance
        self.should_stop = should_stop
        self.after_step = after_step
        self.record = record

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Jump to where a resumed run stands, and see its last step as it was seen then."""
        self.record.restore(state.log_history)
        self.advance(state.global_step)
        if state.global_step:
            self.after_step(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One more step is done: before it is measured, or saved in a checkpoint."""
        require_trained(self.model, what=f"Step {state.global_step}")
        self.advance(1)
        self.after_step(state.global_step)
        stopped = self.should_stop()
        self.record.keep(state.log_history, stopped=stopped)
        control.should_training_stop |= stopped
