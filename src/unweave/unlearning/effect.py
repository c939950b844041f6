"""Options and weights without effect: refused, or said before the run and in its result."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

from unweave.errors import ConfigError
from unweave.unlearning.config import ForgetConfig, given_options
from unweave.unlearning.methods import Method, Objective, Retrain
from unweave.unlearning.steps import Drawn, ForgetRow

WEIGHTS = ("forget_weights", "retain_weights")
FACTORS = ("gamma", "alpha", "ascent", "descent")
"""Options that weigh kinds of rows against each other."""

STEPS = (
    "epochs", "batch_size", "retain_ratio", "sampling", "learning_rate", "lr_scheduler", "warmup_ratio", "weight_decay", "max_grad_norm", "stop_loss",
    "check_every",
)  # fmt: skip
"""Options of methods that make steps."""

ADAPTER = ("lora_r", "lora_alpha", "lora_dropout", "lora_targets")
"""Options of a fresh adapter."""

OF_TRAINING_ANEW = (
    "method",
    "forget",
    "output_dir",
    "model",
    "revision",
    "adapter",
    "recipe",
    "seed",
    "dtype",
    "device",
)
"""What training anew takes from the request; the rest is its recipe's."""


def require_effect(config: ForgetConfig, method: Method) -> None:
    """Refuse files of weights that the method would not use.

    Args:
        config: The run's.
        method: The method.

    Raises:
        ConfigError: Naming the first such option.
    """
    for name in WEIGHTS:
        if getattr(config, name) is not None and (not method.takes_weights or name in method.ignores):
            raise ConfigError(
                f"The method '{method.name}' does not weigh these rows: the file would have no effect.",
                where=f"--{name.replace('_', '-')}",
                remedy="leave the weights out, or use a method that trains on the rows, such as rapidun",
            )


def without_effect(config: ForgetConfig, method: Method) -> list[str]:
    """Say which given options have no effect, whatever the rows.

    Args:
        config: The run's.
        method: The method.

    Returns:
        A sentence for each reason.
    """
    given = given_options(config)
    sentences = []
    for names, holds, why in _reasons(config, method):
        if holds and (idle := sorted(given & set(names))):
            options = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
            sentences.append(f"No effect has {options}: {why}.")
            given -= set(names)
    return sentences


def _reasons(config: ForgetConfig, method: Method) -> Iterator[tuple[Sequence[str], bool, str]]:
    """Options, whether they have no effect in this run, and why."""
    watched = bool(config.check_every) or config.target is not None or config.target_loss is not None
    yield method.ignores, True, f"{method.name} does not use it"
    rest = [field.name for field in fields(config) if field.name not in OF_TRAINING_ANEW]
    yield rest, isinstance(method, Retrain), f"{method.name} trains by its recipe"
    trains = isinstance(method, Objective)
    yield STEPS, not trains, f"{method.name} makes no steps"
    yield ADAPTER, not trains, f"{method.name} changes the adapter that is there"
    if not trains:
        return
    kept = config.adapter_mode == "continue" and not method.own_adapter
    yield ADAPTER[: len(ADAPTER) - method.narrows], kept, "the adapter that is there is trained on"
    why = f"{method.name} compares the model with the one before, and both are without dropout"
    yield ("lora_dropout",), method.compares, why
    yield ("max_retain_increase",), not watched, "nothing is measured on the way (--check-every, --target)"
    only_forget = not method.draws_retain
    yield ("retain_ratio", "retain_loss"), only_forget, "no retain row is drawn"
    yield ("gamma",), only_forget, "the forget part is the whole loss, and AdamW divides a gradient by its size"


def plan_cautions(
    config: ForgetConfig, method: Objective, steps: Sequence[Drawn], rows: Sequence[ForgetRow]
) -> list[str]:
    """Say where the drawn steps leave no room for weights and factors to act.

    A row alone in its step has its gradient clipped to one norm and divided by its own size (AdamW): what multiplies its loss is lost. The same holds for a
    factor of all forget rows in a step that has no other.

    Args:
        config: The run's.
        method: The method.
        steps: What each step sees.
        rows: All rows.

    Returns:
        Sentences.
    """
    sentences = []
    weighed = method.weighs or len({row.weight for row in rows}) > 1
    if weighed and max(len(step.rows) for step in steps) == 1:
        sentences.append(
            "Weights of rows have next to no effect: each step holds one row, whose gradient is clipped (--max-grad-norm) and divided by its size (AdamW). "
            "Give --batch-size 8 or more."
        )
    factors = [name for name in FACTORS if getattr(config, name, 1.0) not in (0.0, 1.0)]
    mixed = sum(len({row.is_forget for row in step.rows}) == 2 for step in steps)
    if factors and method.draws_retain and 2 * mixed < len(steps):
        named = ", ".join(f"--{name}" for name in factors)
        sentences.append(
            f"{named} can act in {mixed} of {len(steps)} steps only, those with forget and retain rows: elsewhere a gradient's size is lost in clipping "
            "and AdamW. Give a larger --batch-size."
        )
    return sentences


def drawn_cautions(never: dict[str, int], rows: dict[str, int]) -> list[str]:
    """Say where rows to forget were in no step.

    Args:
        never: How many forget and retain rows were never drawn.
        rows: How many there are.

    Returns:
        Sentences.
    """
    if not never["forget"]:
        return []
    return [
        f"{never['forget']} of {rows['forget']} rows to forget were in no step. Give more --epochs or a lower --retain-ratio, and --sampling cycle."
    ]
