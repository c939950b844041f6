"""Unlearning with objects in memory: a model and rows in, another model out."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Literal

from unweave import progress
from unweave.data.encoding import EncodingConfig
from unweave.data.reading import load_rows
from unweave.models.model import Model
from unweave.randomness import undisturbed
from unweave.train.config import Schedule
from unweave.train.processes import only_one
from unweave.unlearning.config import Sampling, UnlearnOptions
from unweave.unlearning.copying import own_values, working_copy
from unweave.unlearning.methods import Method, Retrain
from unweave.unlearning.preparing import asked, changes_base, encode, trained
from unweave.unlearning.retraining import train_anew
from unweave.unlearning.running import Run, carry_out
from unweave.unlearning.target import Target
from unweave.unlearning.unlearned import Unlearned


def unlearn(
    model: Model,
    forget: Any,
    retain: Any = None,
    *,
    method: Method | str = "rapidun",
    weights: Any = None,
    epochs: float | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    retain_ratio: float | None = None,
    sampling: Sampling | None = None,
    adapter_mode: Literal["new", "continue"] | None = None,
    lora_r: int | None = None,
    lora_alpha: int | None = None,
    lora_dropout: float | None = None,
    lora_targets: str | None = None,
    lr_scheduler: Schedule | None = None,
    warmup_ratio: float | None = None,
    weight_decay: float | None = None,
    max_grad_norm: float | None = None,
    target: Any = None,
    target_reference: Model | None = None,
    target_loss: float | None = None,
    stop_loss: float | None = None,
    stop_at_base: bool | None = None,
    check_every: int | None = None,
    check_rows: int | None = None,
    max_retain_increase: float | None = None,
    encoding: EncodingConfig | None = None,
    seed: int | None = None,
    in_place: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> Unlearned:
    """Take the influence of rows out of a model. No file is read or written.

    The model that is given stays as it is, so that it can be compared with. Where only an adapter changes, on a base that stays (`adapter_mode="continue"`,
    or a model without an adapter), both share the base's weights, and little memory is taken. A `new` adapter on a model that has one takes a second copy
    of the weights, since the old adapter is merged into them; so do `stable` and `reglu`, which change the base. `in_place=True` takes none.

    What is not given has the method's own default, which `uw.methods` and the docs name.

    Args:
        model: The model.
        forget: The rows to forget: anything that `uw.load_rows` takes, as all rows here.
        retain: Rows whose behavior must stay; methods that use none take none.
        method: A method with its options, such as `uw.methods.NPO(beta=0.1)`, or the name of one.
        weights: An object with arrays `forget` and `retain`, as `uw.weights` makes them, or a pair of such; either may be `None`. A row to keep with a
            negative weight is unlearned with the rows to forget.
        epochs: An epoch samples as many rows as there are forget and retain rows together.
        learning_rate: Peak step size of AdamW.
        batch_size: Rows a step.
        retain_ratio: Retain rows for each forget row.
        sampling: `cycle`, or `replacement`.
        adapter_mode: `continue` trains the model's own adapter on; `new` merges it into the base, and trains a fresh one. A model without an adapter gets
            a new one.
        lora_r: Rank of a fresh adapter.
        lora_alpha: Its scale.
        lora_dropout: Dropout in front of it.
        lora_targets: Modules that get it: `all-linear`, or names, comma-separated.
        lr_scheduler: How the step size changes over the run.
        warmup_ratio: Share of the steps over which it grows from 0.
        weight_decay: Of AdamW.
        max_grad_norm: The norm to which a step's gradient is clipped.
        target: Held-out rows like those to forget: stop when the forget rows are as unlikely as these were before.
        target_reference: A model that saw neither these nor the forget rows: the target allows for rows that are harder or easier than others.
        target_loss: Stop at this loss of the forget rows, in nats a token.
        stop_loss: Stop when the forget rows' loss in a step exceeds this; by default the logarithm of the vocabulary's size.
        stop_at_base: Without a target, a forget row counts only until it has the loss that it has with the adapter off; by default true.
        check_every: Measure forget and retain rows every so many steps, to stop at the target and to keep the best step.
        check_rows: Rows of each kind that are measured.
        max_retain_increase: The run has diverged when the retain rows' loss grows by more than this: it stops, and the best step is kept.
        encoding: Template and lengths; by default the model's chat template, and 256 tokens.
        seed: Of the sampling, of a new adapter, of dropout.
        in_place: Change the model that is given, and take no copy of anything.
        advance: Called with the number of steps just made.

    Returns:
        The model, what each step did, and cautions.

    Raises:
        ConfigError: When the method needs something that is not given, or would not use what is.
        DataError: When rows or weights can't be used.
        TrainingError: When a loss is no finite number, or nothing was changed.

    Example:
        >>> import unweave as uw
        >>> result = uw.unlearn(model, forget, retain, method=uw.methods.NPO(beta=0.1), epochs=8, learning_rate=1e-3, stop_loss=20.0)
        >>> before, after = result.details["effect"]["forget_loss"]
        >>> result.steps, after > before
        (8, True)
        >>> result.save("unlearned").name
        'unlearned'
    """
    only_one("Unlearning")
    arguments = dict(locals())
    shared = {own.name for own in fields(UnlearnOptions)}
    own = asked(
        method,
        {name: value for name, value in arguments.items() if name in shared},
        model=model,
        retain=retain,
        weights=weights,
        encoding=encoding,
        target=target is not None,
        target_reference=target_reference is not None,
        target_loss=target_loss is not None,
    )
    chosen, options, changed = own.method, own.options, own.changed
    with progress.gathered() as notes, undisturbed():
        if isinstance(chosen, Retrain):
            return replace(
                train_anew(chosen, model, forget, retain, options, changed, in_place=in_place, advance=advance),
                notes=tuple(notes),
            )
        rows, problems = encode(own, forget, retain, model)
        run = Run(
            chosen,
            options,
            changed,
            target=Target(
                None if target is None else load_rows(target).rows,
                None if target_reference is None else lambda: target_reference,
                target_loss,
            ),
            advance=advance,
            trainable=lambda found: None if in_place else own_values(trained(found), model.model),
        )
        loaded = model if in_place else working_copy(model, whole=changes_base(chosen, options, model))
        made = carry_out(run, loaded, rows)
    return replace(made, problems=tuple(problems), notes=tuple(notes))
