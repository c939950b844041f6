"""A method inside a Hugging Face `Trainer`: its arguments, callbacks, logging, checkpoints, accumulation and processes."""

import contextlib
import copy
import math
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments

from unweave import progress
from unweave.data.encoding import EncodingConfig
from unweave.errors import ConfigError, TrainingError
from unweave.models.evaluation import without_dropout
from unweave.models.model import Model
from unweave.train.processes import processes
from unweave.unlearning.config import Sampling
from unweave.unlearning.methods import Method, Objective
from unweave.unlearning.planned import Steps
from unweave.unlearning.preparing import Asked, asked, plan_objective, trained
from unweave.unlearning.steps import StepBatch

WHOLE = ("FSDP", "DEEPSPEED", "MEGATRON_LM", "TP")
"""Strategies that cut a model into pieces: a method's loss runs parts of the model, and reads its parameters, by itself."""


class UnlearnTrainer(Trainer):
    """Train a model with the loss of an unlearning method. The model is changed, as by any `Trainer`.

    A step is `per_device_train_batch_size` rows, times the steps of accumulation, times the processes; its gradient is the same however it is cut. Step size,
    schedule, number of steps or epochs, and seed are those of `args`: a method's own defaults of these do not hold here. A PEFT model's adapter is trained on;
    a model without one gets LoRA. Each process uses one GPU: start several with `accelerate launch`.

    Args:
        model: A Hugging Face causal model, or a `PeftModel`.
        processing_class: Its tokenizer.
        forget_dataset: The rows to forget: anything that `uw.load_rows` takes.
        retain_dataset: Rows whose behavior must stay.
        method: A method with its options, or the name of one; it must have a loss.
        args: As of `Trainer`.
        weights: An object with arrays `forget` and `retain`, as `uw.weights` makes them, or a pair of such.
        retain_ratio: Retain rows for each forget row.
        sampling: `cycle`, or `replacement`.
        encoding: Template and lengths; by default the model's chat template, and 256 tokens.
        callbacks: As of `Trainer`.
        optimizers: As of `Trainer`.

    Raises:
        ConfigError: When the method has no loss, changes the base of an adapter, or needs whole steps that are to be cut; when `args` ask for
            FSDP or DeepSpeed.

    Attributes:
        strategy: How the processes share the work, as accelerate made it: `NO`, `MULTI_CPU`, `MULTI_GPU`.
        problems: What was dropped or cut of the rows.
        cautions: What should be known before the first step.

    Example:
        >>> import unweave as uw
        >>> from transformers import TrainingArguments
        >>> args = TrainingArguments("trainer", max_steps=2, report_to="none", save_strategy="no", use_cpu=True, disable_tqdm=True)
        >>> trainer = uw.UnlearnTrainer(
        ...     model=hf_model, processing_class=tokenizer, forget_dataset=forget, retain_dataset=retain, method=uw.methods.NPO(), args=args
        ... )
        >>> trainer.strategy
        'NO'
    """

    def __init__(
        self,
        model: Any,
        *,
        processing_class: Any,
        forget_dataset: Any,
        retain_dataset: Any = None,
        method: Method | str = "rapidun",
        args: TrainingArguments | None = None,
        weights: Any = None,
        retain_ratio: float | None = None,
        sampling: Sampling | None = None,
        encoding: EncodingConfig | None = None,
        callbacks: list[Any] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
    ):
        args = copy.copy(args) if args is not None else TrainingArguments("unlearned")
        _require_whole_model(args)
        self._here = processes()
        accumulation = args.gradient_accumulation_steps
        parts = accumulation * self._here.count
        given = {
            "batch_size": args.per_device_train_batch_size * parts,
            "epochs": float(args.num_train_epochs),
            "retain_ratio": retain_ratio,
            "sampling": sampling,
            "adapter_mode": "continue",
            "seed": args.seed,
        }
        held = Model(model, processing_class)
        own = asked(method, given, model=held, retain=retain_dataset, weights=weights, encoding=encoding)
        _require_cuttable(own, parts)
        steps = args.max_steps if args.max_steps > 0 else None
        self._plan, self.problems, self.cautions = plan_objective(
            own, forget_dataset, retain_dataset, held, in_place=True, steps=steps
        )
        # Checkpoints of activations, which `Trainer` puts in place later, compute no joined batch twice.
        self._plan.joined = self._plan.joined and not args.gradient_checkpointing
        for caution in self.cautions:
            progress.say(f"caution: {caution}")
        self._scale = parts
        # A part of a step is one item of the data set, as the plan has cut it.
        args.per_device_train_batch_size = 1
        args.max_steps = len(self._plan.planned)
        args.remove_unused_columns = False
        args._n_gpu = min(args.n_gpu, 1)
        super().__init__(
            model=self._plan.context.loaded.model,
            args=args,
            processing_class=processing_class,
            train_dataset=_Parts(self._plan, parts),
            data_collator=lambda items: {"batch": items[0]},
            callbacks=callbacks,
            optimizers=optimizers,
        )
        # The mean over the steps of accumulation is taken of whatever the loss gives.
        self.model_accepts_loss_kwargs = False
        _require_strategy(self.strategy)

    @property
    def strategy(self) -> str:
        """How the processes share the work, as accelerate made it."""
        return self.accelerator.distributed_type.value

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, with dropout off where the method compares the model with the one before.

        Args:
            *args: As of `Trainer`.
            **kwargs: As of `Trainer`.

        Returns:
            As `Trainer`.
        """
        method, model = self._plan.method, self._plan.context.loaded.model
        with without_dropout(model) if method.compares else contextlib.nullcontext():
            found = super().train(*args, **kwargs)
        method.finish(self._plan.context)
        return found

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The method's loss of a part of a step.

        Args:
            model: The model, as accelerate holds it.
            inputs: The part.
            return_outputs: Whether to return a pair.
            num_items_in_batch: Not used: the loss is a mean over rows already.

        Returns:
            The loss, times the number of parts, over which a mean is taken.

        Raises:
            TrainingError: When it is no finite number.
        """
        del num_items_in_batch
        inner, batch = self.accelerator.unwrap_model(model), inputs["batch"]
        if batch is None:
            # Fewer rows than parts are left in the last step.
            loss = sum((own.sum() * 0.0 for own in trained(inner)), torch.zeros(()))
        else:
            loss = self._plan.method.loss(self._plan.view(inner, batch)) * self._scale
        if not math.isfinite(float(loss.detach())):
            raise TrainingError(
                f"The loss is {float(loss.detach())} at step {self.state.global_step}.", remedy="lower learning_rate"
            )
        return (loss, None) if return_outputs else loss

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """A part's forward and backward pass; with the last of a step, the mean of the gradients over processes.

        Args:
            *args: As of `Trainer`.
            **kwargs: As of `Trainer`.

        Returns:
            The loss.
        """
        loss = super().training_step(*args, **kwargs)
        if self.accelerator.sync_gradients:
            self._here.average_gradients(trained(self._plan.context.loaded.model))
        return loss

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the estimate of transformers is of a model's own forward pass.

        Args:
            inputs: The part.

        Returns:
            0.
        """
        del inputs
        return 0

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset or self.train_dataset)  # type: ignore[arg-type]


class _Parts(Dataset):  # type: ignore[type-arg]
    """The plan as a data set: the parts of each step, as accelerate deals them out to processes and steps of accumulation.

    Args:
        plan: The steps.
        parts: Into how many a step is cut.
    """

    def __init__(self, plan: Steps, parts: int):
        self.plan, self.parts = plan, parts

    def __len__(self) -> int:
        return len(self.plan.planned) * self.parts

    def __getitem__(self, index: int) -> StepBatch | None:
        number, part = divmod(index, self.parts)
        return self.plan.collate_part(self.plan.planned[number], part, self.parts)


def _require_cuttable(own: Asked, parts: int) -> None:
    method = own.method
    if not isinstance(method, Objective):
        return
    if method.own_adapter:
        raise ConfigError(
            f"The method '{method.name}' changes the base that its adapter lies on, and a Trainer's checkpoints would not hold that.",
            where="`method`",
            remedy="use uw.unlearn, whose result saves both",
        )
    if method.whole_steps and parts > 1:
        raise ConfigError(
            f"The loss of '{method.name}' weighs each row by the others of its step: a step can't be cut into {parts} parts.",
            where="`args.gradient_accumulation_steps`, `processes`",
            remedy="train in one process without accumulation, with a larger per_device_train_batch_size",
        )


def _require_whole_model(args: TrainingArguments) -> None:
    asks = [name for name in ("fsdp", "deepspeed") if getattr(args, name, None)]
    if asks:
        _refuse(asks[0])


def _require_strategy(strategy: str) -> None:
    if strategy in WHOLE:
        _refuse(strategy.lower())


def _refuse(strategy: str) -> None:
    raise ConfigError(
        f"An unlearning method can't train a model that {strategy} has cut into pieces: its loss runs parts of the model, and compares it with the parameters "
        "before.",
        where="`args`",
        remedy="leave it out: `accelerate launch` with several processes and a LoRA adapter needs no more",
    )
