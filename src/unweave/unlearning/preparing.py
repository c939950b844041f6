"""What an unlearning in memory is made of: a method, its options, and weighted rows with their tokens."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from unweave.arguments import quoted
from unweave.data.dates import dated
from unweave.data.encoding import EncodingConfig
from unweave.data.reading import Problem, load_rows
from unweave.errors import ConfigError
from unweave.models.model import Model
from unweave.ranges import require_in_range
from unweave.unlearning.config import UnlearnOptions, run_options
from unweave.unlearning.context import Context
from unweave.unlearning.copying import own_values, working_copy
from unweave.unlearning.effect import Given, require_effect
from unweave.unlearning.methods import Edit, Method, Objective, Retrain, get_method
from unweave.unlearning.planned import Steps
from unweave.unlearning.reading import RowSet, encode_sets
from unweave.weights.checks import row_weights


@dataclass(frozen=True)
class Asked:
    """What an unlearning was asked for.

    Attributes:
        method: The method.
        options: The options that all methods share.
        changed: Options of the run and of the method that are not at their defaults.
        weights: Of the forget and of the retain rows; `None` where there are none.
    """

    method: Method
    options: UnlearnOptions
    changed: frozenset[str]
    weights: tuple[Any, Any]


def asked(
    method: Method | str,
    given: Mapping[str, Any],
    *,
    model: Model,
    retain: Any,
    weights: Any,
    encoding: EncodingConfig | None,
    **target: bool,
) -> Asked:
    """Check what an unlearning was asked for.

    Args:
        method: A method with its options, or the name of one.
        given: Option of the run to value; `None` stands for the method's default.
        model: The model.
        retain: The rows to keep.
        weights: An object with arrays `forget` and `retain`, or a pair of such.
        encoding: Template and lengths.
        target: What was given of a target.

    Returns:
        Method and options.

    Raises:
        ConfigError: When the method needs something that is not given, or would not use what is.
    """
    chosen = get_method(method)() if isinstance(method, str) else method
    if not isinstance(chosen, Objective | Edit | Retrain):
        raise ConfigError(
            f"{chosen!r} is no unlearning method.",
            where="`method`",
            remedy="give an instance such as uw.methods.NPO(), or a name: uw.methods.available() has all",
        )
    options, changed = run_options(chosen, {**given, **(asdict(encoding) if encoding else {})})
    require_in_range(options)
    require_in_range(chosen)
    pair = _pair(weights)
    there = Given(
        retain=retain is not None,
        forget_weights=pair[0] is not None,
        retain_weights=pair[1] is not None,
        **target,
    )
    require_effect(there, chosen)
    return Asked(chosen, dated(options, model.tokenizer, model.adapter, model.base), frozenset(changed), pair)


def encode(own: Asked, forget: Any, retain: Any, model: Model) -> tuple[list[Any], list[Problem]]:
    """Read, weigh and encode the rows of an unlearning.

    Args:
        own: Method, options and weights.
        forget: The rows to forget.
        retain: The rows to keep, or `None`.
        model: The model.

    Returns:
        All rows, and what was dropped or cut of them.

    Raises:
        ConfigError: When there are no rows to forget.
    """
    assert not isinstance(own.method, Retrain), "a retraining reads its own rows"
    first, second = (
        None if rows is None else _row_set(rows, weights, name)
        for rows, weights, name in zip((forget, retain), own.weights, ("forget", "retain"), strict=True)
    )
    if first is None:
        raise ConfigError("There are no rows to forget.", where="`forget`", remedy="give them")
    return encode_sets(first, second, own.options, model, own.method)


def plan_objective(
    own: Asked, forget: Any, retain: Any, model: Model, *, in_place: bool, steps: int | None = None
) -> tuple[Steps, list[Problem], list[str]]:
    """The steps of a method that trains, on a model that is ready for them.

    Args:
        own: Method, options and weights.
        forget: The rows to forget.
        retain: The rows to keep, or `None`.
        model: The model.
        in_place: Change this model; otherwise a copy, which shares what does not change.
        steps: How many, where that is not the epochs'.

    Returns:
        The steps, what was dropped or cut of the rows, and cautions.

    Raises:
        ConfigError: When the method has no loss.
    """
    if not isinstance(own.method, Objective):
        raise ConfigError(
            f"The method '{own.method.name}' has no loss to train with: it {'edits' if isinstance(own.method, Edit) else 'retrains'}.",
            where="`method`",
            remedy="use uw.unlearn, or a method with a loss, such as uw.methods.NPO()",
        )
    rows, problems = encode(own, forget, retain, model)
    loaded = model if in_place else working_copy(model, whole=changes_base(own.method, own.options, model))
    context = own.method.prepare(Context(loaded, rows, own.options))
    if not in_place:
        own_values(trained(context.loaded.model), model.model)
    return Steps(own.method, context, steps=steps), problems, own.method.cautions(context)


def changes_base(method: Objective | Edit, options: UnlearnOptions, model: Model) -> bool:
    """Whether a run changes weights below the adapter: it merges one into them, or its method does.

    Args:
        method: The method.
        options: The run's.
        model: The model.

    Returns:
        Whether it does.
    """
    merges = model.adapter is not None and options.adapter_mode == "new"
    return merges or (isinstance(method, Objective) and method.own_adapter)


def trained(model: Any) -> list[Any]:
    """The parameters that are trained.

    Args:
        model: The model.

    Returns:
        Those that require gradients.
    """
    return [own for own in model.parameters() if own.requires_grad]


def _pair(weights: Any) -> tuple[Any, Any]:
    """The weights of both sets; `None` for those that there are none of."""
    if weights is None:
        return None, None
    if hasattr(weights, "forget") and hasattr(weights, "retain"):
        return weights.forget, weights.retain
    if isinstance(weights, tuple | list) and len(weights) == 2:
        return weights[0], weights[1]
    raise ConfigError(
        f"{type(weights).__name__} holds no weights of two sets.",
        where="`weights`",
        remedy="give an object with `forget` and `retain`, as uw.weights makes them, or a pair of sequences",
    )


def _row_set(rows: Any, weights: Any, name: str) -> RowSet:
    loaded, where = load_rows(rows), quoted(f"weights.{name}")
    signed = name == "retain"
    found = None if weights is None else row_weights(weights, count=len(loaded), signed=signed, where=where).tolist()
    return RowSet(loaded, found, quoted(name), where)
