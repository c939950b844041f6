"""Retraining in memory: the base is trained again on the rows that are kept, by the recipe of the model where that is known."""

import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from unweave.data.dates import dated
from unweave.data.encoding import encode_rows
from unweave.data.reading import Rows, load_rows
from unweave.data.sides import require_apart
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError, DataError
from unweave.models.loading import load
from unweave.models.model import IN_MEMORY, Model
from unweave.models.vocabulary import require_tokens
from unweave.train.adapters import add_lora
from unweave.train.config import TrainConfig
from unweave.train.recipe import read_recipe
from unweave.train.shards import is_sharded
from unweave.train.tuning import plan_tuning, tune
from unweave.unlearning.config import UnlearnOptions
from unweave.unlearning.copying import own_values, working_copy
from unweave.unlearning.effect import without_effect
from unweave.unlearning.merging import OWN_BASE
from unweave.unlearning.methods import Retrain
from unweave.unlearning.outcome import ROWS, Effect, measured
from unweave.unlearning.unlearned import Unlearned, UnlearnStep


def train_anew(
    method: Retrain,
    model: Model,
    forget: Any,
    retain: Any,
    options: UnlearnOptions,
    changed: frozenset[str],
    *,
    in_place: bool,
    advance: Callable[[int], None],
) -> Unlearned:
    """Train the base again without the rows to forget.

    Args:
        method: The recipe, where it is not the one beside the model.
        model: The model that was trained on all rows.
        forget: The rows to leave out.
        retain: All others that it was trained on; by default those of the recipe.
        options: Those of the run, for a model without a recipe.
        changed: Which of them are not at their defaults.
        in_place: Train on the base of the model that is given.
        advance: Called with the number of steps just made.

    Returns:
        The model and what happened.

    Raises:
        ConfigError: When there is no recipe and that takes one, or the recipe is of private training.
        DataError: When a row is to be kept and to be forgotten.
    """
    recipe, has_recipe = _recipe(method, model, options, changed)
    used = set() if has_recipe else changed & {own.name for own in fields(TrainConfig)}
    cautions = without_effect(changed - used - {"seed"}, options, method, has_target=False)
    if not has_recipe:
        cautions.append(
            f"How the model was trained is not known: it was trained anew for {recipe.epochs:g} epochs of {recipe.batch_size} rows a step at "
            f"{recipe.learning_rate:g}. Give uw.methods.Retrain(recipe=...) with the config.yaml of its training."
        )
    leaving, staying = load_rows(forget), _kept(forget, retain, recipe, has_recipe=has_recipe)
    require_apart((row.id for row in leaving), (row.id for row in staying))
    base = _base(method, model, recipe, has_recipe=has_recipe, in_place=in_place)
    recipe = dated(recipe, base.tokenizer, model.adapter, model.base)
    sets = [encode_rows(rows, base.tokenizer, recipe) for rows in (leaving, staying)]
    for own in sets:
        require_tokens(base.model, own.examples, tokenizer=base.tokenizer)
    pad, looked_at = base.tokenizer.pad_token_id, [own.examples[:ROWS] for own in sets]
    before = [measured(model.model, own, pad_token_id=pad) for own in looked_at]
    started = time.monotonic()
    examples = sets[1].examples
    lora = recipe.tuning == "lora"
    tuned = add_lora(base.model, recipe, seed=recipe.seed) if lora else base.model.requires_grad_(True)
    if not in_place:
        own_values((one for one in tuned.parameters() if one.requires_grad), model.model)
    plan = plan_tuning(recipe, examples)
    made = tune(tuned, examples, plan, pad_token_id=pad, after_step=lambda _: advance(1))
    after = [measured(tuned, own, pad_token_id=pad) for own in looked_at]
    effect = Effect(*zip(before, after, strict=True))
    seconds = round(time.monotonic() - started, 3)
    return Unlearned(
        model=replace(base, model=tuned, base=base.base if lora else OWN_BASE, adapter=IN_MEMORY if lora else None),
        method=method.name,
        history=tuple(UnlearnStep(number, loss, float("nan")) for number, loss in enumerate(made.losses, start=1)),
        forget_rows=len(leaving),
        retain_rows=len(examples),
        steps=made.steps,
        planned_steps=len(plan.steps),
        tokens=plan.tokens(examples),
        seconds=seconds,
        kept_step=made.steps,
        details={"effect": effect.to_json(), "cautions": [*cautions, *effect.cautions()]},
        problems=(*leaving.problems, *staying.problems, *sets[1].problems),
        facts={
            "method": f"{method.name} ({method.paper})",
            "forget rows": len(leaving),
            "rows trained on": len(examples),
            "epochs": recipe.epochs,
            "learning rate": recipe.learning_rate,
            "seed": recipe.seed,
            "seconds": seconds,
        },
    )


def _recipe(
    method: Retrain, model: Model, options: UnlearnOptions, changed: frozenset[str]
) -> tuple[TrainConfig, bool]:
    """How to train, and whether that is known to be how the model was trained."""
    place = method.recipe or (model.adapter if model.adapter not in (None, IN_MEMORY) else model.base)
    given: dict[str, Any] = {"dtype": method.dtype, "device": method.device, "seed": method.seed}
    if "seed" in changed and method.seed is None:
        given["seed"] = options.seed
    given = {name: value for name, value in given.items() if value is not None}
    try:
        recipe, has_recipe = read_recipe(place), True
    except ConfigError:
        if method.recipe is not None:
            raise
        names = {own.name for own in fields(TrainConfig)} & changed
        own = {name: getattr(options, name) for name in names}
        data = Path(IN_MEMORY)
        recipe, has_recipe = TrainConfig(data=data, output_dir=data, **{**_shape(model), **own}), False
    if recipe.dp_epsilon is not None:
        raise ConfigError(
            "Private training leaves a record beside the model: it needs files.",
            where="`method`",
            remedy="use `unweave forget --method retrain`, or uw.forget_rows",
        )
    if is_sharded(recipe):
        raise ConfigError(
            "Training in shards keeps its stages beside the model: it needs files.",
            where="`method`",
            remedy="use `unweave forget --method retrain`, or uw.forget_rows",
        )
    return replace(recipe, **given), has_recipe


def _shape(model: Model) -> dict[str, Any]:
    """The options of an adapter like the model's own, where that is a LoRA."""
    config: Any = getattr(model.model, "peft_config", {}).get(getattr(model.model, "active_adapter", None))
    if getattr(getattr(config, "peft_type", None), "value", None) != "LORA":
        return {}
    targets = config.target_modules
    return {
        "lora_r": config.r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "lora_targets": "all-linear" if isinstance(targets, str) else ",".join(sorted(targets)),
    }


def _kept(forget: Any, retain: Any, recipe: TrainConfig, *, has_recipe: bool) -> Rows:
    if retain is not None:
        return load_rows(retain)
    if not has_recipe:
        raise ConfigError(
            "Which rows the model was trained on is not known.",
            where="`retain`",
            remedy="give all of them but those to forget, or uw.methods.Retrain(recipe=...)",
        )
    rows, leaving = read_training_rows(recipe.data, recipe), {row.id for row in load_rows(forget)}
    if unknown := leaving - {row.id for row in rows}:
        raise DataError(
            f"{len(unknown)} row(s) to forget are not in the data that the model was trained on, such as '{min(unknown)}'.",
            where=f"`forget`, {recipe.data}",
            remedy="give rows of this data set, with the same ids",
        )
    without = {row.id for row in read_training_rows(recipe.without, recipe)} if recipe.without else set()
    return Rows([row for row in rows if row.id not in leaving | without], rows.problems)


def _base(method: Retrain, model: Model, recipe: TrainConfig, *, has_recipe: bool, in_place: bool) -> Model:
    """The model that is trained: what lies below the adapter in memory, or what the recipe loads."""
    in_memory = model.adapter is not None and recipe.tuning == "lora" and not (method.dtype or method.device)
    if not in_memory:
        if not has_recipe:
            raise ConfigError(
                "The model has no adapter: what it was before it was trained is not in memory.",
                where="`method`",
                remedy="give uw.methods.Retrain(recipe=...) with the config.yaml of its training",
            )
        return load(recipe)
    own = model if in_place else working_copy(model, whole=False)
    base = own.model.unload()
    base.requires_grad_(False)
    return replace(own, model=base, adapter=None)
