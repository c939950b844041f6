"""Options that every unlearning method shares, readable without torch."""

import functools
import inspect
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

from unweave.config import part_of
from unweave.data.config import DataConfig
from unweave.models.loading import ModelConfig
from unweave.train.config import LoraOptions, Schedule, Tracker

if TYPE_CHECKING:
    from unweave.unlearning.methods import Method

Sampling = Literal["cycle", "replacement"]
"""How rows are sampled."""


@dataclass(frozen=True, kw_only=True)
class UnlearnOptions(DataConfig, LoraOptions):
    """How rows are unlearned, whatever the method.

    Each step holds forget and retain rows: a row alone in its step has its gradient clipped and divided by its size, and no weight or factor of it is left.
    RapidUn's own runs, which have one row a step, are the method `rapidun-published`.

    Attributes:
        adapter_mode: `continue` trains the model's own adapter on; `new` merges it into the base, saves that as `base/`, and trains a
            fresh adapter on it. A model without an adapter gets a new one.
        epochs: An epoch samples as many rows as there are forget and retain rows together; where only one kind is sampled, as there are of it. By default one,
            or as many as make 60 steps where rows are few (`distill`: 90).
        batch_size: Rows a step.
        retain_ratio: Retain rows sampled for each forget row.
        sampling: `cycle`: each set in a random order, and none of its rows a second time before all have come. `replacement`: each one from the whole set,
            as in RapidUn's published runs; some rows are never sampled then.
        learning_rate: Peak step size of AdamW.
        lr_scheduler: How the step size changes over the run.
        warmup_ratio: Share of the steps over which it grows from 0.
        weight_decay: Of AdamW.
        max_grad_norm: The norm to which a step's gradient is clipped.
        stop_loss: Stop when the mean loss of the forget rows in a step exceeds this, in nats a token; by default the logarithm of the
            vocabulary's size, above which a model is worse than guessing and has diverged.
        check_every: Measure forget and retain rows every so many steps, to stop at the target and to keep the best step; 0 measures when
            there is a target only, every 5 steps.
        check_rows: Rows of each kind that are measured.
        target_loss: Stop when the forget rows' loss reaches this, in nats a token.
        stop_at_base: Where no target is given and the model has an adapter, a forget row counts no more in a step once it has the loss that it has with the
            adapter off, and counts again if it is learned again. The rows to keep go on to be learned: what they lose while rows are unlearned comes back.
            Objectives on hidden states have bounds of their own; a method that edits is led to the mean of these losses.
        max_retain_increase: The run has diverged when the retain rows' loss grows by more than this, in nats a token: it stops, and the best step is kept.
        seed: Of the sampling, of a new adapter, of dropout.
    """

    adapter_mode: Literal["new", "continue"] = "new"
    epochs: float | None = None
    batch_size: int = 8
    retain_ratio: float = 3.0
    sampling: Sampling = "cycle"
    learning_rate: float = 5e-4
    lr_scheduler: Schedule = "cosine"
    warmup_ratio: float = 0.0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_length: int = 256
    stop_loss: float | None = None
    check_every: int = 0
    check_rows: int = 32
    target_loss: float | None = None
    stop_at_base: bool = True
    max_retain_increase: float = 0.5
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ForgetConfig(UnlearnOptions, ModelConfig):
    """Take the influence of rows out of a model.

    Attributes:
        forget: The rows to forget; their completion is the unwanted one, and a clean one may stand beside it.
        retain: Rows whose behaviour must stay; methods that use none take none.
        output_dir: Where the unlearned adapter goes.
        method: The unlearning method.
        forget_weights: Weights of the forget rows (`unweave weigh`); by default all 1.
        retain_weights: Weights of the retain rows; a row with a negative one is unlearned with the forget rows.
        target: Held-out rows like those to be forgotten: stop when the forget rows are as unlikely as these were before. That is where a retrained
            model would be, and going on would show that something was forgotten.
        target_reference: A model that saw neither these nor the forget rows, such as the base model: the target allows for forget rows that are harder or
            easier than the held-out ones.
        target_loss: The same as a number, in nats a token.
        report_to: An experiment tracker that each step goes to, and what is measured of forget and retain rows on the way; its package must be installed.
            `tensorboard` writes below the output folder.
    """

    forget: Path
    retain: Path | None = None
    output_dir: Path
    method: str = "rapidun"
    forget_weights: Path | None = None
    retain_weights: Path | None = None
    target: Path | None = None
    target_reference: str | None = None
    target_loss: float | None = None
    report_to: Tracker = "none"


def config_of(method: Any) -> type[ForgetConfig]:
    """The options of `unweave forget` with a method: those of the run, with its defaults, and its own.

    Args:
        method: Its class, or its name.

    Returns:
        A frozen dataclass, the same one each time; `method_of` takes the method out of an instance.
    """
    if isinstance(method, str):
        from unweave.unlearning.methods import get_method

        method = get_method(method)
    return _config_of(method)


def _defaults_of(method: Any) -> dict[str, Any]:
    """A method's own defaults of the options of a run, those of its base classes included."""
    found: dict[str, Any] = {}
    for kind in reversed(method.__mro__):
        found |= vars(kind).get("defaults", {})
    return found


def run_options(method: "Method", given: Mapping[str, Any]) -> tuple[UnlearnOptions, set[str]]:
    """The options of a run in memory, and which of them, and of the method's own, are not at their defaults.

    Args:
        method: The method.
        given: Option to value; `None` stands for the method's default.

    Returns:
        The options and the names.
    """
    defaults = {name: own.value for name, own in _defaults_of(type(method)).items()}
    defaults = {field.name: defaults.get(field.name, field.default) for field in fields(UnlearnOptions)}
    hints = get_type_hints(UnlearnOptions)
    # A whole number is as good where a fraction may stand.
    values = {
        name: float(value) if isinstance(value, int) and float in (hints[name], *get_args(hints[name])) else value
        for name, value in given.items()
        if value is not None
    }
    options = UnlearnOptions(**{**defaults, **values})
    changed = {name for name, value in values.items() if value != defaults[name]}
    own = fields(method)  # type: ignore[arg-type]  # each is a dataclass
    return options, changed | {field.name for field in own if getattr(method, field.name) != field.default}


@functools.cache
def _config_of(method: Any) -> type[ForgetConfig]:
    defaults = _defaults_of(method)
    hints = get_type_hints(ForgetConfig, include_extras=True)
    own = [("method", str, method.name), *((name, hints[name], given.value) for name, given in defaults.items())]
    about = _about(method)
    attributes = "\n".join(f"    {name}: {given.why}" for name, given in defaults.items())
    return make_dataclass(
        f"{method.__name__}Config",
        [(name, hint, field(default=value)) for name, hint, value in own],
        bases=(method, ForgetConfig),
        namespace={"__doc__": f"{about}\n\nAttributes:\n    method: The unlearning method.\n{attributes}\n"},
        frozen=True,
        kw_only=True,
    )


def _about(method: Any) -> str:
    """What a method's docstring says before its sections."""
    text = inspect.cleandoc(method.__doc__)
    return text.partition("Attributes:")[0].partition("Example:")[0].strip()


def method_of(config: ForgetConfig) -> "Method":
    """The method of a run.

    Args:
        config: The run's options.

    Returns:
        An instance of the method, of its own options.
    """
    from unweave.unlearning.methods import get_method

    return part_of(get_method(config.method), config)


def given_options(config: ForgetConfig) -> set[str]:
    """Which options were given: those that are not the default of the method's own config.

    Args:
        config: The run's.

    Returns:
        Their names.
    """
    optional = (field for field in fields(config) if field.default is not MISSING)
    return {field.name for field in optional if getattr(config, field.name) != field.default}
