"""Tuning a model by a plan: which rows a step holds, what is minimised on them, and the loop that makes the steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unweave.data.batches import collate
from unweave.data.encoding import Example
from unweave.errors import ConfigError
from unweave.gradients.loss import token_losses
from unweave.train.config import TrainConfig
from unweave.train.loop import LoopConfig, LoopResult, StepLoss, plan_epochs, run_loop
from unweave.train.private import Privacy, PrivateLoss, collate_groups, plan_privacy, poisson_steps
from unweave.train.processes import only_one
from unweave.train.recorder import Recorder
from unweave.train.soundness import require_outputs
from unweave.train.splitting import split_by_tokens


@dataclass(frozen=True)
class TuningPlan:
    """What a run does in its loop.

    Attributes:
        steps: Indices of examples, a list a step.
        collate: Makes a step's batch, or batches.
        loss: Of a step.
        loop: Optimisation.
        privacy: The guarantee of a private run.
    """

    steps: list[list[int]]
    collate: Callable[..., Any]
    loss: StepLoss
    loop: LoopConfig
    privacy: Privacy | None = None

    def tokens(self, examples: Sequence[Example]) -> int:
        """The tokens of all steps, padding apart.

        Args:
            examples: The rows.

        Returns:
            Their number; a row counts as often as it comes.
        """
        return sum(len(examples[index]) for step in self.steps for index in step)


def plan_tuning(config: TrainConfig, examples: Sequence[Example], *, processes: int = 1) -> TuningPlan:
    """Plan a training run that is not private.

    Args:
        config: Epochs, batch size, optimisation.
        examples: The rows.
        processes: How many train together: a step has as many times the batch.

    Returns:
        Its steps and their loss.
    """
    lengths, rows = [len(example) for example in examples], config.batch_size * processes
    steps = plan_epochs(lengths, batch_size=rows, epochs=config.epochs, seed=config.seed)
    return TuningPlan(steps, collate, mean_token_loss, loop_config(config))


def tune(
    model: Any,
    examples: Sequence[Example],
    plan: TuningPlan,
    *,
    pad_token_id: int,
    output_dir: Path | None = None,
    identity: dict[str, Any] | None = None,
    description: str = "",
    after_step: Callable[[int], None] = lambda _: None,
    report_to: str = "none",
    recorder: Recorder | None = None,
) -> LoopResult:
    """Train a model by a plan.

    Args:
        model: A model whose trainable parameters require gradients.
        examples: The rows.
        plan: The steps.
        pad_token_id: What to pad with.
        output_dir: Where checkpoints go; `None` writes none.
        identity: What makes it the same run.
        description: For the progress bar.
        after_step: Called after each step with the number of steps made.
        report_to: A tracker that the steps go to.
        recorder: Keeps what the run can be repeated from.

    Returns:
        Steps and losses.
    """

    def batch(step: list[Example]) -> Any:
        return plan.collate(step, pad_token_id=pad_token_id)

    done = run_loop(
        model,
        [[examples[index] for index in step] for step in plan.steps],
        collate=batch,
        loss=plan.loss,
        config=plan.loop,
        output_dir=output_dir,
        identity=identity,
        description=description,
        size=lambda example: example.completion_length,
        after_step=after_step,
        report_to=report_to,
        recorder=recorder,
        # A private step is in small batches already.
        split=split_by_tokens(batch, lambda example: example.completion_length) if plan.privacy is None else None,
    )
    require_outputs(model)
    return done


def plan_private_tuning(config: TrainConfig, examples: Sequence[Example], model: Any) -> TuningPlan:
    """Plan a training run with differential privacy.

    Args:
        config: Budget, epochs, batch size, optimisation.
        examples: The rows.
        model: The model, whose rows' gradients are clipped.

    Returns:
        Its steps, sampled, and their loss.

    Raises:
        ConfigError: When all weights are trained, or several processes train.
    """
    assert config.dp_epsilon is not None, "a private run has a budget"
    only_one("Private training")
    if config.tuning != "lora":
        raise ConfigError("Private training is for adapters.", where="`dp_epsilon`", remedy="use `tuning` lora")
    privacy = plan_privacy(
        len(examples), epsilon=config.dp_epsilon, delta=config.dp_delta, clip=config.dp_clip, batch_size=config.batch_size, epochs=config.epochs
    )  # fmt: skip
    # The noisy gradient's norm is mostly noise: clipping it again would only make steps of one length.
    loop = replace(loop_config(config), max_grad_norm=0.0)
    return TuningPlan(poisson_steps(privacy), collate_groups, PrivateLoss(model, privacy), loop, privacy)


def mean_token_loss(model: nn.Module, batch: Any) -> Tensor:
    """The mean over all labelled tokens of a batch, as is usual in fine-tuning.

    The mean over rows of l(z) would give the first token of a long answer a fraction of the weight that a short answer's has.

    Args:
        model: The model.
        batch: A `Batch`.

    Returns:
        A scalar, in nats a token.
    """
    return token_losses(model, batch.to(next(model.parameters()).device)).nll.mean()


def loop_config(config: Any) -> LoopConfig:
    """The optimisation part of a config that has one.

    Args:
        config: A dataclass with the fields of `LoopConfig`; those it lacks keep their defaults.

    Returns:
        The loop's config.
    """
    names = LoopConfig.__dataclass_fields__
    return LoopConfig(**{name: getattr(config, name) for name in names if hasattr(config, name)})
