"""Options and weights without effect: refused, or said before the run and in its result."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields

from unweave.errors import ConfigError
from unweave.models.holding import HOLDING
from unweave.unlearning.config import ForgetConfig, UnlearnOptions
from unweave.unlearning.methods import Method, Objective, Retrain
from unweave.unlearning.rows import ForgetRow
from unweave.unlearning.steps import SampledStep

FACTORS = ("gamma", "alpha", "ascent", "descent")
"""Options that weigh kinds of rows against each other."""

STEPS = (
    "epochs", "batch_size", "retain_ratio", "sampling", "learning_rate", "lr_scheduler", "warmup_ratio", "weight_decay", "max_grad_norm", "stop_loss",
    "check_every", "report_to",
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
    *HOLDING,
)
"""What training anew takes from the request; the rest is its recipe's."""


@dataclass(frozen=True)
class Given:
    """What a run was given beside its rows to forget.

    Attributes:
        retain: Rows to keep.
        forget_weights: Weights of the rows to forget.
        retain_weights: Weights of the rows to keep.
        target: Held-out rows.
        target_reference: A model that says how hard they are.
        target_loss: A loss to reach.
    """

    retain: bool
    forget_weights: bool = False
    retain_weights: bool = False
    target: bool = False
    target_reference: bool = False
    target_loss: bool = False

    @property
    def has_target(self) -> bool:
        """Whether a loss of the forget rows is to be reached: rows or a number say which."""
        return self.target or self.target_loss


def require_effect(given: Given, method: Method) -> None:
    """Refuse what the method would not use, and miss what it needs.

    Args:
        given: What there is.
        method: The method.

    Raises:
        ConfigError: Naming the argument.
    """
    weights = {
        "forget_weights": ("`weights.forget`", given.forget_weights),
        "retain_weights": ("`weights.retain`", given.retain_weights),
    }
    for name, (where, there) in weights.items():
        if there and (not method.takes_weights or name in method.ignores):
            raise ConfigError(
                f"The method '{method.name}' does not weigh these rows: the weights would have no effect.",
                where=where,
                remedy="leave the weights out, or use a method that trains on the rows, such as rapidun",
            )
    if method.samples_retain and not given.retain:
        raise ConfigError(f"The method '{method.name}' needs rows to keep.", where="`retain`", remedy="give them")
    if given.retain_weights and not given.retain:
        raise ConfigError(
            "There are weights of rows to keep, and no such rows.", where="`weights.retain`", remedy="give `retain`"
        )
    if given.target_reference and not given.target:
        raise ConfigError(
            "A reference says how hard held-out rows are, and there are none.",
            where="`target_reference`",
            remedy="give held-out rows with `target`",
        )
    if given.has_target and not method.takes_target:
        raise ConfigError(
            f"The method '{method.name}' makes no steps: it can't stop at a target.",
            where="`target`, `target_loss`",
            remedy="leave the target out, or use a method that trains, or llmeraser",
        )


def without_effect(changed: Collection[str], options: UnlearnOptions, method: Method, *, has_target: bool) -> list[str]:
    """Say which given options have no effect, whatever the rows.

    Args:
        changed: Options of the run and of the method that are not at their defaults.
        options: Those of the run.
        method: The method.
        has_target: Whether a loss is to be reached.

    Returns:
        A sentence for each reason.
    """
    left = set(changed)
    sentences = []
    for names, holds, why in _reasons(options, method, has_target=has_target):
        if holds and (idle := sorted(left & set(names))):
            sentences.append(f"No effect has {', '.join(f'`{name}`' for name in idle)}: {why}.")
            left -= set(names)
    return sentences


def _reasons(config: UnlearnOptions, method: Method, *, has_target: bool) -> Iterator[tuple[Sequence[str], bool, str]]:
    """Options, whether they have no effect in this run, and why."""
    checked = bool(config.check_every) or has_target
    yield method.ignores, True, f"{method.name} does not use it"
    rest = [field.name for field in fields(ForgetConfig) if field.name not in OF_TRAINING_ANEW]
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
    yield ("max_retain_increase",), not checked, "nothing is measured on the way (`check_every`, `target`)"
    only_forget = not method.samples_retain
    yield ("retain_ratio", "retain_loss"), only_forget, "no retain row is sampled"
    yield ("gamma",), only_forget, "the forget part is the whole loss, and AdamW divides a gradient by its size"


def plan_cautions(method: Objective, steps: Sequence[SampledStep], rows: Sequence[ForgetRow]) -> list[str]:
    """Say where the steps leave nothing for weights and factors to act on.

    A row alone in its step has its gradient clipped to one norm and divided by its own size (AdamW): what multiplies its loss is lost. The same holds for a
    factor of all forget rows in a step that has no other.

    Args:
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
            "Weights of rows have next to no effect: each step holds one row, whose gradient is clipped (`max_grad_norm`) and divided by its size (AdamW). "
            "Give `batch_size` 8 or more."
        )
    factors = [name for name in FACTORS if getattr(method, name, 1.0) not in (0.0, 1.0)]
    mixed = sum(len({row.is_forget for row in step.rows}) == 2 for step in steps)
    if factors and method.samples_retain and 2 * mixed < len(steps):
        named = ", ".join(f"`{name}`" for name in factors)
        sentences.append(
            f"{named} can act in {mixed} of {len(steps)} steps only, those with forget and retain rows: elsewhere a gradient's size is lost in clipping "
            "and AdamW. Give a larger `batch_size`."
        )
    return sentences


def sampling_cautions(never: dict[str, int], rows: dict[str, int]) -> list[str]:
    """Say where rows to forget were in no step.

    Args:
        never: How many forget and retain rows were never sampled.
        rows: How many there are.

    Returns:
        Sentences.
    """
    if not never["forget"]:
        return []
    return [
        f"{never['forget']} of {rows['forget']} rows to forget were in no step. Give more `epochs` or a lower `retain_ratio`, and `sampling` cycle."
    ]
